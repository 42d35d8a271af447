"""Where a copy of HaGRID keeps its annotation files and its picture folders.

The archives unpack differently by version and by the tool that unpacked them, so folders are recognised by name at any
of a few depths: an annotation folder is named for a split (`train`, `ann_train_val`) and holds `<gesture>.json`; a
picture folder is named for a gesture (`call`, `train_val_call`), below a folder that is named for a split or not.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from h2d.errors import UserError
from h2d.manifests.io import Location, location
from h2d.pipelines.sources.listing import kind_of, picture_stem, visible_entries

SPLITS: Final[tuple[str, ...]] = ("train", "val", "test", "subsample")
"""In order of precedence: an entry that stands in two of them belongs to the first."""

SHARED: Final = ""
"""The split of a picture folder that holds the pictures of every split, as since HaGRID 2.0."""

# fmt: off
GESTURES: Final = frozenset(
    {
        "call", "dislike", "fist", "four", "grabbing", "grip", "hand_heart", "hand_heart2", "holy", "like",
        "little_finger", "middle_finger", "mute", "no_gesture", "ok", "one", "palm", "peace", "peace_inverted",
        "point", "rock", "stop", "stop_inverted", "take_picture", "three", "three2", "three3", "three_gun",
        "thumb_index", "thumb_index2", "timeout", "two_up", "two_up_inverted", "xsign",
    }
)
# fmt: on
"""The classes of all versions. Others are read too; these only spare the search a look into their large folders."""

_MISSPELT: Final = {"hands_heart2": "hand_heart2"}
_SPLIT_OF: Final = {"train": "train", "train_val": "train", "val": "val", "test": "test", "subsample": "subsample"}
_TRAIN_VAL: Final = "train_val_"
_MAX_DEPTH: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The files and folders that were found, by split and gesture."""

    annotations: dict[tuple[str, str], str]
    """(split, gesture): the JSON file."""
    pictures: dict[tuple[str, str], str]
    """(split or `SHARED`, gesture): the folder."""

    @property
    def splits(self) -> list[str]:
        """The splits that have annotations, in order of precedence."""
        return [split for split in SPLITS if any(split == there for there, _ in self.annotations)]

    def has_annotations(self, split: str, gesture: str) -> bool:
        """Whether an annotation file could name the pictures of this folder."""
        return any((there, gesture) in self.annotations for there in (SPLITS if split == SHARED else (split,)))

    @property
    def gestures(self) -> list[str]:
        """Every gesture that has annotations or a picture folder."""
        return sorted({gesture for _, gesture in (*self.annotations, *self.pictures)})


def find_layout(root: Location, *, images: Location | None = None, annotations: Location | None = None) -> Layout:
    """Search `root`, or `images` and `annotations` instead of it; raises `UserError` when either part is missing."""
    for folder in (root, images, annotations):
        if folder is not None and not folder.is_dir():
            raise UserError(f"{folder}: no such folder: give the one that holds HaGRID's pictures and annotations")
    files = _annotation_files(annotations or root, given=annotations is not None)
    if not files:
        raise UserError(
            f"{annotations or root}: no HaGRID annotations: looked for train/, val/, test/ or ann_*/ with JSON files "
            f"up to {_MAX_DEPTH} folders down: unpack the annotations there, or give their folder with --annotations"
        )
    gestures = {gesture for _, gesture in files}
    pictures = _picture_folders(images or root, gestures)
    if not pictures:
        raise UserError(
            f"{images or root}: no HaGRID pictures: looked for folders named {', '.join(sorted(gestures))} "
            f"up to {_MAX_DEPTH + 1} folders down: unpack the pictures there, or give their folder with --images"
        )
    return Layout(annotations=files, pictures=pictures)


def canonical_gesture(name: str) -> str:
    """The class's name, with the official download script's misspelling put right."""
    return _MISSPELT.get(name, name)


def canonical_split(name: str) -> str | None:
    """The split that a folder's name stands for: "ann_train_val" is "train"; None when it names no split."""
    return _SPLIT_OF.get(name.lower().removeprefix("ann_"))


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    split: str
    """Of the nearest folder, itself included, that is named for one."""
    parent: str
    subfolders: list[tuple[str, str]]
    json_files: list[tuple[str, str]]
    has_pictures: bool


def _walk(base: Location) -> Iterator[_Folder]:
    level = [(str(base), SHARED, "")]
    for _ in range(_MAX_DEPTH + 1):
        below = []
        for path, split, parent in level:
            entries = sorted(visible_entries(path), key=lambda entry: entry.name)
            subfolders = [(entry.name, entry.path) for entry in entries if kind_of(entry) == "folder"]
            json_files = [(entry.name[:-5], entry.path) for entry in entries if entry.name.endswith(".json")]
            has_pictures = any(picture_stem(entry.name) for entry in entries)
            yield _Folder(path, split, parent, subfolders, json_files, has_pictures)
            below += [
                (subfolder, canonical_split(name) or split, path)
                for name, subfolder in subfolders
                if canonical_gesture(name) not in GESTURES and not name.startswith(_TRAIN_VAL)
            ]
        level = below


def _annotation_files(base: Location, *, given: bool) -> dict[tuple[str, str], str]:
    files: dict[tuple[str, str], str] = {}
    for folder in _walk(base):
        own_name = location(folder.path).name if given or folder.parent else ""
        split = canonical_split(own_name)
        if split is not None:
            for stem, path in folder.json_files:
                _put(files, (split, canonical_gesture(stem)), path, remedy="--annotations")
    return files


def _picture_folders(base: Location, annotated: Collection[str]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    holders = set()
    unknown = []
    for folder in _walk(base):
        for name, path in folder.subfolders:
            split, gesture = folder.split, canonical_gesture(name)
            if name.startswith(_TRAIN_VAL):
                split, gesture = "train", canonical_gesture(name.removeprefix(_TRAIN_VAL))
            elif gesture not in annotated and gesture not in GESTURES:
                continue
            holders.add(folder.path)
            _put(found, (split, gesture), path, remedy="--images")
        if folder.has_pictures and folder.parent:
            unknown.append(folder)
    listed = set(found.values())
    for folder in unknown:
        # A class that nobody knows, beside those that are known: its pictures must be named in the report too.
        if folder.parent in holders and folder.path not in listed:
            _put(found, (folder.split, location(folder.path).name), folder.path, remedy="--images")
    return found


def _put(found: dict[tuple[str, str], str], key: tuple[str, str], path: str, *, remedy: str) -> None:
    earlier = found.setdefault(key, path)
    if earlier != path and not location(earlier).samefile(path):
        raise UserError(f"gesture {key[1]!r} is there twice, {earlier} and {path}: name the one to use with {remedy}")
