"""Draw a dataset: its pictures, by one process or several, then its label files; the same bytes either way."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from h2d.errors import UserError
from h2d.machine import num_cores
from h2d.manifests.files import write_json
from h2d.registry import resolve
from h2d.synth.defects import DEFECTS
from h2d.synth.defects.base import Defect, assigned, edited, listed, wished
from h2d.synth.drawing_folder import DrawingFolder
from h2d.synth.drawing_pool import Watch, draw_all, standard_studio
from h2d.synth.layouts import LAYOUTS
from h2d.synth.layouts.base import NO_WISH, Layout, Studio

VERSION: Final = 1
"""Of the drawing: raised when the same seed draws other bytes, so that a stopped run is not continued with them."""

PLANTED: Final = "planted.json"
"""In the output folder of a hard set: what was planted."""

PICTURES_PER_WORKER: Final = 16
"""For fewer, starting another process costs more than it saves. Our choice."""

SIZES_PX: Final = (64, 4096)
"""The smallest and the largest picture. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a run left."""

    out: Path
    layout: str
    flavour: str
    num_pictures: int
    num_drawn: int
    """By this run."""
    num_planted: int
    not_planted: tuple[str, ...]
    """Defects for which no picture was left that they suit."""
    interrupted: bool


def generate(
    layout: str,
    out: Path,
    *,
    count: int,
    seed: int = 0,
    size_px: int = 512,
    flavour: str | None = None,
    hard: bool = False,
    workers: int | None = None,
    fresh: bool = False,
    watch: Watch | None = None,
    studio: Studio | None = None,
) -> Written:
    """Draw `count` pictures into `out` in the layout of a dataset; raises `UserError` before anything is written.

    `out` must be new, empty, or begun with the same settings: then what is there is kept, and a finished set is left as
    it is. `fresh` first deletes what an earlier run made there, whatever its settings. Other folders are never touched.
    """
    made = _layout(layout, count=count, seed=seed, size_px=size_px, flavour=flavour)
    if workers is not None and workers < 1:
        raise UserError(f"workers = {workers}: must be at least 1")
    defects = _defects(layout, made.flavour) if hard else ()
    wishes = {index: defect.wish for index, defect in wished(defects, count=count, seed=seed).items()}
    settings = {"version": VERSION, "layout": layout, "flavour": made.flavour, "count": count, "seed": seed}
    folder = DrawingFolder(out)
    folder.claim({**settings, "size_px": size_px, "hard": hard}, fresh=fresh)
    facts: dict[str, Any] = {"out": out, "layout": layout, "flavour": made.flavour, "num_pictures": count}
    if folder.is_complete():
        return Written(**facts, **folder.outcome(), num_drawn=0, interrupted=False)
    missing = folder.missing(count)
    whole = draw_all(
        made,
        folder,
        {index: wishes.get(index, NO_WISH) for index in missing},
        num_done=count - len(missing),
        num_workers=workers or _workers(len(missing)),
        studio=studio or standard_studio(),
        watch=watch,
    )
    if not whole:
        num_drawn = len(missing) - len(folder.missing(count))
        return Written(**facts, num_drawn=num_drawn, num_planted=0, not_planted=(), interrupted=True)
    notes = folder.notes(count)
    chosen = assigned(defects, notes, seed=seed) if hard else {}
    made.write_labels(edited(notes, chosen), out)
    if hard:
        write_json(out / PLANTED, listed(notes, chosen))
    planted = {defect.kind for defect in chosen.values()}
    not_planted = [defect.kind for defect in defects if defect.kind not in planted]
    folder.complete({"num_planted": len(chosen), "not_planted": not_planted})
    return Written(**facts, **folder.outcome(), num_drawn=len(missing), interrupted=False)


def flavours_of(layout: str) -> tuple[str, ...]:
    """The versions of a dataset that can be drawn, the default first."""
    flavours: tuple[str, ...] = resolve(LAYOUTS, layout, kind="layout").flavours
    return flavours


def _layout(name: str, *, count: int, seed: int, size_px: int, flavour: str | None) -> Any:
    flavours = flavours_of(name)
    if count < 1:
        raise UserError(f"-n {count}: must be at least 1")
    if seed < 0:
        raise UserError(f"seed = {seed}: must be 0 or more")
    if not SIZES_PX[0] <= size_px <= SIZES_PX[1]:
        raise UserError(f"size = {size_px}: must be {SIZES_PX[0]} to {SIZES_PX[1]} pixels")
    if flavour is not None and flavour not in flavours:
        raise UserError(f"flavour {flavour!r}: {name} has {', '.join(flavours)}")
    made: Layout = resolve(LAYOUTS, name, kind="layout")(
        seed=seed, count=count, size_px=size_px, flavour=flavour or flavours[0]
    )
    return made


def _defects(layout: str, flavour: str) -> tuple[Defect, ...]:
    every: tuple[Defect, ...] = resolve(DEFECTS, layout, kind="layout")
    if not every:
        raise UserError(f"--hard: the layout {layout} has no known defects: leave --hard out")
    return tuple(defect for defect in every if not defect.flavours or flavour in defect.flavours)


def _workers(num_pictures: int) -> int:
    return max(1, min(num_cores(), num_pictures // PICTURES_PER_WORKER))
