"""The dataset card: `README.md`, whose header lets `datasets.load_dataset` open the manifest without our code."""

import re
from collections import Counter
from typing import Any, Final

import yaml

from h2d.manifests.files import write_text
from h2d.manifests.io import Location
from h2d.manifests.schema import TABLES
from h2d.manifests.store import Manifest
from h2d.manifests.wording import STAGES, readable, tools
from h2d.pose.layouts import NUM_HAND_POINTS, NUM_POINTS

CARD_FILE: Final = "README.md"

_TABLES_ABOUT: Final = {
    "images": "one row per accepted picture: working picture, 133 keypoints, hands, masks, caption",
    "hands": "one row per training crop: a square picture, its hands and their mask",
    "rejects": "one row per picture left out, with stage and reason",
}
_NOT_IN_A_SPLIT_NAME: Final = re.compile(r"[^\w.]+")


def write_card(root: Location) -> Location:
    """Write `README.md` into a manifest's folder."""
    path = root / CARD_FILE
    write_text(path, card(Manifest(root)))
    return path


def card(manifest: Manifest) -> str:
    """The card's text."""
    header = yaml.safe_dump(_header(manifest), sort_keys=False, allow_unicode=True)
    sections = [
        f"# {_inline(manifest.name)}",
        f"Hand data prepared from {_inline(str(manifest.facts['source']))} by `h2d prepare`. "
        "`report.html` beside this file shows pictures and distributions.",
        _counts(manifest),
        _loading(manifest),
        _meaning(),
        _made_by(manifest),
        _left_out(manifest),
        "## Licence\n\nThe pictures and labels keep the licence of the dataset that they come from; "
        "preparing them grants no right. Look it up there before you share this folder.",
    ]
    return f"---\n{header}---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def _header(manifest: Manifest) -> dict[str, Any]:
    configs: list[dict[str, Any]] = []
    for table in TABLES:
        files = [
            {"split": _NOT_IN_A_SPLIT_NAME.sub("_", split), "path": f"{table}/{split}/*.parquet"}
            for split in manifest.splits(table)
        ]
        if files:
            configs.append({"config_name": table, "data_files": files} | ({"default": True} if not configs else {}))
    return {
        "license": "other",
        "license_name": "as-the-source",
        "pretty_name": manifest.name,
        "tags": ["hands", "keypoints", "segmentation", "h2d"],
        "source_datasets": [str(manifest.facts["source"])],
        "configs": configs,
    }


def _counts(manifest: Manifest) -> str:
    counts = manifest.counts
    lines = [
        "## Counts",
        "",
        f"{counts['indexed']:,} pictures indexed = {counts['images']:,} accepted + {counts['rejects']:,} left out. "
        f"{counts['hands']:,} hand crops.",
        "",
        "| table | what it holds | " + " | ".join(splits := _splits(manifest)) + " |",
        "|---|---|" + "--:|" * len(splits),
    ]
    for table, about in _TABLES_ABOUT.items():
        rows = [f"{manifest.num_rows(table, split):,}" for split in splits]
        lines.append(f"| `{table}` | {about} | " + " | ".join(rows) + " |")
    return "\n".join(lines)


def _loading(manifest: Manifest) -> str:
    tables = [table for table in TABLES if manifest.parts(table)]
    if not tables:
        return ""
    split = manifest.splits(tables[0])[0]
    return f"""## Loading

Without h2d, pictures decoded:

```python
import datasets
rows = datasets.load_dataset("path/to/this/folder", "{tables[0]}", split="{_NOT_IN_A_SPLIT_NAME.sub("_", split)}")
```

or as a table: `pandas.read_parquet("path/to/this/folder/{tables[0]}")`, `pyarrow.parquet.read_table(...)`.
Masks are COCO run lengths: `pycocotools.mask.decode`. With h2d:

```python
from h2d.manifests.store import Manifest
manifest = Manifest(Path("path/to/this/folder"))
table = manifest.table("{tables[0]}", columns=["id", "split"])
```"""


def _meaning() -> str:
    return f"""## What the numbers mean

- Keypoints are x, y, confidence; a missing one is NaN, NaN, 0. The body has {NUM_POINTS} points in the order of
  COCO-WholeBody, a hand {NUM_HAND_POINTS}. Left and right are the person's own.
- In `images`, points, boxes and masks are in pixels of the stored working picture; `image_scale` is working size /
  source size.
- In `hands`, they are in pixels of the crop; only `crop_box_xywh` is in pixels of the source picture.
- A pixel's centre is at +0.5. Boxes are left, top, width, height.
- Masks are stored undilated; training dilates them when it reads them."""


def _made_by(manifest: Manifest) -> str:
    columns = {"pose": "keypoint_source", "mask": "segmenter", "caption": "captioner"}
    lines = []
    for stage, facts in manifest.facts.get("stages", {}).items():
        used = tools(_used(manifest, columns[stage])) if stage in columns else "done"
        fingerprint = str(facts.get("fingerprint", ""))[:12]
        lines.append(f"- {STAGES.get(stage, stage)}: {_inline(used)}" + (f" (`{fingerprint}`)" if fingerprint else ""))
    return "## How it was made\n\n" + "\n".join(lines) if lines else ""


def _used(manifest: Manifest, column: str) -> set[str]:
    return {
        name for _, rows in manifest.files("images", [column]) for name in rows[column].unique().to_pylist() if name
    }


def _left_out(manifest: Manifest) -> str:
    counted = Counter[tuple[str, str]]()
    for _, rows in manifest.files("rejects", ["stage", "reason"]):
        counted.update(zip(rows["stage"].to_pylist(), rows["reason"].to_pylist(), strict=True))
    if not counted:
        return ""
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0][1]))
    lines = [f"| {_inline(stage)} | {_inline(readable(reason))} | {count:,} |" for (stage, reason), count in ordered]
    return "\n".join(["## Left out", "", "| stage | reason | pictures |", "|---|---|--:|", *lines])


def _splits(manifest: Manifest) -> list[str]:
    names = {split for table in TABLES for split in manifest.splits(table)}
    usual = [name for name in ("train", "val", "test") if name in names]
    return usual + sorted(names - set(usual))


def _inline(text: str) -> str:
    """Text of strangers inside a line of Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))
