"""What is checked before the first step: names, columns, weights, trackers, and the run that is gone on with."""

import json
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from h2d.config import as_plain, validate_config
from h2d.errors import UserError
from h2d.manifests.store import Manifest
from h2d.manifests.wording import flat
from h2d.registry import resolve
from h2d.train import STAGES
from h2d.train.cache import check_cache
from h2d.train.checkpoints import load_state, newest
from h2d.train.config import UNTOUCHED, TrainConfig
from h2d.train.optimizer import check_optimizer
from h2d.train.rows import Division, divide
from h2d.train.stage import TrainingStage

TRACKERS: Final = ("tensorboard", "trackio", "wandb")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A run that passed every check that costs little."""

    stage: TrainingStage
    division: Division
    manifests: dict[str, str]
    """What is learnt from: the hash of each manifest's facts by its place."""
    resume: Path | None
    first_step: int


def plan(config: TrainConfig, *, fresh: bool = False, num_processes: int = 1) -> Plan:
    """Check names, columns, weights and the output folder; raises `UserError`. Loads no network, writes nothing."""
    stage_class = resolve(STAGES, config.stage, kind="stage")
    options = validate_config(stage_class.Options, config.options, where="options")
    stage: TrainingStage = stage_class(options, size_px=config.size_px)
    if config.out.is_file():
        raise UserError(f"{config.out}: it is a file: give another --out")
    config.micro_batch_of(num_processes)
    check_optimizer(config.optimizer)
    _check_trackers(config)
    if config.speed.cache_latents:
        check_cache(stage)
    manifests = [Manifest(root) for root in config.data.manifests]
    stage.check()
    hashes = {str(manifest.root): _hash(manifest) for manifest in manifests}
    division = divide(
        manifests,
        stage,
        seed=config.seed,
        held_out_share=config.data.held_out_share,
        window_groups=config.data.window_groups,
    )
    resume = None if fresh else newest(config.out)
    first_step = 0
    if resume:
        state = load_state(resume)
        first_step = state["step"]
        _check_same(config, state["config"], resume)
        _check_same_rows(hashes, state.get("manifests", hashes), resume)  # the first ones did not tell
    return Plan(stage=stage, division=division, manifests=hashes, resume=resume, first_step=first_step)


def _hash(manifest: Manifest) -> str:
    return sha256(json.dumps(manifest.facts, sort_keys=True).encode()).hexdigest()[:16]


def _check_same_rows(ours: dict[str, str], saved: dict[str, str], path: Path) -> None:
    """Other rows would come in another order, and the run would not go on but begin again in the middle."""
    changed = [place for place, was in zip(ours, saved.values(), strict=True) if ours[place] != was]
    if changed:
        raise UserError(f"{path}: {', '.join(changed)} was prepared anew since: use another --out, or --fresh")


def _check_trackers(config: TrainConfig) -> None:
    for name in config.output.trackers:
        if name not in TRACKERS:
            raise UserError(f"output.trackers: unknown tracker {name!r}: choose from {', '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise UserError(f"output.trackers = {name} needs the package {name}: pip install {name}")


def _check_same(config: TrainConfig, saved: dict[str, Any], path: Path) -> None:
    if config.optimizer.decay != "none" and config.steps != saved["steps"]:
        raise UserError(
            f"{path}: its rate falls to zero at step {saved['steps']} (optimizer.decay = {config.optimizer.decay}), "
            f"now steps = {config.steps}: use the old value, another --out, or --fresh"
        )
    ours = as_plain(config)
    names = [name for name in ours if name not in UNTOUCHED]
    before, now = (flat({name: values.get(name) for name in names}) for values in (saved, ours))
    changed = [
        f"{name} was {before.get(name, 'not there')} and is {now.get(name, 'not there')}"
        for name in {**now, **before}
        if now.get(name) != before.get(name)
    ]
    if changed:
        raise UserError(f"{path}: {', '.join(changed)}: use the old values, another --out, or --fresh")
