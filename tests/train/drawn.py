"""Manifests of drawn hands with exact points and masks: `h2d synth`, then `h2d prepare`, without any model."""

from pathlib import Path

from h2d.pipelines.choices import PrepareConfig, RunConfig
from h2d.pipelines.prepare import prepare
from h2d.synth.generate import generate


class _Silent:
    def job_started(self, name, total, before): ...

    def pictures_worked(self, tally): ...

    def job_ended(self, name): ...

    def should_stop(self):
        return False


def drawn_manifest(folder: Path, *, count: int, seed: int = 1, size_px: int = 160) -> Path:
    """Pairs of hands in front of a camera, one or two crops a picture."""
    generate("reinterhand", folder / "data", count=count, seed=seed, size_px=size_px, workers=1)
    run = RunConfig(executor="inline")
    prepare(PrepareConfig(source="reinterhand", root=folder / "data", out=folder / "manifest", run=run), _Silent())
    return folder / "manifest"
