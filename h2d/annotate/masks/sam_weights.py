"""Building SAM and loading its official checkpoint files, with errors that say what a wrong file holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from h2d.errors import UserError
from h2d.hashes import sha256_of
from h2d.pickles import read_tensors

OFFICIAL_FILES: Final = {
    "vit_h": "sam_vit_h_4b8939.pth",
    "vit_l": "sam_vit_l_0b3195.pth",
    "vit_b": "sam_vit_b_01ec64.pth",
}
"""The published names; their last part is the beginning of the file's SHA-256."""

PIXEL_MEAN: Final = (123.675, 116.28, 103.53)
PIXEL_STD: Final = (58.395, 57.12, 57.375)
"""Of SAM's training pictures, levels 0..255, red, green, blue."""

_WIDTH_AND_DEPTH = {(1280, 32): "vit_h", (1024, 24): "vit_l", (768, 12): "vit_b"}


def load_sam(model: str, checkpoint: Path) -> Any:
    """Build the named `segment_anything` model on the CPU, in fp32, with the checkpoint's weights.

    Raises `UserError` when the file is absent, damaged, or another model's.
    """
    import torch

    weights = read_checkpoint(model, checkpoint)
    with torch.device("meta"):
        sam = _registry()[model]()
    # Two buffers are not in the file and so have to be real: the picture's mean and deviation.
    sam.pixel_mean = torch.tensor(PIXEL_MEAN).view(-1, 1, 1)
    sam.pixel_std = torch.tensor(PIXEL_STD).view(-1, 1, 1)
    expected = {name: tuple(tensor.shape) for name, tensor in sam.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        differ = f"{len(wrong)} tensors differ, first {wrong[0]}"
        raise UserError(f"{checkpoint}: not {model}: {_holds(weights)}; {differ}: {_remedy(model, weights)}")
    sam.load_state_dict(weights, strict=True, assign=True)
    return sam.eval().requires_grad_(False)


def read_checkpoint(model: str, checkpoint: Path) -> dict[str, Any]:
    """The file's tensors, mapped rather than read; raises `UserError` when it is absent or not a whole state dict."""
    if not checkpoint.is_file():
        raise UserError(
            f"{checkpoint}: no SAM checkpoint here: get {OFFICIAL_FILES[model]}, or use the segmenter grabcut"
        )
    return read_tensors(checkpoint, remedy=f"get {OFFICIAL_FILES[model]} again")


def file_sha256(checkpoint: Path) -> str:
    """The hash of a checkpoint's bytes, in hexadecimal; raises `UserError` when there is none."""
    if not checkpoint.is_file():
        raise UserError(f"{checkpoint}: no SAM checkpoint here: put it there, or take the segmenter grabcut")
    return sha256_of(checkpoint)


def _holds(weights: Mapping[str, Any]) -> str:
    name = _guess(weights)
    return f"it seems to hold SAM {name}" if name else f"it holds {len(weights)} tensors that are no known SAM"


def _guess(weights: Mapping[str, Any]) -> str | None:
    patches = weights.get("image_encoder.patch_embed.proj.weight")
    if patches is None:
        return None
    depth = len(
        [name for name in weights if name.startswith("image_encoder.blocks.") and name.endswith(".norm1.weight")]
    )
    return _WIDTH_AND_DEPTH.get((patches.shape[0], depth))


def _remedy(model: str, weights: Mapping[str, Any]) -> str:
    found = _guess(weights)
    if found and found != model:
        return f"set the model to {found}, or give {OFFICIAL_FILES[model]}"
    return f"give {OFFICIAL_FILES[model]}"


def _registry() -> Mapping[str, Any]:
    from segment_anything import sam_model_registry

    registry: Mapping[str, Any] = sam_model_registry
    return registry
