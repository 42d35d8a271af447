"""What a picture is made with besides prompt, pose and seed."""

from dataclasses import field
from pathlib import Path
from typing import Any, Final, Literal

from h2d.config import check_range, config, validate_config
from h2d.infer.blending import BLENDS, DEFAULT_BLEND
from h2d.infer.blending.base import Blending
from h2d.infer.schedulers import SCHEDULERS
from h2d.registry import check_name, resolve

_RANGES: Final[tuple[tuple[Any, ...], ...]] = (
    ("num_inference_steps", 1, 1000),
    ("hand_attempts", 1),
    ("guidance_scale", 1),
    ("hand_guidance_scale", 1),
    ("eta", 0, 1),
    ("feather_px", 0),
    ("controlnet_conditioning_scale", 0),
)
"""What a number of an option may be, from and to; there are 1000 noise levels to step through."""


@config
class SampleOptions:
    """The paper's where it states a value; names as in diffusers where it has them."""

    scheduler: str | None = None
    """ddim, dpm++, unipc or euler. None: those of the pipeline, which are DDIM unless they were changed."""
    num_inference_steps: int | None = None
    """Of either stage. None: the pipeline's, if it was saved with a number and keeps its scheduler; else 50 of DDIM, 20
    of DPM-Solver++ and UniPC, 30 of Euler."""
    guidance_scale: float | None = None
    """None: that of the pipeline, 7.5 unless it was saved with another. 1 switches guidance off, and spares half of the
    time."""
    hand_guidance_scale: float | None = None
    """Of stage 1; None: the same."""
    negative_prompt: str = ""
    hand_prompt: str | None = None
    """What stage 1 is told; None: the prompt."""
    eta: float | None = None
    """How much of its noise a step of DDIM draws anew, 0 to 1. None: that of the pipeline, 0 unless it was saved with
    another."""
    height: int | None = None
    width: int | None = None
    blend: str = DEFAULT_BLEND
    blend_options: dict[str, Any] = field(default_factory=dict)
    canvas_noise: Literal["matched", "clean"] = "matched"
    """Whether the canvas is put back at the noise level of the state, or clean, as equation (11) could be read."""
    paste: Literal["hard", "feather", "poisson", "none"] = "hard"
    feather_px: float = 3.0
    controlnet_conditioning_scale: float | None = None
    """How strongly the skeleton steers. None: that of the pipeline, 1 unless it was saved with another."""
    hand_photo: Path | None = None
    """A photograph whose hand is used, fitted to the pose; None: hands are generated."""
    segmenter: Literal["grabcut", "sam"] = "grabcut"
    """What draws the masks of hands that come without one: those of a photograph or of a hand ControlNet."""
    latent_handover: bool = False
    """Hand a hand on as it was generated, not decoded and encoded again, where its crop has the canvas's scale: crops
    of nearly that scale are brought to it. Needs one VAE for both stages."""
    add_arms: bool = True
    """Give a hand without a wrist or an elbow both: the paper's method needs the arm to join it."""
    zoom_hands: bool = False
    """Outpaint around small hands once more in an enlarged window, and set it back."""
    zoom_strength: float = 0.6
    """How much noise that starts from: 1 forgets what was there."""
    mask_threshold: float = 0.5
    channels_last: bool = False
    """Keep what convolutions read in the order that tensor cores want. The same picture up to rounding."""
    hand_attempts: int = 2
    """A hand whose mask does not fit its keypoints is made anew from another seed, up to so many times in all."""

    def __post_init__(self) -> None:
        if self.scheduler is not None:
            check_name(SCHEDULERS, self.scheduler, kind="scheduler")
        check_name(BLENDS, self.blend, kind="blending")
        for name, *ends in _RANGES:
            check_range(self, name, *ends)
        if not 0 < self.zoom_strength <= 1:
            raise ValueError(f"zoom_strength must be above 0 and at most 1, got {self.zoom_strength}")
        if not 0 < self.mask_threshold < 1:
            raise ValueError(f"mask_threshold must be between 0 and 1, got {self.mask_threshold}")
        self.blending()

    def blending(self) -> Blending:
        """The strategy with its options; raises `UserError` on one that it does not have."""
        kind: Any = resolve(BLENDS, self.blend, kind="blending")
        made: Blending = validate_config(kind, self.blend_options, where="blend_options")
        return made
