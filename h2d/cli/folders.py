"""Folders on the command line: a path, or an address such as s3://bucket/folder."""

from typing import Any


def read_location(text: str) -> Any:
    """The path or address that the text names; typer calls it, and has no type for either."""
    from h2d.manifests.io import location

    return location(text)
