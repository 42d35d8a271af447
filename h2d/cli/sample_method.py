"""`h2d sample --method`: another method than ours, with its own options."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from h2d.cli.sample_choices import refuse

if TYPE_CHECKING:
    from h2d.infer.baselines.base import BaselineOptions
    from h2d.infer.baselines.session import BaselineSession

_SECTION: Final = "baseline."
_THEIRS: Final = ("num_inference_steps", "guidance_scale", "negative_prompt", "scheduler", "height", "width")
"""Options of sampling that other methods have, too."""
_FLAGS: Final = {"loras": "lora"}
"""Flags that are not called as what they fill."""


def read_method(
    given: str | None, record: Mapping[str, Any] | None, flags: Mapping[str, Any], *, intermediates: bool
) -> str:
    """The method that was named, else the one that made the picture to be repeated, else ours.

    Raises `UserError` on an unknown one, and where others are told what is ours alone; `flags` are models and options.
    """
    from h2d.errors import UserError
    from h2d.infer.baselines import BASELINES, OURS
    from h2d.registry import check_name

    then = str(record.get("method", OURS)) if record is not None else OURS
    name = given or then
    if name == OURS:
        return name
    check_name({**BASELINES, OURS: ""}, name, kind="method")
    if intermediates:
        raise UserError(f"--save-intermediates: {name} has no stages to show: leave it out")
    ours = {flag: value for flag, value in flags.items() if flag not in ("base", *_THEIRS)}
    refuse({_FLAGS.get(flag, flag): value for flag, value in ours.items()}, f"it is of our own method, not of {name}")
    return name


def own_overrides(
    method: str, overrides: Sequence[str], config: Path | None, record: Mapping[str, Any] | None
) -> list[str]:
    """Sampling's options by `--set`, after those of the method's authors that neither a file nor a record states.

    Raises `UserError` where another method is told an option that it has not.
    """
    from h2d.config import read_yaml
    from h2d.errors import UserError
    from h2d.infer.baselines import OURS, OWN_OPTIONS
    from h2d.infer.options import SampleOptions

    if method == OURS:
        return list(overrides)
    given = [one for one in overrides if not one.startswith(_SECTION)]
    for one in given:
        name = one.partition("=")[0].strip()
        if name.partition(".")[0] in SampleOptions.__dataclass_fields__ and name not in _THEIRS:
            raise UserError(f"--set {name}: it is of our own method, not of {method}: leave it out")
    if record is not None:
        return given
    stated = read_yaml(config) if config else {}
    return [*(f"{name}={value}" for name, value in OWN_OPTIONS.get(method, {}).items() if name not in stated), *given]


def open_method(
    method: str,
    overrides: Sequence[str],
    record: Mapping[str, Any] | None,
    base: str | None,
    *,
    device: str,
    precision: Any,
) -> "BaselineSession":
    """The method with its options, loaded; raises `UserError` where its weights are missing."""
    from h2d.infer.baselines import MINIATURES
    from h2d.infer.baselines.session import BaselineSession
    from h2d.models.weights import MissingWeightsError

    options = baseline_options(method, overrides, record, base)
    try:
        return BaselineSession(method, options, device=device, precision=precision)
    except MissingWeightsError as error:
        if method not in MINIATURES:
            raise
        flags = (
            f"--{name} {value}" if name == "base" else f"--set {_SECTION}{name}={value}"
            for name, value in MINIATURES[method].items()
        )
        raise MissingWeightsError(f"{error}; or take the miniature, which is here: {' '.join(flags)}") from None


def baseline_options(
    method: str, overrides: Sequence[str], record: Mapping[str, Any] | None, base: str | None
) -> "BaselineOptions":
    """What `--set baseline.NAME=VALUE` and `--base` say, over what the picture to be repeated says."""
    from h2d.config import load_config
    from h2d.infer.baselines.base import BaselineOptions

    given = [one.removeprefix(_SECTION) for one in overrides if one.startswith(_SECTION)]
    then: dict[str, Any] = record.get("baseline", {}) if record and record.get("method") == method else {}
    flags = {"base": base} if base else {}
    made: BaselineOptions = load_config(BaselineOptions, flags, overrides=[*_as_overrides(then), *given])
    return made


def _as_overrides(values: dict[str, Any]) -> list[str]:
    import json

    return [f"{name}={json.dumps(value)}" for name, value in values.items() if value is not None]
