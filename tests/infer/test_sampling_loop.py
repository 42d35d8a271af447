"""The loop with networks that know the answer ends at the answer, for every scheduler; its seeds; its names."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from h2d.errors import UserError
from h2d.infer.loop import Noise, denoise, doubled, first_noise, generator_of, guided
from h2d.infer.schedulers import DEFAULT_STEPS, SCHEDULERS, levels, make_scheduler, name_of, steady_eta


def noise_levels(**options) -> DDPMScheduler:
    return DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, **options
    )


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [5, 20])
def test_a_network_that_knows_the_picture_ends_at_it(name, prediction, steps):
    """Also says that `levels` are the levels that the scheduler really goes through."""
    scheduler = make_scheduler(name, noise_levels(prediction_type=prediction))
    scheduler.set_timesteps(steps)
    picture_share, noise_share = (share[1:] for share in levels(scheduler))
    picture = torch.randn(2, 4, 8, 8, generator=generator_of(1))
    noise = torch.randn(2, 4, 8, 8, generator=generator_of(2))
    seen = []

    def predict(scaled, timestep, step):
        kept = scheduler.alphas_cumprod[int(timestep)] if name != "euler" else 1 / (scheduler.sigmas[step] ** 2 + 1)
        state = scaled
        word = (state - kept.sqrt() * picture) / (1 - kept).sqrt()
        if prediction == "v_prediction":
            word = kept.sqrt() * word - (1 - kept).sqrt() * picture
        return word.float()

    def keep(step, timestep, state):
        seen.append(state)
        return state

    start = scheduler.add_noise(picture, noise, scheduler.timesteps[:1].repeat(2))
    scheduler = make_scheduler(name, noise_levels(prediction_type=prediction))
    scheduler.set_timesteps(steps)
    end = denoise(scheduler, start, predict, after_step=keep)
    # DDIM's own last level is that of its first timestep, not clean: Stable Diffusion's habit.
    torch.testing.assert_close(end, picture, atol=0.12 if name == "ddim" else 1e-3, rtol=0)
    for step, state in enumerate(seen[:-1]):
        expected = picture_share[step] * picture + noise_share[step] * noise
        torch.testing.assert_close(state.double(), expected, atol=1e-4, rtol=1e-4, check_dtype=False)


def test_default_steps_are_known_for_every_name():
    assert set(DEFAULT_STEPS) == set(SCHEDULERS)
    for name in SCHEDULERS:
        assert name_of(make_scheduler(name, noise_levels())) == name
    assert name_of(noise_levels()) == "DDPMScheduler"
    with pytest.raises(UserError, match=r"unknown scheduler 'ddpm': choose one of ddim, dpm\+\+, euler, unipc"):
        make_scheduler("ddpm", noise_levels())


def test_noise_depends_on_its_own_seed_alone():
    alone = first_noise((4, 8, 8), [generator_of(7, 2)])
    together = first_noise((4, 8, 8), [generator_of(5, 2), generator_of(7, 2)])
    assert torch.equal(alone[0], together[1])
    assert not torch.equal(first_noise((4, 8, 8), [generator_of(7, 1)])[0], alone[0])


def test_guidance():
    word = torch.arange(8.0).reshape(4, 2, 1, 1)
    assert torch.equal(guided(word, 1), word)
    torch.testing.assert_close(guided(word, 3.0), word[:2] + 3 * (word[2:] - word[:2]))
    assert doubled(word, 1) is word
    assert len(doubled(word, 2)) == 8


def test_the_loop_ends_when_told():
    scheduler = make_scheduler("ddim", noise_levels())
    scheduler.set_timesteps(10)
    steps = []

    def after(step, timestep, state):
        steps.append(step)
        return state

    denoise(
        scheduler,
        torch.zeros(1, 4, 8, 8),
        lambda latents, timestep, step: latents,
        after_step=after,
        interrupted=lambda: len(steps) == 3,
    )
    assert steps == [0, 1, 2]


class Copies(TorchDispatchMode):
    """What the host copies to the device, and waits for; a single number beside the device's goes with the kernel."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        if any(isinstance(each, torch.Tensor) and each.is_meta for each in tree_leaves(result)):
            tensors = (each for each in tree_leaves((arguments, named)) if isinstance(each, torch.Tensor))
            moved = function is torch.ops.aten._to_copy.default
            self.found += [function for each in tensors if each.device.type == "cpu" and (moved or each.dim())]
        return result


@pytest.mark.parametrize("name", SCHEDULERS)
def test_no_step_copies_from_the_host(name):
    """But for UniPC, of diffusers: it copies a step's sigmas there, to solve for its weights."""
    scheduler = make_scheduler(name, noise_levels())
    scheduler.set_timesteps(4)
    copies, at_steps = Copies(), []

    def predict(latents, timestep, step):
        at_steps.append(len(copies.found))
        return latents

    with copies:
        denoise(
            scheduler,
            torch.zeros(2, 4, 8, 8, device="meta"),
            predict,
            after_step=lambda step, timestep, state: state,
            eta=1.0,
            generators=[generator_of(1), generator_of(2)],
        )
    in_steps = copies.found[at_steps[0] :]
    assert bool(in_steps) == (name == "unipc"), in_steps


@pytest.mark.parametrize("first_step", [0, 2])
def test_noise_drawn_ahead_is_what_the_steps_would_draw(first_step):
    scheduler = make_scheduler("ddim", noise_levels())
    scheduler.set_timesteps(5)
    start = first_noise((4, 7, 9), [generator_of(1, Noise.BODY), generator_of(2, Noise.BODY)])
    generators = [generator_of(3), generator_of(4)]
    expected = start
    for timestep in scheduler.timesteps[first_step:]:
        expected = scheduler.step(0.1 * expected, timestep, expected, eta=0.7, generator=generators).prev_sample
    found = denoise(
        scheduler,
        start,
        lambda latents, timestep, step: 0.1 * latents,
        after_step=lambda step, timestep, state: state,
        first_step=first_step,
        eta=0.7,
        generators=[generator_of(3), generator_of(4)],
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize("steps", [5, 25])
def test_a_step_that_draws_all_noise_anew_gives_numbers(steps):
    """Five steps of the miniature's schedule: on some processors rounding leaves less than nothing of the noise."""
    cosine = DDPMScheduler(beta_schedule="squaredcos_cap_v2", beta_start=0.0001, beta_end=0.02, clip_sample=False)
    scheduler = DDIMScheduler.from_config(cosine.config, timestep_spacing="trailing", set_alpha_to_one=True)
    scheduler.set_timesteps(steps)
    start = torch.randn(1, 4, 8, 8, generator=generator_of(1))
    end = denoise(
        scheduler, start, lambda scaled, timestep, step: scaled, after_step=lambda step, timestep, state: state,
        eta=1.0, generators=[generator_of(2)],
    )  # fmt: skip
    assert end.isfinite().all()


@pytest.mark.parametrize(("share", "eta"), [(1 + 1e-6, 1 - 1e-6), (1 - 1e-3, 1.0)])
def test_eta_gives_way_only_where_a_step_would_give_no_number(share, eta, monkeypatch):
    """At eta 1 a step draws the share of its noise anew: more than all of it has no root."""
    scheduler = DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(5)

    def variance(_timestep, previous):
        return share * (1 - (scheduler.alphas_cumprod[previous] if previous >= 0 else scheduler.final_alpha_cumprod))

    monkeypatch.setattr(scheduler, "_get_variance", variance)
    assert steady_eta(scheduler, 1.0) == eta
    assert steady_eta(scheduler, 0.5) == 0.5


def test_a_scheduler_that_counts_its_steps_is_not_tried():
    scheduler = make_scheduler("dpm++", noise_levels())
    scheduler.set_timesteps(5)
    assert steady_eta(scheduler, 1.0) == 1.0
    assert scheduler.step_index is None


def test_what_a_seed_is_drawn_for_keeps_its_number():
    """Another would make other pictures of the seeds that people noted down."""
    numbers = {name: int(use) for name, use in Noise.__members__.items()}
    assert numbers == {"HAND": 1, "BODY": 2, "ZOOM": 3, "REPAIR": 3, "STEPS": 4}
    by_name = first_noise((4, 2, 2), [generator_of(7, Noise.BODY)])
    assert torch.equal(by_name, first_noise((4, 2, 2), [generator_of(7, 2)]))
