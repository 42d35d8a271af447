"""What a picture was made with, kept in its PNG, so that it can be made again to the bit.

Axis legend: h w picture size.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from h2d.errors import UserError
from h2d.pose.layouts import NUM_POINTS
from h2d.pose.pose import Pose

KEY: Final = "h2d"
"""Of the PNG's text chunk; its value is JSON."""

VERSION: Final = 1

_GROUPS: Final = ("models", "machine", "versions", "weights")
"""What every record has beside the request."""

_SAMPLES: Final = 64
"""Values of each tensor that a fingerprint reads, spread over it: any training step changes nearly all."""


def fingerprints(pipe: Any) -> dict[str, str]:
    """A short hash of every network of a pipeline: of names, shapes, types and some values of each tensor."""
    import torch

    found: dict[str, str] = {}
    for name, part in sorted(pipe.components.items()):
        if not isinstance(part, torch.nn.Module):
            continue
        digest = hashlib.sha256()
        for key, tensor in part.state_dict().items():
            digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            flat = tensor.detach().flatten()
            some = flat[:: max(1, math.ceil(len(flat) / _SAMPLES))]
            digest.update(some.to("cpu", torch.float32).numpy().tobytes())
        found[name] = digest.hexdigest()[:16]
    return found


def pose_record(pose: Pose) -> dict[str, Any]:
    """A pose as plain values, exact: a missing point is null."""
    people = [[None if np.isnan(point[0]) else [float(v) for v in point] for point in person] for person in pose.people]
    return {"hash": pose.pose_hash(), "width": pose.width, "height": pose.height, "people": people}


def pose_of(record: Mapping[str, Any]) -> Pose:
    """The pose of `pose_record`; raises `KeyError` or `ValueError` on anything else."""
    missing = (math.nan, math.nan, 0.0)
    people = [[missing if point is None else point for point in person] for person in record["people"]]
    points = np.asarray(people, np.float32).reshape(len(people), NUM_POINTS, 3)
    pose = Pose(people=points, width=int(record["width"]), height=int(record["height"]))
    if pose.pose_hash() != record["hash"]:
        raise ValueError("the pose is not the one that its hash names")
    return pose


def write_png(path: Path, picture: Image.Image, record: Mapping[str, Any]) -> None:
    """Write a picture with its record, whole or not at all."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("Description", str(record["prompt"]))
    info.add_itxt("Software", "h2d")
    info.add_itxt(KEY, json.dumps({"version": VERSION, **record}, ensure_ascii=False), zip=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    picture.save(partial, format="PNG", pnginfo=info)
    partial.replace(path)


def read_record(path: Path) -> dict[str, Any]:
    """The record of a picture that h2d made; raises `UserError` on any other file."""
    try:
        with Image.open(path) as opened:
            opened.load()
            text = getattr(opened, "text", {}).get(KEY)
    except UnidentifiedImageError:
        raise UserError(f"{path}: not a picture: give a PNG that h2d sample wrote") from None
    except (OSError, SyntaxError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read: {why}: give a PNG that h2d sample wrote") from None
    if text is None:
        raise UserError(f"{path}: says nothing of how it was made: give a PNG as h2d sample wrote it, not edited")
    try:
        record: dict[str, Any] = json.loads(text)
        version = record["version"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: its record is damaged: give a PNG as h2d sample wrote it") from None
    if version != VERSION:
        raise UserError(f"{path}: its record is of version {version}, this h2d reads {VERSION}: use the h2d of then")
    if missing := [name for name in _GROUPS if not isinstance(record.get(name), dict)]:
        raise UserError(f"{path}: its record lacks {missing[0]}: give a PNG as h2d sample wrote it")
    return record


def peek_record(path: Path) -> dict[str, Any] | None:
    """The record of a picture without decoding it; None where there is none that can be read."""
    try:
        with Image.open(path) as opened:
            record = json.loads(opened.info[KEY])
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):
        return None
    return record if isinstance(record, dict) and record.get("version") == VERSION else None


def differing(record: Mapping[str, str], now: Mapping[str, str]) -> Sequence[str]:
    """The networks that are not those of then."""
    return [name for name in sorted({*record, *now}) if record.get(name) != now.get(name)]
