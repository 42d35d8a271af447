"""What a method's pictures were made with in effect, every default decided: as a reader of a table wants to know it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from h2d.infer.baselines import NEEDS

SETTINGS: Final = "settings"
"""Of a picture's own record."""


def settings_of(made: Mapping[str, Any], about: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of what a folder says of its making, and its pictures' records; nothing of what neither says.

    A value that differs from picture to picture is a list of all that there are.
    """
    found: dict[str, list[Any]] = {}
    for settings in [_of_baseline(made["identity"]), *(one.get(SETTINGS, {}) for one in about)]:
        for name, value in settings.items():
            values = found.setdefault(name, [])
            if value not in values:
                values.append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _of_baseline(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Its identity has all decided but the names of its networks."""
    needs, options = NEEDS.get(identity.get("method", "")), identity.get("options")
    if needs is None or options is None or "sampling" not in identity:
        return {}
    given = {"base": options["base"] or needs[0]}
    if "control" in identity["weights"]:
        given["control"] = options["control"] or needs[1]
    if "first_base" in identity["weights"]:
        given["first picture by"] = options["first"]
    return {
        "networks": given,
        "scheduler": options["scheduler"],
        **identity["sampling"],
        "precision": identity["dtype"],
    }
