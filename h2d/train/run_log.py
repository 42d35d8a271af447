"""What a run of training has written down of its steps: read without torch, also while it runs."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from h2d.errors import UserError
from h2d.manifests.files import write_text
from h2d.manifests.folder_lock import holder_of

CONFIG_FILE: Final = "config.json"
LOG_FILE: Final = "log.jsonl"
_MEAN_OVER: Final = 100
"""Steps: losses of single steps differ by their noise levels alone. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStatus:
    """How far a run is."""

    stage: str
    step: int
    steps: int
    loss: float | None
    """Mean of the last 100 steps; None before the first."""
    validation: tuple[int, float] | None
    """The newest: after which step, and the loss."""
    samples_per_s: float | None
    seconds_left: float | None
    """At that rate; None before the first step."""
    seconds_ago: float | None
    """Since the last step was written down."""
    checkpoint: Path | None
    """The newest."""
    running: str | None
    """Host and process that train, as far as this machine sees; None where nobody does."""


def is_run(out: Path) -> bool:
    """Whether `h2d train` works or worked in a folder."""
    return (out / CONFIG_FILE).is_file() and {"stage", "steps", "global_batch"} <= _config(out).keys()


def read_run(out: Path) -> RunStatus:
    """Look at a folder of which `is_run` holds."""
    from h2d.models.checkpoint import checkpoint_folders

    config, records = _config(out), read_log(out)
    last = records[-1] if records else {"step": 0}
    rate = last.get("samples_per_s")
    losses = [record["loss"] for record in records[-_MEAN_OVER:]]
    validated = [(record["step"], record["validation"]) for record in records if "validation" in record]
    return RunStatus(
        stage=config["stage"],
        step=last["step"],
        steps=config["steps"],
        loss=sum(losses) / len(losses) if losses else None,
        validation=validated[-1] if validated else None,
        samples_per_s=rate,
        seconds_left=(config["steps"] - last["step"]) * config["global_batch"] / rate if rate else None,
        seconds_ago=max(0.0, time.time() - (out / LOG_FILE).stat().st_mtime) if records else None,
        checkpoint=next(iter(checkpoint_folders(out)), None),
        running=holder_of(out),
    )


def read_log(out: Path) -> list[dict[str, Any]]:
    """The records of a run so far; none before its first step. A line that is being written is left out."""
    path = out / LOG_FILE
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def cut_log(out: Path, step: int) -> None:
    """Forget what was logged after the checkpoint that the run goes on from."""
    records = [record for record in read_log(out) if record["step"] <= step]
    write_text(out / LOG_FILE, "".join(f"{json.dumps(record)}\n" for record in records))


def _config(out: Path) -> Mapping[str, Any]:
    file = out / CONFIG_FILE
    try:
        values = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {error}: run h2d train again") from None
    return values if isinstance(values, dict) else {}
