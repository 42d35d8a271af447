"""A small, valid manifest of drawn people, for tests: every table, both hands, rejects and findings."""

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from h2d.images import encode_jpeg, resize
from h2d.manifests.files import write_json, write_parquet
from h2d.manifests.rle import encode_rle
from h2d.manifests.schema import SCHEMA_VERSION, TABLES, with_metadata
from h2d.manifests.store import part_path
from h2d.pose.layouts import FACE, HAND_BONES, HANDS, PALM, SIDES
from h2d.pose.points import extent_xywh, missing_points

GESTURES = ("call", "four", "rock")
SOURCE_HW, SCALE, CROP = (640, 480), 0.5, 128
SKINS = ((224, 172, 138), (141, 85, 54), (255, 219, 190), (92, 58, 40))

# An open hand in units of its length, wrist at the origin, fingers up: base angle (degrees) and joint distances.
_FINGERS = (
    (-50, (0.16, 0.32, 0.45, 0.56)),
    (-16, (0.46, 0.64, 0.76, 0.87)),
    (-2, (0.48, 0.70, 0.84, 0.97)),
    (12, (0.46, 0.66, 0.79, 0.91)),
    (27, (0.43, 0.57, 0.67, 0.77)),
)


def build_manifest(
    root: Path,
    *,
    num_pictures: int = 6,
    num_rejects: int = 2,
    splits: tuple[str, ...] = ("train", "val"),
    source_root: Path | None = None,
    captions: tuple[str, ...] = ("A person shows a hand.",),
    seed: int = 0,
) -> Path:
    """Write a manifest of `num_pictures` accepted pictures to `root`, the originals to `source_root` if given."""
    random = np.random.default_rng(seed)
    tables: dict[str, dict[str, list[dict[str, Any]]]] = {name: {split: [] for split in splits} for name in TABLES}
    for number in range(num_pictures):
        split = splits[number % len(splits)]
        image, hands = _picture_rows(number, split, captions[number % len(captions)], source_root, random)
        tables["images"][split].append(image)
        tables["hands"][split].extend(hands)
    for number in range(num_rejects):
        split = splits[number % len(splits)]
        tables["rejects"][split].append(_reject_row(number, split, source_root, random))
    counts = {name: sum(map(len, by_split.values())) for name, by_split in tables.items()}
    counts = {"indexed": counts["images"] + counts["rejects"], **counts}
    facts = {"source": "drawn", "counts": counts, "stages": STAGES, "dilation_px_when_read": 5}
    for name, by_split in tables.items():
        for split, rows in by_split.items():
            if rows:
                schema = with_metadata(TABLES[name], {**facts, "table": name})
                write_parquet(part_path(root, name, split, 0), pa.Table.from_pylist(rows, schema=schema))
    findings = [
        ("entry_without_picture", splits[0], "call/missing-1"),
        ("entry_without_picture", splits[0], "call/missing-2"),
    ]
    columns = dict(zip(("kind", "split", "name"), zip(*findings, strict=True), strict=True))
    write_parquet(root / "unmatched.parquet", pa.table({key: pa.array(value) for key, value in columns.items()}))
    by_split = {split: {name: len(tables[name][split]) for name in TABLES} for split in splits}
    write_json(
        root / "manifest.json",
        {
            "schema_version": SCHEMA_VERSION,
            "source": "drawn",
            "counts": counts,
            "splits": by_split,
            "stages": STAGES,
            "created": "2024-05-01T12:00:00+00:00",
            "software": {"h2d": "0.1.0", "pyarrow": pa.__version__},
        },
    )
    return root


STAGES: dict[str, Any] = {
    "pose": {
        "fingerprint": "6f1a" * 16,
        "options": {
            "detector": {"name": "holistic", "mediapipe": "0.10.21", "min_confidence": 0.5},
            "pictures": {"long_side": 1024, "jpeg_quality": 95},
        },
    },
    "mask": {"fingerprint": "0b72" * 16, "options": {"name": "grabcut", "iterations": 5}},
    "caption": {"fingerprint": "93cd" * 16, "options": {"name": "template"}},
}


def _picture_rows(
    number: int, split: str, caption: str, source_root: Path | None, random: np.random.Generator
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    gesture = GESTURES[number // 2 % len(GESTURES)]
    name, path = f"drawn/{gesture}/{number:04d}", f"pictures/{gesture}/{number:04d}.jpg"
    sides = SIDES if number % 3 == 0 else (SIDES[number % 2],)
    skin = SKINS[number % len(SKINS)]
    body, hands = _pose(sides, random)
    masks = {side: _hand_mask(points) for side, points in hands.items()}
    picture = _draw(body, masks, skin, random)
    original = encode_jpeg(picture)
    if source_root is not None:
        file = source_root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(original)
    working_hw = (round(SOURCE_HW[0] * SCALE), round(SOURCE_HW[1] * SCALE))
    small = {side: _scaled(points, SCALE) for side, points in hands.items()}
    small_masks = {side: _resized(mask, working_hw) for side, mask in masks.items()}
    image: dict[str, Any] = {
        "id": name,
        "source": "drawn",
        "split": split,
        "source_path": path,
        "source_sha256": hashlib.sha256(original).hexdigest(),
        "source_width": SOURCE_HW[1],
        "source_height": SOURCE_HW[0],
        "width": working_hw[1],
        "height": working_hw[0],
        "image": {"bytes": encode_jpeg(resize(picture, working_hw)), "path": None},
        "image_scale": SCALE,
        "gesture": gesture,
        "subject": f"person-{number % 4}",
        "persons": 1,
        "body": _scaled(body, SCALE).ravel(),
        "keypoint_source": "holistic",
        "hand_boxes_xywh": [list(extent_xywh(small[side])) for side in SIDES if side in small],
        "segmenter": "grabcut",
        "caption": caption,
        "captioner": "template",
        "gesture_boxes_xywh": [list(extent_xywh(points)) for points in small.values()],
        "gesture_box_labels": [gesture] * len(small),
    }
    for side in SIDES:
        image |= _hand_columns(side, small.get(side), small_masks.get(side), number, random)
    crops = [
        _crop_row(image, picture, side, hands[side], masks[side]) for side in sides if image[f"mask_{side}"] is not None
    ]
    return image, crops


def _hand_columns(
    side: str, points: np.ndarray | None, mask: np.ndarray | None, number: int, random: np.random.Generator
) -> dict[str, Any]:
    found = points is not None
    accepted = mask if number % 5 != 4 else None
    return {
        f"hand_{side}": (points if found else missing_points()).ravel(),
        f"hand_{side}_found": found,
        f"hand_{side}_checks": ["wrist_far_from_body"] if found and number % 4 == 1 else [],
        f"hand_{side}_by": ("holistic", "hands")[number % 2] if found else None,
        f"mask_{side}": None if accepted is None else encode_rle(accepted),
        f"mask_{side}_px": None if accepted is None else int(accepted.sum()),
        f"mask_{side}_quality": float(random.uniform(0.6, 1)) if found else None,
        f"mask_{side}_problem": "too_few_points_inside" if found and accepted is None else None,
    }


def _crop_row(
    image: dict[str, Any], picture: np.ndarray, side: str, points: np.ndarray, mask: np.ndarray
) -> dict[str, Any]:
    left, top, width, height = extent_xywh(points)
    size = max(width, height) * 1.5
    x, y = left + width / 2 - size / 2, top + height / 2 - size / 2
    matrix = np.float64([[CROP / size, 0, -x * CROP / size], [0, CROP / size, -y * CROP / size]])
    cut = cv2.warpAffine(picture, matrix, (CROP, CROP), flags=cv2.INTER_AREA)
    cut_mask = cv2.warpAffine(mask.astype(np.uint8), matrix, (CROP, CROP), flags=cv2.INTER_NEAREST).astype(bool)
    moved = points.copy()
    moved[:, :2] = (points[:, :2] - np.float32([x, y])) * np.float32(CROP / size)
    keypoints = {name: missing_points() for name in SIDES} | {side: moved}
    return {
        "id": f"{image['id']}/{side}",
        "image_id": image["id"],
        **{key: image[key] for key in ("source", "split", "subject", "gesture", "caption")},
        "crop_box_xywh": [x, y, size, size],
        "hands": side,
        "image": {"bytes": encode_jpeg(cut), "path": None},
        **{f"keypoints_{name}": keypoints[name].ravel() for name in SIDES},
        "mask": encode_rle(cut_mask),
        "mask_px": int(cut_mask.sum()),
    }


def _reject_row(number: int, split: str, source_root: Path | None, random: np.random.Generator) -> dict[str, Any]:
    path = f"pictures/rejected/{number:04d}.jpg"
    skipped = number % 2 == 0
    if source_root is not None:
        body, _ = _pose((), random)
        data = encode_jpeg(_draw(body, {}, SKINS[number % len(SKINS)], random))
        (source_root / path).parent.mkdir(parents=True, exist_ok=True)
        (source_root / path).write_bytes(data if skipped else data[: len(data) // 2])
    return {
        "id": f"drawn/rejected/{number:04d}",
        "source": "drawn",
        "split": split,
        "source_path": path,
        "stage": "pose",
        "status": "skipped" if skipped else "error",
        "reason": "no_hand" if skipped else "DecodeError",
        "message": None if skipped else "the JPEG is truncated: its end marker is missing",
        "attempts": 1,
    }


def _pose(sides: tuple[str, ...], random: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A body of 133 points that faces the camera, its hands raised on `sides`; in pixels of the original."""
    height, width = SOURCE_HW
    body = missing_points(133)
    head = np.float32([width * random.uniform(0.45, 0.55), height * 0.22])
    unit = height * random.uniform(0.11, 0.13)
    places = {0: (0, 0), 1: (0.2, -0.2), 2: (-0.2, -0.2), 3: (0.5, -0.1), 4: (-0.5, -0.1),
              5: (1.0, 1.4), 6: (-1.0, 1.4), 7: (1.5, 2.7), 8: (-1.5, 2.7), 9: (1.3, 3.6), 10: (-1.3, 3.6),
              11: (0.7, 4.2), 12: (-0.7, 4.2)}  # fmt: skip
    for side, (elbow, wrist, sign) in {"left": (7, 9, 1), "right": (8, 10, -1)}.items():
        if side in sides:
            places[elbow], places[wrist] = (sign * 1.6, 2.2), (sign * 1.35, 1.3)
    for point, place in places.items():
        body[point] = (*(head + np.float32(place) * unit), 0.99)
    angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    body[FACE, :2] = head + np.stack([np.cos(angles) * 0.42, np.sin(angles) * 0.55], axis=1).astype(np.float32) * unit
    body[FACE, 2] = 1
    hands = {}
    for side in sides:
        wrist = body[9 if side == "left" else 10, :2]
        hands[side] = body[HANDS[side]] = _hand(wrist, unit * random.uniform(0.85, 1.05), side, random)
    return body, hands


def _hand(wrist: np.ndarray, length: float, side: str, random: np.random.Generator) -> np.ndarray:
    points = np.zeros((21, 3), np.float32)
    points[0, :2], points[:, 2] = wrist, random.uniform(0.7, 1.0)
    mirror = -1 if side == "right" else 1  # palms to the camera: the person's left thumb points to the image's left
    turn = random.uniform(-15, 15)
    for finger, (angle, distances) in enumerate(_FINGERS):
        direction = np.deg2rad(mirror * (angle + random.uniform(-5, 5)) + turn)
        reach = np.float32(distances) * (1 if finger == 0 else random.choice([1.0, 0.85]))
        points[1 + finger * 4 : 5 + finger * 4, 0] = wrist[0] + np.sin(direction) * reach * length
        points[1 + finger * 4 : 5 + finger * 4, 1] = wrist[1] - np.cos(direction) * reach * length
    return points


def _hand_mask(points: np.ndarray) -> np.ndarray:
    mask = np.zeros(SOURCE_HW, np.uint8)
    width = max(2, round(float(np.ptp(points[:, 1])) / 9))
    for start, end in HAND_BONES:
        cv2.line(mask, *(tuple(int(value) for value in points[joint, :2]) for joint in (start, end)), 1, width)
    cv2.fillPoly(mask, [points[list(PALM), :2].astype(np.int32)], 1)
    return mask.astype(bool)


def _draw(
    body: np.ndarray, masks: dict[str, np.ndarray], skin: tuple[int, int, int], random: np.random.Generator
) -> np.ndarray:
    height, width = SOURCE_HW
    top, bottom = random.integers(90, 230, (2, 3)).astype(np.float32)
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    picture = np.broadcast_to(top * (1 - ramp) + bottom * ramp, (height, width, 3)).astype(np.uint8).copy()
    shirt = tuple(int(value) for value in random.integers(30, 200, 3))
    place = {point: tuple(int(value) for value in body[point, :2]) for point in range(13)}
    unit = place[5][0] - place[0][0]
    torso = [place[5], place[6], place[12], (place[12][0], height), (place[11][0], height), place[11]]
    cv2.fillPoly(picture, [np.int32(torso)], shirt, cv2.LINE_AA)
    for shoulder, elbow, wrist in ((5, 7, 9), (6, 8, 10)):
        cv2.line(picture, place[shoulder], place[elbow], shirt, int(unit * 0.42), cv2.LINE_AA)
        cv2.line(picture, place[elbow], place[wrist], skin, int(unit * 0.26), cv2.LINE_AA)
    cv2.ellipse(picture, place[0], (int(unit * 0.5), int(unit * 0.68)), 0, 0, 360, skin, cv2.FILLED, cv2.LINE_AA)
    for mask in masks.values():
        picture[mask] = skin
    return cv2.add(picture, random.integers(0, 9, picture.shape, np.uint8))


def _scaled(points: np.ndarray, scale: float) -> np.ndarray:
    return points * np.float32([scale, scale, 1])


def _resized(mask: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    return cv2.resize(mask.astype(np.float32), size_hw[::-1], interpolation=cv2.INTER_AREA) >= 0.5
