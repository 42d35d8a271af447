"""Methods that make a picture of a prompt and a pose, by name: those that ours is compared with."""

from typing import Any, Final

BASELINES: Final = {
    "stable-diffusion": "h2d.infer.baselines.stable_diffusion:StableDiffusion",
    "controlnet": "h2d.infer.baselines.controlnet:ControlNet",
    "t2i-adapter": "h2d.infer.baselines.t2i_adapter:T2IAdapter",
    "humansd": "h2d.infer.baselines.humansd:HumanSD",
    "handrefiner": "h2d.infer.baselines.handrefiner:HandRefiner",
}

OURS: Final = "two-stage"
"""No entry of `BASELINES`: it is `TwoStagePipeline`, with options of its own."""

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "stable-diffusion": ("stable-diffusion-1.5",),
    "controlnet": ("stable-diffusion-1.5", "control-openpose-1.1"),
    "t2i-adapter": ("stable-diffusion-1.5", "t2i-adapter-openpose"),
    "humansd": ("sd-2.1-base", "humansd"),
    "handrefiner": ("sd-1.5-inpainting", "handrefiner-control", "stable-diffusion-1.5", "control-openpose-1.1"),
}
"""The published weights of each."""

MINIATURES: Final[dict[str, dict[str, str]]] = {
    "stable-diffusion": {"base": "miniature-base"},
    "controlnet": {"base": "miniature-base", "control": "miniature-control"},
}
"""Options of the methods that the miniature which comes with h2d has, too."""

_UNWANTED: Final = (
    "longbody, lowres, bad anatomy, bad hands, missing fingers, extra digit, fewer digits, cropped, worst quality,"
    " low quality"
)

OWN_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "humansd": {"guidance_scale": 9.0, "negative_prompt": _UNWANTED},
    "handrefiner": {"guidance_scale": 9.0, "negative_prompt": f"fake 3D rendered image, {_UNWANTED}, blue"},
}
"""Options of sampling that a method's authors used, where they are not those of the others."""
