"""What `h2d doctor` finds: what is installed, what clashes, what this machine has, and what can be run on it."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.columns import Columns
from rich.table import Table
from rich.text import Text

from h2d import doctor as facts
from h2d.cli.console import console
from h2d.infer.baselines import NEEDS
from h2d.machine import version_of
from h2d.models.weights import WEIGHTS, find, models_folder

LLAVA_BYTES: Final = {"gpu": 16e9, "cpu": 30e9}
"""The weights in half precision on a GPU, in full precision in main memory, and room to work."""
_TRAINED_FROM: Final = ("stable-diffusion-1.5", "sd-1.5-inpainting", "control-openpose-1.1")
"""What the paper's trainings start from."""
_UNTRAINED: Final = ("controlnet-hands", *_TRAINED_FROM)
"""What both stages stand on without any training of ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ability:
    """One thing that a user may want to run here."""

    name: str
    ready: bool
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that is known of this installation and machine."""

    h2d: str | None
    python: str
    packages: dict[str, str | None]
    clashes: list[facts.Clash]
    machine: facts.Machine
    gpus: list[facts.Gpu]
    gpu_problem: str | None
    models_folder: str
    models: dict[str, str | None]
    mediapipe_models_missing: list[str]


def examine() -> Report:
    """Look at this installation and machine, in about a second."""
    installed = facts.versions()
    gpus, gpu_problem = facts.gpus()
    places = {name: find(name) for name in WEIGHTS}
    return Report(
        h2d=version_of(facts.DISTRIBUTION),
        python=platform.python_version(),
        packages=installed,
        clashes=facts.unmet_requirements()
        + facts.clashes(installed, has_solutions=facts.has_solutions(), torchvision_needs=facts.torchvision_needs()),
        machine=facts.machine(Path.cwd()),
        gpus=gpus,
        gpu_problem=gpu_problem,
        models_folder=str(models_folder()),
        models={name: str(place) if place else None for name, place in places.items()},
        mediapipe_models_missing=facts.missing_bundled_models(),
    )


def abilities(report: Report) -> list[Ability]:
    """What can be run here, and for the rest the first thing that is in the way."""
    slow = "" if report.gpus else "; slow without a GPU"
    sizes = [name for name in ("sam-vit-h", "sam-vit-l", "sam-vit-b") if report.models[name]]
    sam = _uninstalled(report, "segment-anything", facts.ANNOTATE)
    sam += [] if sizes else _unfetched(report, "sam-vit-h")
    others = [method for method, needed in NEEDS.items() if not _unfetched(report, *needed)]
    keypoints = _uninstalled(report, "mediapipe", facts.ANNOTATE)
    keypoints += [f"mediapipe came without {name}: reinstall it" for name in report.mediapipe_models_missing]
    gpu = Ability(
        name="GPU",
        ready=bool(report.gpus),
        note=report.gpus[0].name if report.gpus else report.gpu_problem or "none on this machine",
    )
    return [
        _ability(report, "keypoints", keypoints, "MediaPipe Holistic, on the CPU", "keypoints"),
        _ability(report, "masks, grabcut", [], "no weights needed"),
        _ability(report, "masks, SAM", sam, ", ".join(sizes) + slow, "sam"),
        _ability(report, "captions, template", [], "no weights needed"),
        _ability(report, "captions, LLaVA", _llava_obstacles(report), f"llava-1.5-7b{slow}"),
        _ability(report, "sampling, miniature", [], "its networks come with h2d"),
        _ability(
            report, "sampling, untrained", _unfetched(report, *_UNTRAINED), f"--hand-controlnet controlnet-hands{slow}"
        ),
        _ability(
            report, "other methods", [] if others else ["no weights: see h2d models list"], ", ".join(others) + slow
        ),
        _ability(report, "training, tiny", [], "configs/tiny_hand.yaml, configs/tiny_outpaint.yaml"),
        _ability(report, "training", _unfetched(report, *_TRAINED_FROM), f"hand and outpaint{slow}"),
        _ability(report, "FID and KID", _unfetched(report, "inception-v3-fid"), "Inception, of h2d evaluate"),
        _ability(report, "CLIPSIM", _unfetched(report, "clip-vit-base-patch16"), "CLIP, of h2d evaluate"),
        _ability(report, "Ray workers", _uninstalled(report, "ray", "pip install ray"), "local or cluster"),
        gpu,
    ]


def _ability(report: Report, name: str, obstacles: list[str], note: str, *breaks: str) -> Ability:
    """Ready when nothing is in the way and no clash takes it away."""
    broken = {ability for clash in report.clashes for ability in clash.breaks}
    why = ["packages clash, see above"] * bool(broken & {"prepare", *breaks}) + obstacles
    return Ability(name=name, ready=not why, note=why[0] if why else note)


def _uninstalled(report: Report, name: str, remedy: str) -> list[str]:
    return [] if report.packages[name] else [f"{name} is not installed: {remedy}"]


def _unfetched(report: Report, *weights: str) -> list[str]:
    """The weights that are not here, each with its remedy."""
    return [f"no weights: h2d models fetch {name}" for name in weights if not report.models[name]]


def _llava_obstacles(report: Report) -> list[str]:
    obstacles = _unfetched(report, "llava-1.5-7b")
    room = max((gpu.memory_bytes for gpu in report.gpus), default=report.machine.memory_bytes)
    needed = LLAVA_BYTES["gpu" if report.gpus else "cpu"]
    if room < needed:
        kind = "GPU memory" if report.gpus else "memory"
        obstacles.append(f"needs about {_gb(needed)} of {kind}, there are {_gb(room)}")
    return obstacles


def print_report(report: Report) -> None:
    """For a person, at most 80 columns."""
    own = report.h2d or "(not installed, run from its source)"
    console.print(f"[bold]h2d[/bold] {own}, Python {report.python}, {report.machine.system}", highlight=False)
    _heading("Packages")
    console.print(
        Columns([f"{name} {version}" for name, version in report.packages.items() if version], padding=(0, 2)),
        highlight=False,
    )
    absent = [name for name, version in report.packages.items() if not version and name not in facts.OPENCV]
    if absent:
        console.print(f"not installed: {', '.join(absent)}", style="yellow", highlight=False)
    for clash in report.clashes:
        console.print(Text(f"clash: {clash.problem}", style="red"))
        console.print(Text(f"  remedy: {clash.remedy}"), soft_wrap=True)
    if not report.clashes:
        console.print("no clashes", style="green")
    _heading("Machine")
    _print_rows(_machine_rows(report))
    _heading("Models")
    _print_models(report)
    _heading("Ready for")
    state = {True: "[green]yes[/green]", False: "[yellow]no[/yellow]"}
    _print_rows([(ability.name, state[ability.ready], ability.note) for ability in abilities(report)])


def _machine_rows(report: Report) -> list[tuple[str, str]]:
    here = report.machine
    available = f", {_gb(here.memory_available_bytes)} available" if here.memory_available_bytes is not None else ""
    rows = [
        ("cores", f"{here.cores:g}"),
        ("memory", f"{_gb(here.memory_bytes)}{available}"),
        ("disk", f"{_gb(here.disk_free_bytes)} free in this folder"),
    ]
    if here.shared_memory_bytes is not None:
        small = "; too small for Ray: docker run --shm-size=2g" if here.shared_memory_bytes < 1 << 30 else ""
        rows.append(("/dev/shm", f"{_gb(here.shared_memory_bytes)}{small}"))
    rows += [("GPU", f"{gpu.name}, {_gb(gpu.memory_bytes)}") for gpu in report.gpus]
    return rows if report.gpus else [*rows, ("GPU", report.gpu_problem or "none")]


def _print_models(report: Report) -> None:
    for name, place in report.models.items():
        if place:
            console.print(f"{name}: {place}", soft_wrap=True, highlight=False)
    absent = [name for name, place in report.models.items() if not place]
    if absent:
        console.print(f"not here: {', '.join(absent)}", highlight=False)
    console.print(f"looked in {report.models_folder} and the Hugging Face cache", soft_wrap=True, highlight=False)
    if report.packages["mediapipe"]:
        missing = ", ".join(report.mediapipe_models_missing)
        console.print(f"bundled with mediapipe: {f'all but {missing}' if missing else 'all there'}", highlight=False)


def _print_rows(rows: Sequence[tuple[str, ...]]) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*row)
    console.print(table, highlight=False)


def _heading(text: str) -> None:
    console.print(f"\n[bold]{text}[/bold]")


def _gb(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.0f} GB" if size_bytes >= 10e9 else f"{size_bytes / 1e9:.1f} GB"
