"""Tables of names, `name -> "module:attribute"`, imported only when a name is asked for."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from h2d.errors import UserError


def resolve(table: Mapping[str, str], name: str, *, kind: str) -> Any:
    """Return the object that `name` stands for; an unknown name raises `UserError` with the choices."""
    check_name(table, name, kind=kind)
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)


def check_name(table: Mapping[str, str], name: str, *, kind: str) -> None:
    """Raise `UserError` with the choices when the table has no such name; imports nothing."""
    if name not in table:
        raise UserError(f"unknown {kind} {name!r}: choose one of {', '.join(sorted(table))}")
