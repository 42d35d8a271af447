"""What every row of a manifest promises, as functions over a row group: one function, one promise.

Each gets the rows and tells `report(check, row, message)` of what is wrong. Axis legend: n rows, p points.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32
from PIL import Image, UnidentifiedImageError

from h2d.errors import UserError
from h2d.images import DecodeError, decode_rgb
from h2d.manifests.rle import decode_rle
from h2d.manifests.store import points_array
from h2d.pose.layouts import FEET, SIDES

Report: TypeAlias = Callable[[str, int, str], None]

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_EXTRAPOLATED: Final = FEET.stop
"""Body and feet: of a person cut off at the chest, the feet are guessed far below the picture."""
_HANDS: Final = {"left": ("left",), "right": ("right",), "both": ("left", "right")}


def check_pictures(rows: pa.Table, report: Report) -> None:
    """Working pictures decode to the size that the row says, and that size fits the original's."""
    for number, row in _rows(rows, ("image", "width", "height", "source_width", "source_height", "image_scale")):
        size_hw = _decoded_hw(row, number, report)
        if size_hw is not None and size_hw != (row["height"], row["width"]):
            report("picture", number, f"is {size_hw[1]} x {size_hw[0]}, the row says {row['width']} x {row['height']}")
        for name in ("width", "height"):
            expected = row[f"source_{name}"] * row["image_scale"]
            if not abs(row[name] - expected) <= 1:
                report("scale", number, f"{name} {row[name]} is not source_{name} x image_scale = {expected:.1f}")


def check_crops(rows: pa.Table, report: Report) -> None:
    """Crops decode, are square, and were cut from a square."""
    for number, row in _rows(rows, ("image", "crop_box_xywh")):
        size_hw = _decoded_hw(row, number, report)
        if size_hw is not None and size_hw[0] != size_hw[1]:
            report("crop", number, f"the crop is {size_hw[1]} x {size_hw[0]}, not square")
        _, _, width, height = row["crop_box_xywh"]
        if not (np.isfinite(row["crop_box_xywh"]).all() and width > 0 and abs(width - height) <= 1e-3 * width):
            report("crop", number, f"crop_box_xywh {row['crop_box_xywh']} is not a square")


def check_image_points(rows: pa.Table, report: Report) -> None:
    """Keypoints are points, lie where they can, and are there where the row says that a hand was found."""
    size_wh = np.stack([rows[name].to_numpy() for name in ("width", "height")], axis=1).astype(np.float32)
    for name in ("body", "hand_left", "hand_right"):
        points = points_array(rows[name])
        _check_points(points, name, report)
        far = _far_outside(points, size_wh, _EXTRAPOLATED if name == "body" else 0)
        _each(far, "keypoints", f"{name} has a point far outside the picture", report)
    for side in SIDES:
        points = points_array(rows[f"hand_{side}"])
        there = _present(points)
        said = np.asarray(
            ["outside_picture" in (names or ()) for names in rows[f"hand_{side}_checks"].to_pylist()], bool
        )
        outside = ~said & there.any(axis=1) & (_inside(points, size_wh).sum(axis=1) * 2 < there.sum(axis=1))
        _each(outside, "keypoints", f"most of hand_{side} lies outside the picture", report)
        found = rows[f"hand_{side}_found"].to_numpy()
        _each(found & ~there.any(axis=1), "found", f"hand_{side}_found is true, and it has no points", report)
        _each(~found & there.any(axis=1), "found", f"hand_{side}_found is false, and it has points", report)


def check_hand_points(rows: pa.Table, report: Report) -> None:
    """A crop's keypoints are points; the hands that it names are there, mostly inside, and no others."""
    crop_wh = np.asarray([_size_wh(image) for image in rows["image"].to_pylist()], np.float32).reshape(-1, 2)
    named = rows["hands"].to_pylist()
    for number, hands in enumerate(named):
        if hands not in _HANDS:
            report("found", number, f"hands is {hands!r}: expected one of {', '.join(_HANDS)}")
    for side in SIDES:
        points = points_array(rows[f"keypoints_{side}"])
        _check_points(points, f"keypoints_{side}", report)
        there = _present(points)
        says = np.asarray([side in _HANDS.get(hands, ()) for hands in named], bool)
        _each(says & ~there.any(axis=1), "found", f"hands names the {side} hand, and it has no points", report)
        _each(~says & there.any(axis=1), "found", f"hands does not name the {side} hand, and it has points", report)
        outside = says & (_inside(points, crop_wh).sum(axis=1) * 2 < there.sum(axis=1))
        _each(outside, "keypoints", f"most of keypoints_{side} lies outside the crop", report)


def check_image_masks(rows: pa.Table, report: Report) -> None:
    """Masks decode to the picture's size and have as many pixels as the row says; qualities are 0..1."""
    columns = [f"mask_{side}{suffix}" for side in SIDES for suffix in ("", "_px", "_quality")]
    for number, row in _rows(rows, ("width", "height", *columns)):
        for side in SIDES:
            name = f"mask_{side}"
            _check_mask(row[name], row[f"{name}_px"], (row["height"], row["width"]), name, number, report)
            quality = row[f"{name}_quality"]
            if quality is not None and not 0 <= quality <= 1:
                report("quality", number, f"{name}_quality is {quality}: expected 0..1")


def check_crop_masks(rows: pa.Table, report: Report) -> None:
    """A crop's mask decodes to the crop's size and has as many pixels as the row says."""
    for number, row in _rows(rows, ("image", "mask", "mask_px")):
        width, height = _size_wh(row["image"])
        _check_mask(row["mask"], row["mask_px"], (height, width), "mask", number, report)


def check_boxes(rows: pa.Table, report: Report) -> None:
    """There is a box for each hand that was found."""
    for number, row in _rows(rows, ("hand_boxes_xywh", "hand_left_found", "hand_right_found")):
        boxes, hands = row["hand_boxes_xywh"] or [], row["hand_left_found"] + row["hand_right_found"]
        if len(boxes) != hands:
            report("boxes", number, f"hand_boxes_xywh has {len(boxes)} boxes for {hands} found hands")


def check_hashes(rows: pa.Table, report: Report) -> None:
    """A hash is a SHA-256 in lower-case hexadecimal."""
    for number, row in _rows(rows, ("source_sha256",)):
        if row["source_sha256"] is not None and not _SHA256.fullmatch(row["source_sha256"]):
            report("hash", number, f"source_sha256 {row['source_sha256']!r} is not 64 lower-case hexadecimal digits")


def check_captions(rows: pa.Table, report: Report) -> None:
    """Where a captioner is named, there is a caption."""
    for number, row in _rows(rows, ("caption", "captioner")):
        if row["captioner"] is not None and not (row["caption"] or "").strip():
            report("caption", number, f"the caption is empty, though {row['captioner']} is named as its captioner")


def check_crop_captions(rows: pa.Table, report: Report) -> None:
    """A caption that is there is not blank."""
    for number, row in _rows(rows, ("caption",)):
        if row["caption"] is not None and not row["caption"].strip():
            report("caption", number, "the caption is empty")


def check_reasons(rows: pa.Table, report: Report) -> None:
    """Every picture left out says at which stage and why."""
    for number, row in _rows(rows, ("stage", "status", "reason")):
        for name, value in row.items():
            if not value.strip():
                report("reason", number, f"{name} is empty")


ROW_CHECKS: Final[Mapping[str, Sequence[Callable[[pa.Table, Report], None]]]] = {
    "images": (check_pictures, check_image_points, check_image_masks, check_boxes, check_hashes, check_captions),
    "hands": (check_crops, check_hand_points, check_crop_masks, check_crop_captions),
    "rejects": (check_reasons,),
}


def _rows(rows: pa.Table, columns: Sequence[str]) -> enumerate[dict[str, Any]]:
    return enumerate(rows.select(list(columns)).to_pylist())


def _decoded_hw(row: Mapping[str, Any], number: int, report: Report) -> tuple[int, int] | None:
    data = (row["image"] or {}).get("bytes")
    try:
        height, width, _ = decode_rgb(data or b"").shape
    except DecodeError as error:
        report("picture", number, str(error))
        return None
    return height, width


def _size_wh(image: Mapping[str, Any] | None) -> tuple[int, int]:
    """From the picture's header; (0, 0) when it has none, which `_decoded_hw` reports."""
    try:
        with Image.open(io.BytesIO((image or {}).get("bytes") or b"")) as header:
            width, height = header.size
            return int(width), int(height)
    except UnidentifiedImageError:
        return 0, 0


def _check_points(points: Float32[np.ndarray, "n p 3"], name: str, report: Report) -> None:
    x, y, confidence = points[..., 0], points[..., 1], points[..., 2]
    missing = np.isnan(x) & np.isnan(y) & (confidence == 0)
    _each(
        ~(missing | (np.isfinite(x) & np.isfinite(y))).all(axis=1),
        "keypoints",
        f"{name} has a point that is neither there nor (NaN, NaN, 0)",
        report,
    )
    _each(~((confidence >= 0) & (confidence <= 1)).all(axis=1), "confidence", f"{name}: expected 0..1", report)


def _present(points: Float32[np.ndarray, "n p 3"]) -> Bool[np.ndarray, "n p"]:
    return np.asarray(np.isfinite(points[..., :2]).all(axis=-1) & (points[..., 2] > 0))


def _inside(points: Float32[np.ndarray, "n p 3"], size_wh: Float32[np.ndarray, "n 2"]) -> Bool[np.ndarray, "n p"]:
    within = (points[..., :2] >= 0) & (points[..., :2] <= size_wh[:, None])
    return np.asarray(within.all(axis=-1) & _present(points))


def _far_outside(
    points: Float32[np.ndarray, "n p 3"], size_wh: Float32[np.ndarray, "n 2"], num_extrapolated: int
) -> Bool[np.ndarray, " n"]:
    """Rows with a point more than a long side outside; the first points, which detectors extrapolate, may be three."""
    margin = np.full((1, points.shape[1], 1), 1.0, np.float32)
    margin[:, :num_extrapolated] = 3
    margin = margin * size_wh.max(axis=1)[:, None, None]
    beyond = (points[..., :2] < -margin) | (points[..., :2] > size_wh[:, None] + margin)
    return np.asarray((beyond.any(axis=-1) & _present(points)).any(axis=1))


def _each(wrong: Bool[np.ndarray, " n"], check: str, message: str, report: Report) -> None:
    for number in np.flatnonzero(wrong):
        report(check, int(number), message)


def _check_mask(
    rle: Mapping[str, Any] | None, num_px: int | None, size_hw: tuple[int, int], name: str, number: int, report: Report
) -> None:
    if rle is None:
        if num_px:
            report("mask", number, f"{name} is not there, and {name}_px is {num_px}")
        return
    if tuple(rle["size"] or ()) != size_hw:
        report("mask", number, f"{name} has size {rle['size']}, the picture {list(size_hw)}")
        return
    try:
        mask = decode_rle(rle)
    except UserError as error:
        report("mask", number, f"{name} cannot be decoded: {error}")
        return
    if int(mask.sum()) != num_px:
        report("mask", number, f"{name} has {int(mask.sum())} pixels, {name}_px is {num_px}")
