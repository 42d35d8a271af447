"""How each method's pictures were made, as a table."""

from collections.abc import Mapping
from typing import Any, Final

from h2d.eval.report_remarks import Remark, gathered
from h2d.eval.report_tables import NO_NUMBER, Sheet
from h2d.eval.results import MethodResult, Results

_COLUMNS: Final = {
    "networks": "networks",
    "steps": "steps",
    "scheduler": "scheduler",
    "guidance_scale": "guidance",
    "eta": "eta",
    "control_scale": "skeleton's strength",
    "precision": "precision",
}


def making_sheet(results: Results) -> Sheet | None:
    """Networks, steps and strengths, a row a method; None where no method says any."""
    methods = [method for method in results.methods if not method.is_real]
    if not any(method.settings for method in methods):
        return None
    cells = {(name, method.name): _words(name, method) for name in _COLUMNS for method in methods}
    return Sheet(
        section="How each was made",
        heads=("method", *_COLUMNS.values()),
        rows=tuple((method.title, *(cells[name, method.name] for name in _COLUMNS)) for method in methods),
        reasons=gathered(
            [
                Remark(what=heading, method=method.title, text=_why_not(name, method))
                for name, heading in _COLUMNS.items()
                for method in methods
                if cells[name, method.name] == NO_NUMBER
            ],
            [method.title for method in methods],
        ),
    )


def _words(name: str, method: MethodResult) -> str:
    value = method.settings.get(name)
    if value is None:
        return NO_NUMBER
    words = " and ".join(map(_plain, value)) if isinstance(value, list) else _plain(value)
    hands = method.settings.get("hand_guidance_scale")
    if name == "guidance_scale" and hands not in (None, value):
        words += f", hands {_plain(hands)}"
    return words


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{part} {name}" for part, name in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _why_not(name: str, method: MethodResult) -> str:
    if name in method.settings:
        return "the method has none"
    if "folder" in method.made["identity"]:
        return "another program's pictures"
    return "its pictures do not say"
