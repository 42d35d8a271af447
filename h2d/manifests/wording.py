"""What the names in a manifest stand for, in words that a reader of the report or the card understands."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

STAGES: Final = {
    "screen": "People by the dataset's own labels",
    "pose": "Keypoints",
    "mask": "Masks",
    "hand_size": "Hand size",
    "caption": "Captions",
}

TOOLS: Final = {
    "holistic": "MediaPipe Holistic",
    "hands": "MediaPipe Hands",
    "miniature": "the miniature's keypoint network, for drawn people",
    "precomputed": "keypoints that the dataset brings",
    "sam": "Segment Anything (SAM)",
    "grabcut": "GrabCut (no model weights)",
    "given": "masks that the dataset brings",
    "mano": "hand meshes that the dataset brings",
    "llava": "LLaVA",
    "endpoint": "a captioning server",
    "sequence": "captions from a table of sequences (no model)",
    "template": "template captions (no model)",
}


def tool(name: str) -> str:
    """A tool by what it is; an unknown one by its own name."""
    return TOOLS.get(name, name)


def tools(names: Iterable[str]) -> str:
    """Several tools, or "none"."""
    return ", ".join(tool(name) for name in sorted(set(names))) or "none"


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested options as dotted names and short texts."""
    result: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            result |= flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            result[name] = ", ".join(str(item) for item in value) or "none"
        else:
            result[name] = "not set" if value is None else str(value)
    return result


def readable(name: str) -> str:
    """`entry_without_picture` as "entry without picture"."""
    return name.replace("_", " ")
