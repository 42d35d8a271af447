"""`docs/manifests.md`, made from the schemas: `python -m h2d.manifests.docs` writes it."""

from pathlib import Path
from typing import Final

import pyarrow as pa

from h2d.manifests.files import write_text
from h2d.manifests.schema import BOX, IMAGE, POINTS_21, POINTS_133, RLE, SCHEMA_VERSION, TABLES

PATH: Final = Path(__file__).parents[2] / "docs" / "manifests.md"

_KINDS: Final = {
    POINTS_133: "133 × (x, y, confidence)",
    POINTS_21: "21 × (x, y, confidence)",
    BOX: "box (left, top, width, height)",
    IMAGE: "picture (bytes, path)",
    RLE: "COCO RLE (size, counts)",
    pa.string(): "text",
    pa.int32(): "int32",
    pa.float32(): "float32",
    pa.bool_(): "bool",
}
_ABOUT: Final = {
    "images": "One row per accepted picture.",
    "hands": "One row per training crop.",
    "rejects": "One row per picture left out. Every indexed picture is in exactly one of `images` and `rejects`.",
}
_INTRODUCTION: Final = f"""\
# Manifests

Made from `h2d/manifests/schema.py` by `python -m h2d.manifests.docs`; do not edit. Schema version {SCHEMA_VERSION}.

A manifest is a folder:

```
<name>/
  manifest.json                            what was counted, which stages ran; written last: without it, not finished
  images/<split>/part-NNNNN.parquet        the three tables; one without rows has no folder
  hands/<split>/part-NNNNN.parquet
  rejects/<split>/part-NNNNN.parquet
  unmatched.parquet                        what does not fit together in the dataset's own files
  README.md                                dataset card: `datasets.load_dataset("<name>", "images")` opens it
  report.html                              pictures, rates and distributions, for people
```

The split is in the column `split` and in the plain folder name. It is not `split=train`, from which readers would
make a second column of another type.

- **Coordinates.** In `images` every point, box and mask is in pixels of the stored working picture; in `hands` in
  pixels of the crop, only `crop_box_xywh` is in pixels of the source picture. A pixel's centre is at +0.5.
- **Keypoints.** x, y, confidence; a missing one is NaN, NaN, 0. Left and right are the person's own.
- **Masks.** COCO run lengths, undilated; the 5 × 5 dilation is applied when they are read.
- **Metadata.** Each file's schema has two keys: `h2d`, JSON with schema version, stages and their fingerprints, models
  and counts; and `huggingface`, the features by which the `datasets` library decodes the pictures.
- **Versions.** A new minor version adds columns. A new major version changes a meaning, and older readers refuse it.

`h2d manifest validate DIR` checks all of this.
"""


def manifests_page() -> str:
    """The page's text."""
    return "\n".join([_INTRODUCTION, *(_section(name, schema) for name, schema in TABLES.items())])


def _section(name: str, schema: pa.Schema) -> str:
    lines = [f"## `{name}`", "", _ABOUT[name], "", "| column | type | null | meaning |", "|---|---|---|---|"]
    for field in schema:
        about = field.metadata[b"about"].decode()
        lines.append(f"| `{field.name}` | {_kind(field.type)} | {'yes' if field.nullable else 'no'} | {about} |")
    return "\n".join(lines) + "\n"


def _kind(kind: pa.DataType) -> str:
    if kind in _KINDS:
        return _KINDS[kind]
    assert pa.types.is_list(kind), kind
    return f"list of {_kind(kind.value_type)}"


if __name__ == "__main__":
    write_text(PATH, manifests_page())
