"""The loop with networks that know the answer ends at the answer, for every scheduler; its seeds; its names."""

import pytest
import torch
from diffusers import DDPMScheduler

from h2d.errors import UserError
from h2d.infer.loop import denoise, doubled, first_noise, generator_of, guided
from h2d.infer.schedulers import DEFAULT_STEPS, SCHEDULERS, levels, make_scheduler, name_of


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
