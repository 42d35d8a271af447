"""Everything between pose and picture, as files in one folder.

Axis legend: h w size.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from h2d.infer.output import TwoStageOutput
from h2d.infer.sheet import contact_sheet, heatmap_picture, mask_picture

SHEET: str = "sheet.png"


def save_intermediates(folder: Path, output: TwoStageOutput, index: int, prompt: str) -> Path:
    """Write the steps of one picture; gives the sheet that shows them all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in _pictures(output, index):
        Image.fromarray(picture).save(folder / f"{name}.png")
    output.images[index].save(folder / "7-picture.png")
    contact_sheet(output, index, prompt).save(folder / SHEET)
    return folder / SHEET


def _pictures(output: TwoStageOutput, index: int) -> Iterator[tuple[str, UInt8[np.ndarray, "h w 3"]]]:
    """In the order in which they come to be."""
    yield "1-skeleton", output.skeletons[index]
    for number, hand in enumerate(output.hands[index]):
        name = f"{number + 1}-{hand.crop.hands}"
        yield f"2-heatmaps-{name}", heatmap_picture(hand, output.cell_px)
        yield f"3-hand-{name}", hand.picture
        levels = np.asarray(np.clip(hand.raw_mask, 0, 1) * 255, np.uint8)
        yield f"3-hand-{name}-mask-predicted", np.repeat(levels[..., None], 3, axis=2)
        yield f"3-hand-{name}-mask", mask_picture(hand.mask)
    yield "4-canvas", output.canvas[index]
    yield "4-canvas-mask", mask_picture(output.masks[index] > 0)
    for step, mask in enumerate(output.step_masks[:, index]):
        yield f"5-step-mask-{step + 1:03d}", mask_picture(mask)
    for number, window in enumerate(output.enlarged[index]):
        yield f"6-enlarged-{number + 1}-{window.hands}-before", window.before
        yield f"6-enlarged-{number + 1}-{window.hands}", window.after
    yield "6-decoded", output.decoded[index]
