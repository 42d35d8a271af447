"""Training: manifests in, checkpoints out; one loop for every stage."""

from typing import Final

STAGES: Final = {
    "hand": "h2d.train.hand:HandStage",
    "outpaint": "h2d.train.outpaint:OutpaintStage",
}
