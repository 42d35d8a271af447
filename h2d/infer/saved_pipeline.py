"""A two-stage pipeline as `save_pretrained` wrote it: a folder with a part in each of its folders, and an index."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from h2d.errors import UserError
from h2d.infer.fit import check_fit
from h2d.models.base import SCHEDULER_FILE, TOKENIZER_FILES
from h2d.models.reading import one_line, read_json, read_network, read_part
from h2d.registry import resolve

if TYPE_CHECKING:
    from h2d.infer.two_stage import TwoStagePipeline

PUBLIC_SIZE_PX: Final = 512
"""Of Stable Diffusion 1.5, and of the public ControlNets for it."""

_INDEX: Final = "model_index.json"
_NETWORKS: Final = {
    "unet": "diffusers:UNet2DConditionModel",
    "controlnet": "diffusers:ControlNetModel",
    "vae": "diffusers:AutoencoderKL",
    "mask_head": "h2d.models.mask_head:MaskHead",
    "text_encoder": "transformers:CLIPTextModel",
}
"""By component, of either stage."""


def load_pipeline(folder: Path) -> "TwoStagePipeline":
    """A saved pipeline, in float32; raises `UserError` where it is none, damaged or pickled.

    diffusers' `from_pretrained` would leave transformers' networks as their files are, and import what the index names.
    """
    from h2d.infer.two_stage import TwoStagePipeline

    index = _read_index(folder)
    parts = {name: _read_part(folder / name, kind) for name, kind in _parts(index).items()}
    settings = {name: value for name, value in index.items() if name[0] != "_" and not isinstance(value, list)}
    with one_line(folder, TwoStagePipeline):
        pipe = TwoStagePipeline(**parts, **settings)
    check_fit(pipe)
    return pipe


def saved_weights(folder: Path) -> dict[str, Path]:
    """Where each network's weights are, by component; loads nothing. Raises `UserError` where there is no pipeline."""
    return {name: folder / name for name in _parts(_read_index(folder)) if _stageless(name) in _NETWORKS}


def saved_size_px(folder: Path) -> int:
    """The short side of its pictures, as saved."""
    return int(_read_index(folder).get("size_px", PUBLIC_SIZE_PX))


def _read_index(folder: Path) -> dict[str, Any]:
    if not (folder / _INDEX).is_file():
        raise UserError(f"{folder}: no saved pipeline: {_INDEX} is missing")
    index = read_json(folder / _INDEX)
    if index.get("_class_name") != "TwoStagePipeline":
        raise UserError(f"{folder}: holds a {index.get('_class_name')}: give a saved TwoStagePipeline")
    return index


def _parts(index: dict[str, Any]) -> dict[str, str]:
    """The class of each part that has a folder; those that a pipeline does without are of none."""
    return {name: value[1] for name, value in index.items() if isinstance(value, list) and value[0] is not None}


def _read_part(folder: Path, kind: str) -> Any:
    """A part by its name; which scheduler it is, the index alone says."""
    import diffusers
    from transformers import CLIPTokenizer

    name = _stageless(folder.name)
    if name == "tokenizer":
        return read_part(CLIPTokenizer, folder, *TOKENIZER_FILES)
    if name == "scheduler":
        made_as = getattr(diffusers, kind, None)
        if not (isinstance(made_as, type) and issubclass(made_as, diffusers.SchedulerMixin)):
            raise UserError(
                f"{folder}: {kind} is no scheduler of diffusers {diffusers.__version__}: save it by this one"
            )
        return read_part(made_as, folder, SCHEDULER_FILE)
    return read_network(resolve(_NETWORKS, name, kind="part of a pipeline"), folder)


def _stageless(name: str) -> str:
    """The kind of a component, whichever stage it is of."""
    return name.removeprefix("hand_")
