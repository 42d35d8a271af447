"""The files of `h2d sample`: each picture is written as soon as it is made."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from h2d.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

    from h2d.infer.session import Made

_OTHER_FORMATS: Final = (".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


def check_out(out: Path) -> None:
    """Raise `UserError` where pictures cannot be written to `out`, a folder or a file ending in .png."""
    from h2d.manifests.files import refuse_unwritable

    if out.suffix.lower() in _OTHER_FORMATS and not out.is_dir():
        raise UserError(f"--out {out}: pictures are PNG, which hold how they were made: give {out.with_suffix('.png')}")
    if _is_picture(out) and out.is_dir():
        raise UserError(f"--out {out}: it is a folder: give another name")
    refuse_unwritable(out.parent if _is_picture(out) else out)


class PictureFiles:
    """Pictures of one request, and where they went."""

    def __init__(self, out: Path, *, count: int, intermediates: bool = False, grid: bool = False) -> None:
        """`count` pictures will come: one of several is named by its seed, too."""
        self.folder = out.parent if _is_picture(out) else out
        self._name = out.stem if _is_picture(out) else None
        self._count, self._intermediates, self._grid = count, intermediates, grid
        self.pictures: list[Path] = []
        self._images: list[Image.Image] = []

    def write(self, made: "Made") -> Path:
        """Write a picture with its record, and its steps where they are wanted."""
        from h2d.infer.intermediates import save_intermediates
        from h2d.infer.provenance import write_png

        path = self._path(made.record["prompt"], made.record["seed"])
        write_png(path, made.image, made.record)
        self.pictures.append(path)
        if self._grid:
            self._images.append(made.image)
        if self._intermediates:
            assert made.output is not None
            save_intermediates(path.with_suffix(""), made.output, made.index, made.record["prompt"])
        return path

    def finish(self) -> list[Path]:
        """Write what is of all pictures together, where it is wanted; what was written."""
        from h2d.infer.picture_files import grid

        if not self._images:
            return []
        path = self.pictures[0].with_name(f"{self.pictures[0].stem}-grid.png")
        grid(self._images).save(path)
        return [path]

    def _path(self, prompt: str, seed: int) -> Path:
        from h2d.infer.picture_files import file_stem, unused

        if self._name is None:
            return unused(self.folder / f"{file_stem(prompt, seed)}.png")
        return self.folder / (f"{self._name}.png" if self._count == 1 else f"{self._name}-{seed}.png")


def _is_picture(out: Path) -> bool:
    return out.suffix.lower() == ".png"
