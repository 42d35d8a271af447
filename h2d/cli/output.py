"""Results of a command: JSON for machines and plain lines on standard output, pictures as files."""

import json
from pathlib import Path
from typing import Any

from h2d.cli.console import console


def print_json(value: Any) -> None:
    """Print one JSON document, unstyled, so that it can be piped."""
    console.print(
        json.dumps(value, indent=2, ensure_ascii=False, default=str), markup=False, highlight=False, soft_wrap=True
    )


def say(text: str) -> None:
    """Print one line as it is: no markup, no colours, no breaks."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def write_png(path: Path, picture: Any, *, option: str = "--out") -> None:
    """Write an RGB picture; raises `UserError` for a name that is no PNG's or a place that cannot be written."""
    from h2d.errors import UserError
    from h2d.images import encode_png

    if path.suffix.lower() != ".png":
        raise UserError(f"{option} {path}: give a name that ends with .png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(picture))
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be written: {error.strerror}") from None
