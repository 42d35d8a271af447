"""Columns of `images` and `hands` out of the index and the stages' parts, a shard at a time and never row by row."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from h2d.pose.layouts import SIDES


def image_columns(index: pa.Table, parts: Mapping[str, pa.Table], source: str) -> dict[str, Any]:
    """The columns of `images` for pictures that every stage has a result for."""
    pose = parts["pose"]
    picture = pose["picture"].combine_chunks()
    is_jpeg = pc.equal(pc.binary_slice(picture, 0, 2), b"\xff\xd8")
    written = {name: part[name] for part in reversed([*parts.values()]) for name in part.column_names}
    return {
        **written,
        **{name: index[name] for name in ("id", "split", "gesture", "subject", "original_caption")},
        "source": pa.repeat(pa.scalar(source), len(index)),
        "source_path": index["path"],
        "gesture_box_labels": index["box_labels"],
        "image": _pictures(picture, index["id"].combine_chunks(), pc.if_else(is_jpeg, ".jpg", ".png")),
    }


def hand_columns(index: pa.Table, parts: Mapping[str, pa.Table], source: str) -> dict[str, Any]:
    """The columns of `hands`: one row for each crop of each picture, in the order of the pictures."""
    crops = parts["pose"]["crops"].combine_chunks()
    of_picture = pc.list_parent_indices(crops)
    flat = crops.flatten()
    crop = dict(zip((field.name for field in flat.type), flat.flatten(), strict=True))
    rows = index.select(["id", "split", "subject", "gesture"]).take(of_picture)
    names = pc.binary_join_element_wise(rows["id"].combine_chunks(), crop["hands"], "/")
    masks = {}
    if "mask" in parts:
        masks = {f"mask{what}": _per_crop(parts["mask"][f"crop_mask{many}"], crops) for what, many in _MASKS.items()}
    caption = {}
    if "caption" in parts:
        caption = {"caption": _crop_captions(parts["caption"].take(of_picture), crop["hands"])}
    return {
        **{name: rows[name] for name in ("split", "subject", "gesture")},
        **{name: crop[name] for name in ("crop_box_xywh", "hands", "keypoints_left", "keypoints_right")},
        **masks,
        **caption,
        "id": names,
        "image_id": rows["id"],
        "source": pa.repeat(pa.scalar(source), len(rows)),
        "image": _pictures(crop["image"], names, pa.scalar(".jpg")),
    }


_MASKS = {"": "s", "_px": "_px"}
"""Ending of a column of `hands` -> that of the mask stage's lists."""


def _per_crop(lists: pa.ChunkedArray, crops: pa.ListArray) -> pa.Array:
    values = lists.combine_chunks()
    assert values.value_lengths().equals(crops.value_lengths()), "a mask for every crop"
    return values.flatten()


def _crop_captions(captions: pa.Table, hands: pa.Array) -> pa.ChunkedArray:
    """What is said of the one hand that a crop shows, or else of its picture."""
    shows = pc.make_struct(*(pc.equal(hands, side) for side in SIDES), field_names=SIDES)
    alone = pc.case_when(shows, *(captions[f"caption_{side}"] for side in SIDES))
    return pc.coalesce(alone, captions["caption"])


def _pictures(data: pa.Array, names: pa.Array, ending: Any) -> pa.StructArray:
    """Encoded pictures with file names made of ids."""
    paths = pc.binary_join_element_wise(pc.replace_substring(names, "/", "_"), ending, "")
    return pa.StructArray.from_arrays([data, paths], ["bytes", "path"])
