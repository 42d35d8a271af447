"""Results for machines: JSON on standard output."""

import json
from typing import Any

from h2d.cli.console import console


def print_json(value: Any) -> None:
    """Print one JSON document, unstyled, so that it can be piped."""
    console.print(
        json.dumps(value, indent=2, ensure_ascii=False, default=str), markup=False, highlight=False, soft_wrap=True
    )
