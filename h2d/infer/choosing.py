"""Which models to sample with: those that were named, or those that are there when nobody says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from h2d.errors import UserError
from h2d.models.checkpoint import FACTS_FILE, MODEL, STATE_FILE, checkpoint_folders
from h2d.models.shipped import MINIATURE, find_shipped
from h2d.models.weights import WEIGHTS

RUN: Final = ("hand", "outpaint")
"""Where training writes by default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Models:
    """What to sample with: checkpoints of either stage, or one folder that holds a saved pipeline."""

    hand: Path | None = None
    """A hand generator of `h2d train hand`."""
    hand_controlnet: Path | None = None
    """Or a public ControlNet of hand landmarks, by name or folder."""
    outpaint: Path | str | None = None
    """A checkpoint of `h2d train outpaint`, or any OpenPose ControlNet by name or folder."""
    base: str | None = None
    """What stage 2 stands on, by name or path, where it is not what training says."""
    hand_base: str | None = None
    """The same of stage 1."""
    pipeline: Path | None = None
    """A folder, or the name `miniature`, which stands for the one that comes with h2d."""
    loras: tuple[str, ...] = ()
    """Files, each with `:` and its strength where that is not 1."""
    about: str = ""
    """One line for a person, where they were not named."""

    def exist(self) -> bool:
        """Whether models are named, and every folder of them is there."""
        return (self.outpaint or self.pipeline) is not None and all(
            str(place) in WEIGHTS or Path(place).exists()
            for place in (self.hand, self.hand_controlnet, self.pipeline_folder)
            if place is not None
        )

    @property
    def pipeline_folder(self) -> Path | None:
        """Where the saved pipeline is."""
        return None if self.pipeline is None else find_shipped(str(self.pipeline)) or self.pipeline

    def as_record(self) -> dict[str, Any]:
        """What was named, for a picture's record."""
        named = {name: str(value) for name in RECORDED if (value := getattr(self, name)) is not None}
        return {**named, **({"loras": list(self.loras)} if self.loras else {})}


RECORDED: Final = ("hand", "hand_controlnet", "outpaint", "base", "hand_base", "pipeline")


def recorded_models(record: Mapping[str, Any]) -> Models:
    """The models of a picture's record."""
    paths = {name: Path(record[name]) for name in ("hand", "hand_controlnet", "pipeline") if name in record}
    names = {name: record[name] for name in ("outpaint", "base", "hand_base") if name in record}
    return Models(
        hand=paths.get("hand"),
        hand_controlnet=paths.get("hand_controlnet"),
        pipeline=paths.get("pipeline"),
        outpaint=names.get("outpaint"),
        base=names.get("base"),
        hand_base=names.get("hand_base"),
        loras=tuple(record.get("loras", ())),
    )


def default_models(runs: Path = Path("runs")) -> Models:
    """The newest checkpoints of both stages under `runs/`; the miniature that comes with h2d where there are none."""
    hand, outpaint = (newest_model(runs / name) for name in RUN)
    if hand and outpaint:
        return Models(hand=hand, outpaint=outpaint, about=f"With {hand.parent} and {outpaint.parent}: yours.")
    return Models(
        pipeline=Path(MINIATURE),
        about="With the miniature that comes with h2d: drawn people at 128 pixels, which show the method and not its"
        " limits. Other networks: --hand and --outpaint.",
    )


def models_of(named: Mapping[str, Any]) -> Models:
    """What was named, by the fields of `Models`; a run or checkpoint of hands is its model. Raises `UserError`."""
    given = {name: value for name, value in named.items() if value is not None}
    if "hand" in given:
        given["hand"] = model_folder(given["hand"])
    return Models(**given)


def newest_model(run: Path) -> Path | None:
    """The `model` folder of a run's last whole checkpoint."""
    return next((path / MODEL for path in checkpoint_folders(run) if (path / STATE_FILE).is_file()), None)


def model_folder(given: Path | str) -> Path:
    """The folder of a stage's weights, of a run, a checkpoint or the folder itself; raises `UserError`."""
    if found := our_model(Path(given)):
        return found
    raise UserError(f"{given}: no checkpoint of h2d train: give a run, a step of it, or its folder `model`")


def our_model(given: Path) -> Path | None:
    """The folder of a stage's weights, of a run, a checkpoint or the folder itself; None where it is none of them."""
    for folder in (given, given / MODEL):
        if (folder / FACTS_FILE).is_file():
            return folder
    return newest_model(given)
