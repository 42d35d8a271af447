"""Makers of hands for stage 1, by name."""

from typing import Final

MAKERS: Final = {
    "generator": "h2d.infer.makers.generator:GeneratorMaker",
    "controlnet": "h2d.infer.makers.controlnet:ControlNetMaker",
    "photo": "h2d.infer.makers.photo:PhotoMaker",
}
