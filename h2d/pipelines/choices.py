"""The choices of one preparation, checked, and the parts that they name."""

from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from h2d.annotate.captions import CAPTIONERS
from h2d.annotate.crops import CropConfig
from h2d.annotate.keypoints import DETECTORS
from h2d.annotate.masks import SEGMENTERS
from h2d.config import config, validate_config
from h2d.errors import UserError
from h2d.manifests.io import Address, GivenLocation
from h2d.models import weights
from h2d.pipelines.plan import SelectionConfig
from h2d.pipelines.sources import SOURCES
from h2d.pipelines.sources.base import Source
from h2d.pipelines.stages.base import Stage
from h2d.pipelines.stages.caption import CaptionStage
from h2d.pipelines.stages.hand_size import HandSizeStage
from h2d.pipelines.stages.mask import MaskStage
from h2d.pipelines.stages.pose import PoseStage
from h2d.pipelines.stages.screen import ScreenStage
from h2d.pipelines.working_picture import PictureConfig
from h2d.registry import resolve

SAM_WEIGHTS = {"vit_h": "sam-vit-h", "vit_l": "sam-vit-l", "vit_b": "sam-vit-b"}
OWN_ANNOTATORS: Mapping[str, Mapping[str, str]] = {
    "interhand": {"pose": "precomputed", "caption": "sequence"},
    "reinterhand": {"pose": "precomputed", "mask": "given", "caption": "sequence"},
}
"""What "auto" is for a source, where that differs from the rest."""

LLAVA_WEIGHTS = "llava-1.5-7b"
_SCREENED = {"laion-human"}
"""Datasets that say in a file of each picture who is in it."""
_ANYWHERE = {"folder", "hagrid"}
"""Datasets that are read from stores too."""


@config
class PoseChoice:
    """A keypoint detector, and those of its options that differ from its defaults."""

    name: str = "auto"
    """auto: precomputed for datasets that bring the hands' keypoints, else holistic."""
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of its class."""


@config
class MaskChoice:
    """A segmenter, and those of its options that differ from its defaults."""

    name: str = "auto"
    """auto: the dataset's own for those that bring masks; else SAM when its weights and a GPU are there, else GrabCut,
    with their defaults; none: no masks."""
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of its class."""


@config
class CaptionChoice:
    """A captioner, and those of its options that differ from its defaults."""

    name: str = "auto"
    """auto: sequence for the studio datasets, else template; none: no captions."""
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of its class."""


@config
class RulesConfig:
    """Which pictures are left out for what they show. None: what the paper does with this dataset."""

    persons: int | None = None
    """How many people the dataset's own labels and the detector must find; 0: any number."""
    min_hand_px: int | None = None
    """Of the hands' masks together, in a picture whose shorter side is 512; 0: any number."""

    def __post_init__(self) -> None:
        for name in ("persons", "min_hand_px"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")


RULES = {"laion-human": RulesConfig(persons=1, min_hand_px=2500)}
"""The paper's, for the datasets that it filters."""

AnnotatorChoice: TypeAlias = PoseChoice | MaskChoice | CaptionChoice
AnyChoice = TypeVar("AnyChoice", PoseChoice, MaskChoice, CaptionChoice)


@config
class RunConfig:
    """How the work is cut and where it runs; changes no result but the shards' size."""

    shard_size: int = 512
    """Pictures per part file: the unit of commit."""
    executor: Literal["auto", "inline", "ray"] = "auto"
    """inline: this process; ray: one process per worker; auto: ray for jobs that are worth its start-up."""
    workers: int | None = None
    """Processes; as many as cores when not given."""
    address: str | None = None
    """Of a running Ray cluster whose nodes see the same files; a local Ray otherwise."""
    gpus: float = 1.0
    """GPUs that a worker of a GPU stage takes for itself; 0.5 puts two workers on one."""
    timeout: float | None = None
    """Seconds an annotator may take for a picture; when not given, 20 times the median, and 300 at least."""
    max_error_rate: float = 0.05
    """Share of a stage's pictures that may fail before the run stops, once 1000 were worked on; 1 never stops it."""

    def __post_init__(self) -> None:
        if not 1 <= self.shard_size <= 4096:
            raise ValueError(f"shard_size must be 1 to 4096, got {self.shard_size}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
        for name in ("gpus", "timeout"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be above 0, got {value:g}")
        if not 0 <= self.max_error_rate <= 1:
            raise ValueError(f"max_error_rate must be 0 to 1, got {self.max_error_rate:g}")
        if self.address and self.executor == "inline":
            raise ValueError("address needs executor ray or auto")


@config
class PrepareConfig:
    """Everything that `h2d prepare` can be told."""

    source: str
    """The dataset's name."""
    root: GivenLocation
    """The dataset's folder."""
    out: GivenLocation
    """The manifest's folder."""
    source_options: dict[str, Any] = field(default_factory=dict)
    """Fields of the dataset's reader: split, gestures ..."""
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    pose: PoseChoice = field(default_factory=PoseChoice)
    mask: MaskChoice = field(default_factory=MaskChoice)
    caption: CaptionChoice = field(default_factory=CaptionChoice)
    pictures: PictureConfig = field(default_factory=PictureConfig)
    crops: CropConfig = field(default_factory=CropConfig)
    rules: RulesConfig = field(default_factory=RulesConfig)
    run: RunConfig = field(default_factory=RunConfig)


def build_source(choices: PrepareConfig) -> Source:
    """The dataset's reader; raises `UserError` for an unknown name or option."""
    if isinstance(choices.root, Address) and choices.source in SOURCES and choices.source not in _ANYWHERE:
        raise UserError(f"{choices.root}: {choices.source} is read from a disk only: copy it and give its folder")
    if not choices.root.is_dir():
        raise UserError(f"{choices.root}: no such folder: give the dataset's folder with --root")
    reader = resolve(SOURCES, choices.source, kind="source")
    values = {**choices.source_options, "root": choices.root}
    source: Source = validate_config(reader, values, where=f"{choices.source} options")
    return source


def build_stages(choices: PrepareConfig) -> list[Stage]:
    """The stages in order, their models located; raises `UserError` when one is not to be had."""
    own = OWN_ANNOTATORS.get(choices.source, {})
    pose = _decided(choices.pose, own.get("pose", "holistic"))
    persons, min_hand_px = _rules(choices)
    stages: list[Stage] = []
    if choices.source in _SCREENED:
        assert isinstance(choices.root, Path), "build_source refuses an address"
        stages.append(ScreenStage(root=choices.root, persons=persons))
    stages.append(
        PoseStage(
            root=choices.root,
            annotator=pose.name,
            detector=_build(DETECTORS, pose, kind="keypoint detector"),
            pictures=choices.pictures,
            crops=choices.crops,
            reads={stage.name: () for stage in stages},
            persons=persons,
        )
    )
    mask = _located_mask(_decided(choices.mask, own.get("mask", "auto")))
    if mask.name != "none":
        segmenter = _build(SEGMENTERS, mask, kind="segmenter")
        stages.append(
            MaskStage(
                root=choices.root,
                annotator=mask.name,
                segmenter=segmenter,
                needs_gpu=mask.name == "sam" and has_gpu(),
                uses_all_cores=mask.name == "sam" and not has_gpu(),
            )
        )
    if min_hand_px and mask.name == "none":
        raise UserError(f"rules.min_hand_px = {min_hand_px}: it needs masks: give --min-hand-px 0, or another --mask")
    if min_hand_px:
        stages.append(HandSizeStage(min_hand_px=min_hand_px))
    caption = _located_caption(_decided(choices.caption, own.get("caption", "template")))
    if caption.name != "none":
        captioner = _build(CAPTIONERS, caption, kind="captioner")
        stages.append(
            CaptionStage(
                annotator=caption.name,
                captioner=captioner,
                source=choices.source,
                refused_by=("hand_size",) if min_hand_px else (),
                needs_gpu=caption.name == "llava" and has_gpu(),
                uses_all_cores=caption.name == "llava" and not has_gpu(),
            )
        )
    return stages


def _rules(choices: PrepareConfig) -> tuple[int, int]:
    """How many people and pixels of hands are wanted; 0: any."""
    given, usual = choices.rules, RULES.get(choices.source, RulesConfig())
    persons = usual.persons if given.persons is None else given.persons
    min_hand_px = usual.min_hand_px if given.min_hand_px is None else given.min_hand_px
    return persons or 0, min_hand_px or 0


def has_gpu() -> bool:
    """Whether torch sees a CUDA device here."""
    import torch

    return torch.cuda.is_available()


def _build(table: Mapping[str, str], choice: AnnotatorChoice, *, kind: str) -> Any:
    return validate_config(resolve(table, choice.name, kind=kind), choice.options, where=f"{kind} {choice.name}")


def _decided(choice: AnyChoice, own: str) -> AnyChoice:
    """The choice with "auto" decided, its options kept."""
    return replace(choice, name=own) if choice.name == "auto" else choice


def _located_mask(choice: MaskChoice) -> MaskChoice:
    """The choice with "auto" decided and SAM's checkpoint found."""
    if choice.name == "auto":
        if choice.options:
            raise UserError(f"mask.options = {choice.options}: auto takes none; name the segmenter that they are for")
        with_sam = weights.find(SAM_WEIGHTS["vit_h"]) is not None and has_gpu()
        return _located_mask(MaskChoice(name="sam" if with_sam else "grabcut"))
    if choice.name != "sam" or "checkpoint" in choice.options:
        return choice
    model = choice.options.get("model", "vit_h")
    if model not in SAM_WEIGHTS:
        raise UserError(f"segmenter sam: model = {model!r}: choose one of {', '.join(SAM_WEIGHTS)}")
    name = SAM_WEIGHTS[model]
    known = {"checkpoint_sha256": weights.WEIGHTS[name].files[0].sha256, "checkpoint": weights.locate(name)}
    return replace(choice, options={**known, **choice.options})


def _located_caption(choice: CaptionChoice) -> CaptionChoice:
    """The choice with LLaVA's folder found."""
    if choice.name != "llava" or {"path", "model"} & set(choice.options):
        return choice
    return replace(choice, options={**choice.options, "path": weights.locate(LLAVA_WEIGHTS)})
