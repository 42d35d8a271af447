"""Keypoints and masks drawn on pictures, for people to judge them by eye.

Left and right are told apart twice: by the colour of mask, edge and badge, and by the badge's letter at the wrist.
Line widths follow the picture's size. Axis legend: h height, w width.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from h2d.images import decode_rgb, joined, resize
from h2d.manifests.masks import mask_steps
from h2d.manifests.rle import decode_rle
from h2d.manifests.store import points_of
from h2d.pose.layouts import BODY_BONES, FACE, FINGERS, HAND_BONES, SIDES, WRIST, Side
from h2d.pose.points import extent_xywh, moved, present
from h2d.pose.strokes import INK, Colour, dot, line

Window: TypeAlias = tuple[int, int, int, int]
"""Left, top, width, height in whole pixels, inside the picture."""

SIDE_COLOURS: Final[dict[Side, Colour]] = {"left": (45, 212, 191), "right": (251, 146, 60)}
FINGER_COLOURS: Final[dict[str, Colour]] = {
    "thumb": (239, 68, 68),
    "index": (250, 204, 21),
    "middle": (74, 222, 128),
    "ring": (56, 189, 248),
    "little": (217, 112, 246),
}
_BODY_COLOUR: Final = (235, 238, 245)
_TINT: Final = 0.38
_SHADE: Final = 0.6
"""How dark the edge under a bone is."""
_SHEET_SIDE: Final = 1200
_SHEET_CROP_SIDE: Final = 768
_GAP_PX: Final = 12


def draw_picture(
    row: Mapping[str, Any], *, long_side: int | None = None, window_xywh: Window | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """A row of `images` with masks, body and hands drawn: all of it or a window, resized to `long_side` if given."""
    picture = decode_rgb(row["image"]["bytes"])
    left, top, width, height = window_xywh or (0, 0, picture.shape[1], picture.shape[0])
    picture, scale = _resized(picture[top : top + height, left : left + width], long_side)
    for side in SIDES:
        if row[f"mask_{side}"] is not None:
            mask = decode_rle(row[f"mask_{side}"])[top : top + height, left : left + width]
            picture = tint_mask(picture, _fitted(mask, picture.shape[:2]), SIDE_COLOURS[side])
    picture = draw_body(picture, moved(points_of(row["body"]), shift=(-left, -top), scale=scale))
    for side in SIDES:
        picture = draw_hand(picture, moved(points_of(row[f"hand_{side}"]), shift=(-left, -top), scale=scale), side)
    return picture


def draw_crop(row: Mapping[str, Any], *, long_side: int | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """A row of `hands` with its mask and hands drawn, resized to `long_side` first if given."""
    picture, scale = _resized(decode_rgb(row["image"]["bytes"]), long_side)
    if row["mask"] is not None:
        colour = SIDE_COLOURS["right" if row["hands"] == "right" else "left"]
        picture = tint_mask(picture, _fitted(decode_rle(row["mask"]), picture.shape[:2]), colour)
    for side in SIDES:
        picture = draw_hand(picture, moved(points_of(row[f"keypoints_{side}"]), scale=scale), side)
    return picture


def draw_sheet(row: Mapping[str, Any], crops: Sequence[Mapping[str, Any]]) -> UInt8[np.ndarray, "h w 3"]:
    """A row of `images` and, beside it, its rows of `hands`."""
    picture = draw_picture(row, long_side=_SHEET_SIDE)
    if not crops:
        return picture
    num_slots = max(2, len(crops))
    side = (picture.shape[0] - _GAP_PX * (num_slots - 1)) // num_slots
    column = joined(
        [resize(draw_crop(crop, long_side=_SHEET_CROP_SIDE), (side, side)) for crop in crops], axis=0, gap_px=_GAP_PX
    )
    height = max(picture.shape[0], column.shape[0])
    return joined(
        [_padded(picture, height, picture.shape[1]), _padded(column, height, column.shape[1])], axis=1, gap_px=_GAP_PX
    )


def draw_steps(crops: Sequence[Mapping[str, Any]]) -> UInt8[np.ndarray, "h w 3"]:
    """The paper's figure 3 for each of the rows of `hands` that has a mask; at least one must."""
    steps = [
        mask_steps(decode_rgb(crop["image"]["bytes"]), decode_rle(crop["mask"]))
        for crop in crops
        if crop["mask"] is not None
    ]
    return joined(steps, axis=0, gap_px=_GAP_PX)


def tint_mask(
    picture: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], colour: Colour
) -> UInt8[np.ndarray, "h w 3"]:
    """A copy with the mask as a translucent tint and its edge as a line."""
    tinted = picture.copy()
    mixed = picture[mask] * (1 - _TINT) + np.asarray(colour, np.float32) * _TINT
    tinted[mask] = np.rint(mixed).astype(np.uint8)
    edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    width = _line_width(picture)
    cv2.drawContours(tinted, edges, -1, INK, max(2, round(width * 1.2)), cv2.LINE_AA)
    cv2.drawContours(tinted, edges, -1, colour, max(1, round(width * 0.6)), cv2.LINE_AA)
    return tinted


def draw_body(picture: UInt8[np.ndarray, "h w 3"], body: Float32[np.ndarray, "133 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """A copy with the body's bones and the face's points, thin: the hands are what matters here."""
    drawn, width = picture.copy(), _line_width(picture)
    there = present(body)
    bones = [bone for bone in BODY_BONES if there[bone[0]] and there[bone[1]]]
    for colour, thickness in ((INK, width), (_BODY_COLOUR, width * 0.4)):
        for start, end in bones:
            line(drawn, body[start], body[end], colour, thickness)
    for point in body[FACE][there[FACE]]:
        dot(drawn, point, width * 0.3, _BODY_COLOUR)
    return drawn


def draw_hand(
    picture: UInt8[np.ndarray, "h w 3"], points: Float32[np.ndarray, "21 3"], side: Side
) -> UInt8[np.ndarray, "h w 3"]:
    """A copy with one hand: bones in its fingers' colours, dark-edged, and a badge with the side at the wrist."""
    there = present(points)
    if not there.any():
        return picture.copy()
    _, _, width_px, height_px = extent_xywh(points)
    width = float(np.clip(max(width_px, height_px) / 64, 1.0, max(1.0, max(picture.shape[:2]) / 110)))
    colours = [colour for colour in FINGER_COLOURS.values() for _ in range(4)]
    bones = [
        (start, end, colour)
        for (start, end), colour in zip(HAND_BONES, colours, strict=True)
        if there[start] and there[end]
    ]
    joints = [
        (joint, FINGER_COLOURS[finger]) for finger, members in FINGERS.items() for joint in members if there[joint]
    ]
    shaded = picture.copy()
    for start, end, _ in bones:
        line(shaded, points[start], points[end], INK, width + max(1.6, width))
    for joint, _ in joints:
        dot(shaded, points[joint], width * 0.85 + max(0.8, width * 0.5), INK)
    drawn = np.asarray(cv2.addWeighted(shaded, _SHADE, picture, 1 - _SHADE, 0), np.uint8)
    for start, end, colour in bones:
        line(drawn, points[start], points[end], colour, width)
    for joint, colour in joints:
        dot(drawn, points[joint], width * 0.85, colour)
    height, right = picture.shape[:2]
    if there[WRIST] and 0 <= points[WRIST, 0] <= right and 0 <= points[WRIST, 1] <= height:
        _badge(drawn, points, side, width)
    return drawn


def _padded(picture: UInt8[np.ndarray, "_ _ 3"], height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """White below and on the right, up to a size."""
    padded = np.full((height, width, 3), 255, np.uint8)
    padded[: picture.shape[0], : picture.shape[1]] = picture
    return padded


def _badge(picture: UInt8[np.ndarray, "h w 3"], points: Float32[np.ndarray, "21 3"], side: Side, width: float) -> None:
    """A disc with L or R, just off the wrist on the side away from the fingers, inside the picture."""
    radius = max(_line_width(picture) * 2.4, width * 3)
    wrist = points[WRIST, :2].astype(np.float64)
    away = wrist - points[present(points), :2].astype(np.float64).mean(axis=0)
    centre = wrist + away / max(1e-6, float(np.hypot(*away))) * radius * 1.25
    height, right = picture.shape[:2]
    centre = np.clip(centre, radius + 1, np.maximum(radius + 1, [right - radius - 1, height - radius - 1]))
    dot(picture, centre, radius + max(1.0, width * 0.5), INK)
    dot(picture, centre, radius, SIDE_COLOURS[side])
    letter, font = side[0].upper(), cv2.FONT_HERSHEY_DUPLEX
    font_scale = radius * 1.15 / 22
    thickness = max(1, round(radius / 7))
    (text_width, text_height), _ = cv2.getTextSize(letter, font, font_scale, thickness)
    corner = (round(centre[0] - text_width / 2), round(centre[1] + text_height / 2))
    cv2.putText(picture, letter, corner, font, font_scale, INK, thickness, cv2.LINE_AA)


def _resized(picture: UInt8[np.ndarray, "h w 3"], long_side: int | None) -> tuple[UInt8[np.ndarray, "h2 w2 3"], float]:
    height, width = picture.shape[:2]
    scale = long_side / max(height, width) if long_side else 1.0
    return resize(picture, (max(1, round(height * scale)), max(1, round(width * scale)))), scale


def _fitted(mask: Bool[np.ndarray, "h w"], size_hw: Sequence[int]) -> Bool[np.ndarray, "h2 w2"]:
    """The mask at a picture's size; its edge is smoothed when it grows."""
    if mask.shape == tuple(size_hw):
        return mask
    scaled = cv2.resize(mask.astype(np.float32), (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    growth = max(size_hw) / max(mask.shape)
    if growth > 1:
        scaled = cv2.GaussianBlur(scaled, (0, 0), growth * 0.6)
    return np.asarray(scaled >= 0.5)


def _line_width(picture: UInt8[np.ndarray, "h w 3"]) -> float:
    """Pixels: about a 250th of the long side."""
    return max(1.0, max(picture.shape[:2]) / 250)
