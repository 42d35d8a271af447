"""The two stages as one diffusers pipeline: hands first, then the body around them.

`pipe(prompt, pose).images`; what lies between is in `.hands`, `.masks` and `.canvas`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

import numpy as np
import torch
from diffusers import DiffusionPipeline
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from h2d.errors import UserError
from h2d.infer.blending.base import Blending
from h2d.infer.blending.expanding import Expanding
from h2d.infer.canvas import compose, paste
from h2d.infer.hands import Hand, hand_requests, make_hands
from h2d.infer.jobs import Job, armed, guessed, impossible, make_jobs, outgrown, seeds_of
from h2d.infer.latents import decode
from h2d.infer.loop import Predict, denoise
from h2d.infer.lora import fuse_lora
from h2d.infer.makers import MAKERS
from h2d.infer.options import SampleOptions
from h2d.infer.outpaint import outpaint, prepare
from h2d.infer.output import TwoStageOutput
from h2d.infer.schedulers import DEFAULT_SCHEDULER, DEFAULT_STEPS, draws_noise, make_scheduler, name_of
from h2d.infer.text import encode_prompts, negative_notes, prompt_notes
from h2d.infer.zoom import Enlarged, zoom_hands
from h2d.models.base import cell_px_of, size_multiple_of
from h2d.models.conditioning import SIGMA_PX
from h2d.models.mask_head import MaskHead  # noqa: F401  # diffusers reads a saved class of an imported module alone
from h2d.models.shipped import find_shipped
from h2d.pose.draw import control_picture
from h2d.pose.pose import Pose
from h2d.registry import resolve

Stage: TypeAlias = Literal["hand", "body"]
DEFAULT_GUIDANCE: Final = 7.5
"""Of networks that are saved with none of their own: Stable Diffusion's."""
StepCallback: TypeAlias = Callable[..., dict[str, Any]]
"""As diffusers': from the pipeline, the step, its timestep and {"latents", "stage"} to what replaces the latents."""


class TwoStagePipeline(DiffusionPipeline):  # type: ignore[misc]
    """Hand generator, canvas, body outpainter.

    Components without `hand_` are stage 2's. `hand_vae` and `hand_text_encoder` are None where both stages share them.
    """

    model_cpu_offload_seq: ClassVar[str] = "text_encoder->hand_text_encoder->hand_unet->hand_vae->unet->vae"
    _optional_components: ClassVar[list[str]] = [
        "hand_unet",
        "hand_controlnet",
        "mask_head",
        "hand_vae",
        "hand_text_encoder",
    ]
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents"]

    def __init__(
        self,
        *,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        unet: Any,
        controlnet: Any,
        scheduler: Any,
        hand_scheduler: Any,
        hand_unet: Any = None,
        hand_controlnet: Any = None,
        mask_head: Any = None,
        hand_vae: Any = None,
        hand_text_encoder: Any = None,
        hand_size_px: int = 512,
        size_px: int = 512,
        sigma_px: float = SIGMA_PX,
        wrist: str = "all",
        canvas_fill: str = "grey",
        skeleton: str = "v1.1",
        guidance_scale: float = DEFAULT_GUIDANCE,
        expand_px: float | None = None,
        num_inference_steps: int | None = None,
        eta: float = 0.0,
        controlnet_conditioning_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            controlnet=controlnet,
            scheduler=scheduler,
            hand_scheduler=hand_scheduler,
            hand_unet=hand_unet,
            hand_controlnet=hand_controlnet,
            mask_head=mask_head,
            hand_vae=hand_vae,
            hand_text_encoder=hand_text_encoder,
        )
        self.register_to_config(
            hand_size_px=hand_size_px,
            size_px=size_px,
            sigma_px=sigma_px,
            wrist=wrist,
            canvas_fill=canvas_fill,
            skeleton=skeleton,
            guidance_scale=guidance_scale,
            expand_px=expand_px,
            num_inference_steps=num_inference_steps,
            eta=eta,
            controlnet_conditioning_scale=controlnet_conditioning_scale,
        )
        self._interrupt = self._channels_last = False
        self._callback: StepCallback | None = None

    @classmethod
    def from_pretrained(cls, place: Path | str, **options: Any) -> "TwoStagePipeline":
        """As of any pipeline of diffusers; `miniature` is the one that comes with h2d."""
        found: TwoStagePipeline = super().from_pretrained(find_shipped(str(place)) or place, **options)
        return found

    @classmethod
    def from_checkpoints(cls, *, outpaint: Path | str, **options: Any) -> "TwoStagePipeline":
        """Of training checkpoints, or public ones: `h2d.infer.loading.load_checkpoints`, which see."""
        from h2d.infer.loading import load_checkpoints

        return load_checkpoints(outpaint=outpaint, **options)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        pose: Pose | Sequence[Pose],
        *,
        seed: int | Sequence[int] | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        num_images_per_prompt: int = 1,
        latents: Float[Tensor, "b 4 l k"] | None = None,
        options: SampleOptions | None = None,
        callback_on_step_end: StepCallback | None = None,
        **overrides: Any,
    ) -> TwoStageOutput:
        """Make pictures. `overrides` are fields of `SampleOptions`; `latents` are stage 2's first noise.

        A picture depends on its own prompt, pose, seed and options, not on what else is in the batch, up to rounding in
        batched arithmetic. Raises `UserError` on counts or sizes that do not go together.
        """
        chosen = replace(options or SampleOptions(), **overrides)
        jobs = self._jobs(prompt, pose, seed, generator, num_images_per_prompt, chosen)
        self._interrupt, self._callback = False, callback_on_step_end
        self._lay_out(chosen.channels_last)
        notes = [
            [
                *self._unread(job.prompt, chosen),
                *guessed(job.pose),
                *impossible(job.pose),
                *outgrown(job.framed.size_hw, self.config.size_px),
            ]
            for job in jobs
        ]
        if chosen.add_arms:
            jobs = [armed(job, said) for job, said in zip(jobs, notes, strict=True)]
        hands = self._make_hands(jobs, chosen, notes)
        canvases = [
            compose([hand.as_picture() for hand in made], job.framed.size_hw, fill=self.config.canvas_fill)
            for job, made in zip(jobs, hands, strict=True)
        ]
        skeletons = [control_picture(job.framed, style=self.config.skeleton) for job in jobs]
        inputs = prepare(self, jobs, canvases, hands, skeletons, chosen, latents)
        decoded = decode(self.vae, outpaint(self, inputs, chosen), of="U-Net or its ControlNet")
        enlarged: list[list[Enlarged]] = [[] for _ in jobs]
        if chosen.zoom_hands:
            decoded, enlarged = zoom_hands(self, jobs, hands, decoded, chosen, notes)
        pictures = [
            paste(picture, canvas, how=chosen.paste, feather_px=chosen.feather_px)
            for picture, canvas in zip(decoded, canvases, strict=True)
        ]
        self.maybe_free_model_hooks()
        return TwoStageOutput(
            images=[Image.fromarray(picture) for picture in pictures],
            hands=hands,
            masks=[canvas.mask.astype(np.uint8) * 255 for canvas in canvases],
            canvas=[canvas.picture for canvas in canvases],
            skeletons=skeletons,
            decoded=decoded,
            enlarged=enlarged,
            step_masks=inputs.step_masks,
            seeds=[job.seed for job in jobs],
            maker=self.maker_of(chosen),
            notes=notes,
        )

    @property
    def interrupt(self) -> bool:
        """Set `pipe._interrupt = True` in a callback to end the loop that runs."""
        return self._interrupt

    def compile_networks(self, **options: Any) -> None:
        """Compile the networks of both loops; `options` are torch.compile's. The first picture of a size then waits."""
        for network in (self.hand_unet, self.hand_controlnet, self.unet, self.controlnet):
            if network is not None:
                network.compile(**options)

    def load_lora_weights(self, place: Path | str, *, weight_name: str | None = None, scale: float = 1.0) -> None:
        """Lay a LoRA into the weights of both stages, for good: a file, or the one of that name in a folder.

        Raises `UserError` as `fuse_lora` does.
        """
        fuse_lora(self, Path(place) / weight_name if weight_name else Path(place), scale=scale)

    def vae_of(self, stage: Stage) -> Any:
        """The VAE that a stage was trained with."""
        return self.hand_vae if stage == "hand" and self.hand_vae is not None else self.vae

    def text_of(self, stage: Stage, prompts: Sequence[str], negative: str, scale: float) -> Float[Tensor, "b t d"]:
        """Hidden states of the prompts, the negative prompt's before them where there is guidance."""
        own = stage == "hand" and self.hand_text_encoder is not None
        encoder = self.hand_text_encoder if own else self.text_encoder
        texts = list(prompts) if scale == 1 else [negative] * len(prompts) + list(prompts)
        state = encode_prompts(self.tokenizer, encoder, texts, device=self._execution_device)
        return state.to(self.unet.dtype)

    def guidance_of(self, stage: Stage, options: SampleOptions) -> float:
        """How strongly a stage is guided: 1 is not at all."""
        own = options.hand_guidance_scale if stage == "hand" else None
        scale: float = own or options.guidance_scale or self.config.guidance_scale
        return scale

    def eta_of(self, options: SampleOptions) -> float:
        """How much of its noise a step of DDIM draws anew."""
        eta: float = self.config.eta if options.eta is None else options.eta
        return eta

    def control_scale_of(self, options: SampleOptions) -> float:
        """How strongly the skeleton steers the body."""
        asked = options.controlnet_conditioning_scale
        scale: float = self.config.controlnet_conditioning_scale if asked is None else asked
        return scale

    def settled(self, options: SampleOptions) -> dict[str, Any]:
        """What a picture is sampled with in effect, JSON-ready; `eta` is None of a scheduler that takes none."""
        return {
            "scheduler": options.scheduler or name_of(self.scheduler),
            "steps": self.num_steps(options),
            "guidance_scale": self.guidance_of("body", options),
            "hand_guidance_scale": self.guidance_of("hand", options),
            "eta": self.eta_of(options) if draws_noise(options.scheduler or self.scheduler) else None,
            "control_scale": self.control_scale_of(options),
        }

    def blending_of(self, options: SampleOptions) -> Blending:
        """The strategy; a pipeline may have its own reach of an expanding mask: `expand_px`, as `Expanding.max_px`."""
        asked = options.blending()
        if isinstance(asked, Expanding) and asked.max_px is None:
            return replace(asked, max_px=self.config.expand_px)
        return asked

    def fresh_scheduler(self, stage: Stage, options: SampleOptions) -> Any:
        """A scheduler at its first step, its numbers on the CPU."""
        own = self.hand_scheduler if stage == "hand" else self.scheduler
        made = make_scheduler(options.scheduler, own) if options.scheduler else type(own).from_config(own.config)
        made.set_timesteps(self.num_steps(options))
        return made

    def num_steps(self, options: SampleOptions) -> int:
        """Of either stage; a pipeline may be saved with its own number for its own scheduler."""
        own = self.config.num_inference_steps if options.scheduler is None else None
        name = options.scheduler or name_of(self.scheduler)
        return options.num_inference_steps or own or DEFAULT_STEPS.get(name, DEFAULT_STEPS[DEFAULT_SCHEDULER])

    def denoise(
        self,
        stage: Stage,
        scheduler: Any,
        latents: Float[Tensor, "b 4 l k"],
        predict: Predict,
        *,
        put_back: Callable[[int, Tensor], Tensor] = lambda step, latents: latents,
        first_step: int = 0,
        eta: float,
        generators: Sequence[torch.Generator],
    ) -> Float[Tensor, "b 4 l k"]:
        """The loop, with the caller's callback and the progress bar."""
        with self.progress_bar(total=len(scheduler.timesteps) - first_step) as bar:

            def after_step(step: int, timestep: Tensor, state: Tensor) -> Tensor:
                state = put_back(step, state)
                if self._callback is not None:
                    state = self._callback(self, step, timestep, {"latents": state, "stage": stage})["latents"]
                bar.update()
                return state

            return denoise(
                scheduler,
                latents,
                predict,
                after_step=after_step,
                first_step=first_step,
                interrupted=lambda: self._interrupt,
                eta=eta,
                generators=generators,
            )

    @property
    def cell_px(self) -> int:
        """Pixels of a cell of the picture's latent, a side; the hands' may have a VAE, and cells, of their own."""
        return cell_px_of(self.vae.config)

    @property
    def size_multiple(self) -> int:
        """Pixels that a picture's sides are multiples of: the U-Net halves the latent several times."""
        return size_multiple_of(self.unet.config, self.vae.config)

    def _jobs(
        self, prompt: Any, pose: Any, seed: Any, generator: Any, num_images_per_prompt: int, options: SampleOptions
    ) -> list[Job]:
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        poses = [pose] if isinstance(pose, Pose) else list(pose)
        count = max(len(prompts), len(poses)) * num_images_per_prompt
        return make_jobs(
            prompts,
            poses,
            seeds_of(seed, generator, count),
            num_images_per_prompt=num_images_per_prompt,
            wanted_hw=(options.height, options.width),
            short_px=self.config.size_px,
            multiple=self.size_multiple,
        )

    def _unread(self, prompt: str, options: SampleOptions) -> list[str]:
        is_guided = any(self.guidance_of(stage, options) != 1 for stage in get_args(Stage))
        return [
            *negative_notes(self.tokenizer, options.negative_prompt, is_guided=is_guided),
            *prompt_notes(self.tokenizer, prompt),
            *prompt_notes(self.tokenizer, options.hand_prompt or "", of="prompt of the hands"),
        ]

    def _lay_out(self, channels_last: bool) -> None:
        if channels_last != self._channels_last:
            order = torch.channels_last if channels_last else torch.contiguous_format
            for part in self.components.values():
                if isinstance(part, torch.nn.Module):
                    part.to(memory_format=order)  # type: ignore[call-overload]
            self._channels_last = channels_last

    def _make_hands(self, jobs: Sequence[Job], options: SampleOptions, notes: list[list[str]]) -> list[list[Hand]]:
        """All hands of all pictures in one pass, sorted back to their pictures."""
        requests, owners = hand_requests(jobs, notes, self.config.hand_size_px, options, cell_px=self.cell_px)
        made: list[Hand] = []
        if requests:
            if self.hand_unet is None and options.hand_photo is None:
                raise UserError(
                    "nothing makes hands: name a trained generator (--hand), a hand ControlNet (--hand-controlnet) or a"
                    " photograph (--hand-photo)"
                )
            maker = resolve(MAKERS, self.maker_of(options), kind="maker of hands")(self, options)
            made = make_hands(maker, requests, threshold=options.mask_threshold, attempts=options.hand_attempts)
        sorted_back: list[list[Hand]] = [[] for _ in jobs]
        for owner, hand in zip(owners, made, strict=True):
            sorted_back[owner].append(hand)
            if hand.problem:
                notes[owner].append(f"{hand.problem}, after {hand.attempts} attempts")
            if hand.remark:
                notes[owner].append(hand.remark)
        return sorted_back

    def maker_of(self, options: SampleOptions) -> str:
        """By what was given: a photograph, a hand ControlNet, a trained generator."""
        if options.hand_photo is not None:
            return "photo"
        if self.hand_controlnet is not None:
            return "controlnet"
        return "generator"
