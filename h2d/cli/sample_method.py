"""`h2d sample --method`: another method than ours, with its own options."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from h2d.infer.baselines.base import BaselineOptions
    from h2d.infer.baselines.session import BaselineSession

_SECTION = "baseline."


def read_method(given: str | None, like: Path | None, named: Mapping[str, Any], *, intermediates: bool) -> str:
    """The method that was named, else the one that made the picture to be repeated, else ours.

    Raises `UserError` on an unknown one, and where others are told what is ours alone; `named` are models by flag.
    """
    from h2d.errors import UserError
    from h2d.infer.baselines import BASELINES, OURS
    from h2d.infer.provenance import read_record
    from h2d.registry import check_name

    then = str(read_record(like).get("method", OURS)) if like is not None else OURS
    name = given or then
    if name == OURS:
        return name
    check_name({**BASELINES, OURS: ""}, name, kind="method")
    if intermediates:
        raise UserError(f"--save-intermediates: {name} has no stages to show: leave it out")
    for flag, value in named.items():
        if value is not None and flag != "base":
            raise UserError(f"--{flag.replace('_', '-')} is of our own method, not of {name}: leave it out")
    return name


def own_overrides(method: str, overrides: Sequence[str], config: Path | None) -> list[str]:
    """Sampling's options by `--set`, after those of the method's authors that a file does not state."""
    from h2d.config import read_yaml
    from h2d.infer.baselines import OURS, OWN_OPTIONS

    if method == OURS:
        return list(overrides)
    stated = read_yaml(config) if config else {}
    own = [f"{name}={value}" for name, value in OWN_OPTIONS.get(method, {}).items() if name not in stated]
    return [*own, *(one for one in overrides if not one.startswith(_SECTION))]


def open_method(
    method: str, overrides: Sequence[str], like: Path | None, base: str | None, *, device: str, precision: Any
) -> "BaselineSession":
    """The method with its options, loaded; raises `UserError` where its weights are missing."""
    from h2d.infer.baselines.session import BaselineSession

    return BaselineSession(method, baseline_options(method, overrides, like, base), device=device, precision=precision)


def baseline_options(method: str, overrides: Sequence[str], like: Path | None, base: str | None) -> "BaselineOptions":
    """What `--set baseline.NAME=VALUE` and `--base` say, over what the picture to be repeated says."""
    from h2d.config import load_config
    from h2d.infer.baselines.base import BaselineOptions
    from h2d.infer.provenance import read_record

    given = [one.removeprefix(_SECTION) for one in overrides if one.startswith(_SECTION)]
    record = read_record(like) if like is not None else {}
    then: dict[str, Any] = record.get("baseline", {}) if record.get("method") == method else {}
    flags = {"base": base} if base else {}
    made: BaselineOptions = load_config(BaselineOptions, flags, overrides=[*_as_overrides(then), *given])
    return made


def _as_overrides(values: dict[str, Any]) -> list[str]:
    import json

    return [f"{name}={json.dumps(value)}" for name, value in values.items() if value is not None]
