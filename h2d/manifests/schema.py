"""The manifest's tables, as Arrow schemas: the only place where their columns are named.

Coordinate spaces: in `images` every point, box and mask is in pixels of the stored working picture; in `hands` in
pixels of the 512 crop, only `crop_box_xywh` is in pixels of the source picture. Keypoints are x, y, confidence;
a missing one is NaN, NaN, 0. Their columns are never null: pyarrow below 26 cannot read a null fixed-size list back.
Pictures are never null either, but their field may not say so: the `datasets` library would then not decode them.
"""

import json
from typing import Any, Final

import pyarrow as pa

from h2d.pose.layouts import NUM_HAND_POINTS, NUM_POINTS

SCHEMA_VERSION: Final = "1.1"
"""Minor: columns were added. Major: a meaning changed, and an older reader refuses the file."""

POINTS_133 = pa.list_(pa.float32(), NUM_POINTS * 3)
POINTS_21 = pa.list_(pa.float32(), NUM_HAND_POINTS * 3)
BOX = pa.list_(pa.float32(), 4)
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
RLE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])


def _field(name: str, kind: pa.DataType, about: str, *, nullable: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"about": about})


def _required(name: str, kind: pa.DataType, about: str) -> pa.Field:
    return _field(name, kind, about, nullable=False)


IMAGES: Final = pa.schema(
    [
        _required("id", pa.string(), "stable name: source/gesture or folder/picture"),
        _required("source", pa.string(), "the dataset's name"),
        _required("split", pa.string(), "train, val or test"),
        _field("source_path", pa.string(), "the picture's path below the dataset's root"),
        _field("source_sha256", pa.string(), "SHA-256 of the picture's file"),
        _required("source_width", pa.int32(), "width of the original, pixels"),
        _required("source_height", pa.int32(), "height of the original, pixels"),
        _required("width", pa.int32(), "width of the stored working picture, pixels"),
        _required("height", pa.int32(), "height of the stored working picture, pixels"),
        _field("image", IMAGE, "the working picture, encoded; never null"),
        _required("image_scale", pa.float32(), "working size / source size"),
        _field("gesture", pa.string(), "the dataset's gesture label"),
        _field("subject", pa.string(), "the dataset's person id"),
        _required(
            "persons",
            pa.int32(),
            "people found by the keypoint detector; the keypoints are those of the most prominent one",
        ),
        _required("body", POINTS_133, "133 COCO-WholeBody points; body points may be extrapolated outside the picture"),
        _required("hand_left", POINTS_21, "the person's own left hand"),
        _required("hand_right", POINTS_21, "the person's own right hand"),
        _required("hand_left_found", pa.bool_(), "whether the left hand was found"),
        _required("hand_right_found", pa.bool_(), "whether the right hand was found"),
        _field("hand_left_checks", pa.list_(pa.string()), "plausibility checks that the left hand fails"),
        _field("hand_right_checks", pa.list_(pa.string()), "plausibility checks that the right hand fails"),
        _field("hand_left_by", pa.string(), "the model that found the left hand"),
        _field("hand_right_by", pa.string(), "the model that found the right hand"),
        _required("keypoint_source", pa.string(), "what the keypoints come from"),
        _field("hand_boxes_xywh", pa.list_(BOX), "tight keypoint boxes of the found hands, left first"),
        _field("mask_left", RLE, "left hand, COCO RLE, undilated"),
        _field("mask_right", RLE, "right hand, COCO RLE, undilated"),
        _field("mask_left_px", pa.int32(), "pixels of the left mask"),
        _field("mask_right_px", pa.int32(), "pixels of the right mask"),
        _field("mask_left_quality", pa.float32(), "0..1, the segmenter's own score"),
        _field("mask_right_quality", pa.float32(), "0..1, the segmenter's own score"),
        _field("mask_left_problem", pa.string(), "why the left hand has no mask"),
        _field("mask_right_problem", pa.string(), "why the right hand has no mask"),
        _field("segmenter", pa.string(), "the model that drew the masks"),
        _field("caption", pa.string(), "description of the picture"),
        _field("captioner", pa.string(), "the model that wrote the caption"),
        _field("original_caption", pa.string(), "what the dataset itself says of the picture"),
        _field("gesture_boxes_xywh", pa.list_(BOX), "the dataset's own hand boxes"),
        _field("gesture_box_labels", pa.list_(pa.string()), "the label of each of the dataset's boxes"),
    ]
)

HANDS: Final = pa.schema(
    [
        _required("id", pa.string(), "the image's id, then left, right or both"),
        _required("image_id", pa.string(), "the row of `images` it was cut from"),
        _required("source", pa.string(), "the dataset's name"),
        _required("split", pa.string(), "train, val or test"),
        _field("subject", pa.string(), "the dataset's person id"),
        _field("gesture", pa.string(), "the dataset's gesture label"),
        _required("crop_box_xywh", BOX, "the square crop, in pixels of the source picture"),
        _required("hands", pa.string(), "left, right or both"),
        _field("image", IMAGE, "the 512 x 512 crop, JPEG; never null"),
        _required("keypoints_left", POINTS_21, "left hand, crop pixels"),
        _required("keypoints_right", POINTS_21, "right hand, crop pixels"),
        _field("mask", RLE, "every hand of the crop, COCO RLE, undilated"),
        _field("mask_px", pa.int32(), "pixels of the mask"),
        _field("caption", pa.string(), "description of the crop, or of its picture where a captioner looked at that"),
    ]
)

REJECTS: Final = pa.schema(
    [
        _required("id", pa.string(), "stable name, as in `images`"),
        _required("source", pa.string(), "the dataset's name"),
        _required("split", pa.string(), "train, val or test"),
        _field("source_path", pa.string(), "the picture's path below the dataset's root"),
        _required("stage", pa.string(), "the stage that left it out"),
        _required("status", pa.string(), "skipped (a rule), error, crash or timeout"),
        _required("reason", pa.string(), "the rule's name or the exception's class"),
        _field("message", pa.string(), "one line, at most 200 characters"),
        _required("attempts", pa.int32(), "how often it was tried"),
    ]
)

TABLES: Final = {"images": IMAGES, "hands": HANDS, "rejects": REJECTS}

_HF_TYPES = {
    pa.string(): "string",
    pa.int32(): "int32",
    pa.float32(): "float32",
    pa.bool_(): "bool",
    pa.binary(): "binary",
}


def with_metadata(schema: pa.Schema, facts: dict[str, Any]) -> pa.Schema:
    """The schema with our facts under the key `h2d` and the `datasets` library's features under `huggingface`."""
    facts = {"schema_version": SCHEMA_VERSION, **facts}
    features = {field.name: _feature(field.type) for field in schema}
    return schema.with_metadata(
        {
            "h2d": json.dumps(facts, sort_keys=True),
            "huggingface": json.dumps({"info": {"features": features}}, sort_keys=True),
        }
    )


def _feature(kind: pa.DataType) -> Any:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": _HF_TYPES[kind], "_type": "Value"}
