"""The keypoint network's stage, for the miniature: whole pictures turned, moved and spoilt a little.

Axis legend: b batch, k points (133), h w picture size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import cv2
import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Float32, Float64, UInt8
from torch import Tensor, nn

from h2d.annotate.keypoints.network import PICTURE_PX, ReaderSizes, logits_of, losses_of, new_reader, points_of
from h2d.config import config
from h2d.errors import UserError
from h2d.images import decode_rgb, resize
from h2d.models.base import check_base, load_vae
from h2d.models.checkpoint import write_facts
from h2d.pose.draw import draw_pose
from h2d.pose.layouts import FACE, FLIP, NUM_POINTS
from h2d.pose.points import moved
from h2d.pose.pose import Pose
from h2d.train.base_folder import base_folder
from h2d.train.batches import planes, shift_colours, to_picture
from h2d.train.stage import Batch, Example, Losses, Networks, Preset, Row

SHOWN: Final = 0.5
"""A preview draws the points of at least this confidence."""
PREVIEW_PX: Final = 3 * PICTURE_PX
"""At 128 pixels a drawn hand is a blot."""


@config
class KeypointsOptions:
    """Our choices: the paper reads poses with MediaPipe."""

    channels: tuple[int, ...] = (32, 32, 32, 48)
    layers: int = 1
    through: str | None = None
    """A base whose autoencoder some pictures go through and back: what its networks generate looks so."""
    through_share: float = 0.25
    zoom: tuple[float, float] = (0.85, 1.25)
    """How much the picture is enlarged, at least and at most."""
    turn_degrees: float = 15.0
    shift: float = 0.12
    """How far it is moved, in sides, either way."""
    flip: float = 0.5
    face_weight: float = 0.25
    """Of the face's 68 points, which are half of all and matter least here."""

    def __post_init__(self) -> None:
        for name in ("through_share", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError(f"zoom must be two rising positive numbers, got {self.zoom}")


@dataclass(frozen=True, kw_only=True, slots=True)
class KeypointsExamples:
    """Makes a picture and its points of a row of `images`."""

    options: KeypointsOptions

    def __call__(self, row: Row, random: np.random.Generator, *, training: bool) -> Example:
        """Turned, moved, mirrored, blurred and made noisy; without `training`, only resized."""
        picture, points = decode_rgb(row["image"]), np.array(row["body"], np.float32)
        drawn, colours, grain = random.uniform(size=9), random.spawn(1)[0], random.spawn(1)[0]
        place, mirrored, spoilt, through = drawn[:4], drawn[4], drawn[5:8], drawn[8]
        matrix = self._window(picture.shape[:2], place if training else None)
        seen = _warped(picture, matrix)
        points[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        seen = shift_colours(planes(_spoilt(seen, spoilt, grain)), colours) if training else planes(seen)
        if training and mirrored < self.options.flip:
            seen = np.ascontiguousarray(seen[..., ::-1])
            points = points[list(FLIP)]
            points[:, 0] = PICTURE_PX - points[:, 0]
        return {
            "image": torch.from_numpy(seen),
            "points": torch.from_numpy(np.nan_to_num(points)),
            "decoded": torch.tensor(float(training and through < self.options.through_share)),
            "timesteps": torch.tensor(0),
        }

    def _window(self, size_hw: tuple[int, ...], drawn: Float64[np.ndarray, " n"] | None) -> Float64[np.ndarray, "2 3"]:
        """From the picture's pixels to those of the network's."""
        height, width = size_hw
        zoom, turn, shift_x, shift_y = 1.0, 0.0, 0.0, 0.0
        if drawn is not None:
            least, most = self.options.zoom
            zoom = least * (most / least) ** drawn[0]
            turn = (2 * drawn[1] - 1) * self.options.turn_degrees
            shift_x, shift_y = (2 * drawn[2:4] - 1) * self.options.shift * PICTURE_PX
        scale = zoom * PICTURE_PX / max(height, width)
        matrix = np.array(cv2.getRotationMatrix2D((width / 2, height / 2), turn, scale), np.float64)
        matrix[:, 2] += (PICTURE_PX - width) / 2 + shift_x, (PICTURE_PX - height) / 2 + shift_y
        return matrix


class KeypointsStage:
    """Trains a small U-Net to read the points of drawn people."""

    Options: ClassVar[type] = KeypointsOptions
    preset: ClassVar[Preset] = Preset(
        manifest="manifests/miniature",
        made_by="h2d synth manifest --out manifests/miniature",
        steps=4_000,
        size_px=PICTURE_PX,
    )
    table: ClassVar[str] = "images"
    columns: ClassVar[tuple[str, ...]] = ("id", "image", "body")
    light_columns: ClassVar[tuple[str, ...]] = ("id",)
    activation_bytes: ClassVar[tuple[float, float]] = (1e9, 1e9)
    panels: ClassVar[tuple[str, ...]] = ("picture", "true points", "points that are read")

    def __init__(self, options: KeypointsOptions, *, size_px: int = PICTURE_PX) -> None:
        self._options = options
        self._size_px = size_px

    def usable(self, light: pa.Table) -> Bool[np.ndarray, "n"]:
        """All."""
        return np.ones(len(light), bool)

    def check(self) -> None:
        """The network has one size; the autoencoder has to be there."""
        if self._size_px != PICTURE_PX:
            raise UserError(f"size_px = {self._size_px}: the keypoint network reads pictures of {PICTURE_PX} pixels")
        if self._options.through is not None:
            check_base(base_folder(self._options.through, in_channels=4))

    def examples(self) -> KeypointsExamples:
        """Pictures need no words."""
        return KeypointsExamples(options=self._options)

    def build(self, *, seed: int) -> Networks:
        """A new network, drawn from `seed`."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            network = new_reader(ReaderSizes(channels=self._options.channels, layers=self._options.layers))
        through = self._options.through
        frozen = {} if through is None else {"vae": load_vae(base_folder(through, in_channels=4))}
        return Networks(trained=nn.ModuleDict({"network": network}), frozen=nn.ModuleDict(frozen))

    def loss(self, networks: Networks, batch: Batch) -> Losses:
        """Cross entropy of every point's place, the face's for less."""
        logits = logits_of(networks.trained["network"], self._shown(networks, batch))
        losses = losses_of(logits, batch["points"])
        weights = torch.ones(NUM_POINTS, device=losses.device)
        weights[FACE] = self._options.face_weight
        per_sample = (losses * weights).sum(dim=1) / weights.sum()
        return Losses(
            total=per_sample.mean(),
            parts={"hands": losses[:, FACE.stop :].detach().mean(), "body": losses[:, : FACE.start].detach().mean()},
            per_sample=per_sample.detach(),
            timesteps=batch["timesteps"],
        )

    def preview(self, networks: Networks, batch: Batch) -> UInt8[np.ndarray, "h w 3"]:
        """The picture, the true points, the points that are read."""
        image = self._shown(networks, batch)
        found = points_of(logits_of(networks.trained["network"], image)).float().cpu().numpy()
        rows = []
        for number, points in enumerate(found):
            picture = to_picture(image[number])
            points[points[:, 2] < SHOWN] = (np.nan, np.nan, 0)
            truth = batch["points"][number].cpu().numpy().copy()
            truth[truth[:, 2] == 0] = (np.nan, np.nan, 0)
            large = resize(picture, (PREVIEW_PX, PREVIEW_PX))
            rows.append(np.concatenate([large, _skeleton(truth), _skeleton(points)], axis=1))
        return np.concatenate(rows)

    def save(self, networks: Networks, folder: Path, facts: Mapping[str, Any]) -> None:
        """The network in diffusers' format."""
        network: Any = networks.trained["network"]
        network.save_pretrained(folder / "network", safe_serialization=True)
        write_facts(folder, {"stage": "keypoints", **facts})

    def _shown(self, networks: Networks, batch: Batch) -> Float[Tensor, "b 3 h w"]:
        """The pictures, some of them through the autoencoder and back."""
        image: Tensor = batch["image"]
        gone = batch["decoded"] > 0
        if "vae" not in networks.frozen or not bool(gone.any()):
            return image
        vae: Any = networks.frozen["vae"]
        with torch.no_grad():
            decoded = vae.decode(vae.encode(image[gone].to(vae.dtype)).latent_dist.mean).sample
        shown = image.clone()
        shown[gone] = decoded.to(image.dtype).clamp(-1, 1)
        return shown


def _warped(picture: UInt8[np.ndarray, "h w 3"], matrix: Float64[np.ndarray, "2 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Shrunk without jagged edges: by areas to about the size that is wanted, the rest by interpolation."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 1:
        height, width = picture.shape[:2]
        small = resize(picture, (max(1, round(height * scale)), max(1, round(width * scale))))
        back = np.array([width / small.shape[1], height / small.shape[0]])
        picture, matrix = small, np.column_stack([matrix[:, :2] * back, matrix[:, 2]])
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV's pixel has its middle at a whole number, ours at a half
    size = (PICTURE_PX, PICTURE_PX)
    return np.asarray(
        cv2.warpAffine(picture, moved, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _spoilt(
    picture: UInt8[np.ndarray, "h w 3"], drawn: Float64[np.ndarray, " n"], random: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Half of the pictures blurred, half of them grainy: no generated picture is as clean as a drawn one."""
    blur, grain, how_much = drawn
    if blur < 0.5:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.4 + 2.2 * blur), np.uint8)
    noise: Float32[np.ndarray, "h w 3"] = random.standard_normal(picture.shape, np.float32)
    if grain < 0.5:
        picture = np.clip(picture + 12 * how_much * noise, 0, 255).astype(np.uint8)
    return picture


def _skeleton(points: Float32[np.ndarray, "133 3"]) -> UInt8[np.ndarray, "h w 3"]:
    large = moved(points, scale=PREVIEW_PX / PICTURE_PX)
    return draw_pose(Pose(people=large[None], width=PREVIEW_PX, height=PREVIEW_PX))
