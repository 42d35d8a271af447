"""The pipeline: against diffusers' own, and what it promises of hands, seeds, batches and files."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionControlNetInpaintPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from poses import pose_of
from tiny_models import write_checkpoints

from h2d.errors import UserError
from h2d.infer.blending.base import cells_of
from h2d.infer.choosing import default_models, model_folder
from h2d.infer.loading import load_models
from h2d.infer.options import SampleOptions
from h2d.infer.outpaint import outpaint
from h2d.infer.saved_pipeline import load_pipeline
from h2d.infer.schedulers import SCHEDULERS, levels, make_scheduler
from h2d.infer.two_stage import TwoStagePipeline
from h2d.models.outpainter import canvas_of

FEW = SampleOptions(num_inference_steps=3, hand_attempts=1)


def pixels(output) -> np.ndarray:
    return np.stack([np.asarray(image) for image in output.images])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Stage 2 on a U-Net of 4 channels."""
    hand, body = write_checkpoints(tmp_path_factory.mktemp("plain"), in_channels=4)
    pipe = TwoStagePipeline.from_checkpoints(hand=hand, outpaint=body)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def diffusers_twin(pipe, scheduler: str) -> StableDiffusionControlNetInpaintPipeline:
    twin = StableDiffusionControlNetInpaintPipeline(
        vae=pipe.vae,
        text_encoder=pipe.text_encoder,
        tokenizer=pipe.tokenizer,
        unet=pipe.unet,
        controlnet=pipe.controlnet,
        scheduler=make_scheduler(scheduler, pipe.scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    twin.set_progress_bar_config(disable=True)
    return twin


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "unipc"])
@pytest.mark.parametrize(("in_channels", "blended"), [(9, False), (9, True), (4, True)])
def test_equals_diffusers_inpainting_when_the_mask_is_constant(
    pipe, plain, pose, monkeypatch, scheduler, in_channels, blended
):
    """With 9 channels diffusers does not blend: a callback does it there, or nothing here."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
    ours = pipe if in_channels == 9 else plain
    options = SampleOptions(
        scheduler=scheduler,
        num_inference_steps=5,
        blend="naive",
        blend_options={"unmasked_steps": 0 if blended else 5},
        negative_prompt="blurred",
        paste="none",
    )
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(4))
    output = ours("a person", pose, seed=1, latents=noise, options=options)
    mask = torch.from_numpy(output.masks[0] > 0)[None, None].float()
    assert 0.02 < mask.mean() < 0.5
    canvas = canvas_of(torch.from_numpy(output.canvas[0]).permute(2, 0, 1)[None] / 127.5 - 1, mask)
    twin = diffusers_twin(ours, scheduler)
    kept, encoded = mask[..., ::8, ::8], ours.vae.encode(canvas).latent_dist.mode() * ours.vae.config.scaling_factor
    twin_levels = make_scheduler(scheduler, ours.scheduler)
    twin_levels.set_timesteps(5)
    picture_share, noise_share = (share.float()[1:] for share in levels(twin_levels))

    def blend(_pipe, step, _timestep, tensors):
        canvas_now = picture_share[step] * encoded + noise_share[step] * noise
        return {"latents": kept * canvas_now + (1 - kept) * tensors["latents"]}

    theirs = twin(
        "a person",
        image=(canvas + 1) / 2,
        mask_image=1 - mask,
        control_image=torch.from_numpy(output.skeletons[0]).permute(2, 0, 1)[None] / 255,
        negative_prompt="blurred",
        num_inference_steps=5,
        guidance_scale=7.5,
        strength=1.0,
        controlnet_conditioning_scale=1.0,
        latents=noise,
        output_type="np",
        callback_on_step_end=blend if in_channels == 9 and blended else None,
    ).images[0]
    difference = np.abs(theirs * 255 - np.asarray(output.images[0], np.float32))
    assert difference.max() <= 1.0, "no more than rounding to whole levels"
    assert np.std(theirs) > 0.01


def test_hands_survive_to_the_vae_before_the_paste_and_exactly_after_it(pipe, pose):
    options = replace(FEW, blend="naive", blend_options={"unmasked_steps": 0})
    seen = {}

    def keep(_pipe, step, _timestep, tensors):
        if tensors["stage"] == "body":
            seen["latents"] = tensors["latents"].clone()
        return tensors

    output = pipe("a person", pose, seed=1, options=options, callback_on_step_end=keep)
    mask, canvas = output.masks[0] > 0, output.canvas[0]
    cut = torch.from_numpy(mask)[None, None].float()
    pictures = canvas_of(torch.from_numpy(canvas).permute(2, 0, 1)[None] / 127.5 - 1, cut)
    with torch.no_grad():
        encoded = pipe.vae.encode(pictures).latent_dist.mode() * pipe.vae.config.scaling_factor
    inside = torch.from_numpy(cells_of(mask))
    torch.testing.assert_close(seen["latents"][0][:, inside], encoded[0][:, inside], atol=5e-3, rtol=0)
    assert not torch.allclose(seen["latents"][0][:, ~inside], encoded[0][:, ~inside], atol=0.1)
    assert np.array_equal(pixels(output)[0][mask], canvas[mask])
    assert np.array_equal(pixels(output)[0][~mask], output.decoded[0][~mask])
    assert not np.array_equal(output.decoded[0][mask], canvas[mask])


def test_the_last_steps_are_free_and_the_mask_expands_towards_the_start(pipe, pose):
    output = pipe("a person", pose, seed=1, num_inference_steps=6)
    shares = output.step_masks[:, 0].mean(axis=(1, 2))
    assert shares[4] == shares[5] == 0
    assert (np.diff(shares[:4]) <= 0).all()
    assert shares[0] > shares[3] > 0


def test_a_picture_is_the_same_alone_and_in_a_batch(pipe, pose):
    """One hand, two apart, two together, several people, none: all in one pass."""
    one = pose_of(("left", 150, 300, 120))
    together = pose_of(("left", 200, 300, 120), ("right", 260, 300, 120))
    people = replace(pose, people=np.concatenate([one.people, together.people]))
    nobody = replace(pose, people=_without_hands(pose.people))
    poses = [one, pose, together, people, nobody]
    prompts = [f"person {number}" for number in range(5)]
    output = pipe(prompts, poses, seed=[3, 4, 5, 6, 7], options=FEW)
    assert [len(hands) for hands in output.hands] == [1, 2, 1, 2, 0]
    assert [hand.crop.hands for hand in output.hands[3]] == ["left", "both"]
    assert "no hands in the pose: made by the ControlNet alone" in output.notes[4]
    assert not output.masks[4].any()
    for number in (1, 3):
        alone = pipe(prompts[number], poses[number], seed=3 + number, options=FEW)
        difference = np.abs(pixels(alone)[0].astype(int) - pixels(output)[number].astype(int))
        assert difference.mean() < 0.5


def _without_hands(people: np.ndarray) -> np.ndarray:
    bare = people.copy()
    bare[:, 91:] = (np.nan, np.nan, 0)
    bare[:, 5] = (100, 100, 1)
    bare[:, 6] = (300, 100, 1)
    return bare


def test_seeds_generators_and_copies(pipe, pose):
    two = pipe("a person", pose, seed=8, num_images_per_prompt=2, options=FEW)
    assert two.seeds == [8, 9]
    assert not np.array_equal(*pixels(two))
    again = pipe("a person", pose, seed=[8, 9], num_images_per_prompt=2, options=FEW)
    assert np.array_equal(pixels(again), pixels(two))
    drawn = [pipe("a person", pose, generator=torch.Generator().manual_seed(1), options=FEW).seeds[0] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert pipe("a person", pose, options=replace(FEW, num_inference_steps=1)).seeds[0] >= 0


def test_callbacks_see_both_stages_change_latents_and_stop(pipe, pose):
    calls = []

    def count(pipeline, step, timestep, tensors):
        calls.append((tensors["stage"], step))
        return tensors

    plain = pipe("a person", pose, seed=1, options=FEW, callback_on_step_end=count)
    assert calls == [(stage, step) for stage in ("hand", "body") for step in range(3)]

    def zero(pipeline, step, timestep, tensors):
        return {"latents": tensors["latents"] * 0}

    assert not np.array_equal(
        pixels(pipe("a person", pose, seed=1, options=FEW, callback_on_step_end=zero)), pixels(plain)
    )

    calls.clear()

    def stop(pipeline, step, timestep, tensors):
        calls.append(step)
        pipeline._interrupt = step == 1
        return tensors

    pipe("a person", pose, seed=1, options=FEW, callback_on_step_end=stop)
    assert calls == [0, 1], "what is interrupted is over, body and all"


def test_saved_and_loaded_gives_the_same_bits(pipe, pose, tmp_path):
    pipe.save_pretrained(tmp_path)
    assert not [*tmp_path.rglob("*.bin")]
    loaded = load_pipeline(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.config.hand_size_px == 128
    assert np.array_equal(
        pixels(loaded("a person", pose, seed=5, options=FEW)), pixels(pipe("a person", pose, seed=5, options=FEW))
    )


def test_parts_are_shared_where_they_are_the_same(pipe, plain):
    assert pipe.hand_vae is not None
    assert pipe.vae_of("hand") is pipe.hand_vae
    assert plain.hand_vae is None
    assert plain.hand_text_encoder is None
    assert plain.vae_of("hand") is plain.vae


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_loop_never_waits_for_the_device(checkpoints, pose, scheduler):
    """On the meta device a value cannot be read: whatever would wait for a GPU raises here."""
    from h2d.infer.outpaint import OutpaintInputs

    hand, body = checkpoints
    pipe = TwoStagePipeline.from_checkpoints(hand=hand, outpaint=body).to("meta")
    pipe.set_progress_bar_config(disable=True)
    options = SampleOptions(scheduler=scheduler, num_inference_steps=4)
    inputs = OutpaintInputs(
        noise=torch.randn(1, 4, 16, 16, device="meta"),
        text=torch.randn(2, 77, 32, device="meta"),
        skeleton=torch.rand(1, 3, 128, 128, device="meta"),
        mask=torch.ones(1, 1, 128, 128, device="meta"),
        shown=torch.randn(1, 4, 16, 16, device="meta"),
        kept=torch.randn(1, 4, 16, 16, device="meta"),
        step_masks=np.ones((4, 1, 16, 16), bool),
        generators=[torch.Generator()],
    )
    assert outpaint(pipe, inputs, options).shape == (1, 4, 16, 16)


def test_guidance_off_and_half_the_work(pipe, pose):
    sizes = []
    handle = pipe.unet.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    try:
        pipe("a person", pose, seed=1, options=replace(FEW, guidance_scale=1.0))
        pipe("a person", pose, seed=1, options=FEW)
    finally:
        handle.remove()
    assert sizes == [1] * 3 + [2] * 3


def test_a_pipeline_may_have_its_own_reach(pipe, pose):
    def first(**options):
        return pipe("a person", pose, seed=1, options=replace(FEW, **options)).step_masks[0, 0].sum()

    usual, near = first(), first(blend_options={"max_px": 8})
    pipe.register_to_config(expand_px=8)
    try:
        assert first() == near < usual
        assert first(blend_options={"max_px": 49}) == usual
        assert first(blend="naive") < near
    finally:
        pipe.register_to_config(expand_px=None)


def test_a_pipeline_may_have_its_own_number_of_steps(pipe):
    usual = pipe.num_steps(SampleOptions())
    pipe.register_to_config(num_inference_steps=7)
    try:
        assert pipe.num_steps(SampleOptions()) == 7 != usual
        assert pipe.num_steps(SampleOptions(num_inference_steps=3)) == 3
        assert pipe.num_steps(SampleOptions(scheduler="unipc")) == 20, "those of its own scheduler alone"
    finally:
        pipe.register_to_config(num_inference_steps=None)


def test_a_pipeline_may_draw_noise_anew_at_every_step(pipe, pose):
    def made(**options):
        return np.array(pipe("a person", pose, seed=1, options=replace(FEW, **options)).images[0])

    plain, noisy = made(), made(eta=1.0)
    assert not np.array_equal(plain, noisy)
    pipe.register_to_config(eta=1.0)
    try:
        assert np.array_equal(made(), noisy)
        assert np.array_equal(made(eta=0.0), plain)
    finally:
        pipe.register_to_config(eta=0.0)


def test_a_pipeline_may_have_its_own_strength_of_the_skeleton(pipe, pose):
    seen = []

    def note(module, inputs, named):
        seen.append(named["conditioning_scale"])

    handle = pipe.controlnet.register_forward_pre_hook(note, with_kwargs=True)
    pipe.register_to_config(controlnet_conditioning_scale=2.0)
    try:
        pipe("a person", pose, seed=1, options=FEW)
        pipe("a person", pose, seed=1, options=replace(FEW, controlnet_conditioning_scale=0.5))
    finally:
        handle.remove()
        pipe.register_to_config(controlnet_conditioning_scale=1.0)
    assert seen == [2.0] * 3 + [0.5] * 3


def test_the_controlnet_is_put_back_after_an_error(pipe, pose):
    embedding = pipe.controlnet.controlnet_cond_embedding

    def fail(pipeline, step, timestep, tensors):
        if tensors["stage"] == "body":
            raise RuntimeError("stop")
        return tensors

    with pytest.raises(RuntimeError, match="stop"):
        pipe("a person", pose, seed=1, options=FEW, callback_on_step_end=fail)
    assert pipe.controlnet.controlnet_cond_embedding is embedding


def test_long_prompts_are_cut_and_said(pipe, pose):
    output = pipe("very " * 40 + "long", pose, seed=1, options=FEW)
    assert any("tokens and 77 are read: without" in note for note in output.notes[0])


def test_eta_is_settled_only_where_a_scheduler_takes_it(pipe):
    assert pipe.settled(replace(FEW, eta=0.5))["eta"] == 0.5
    assert pipe.settled(replace(FEW, eta=0.5, scheduler="dpm++"))["eta"] is None


def test_what_does_not_go_together_is_one_line(pipe, pose):
    with pytest.raises(UserError, match="2 prompts and 3 poses: give one prompt"):
        pipe(["a", "b"], [pose] * 3, seed=1, options=FEW)
    with pytest.raises(UserError, match="1 seeds for 2 pictures"):
        pipe(["a", "b"], pose, seed=[1], options=FEW)
    with pytest.raises(UserError, match="seed = -1"):
        pipe("a", pose, seed=-1, options=FEW)
    with pytest.raises(UserError, match="pictures of one batch have one size"):
        pipe(["a", "b"], [pose, pose.resized(256, 512)], seed=1, options=FEW)
    with pytest.raises(UserError, match="height = 100: choose a multiple of 16, such as 96"):
        pipe("a", pose, seed=1, height=100, options=FEW)
    with pytest.raises(UserError, match="unknown blending 'soft'"):
        pipe("a", pose, seed=1, blend="soft")
    with pytest.raises(UserError, match="blend_options: radius = 3: there is no such option"):
        pipe("a", pose, seed=1, options=replace(FEW, blend_options={"radius": 3}))


def test_checkpoints_are_found_and_refused(checkpoints, tmp_path, pose):
    hand, body = checkpoints
    models = default_models(hand.parent)
    assert models.hand == hand / "checkpoints" / "step-0000001" / "model"
    assert models.about.endswith("yours.")
    assert model_folder(hand / "checkpoints" / "step-0000001") == models.hand
    assert load_models(models).config.size_px == 128
    with pytest.raises(UserError, match="no checkpoint of h2d train"):
        model_folder(tmp_path)
    with pytest.raises(UserError, match="a checkpoint of stage 'outpaint': give one of `h2d train hand`"):
        TwoStagePipeline.from_checkpoints(hand=body, outpaint=body)
    with pytest.raises(UserError, match=r"model_index\.json is missing"):
        load_pipeline(tmp_path)
