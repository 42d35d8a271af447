"""Configuration: frozen dataclasses, read from YAML and `key=value` overrides, unknown keys refused."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from typing_extensions import dataclass_transform

from h2d.errors import UserError

T = TypeVar("T")

_ALIKE = 0.65
"""Of a name that is told as a slip of another. Our choice."""
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """A frozen, keyword-only dataclass whose unknown keys are refused when it is read from a file."""
    cls.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(cls)


def load_config(
    cls: type[T],
    flags: Mapping[str, Any],
    *,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    over: T | None = None,
) -> T:
    """Build `cls` from a YAML file, then `section.key=value` overrides, then flags by dotted path that are not None.

    What none of them names is as `over` has it, or the default. Raises `UserError` naming the field, its value and who
    gave it.
    """
    values = as_plain(over) if over is not None else {}
    set_places = []
    if file:
        _merge(values, read_yaml(file))
    for override in overrides:
        path, equals, text = override.partition("=")
        if not (equals and path.strip()):
            raise UserError(f"--set {override!r}: expected section.key=value")
        set_places.append(path.strip())
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UserError(f"--set {override!r}: {text!r} is no value: close its brackets and quotes") from None
        _put(values, path.strip().split("."), value)
    for place, value in flags.items():
        if value is not None:
            _put(values, place.split("."), value)

    def where(field: str) -> str:
        if flags.get(field) is not None:
            return "options"
        of_set = any(f"{field}.".startswith(f"{place}.") or place.startswith(f"{field}.") for place in set_places)
        return "--set" if of_set else str(file) if file else "options"

    return _validated(cls, values, where)


def validate_config(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Check plain values against `cls`; raises `UserError` with the first wrong field."""
    return _validated(cls, values, lambda _field: where)


def _validated(cls: type[T], values: Mapping[str, Any], where_of: Callable[[str], str]) -> T:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        problems = error.errors()
        # An unknown name goes first: it is why another one seems to be missing.
        first = next((problem for problem in problems if problem["type"] in _UNKNOWN), problems[0])
        field = ".".join(str(part) for part in first["loc"])
        said, where = first["msg"].removeprefix("Value error, "), where_of(field)
        if not field:  # of several values together
            raise UserError(f"{where}: {said}") from None
        if first["type"] in _UNKNOWN:
            known = _nearest(cls, first["loc"])
            raise UserError(f"{where}: {field} = {first['input']!r}: there is no such option{known}") from None
        if first["type"] in _MISSING:
            raise UserError(f"{where}: {field} is missing") from None
        raise UserError(f"{where}: {field} = {first['input']!r}: {said}") from None


def _nearest(owner: Any, place: Sequence[str | int]) -> str:
    """The options that an unknown one may be meant for, as a question, or else all that there are."""
    *sections, name = place
    for section in sections:
        owner = getattr(owner, "__annotations__", {}).get(section)
    known = [*getattr(owner, "__dataclass_fields__", ())]
    near = [one for one in known if str(name) in one.split("_")] or get_close_matches(
        str(name), known, n=1, cutoff=_ALIKE
    )
    if near:
        return f": did you mean {' or '.join('.'.join(map(str, [*sections, one])) for one in near)}?"
    return f": choose one of {', '.join(known)}" if known else ""


def check_range(owner: Any, name: str, least: float, most: float = math.inf) -> None:
    """Raise `ValueError` unless a config's number is one, finite and in its range, the ends included; None passes."""
    value = getattr(owner, name)
    if value is not None and not (least <= value <= most and math.isfinite(value)):
        allowed = f"at least {least}" if most == math.inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be a number {allowed}, got {value}")


def as_plain(value: Any) -> dict[str, Any]:
    """A config as JSON-ready values, in field order."""
    return {key: _plain(item) for key, item in asdict(value).items()}


def _plain(value: Any) -> Any:
    convert: Callable[[Any], Any] = _plain
    if isinstance(value, Mapping):
        return {key: convert(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [convert(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def read_yaml(file: Path) -> dict[str, Any]:
    """The options of a YAML file as plain values; raises `UserError` when it cannot be read."""
    try:
        values = yaml.safe_load(file.read_text())
    except OSError as error:
        raise UserError(
            f"{file}: cannot read the configuration: {error.strerror}: give a YAML file of options"
        ) from None
    except yaml.YAMLError as error:
        raise UserError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict | None):
        raise UserError(f"{file}: expected a mapping of options, found {type(values).__name__}")
    return values or {}


def _merge(values: dict[str, Any], others: Mapping[str, Any]) -> None:
    for name, value in others.items():
        if isinstance(value, Mapping) and isinstance(values.get(name), dict):
            _merge(values[name], value)
        else:
            values[name] = value


def _put(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set: {'.'.join(path)}: {part} is not a section")
        values = inner
    values[path[-1]] = value
