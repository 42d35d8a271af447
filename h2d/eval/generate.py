"""Making the pictures of the methods that are compared, each into its folder; what is there is not made again."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from h2d.errors import UserError
from h2d.eval.methods import Made, Method, MethodOptions, make_method, title_of
from h2d.eval.picture_list import Entry, PictureList
from h2d.eval.pictures import METHODS_FOLDER, PictureFolder
from h2d.eval.placing import Shard, Watch, do_all, shards_of
from h2d.eval.settings import SETTINGS

logger = logging.getLogger(__name__)


def method_folder(out: Path, name: str) -> PictureFolder:
    """Where a method's pictures lie in a run."""
    return PictureFolder(path=out / METHODS_FOLDER / name)


def make_pictures(
    name: str,
    pictures: PictureList,
    out: Path,
    options: MethodOptions,
    watch: Watch,
    *,
    workers: int = 1,
    address: str | None = None,
) -> bool:
    """Make a method's pictures that are not there yet; False when stopped.

    Raises `UserError` where those there were made with other options, weights or another list.
    """
    method, folder = make_method(name, options), method_folder(out, name)
    folder.claim(
        {"name": name, "title": title_of(name), "list_sha256": pictures.sha256, "identity": dict(method.identity())}
    )
    lacking = folder.lacking(pictures.entries)
    work = Making(name=name, options=options, entries=pictures.entries, folder=folder)
    return do_all(
        name, work, shards_of(lacking, options.batch_size),
        num_done=len(pictures) - len(lacking), watch=watch, workers=workers, address=address,
    )  # fmt: skip


@dataclass(kw_only=True)
class Making:
    """The work of making: one batch a shard."""

    name: str
    options: MethodOptions
    entries: Sequence[Entry]
    folder: PictureFolder
    needs_gpu: bool = False
    _method: Method | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.needs_gpu = self.options.device.startswith("cuda")

    def title(self, shard: Shard) -> str:
        """For messages."""
        return f"pictures {shard[0]} to {shard[-1]} of {self.name}"

    def setup(self) -> None:
        """Load the method."""
        from h2d.models.reading import quiet_libraries

        quiet_libraries()
        self._method = make_method(self.name, self.options)
        self._method.setup()

    def run(self, shard: Shard) -> None:
        """Make the pictures and write each."""
        entries = [self.entries[number] for number in shard]
        started = time.monotonic()
        made = self._make(entries)
        seconds = (time.monotonic() - started) / len(entries)
        for entry, one in zip(entries, made, strict=True):
            self.folder.write(entry.name, one.picture, self._about(entry, one, seconds))

    def close(self) -> None:
        """Let the method go."""
        if self._method is not None:
            self._method.close()
            self._method = None

    def _make(self, entries: Sequence[Entry]) -> list[Made]:
        """In halves where the GPU has too little memory for all."""
        import torch

        assert self._method is not None, "not set up"
        try:
            made = self._method.make(entries)
        except torch.cuda.OutOfMemoryError:
            if len(entries) == 1:
                raise
            logger.warning("the GPU has too little memory for %d pictures at once: in halves", len(entries))
            torch.cuda.empty_cache()
            middle = len(entries) // 2
            return self._make(entries[:middle]) + self._make(entries[middle:])
        for entry, one in zip(entries, made, strict=True):
            height, width = one.picture.shape[:2]
            if height != width:
                raise UserError(
                    f"{self.name}: picture {entry.name} is {width} x {height}: the list's pictures are square"
                )
        return made

    def _about(self, entry: Entry, made: Made, seconds: float) -> Mapping[str, Any]:
        return {
            "id": entry.id,
            "prompt": entry.prompt,
            "seed": entry.seed,
            "method": self.name,
            "notes": list(made.notes),
            SETTINGS: dict(made.settings),
            "seconds": round(seconds, 3),
        }
