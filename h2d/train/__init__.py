"""Training: manifests in, checkpoints out; one loop for every stage."""

from typing import Final

STAGES: Final = {
    "hand": "h2d.train.hand:HandStage",
    "base": "h2d.train.base:BaseStage",
    "vae": "h2d.train.vae:VaeStage",
    "keypoints": "h2d.train.keypoints:KeypointsStage",
    "outpaint": "h2d.train.outpaint:OutpaintStage",
}
