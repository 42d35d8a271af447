"""`mix.html`: what was mixed, by source, split and gesture, with pictures; one page that needs no network."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from h2d.images import encode_jpeg
from h2d.manifests.files import write_text
from h2d.manifests.io import Location
from h2d.manifests.overlay import draw_crop
from h2d.manifests.store import Manifest
from h2d.pages import page_template
from h2d.pipelines.mix_draw import DrawnPart

PAGE_FILE: Final = "mix.html"
_PICTURES: Final = 6
"""Of each part."""
_SIDE_PX: Final = 256
_QUALITY: Final = 80


def write_page(manifest: Manifest, parts: Sequence[DrawnPart]) -> Location:
    """Write the page into the mix's folder."""
    total = sum(len(drawn.rows) for drawn in parts)
    path = manifest.root / PAGE_FILE
    sources = [_source(manifest, drawn, total) for drawn in parts]
    template = page_template(Path(__file__).with_name("mix.html.j2"))
    write_text(path, template.render(name=manifest.name, total=total, sources=sources))
    return path


def _source(manifest: Manifest, drawn: DrawnPart, total: int) -> dict[str, Any]:
    got = drawn.rows["gesture"].value_counts()
    gestures = [
        {
            "name": name or "(none)",
            "available": available,
            "available_share": available / drawn.candidates,
            "count": int(got.get(name, 0)),
            "share": int(got.get(name, 0)) / len(drawn.rows),
        }
        for name, available in drawn.available.items()
    ]
    step = max(1, len(drawn.rows) // _PICTURES)
    return {
        "name": drawn.source,
        "manifest": str(drawn.part.manifest),
        "split": drawn.part.split,
        "count": len(drawn.rows),
        "share": len(drawn.rows) / total,
        "candidates": drawn.candidates,
        "num_subjects": int(drawn.rows["subject"].nunique()),
        "left_out": drawn.left_out,
        "gestures": gestures,
        "pictures": [_picture(manifest, name) for name in drawn.rows["hand_id"].iloc[::step].head(_PICTURES)],
    }


def _picture(manifest: Manifest, name: str) -> dict[str, Any]:
    row = manifest.at(manifest.find(name, "hands"))
    data = encode_jpeg(draw_crop(row, long_side=_SIDE_PX), quality=_QUALITY)
    return {
        "name": name,
        "caption": row["caption"],
        "data_uri": f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}",
    }
