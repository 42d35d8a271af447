"""LAION-Human as HumanSD has it: parquet lists of links, pictures and body poses in shards, and one mapping file.

The links lead nowhere on purpose: their host is one of those that no name server may ever know.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import pyarrow as pa
import pyarrow.parquet as pq

from h2d.config import config
from h2d.images import encode_jpeg
from h2d.synth.layouts.base import Note, Studio, Wish, scene_seed, write_file, write_label
from h2d.synth.layouts.framing import without_hands
from h2d.synth.layouts.pose_npz import encode_poses, people_of

ROOT: Final = "Aesthetics_Human"
"""The folder that holds everything, because the mapping file's paths begin with it."""

KEYS_PER_SHARD: Final = 10_000
_PICTURES_PER_SHARD: Final = 100
"""Keys that have a picture; the others of a shard are left out, as dead links leave gaps in the dataset."""

_SCENES: Final = 2
"""Keeps the scenes apart from those that other layouts draw from the same seed."""

_SHAPES: Final = ((1.0, 1.0), (1.0, 0.75), (1.0, 2 / 3), (0.8, 1.0))
"""Height and width, times the size. Our choice."""

LINKS: Final = pa.schema(
    [
        ("url", pa.string()),
        ("caption", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
    ]
)


@config
class LaionHumanLayout:
    """Whole bodies, in pictures of several shapes."""

    name: ClassVar[str] = "laion-human"
    flavours: ClassVar[tuple[str, ...]] = ("training",)
    owns: ClassVar[tuple[str, ...]] = (ROOT,)

    seed: int
    count: int
    size_px: int = 512
    """The long side."""
    flavour: str = "training"

    def draw(self, index: int, out: Path, studio: Studio, wish: Wish) -> Note:
        """Draw one picture and write its poses beside it."""
        shape = _SHAPES[index % len(_SHAPES)]
        scene = studio.sample(
            scene_seed(self.seed, index, _SCENES),
            frame="whole_body",
            size_hw=(round(shape[0] * self.size_px), round(shape[1] * self.size_px)),
            num_people=wish.num_people,
        )
        if not wish.hands_in_view:
            scene = without_hands(scene)
        drawing = studio.render(scene)
        shard, place = divmod(index, _PICTURES_PER_SHARD)
        # Keys rise with the pictures but skip some, the same for every seed.
        key = f"{shard * KEYS_PER_SHARD + place * (KEYS_PER_SHARD // _PICTURES_PER_SHARD) + index * 37 % 97:09d}"
        stem = f"{shard:05d}/{key}"
        write_file(out / ROOT / "images" / f"{stem}.jpg", encode_jpeg(drawing.picture), wish.picture_damage)
        write_file(out / ROOT / "pose" / f"{stem}.npz", encode_poses(people_of(drawing)), wish.label_damage)
        height, width = drawing.picture.shape[:2]
        return {
            "name": f"{shard:05d}_{key}",
            "path": f"{ROOT}/images/{stem}.jpg",
            "split": "train",
            "shard": shard,
            "link": {
                "url": f"https://pictures.invalid/{key}.jpg",
                "caption": scene.caption,
                "key": key,
                "status": "success",
                "error_message": None,
                "width": width,
                "height": height,
                "original_width": width,
                "original_height": height,
            },
            "mapping": {
                "img_path": f"{ROOT}/images/{stem}.jpg",
                "pose_path": f"{ROOT}/pose/{stem}.npz",
                "prompt": scene.caption,
            },
        }

    def write_labels(self, notes: Sequence[Mapping[str, Any]], out: Path) -> None:
        """One list of links per shard, and the mapping."""
        shards: dict[int, list[dict[str, Any]]] = {}
        for note in notes:
            shards.setdefault(note["shard"], []).append(note["link"])
        for shard, links in shards.items():
            folder = out / ROOT / "images"
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(links, LINKS), folder / f"{shard:05d}.parquet")
        mapping = {note["name"]: note["mapping"] for note in notes if note["mapping"] is not None}
        write_label(out / ROOT / "mapping_file_training.json", json.dumps(mapping))
