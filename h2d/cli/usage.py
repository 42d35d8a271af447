"""A command line that cannot be read, as one line."""

from typing import Any

from typer.core import TyperGroup
from typer.exceptions import TyperException


def usage_line(error: TyperException) -> str:
    """What Typer says, and the command that tells more; nothing where it has printed a group's help already."""
    from pydantic import ValidationError

    said = " ".join(error.format_message().replace("(s)", "").split()).rstrip(".")
    said = said[:1].lower() + said[1:]
    if isinstance(error.__cause__, ValidationError):  # whose value Typer leaves out
        value = error.__cause__.errors()[0]["input"]
        said = said.replace("invalid value for", f"invalid value {value!r} for", 1)
    context: Any = getattr(error, "ctx", None)
    if not (said and context):
        return said
    is_group = isinstance(context.command, TyperGroup)
    told = "lists the commands; options come after one" if is_group else "shows what it takes"
    return f"{said}{'' if said.endswith('?') else ':'} {context.command_path} --help {told}"
