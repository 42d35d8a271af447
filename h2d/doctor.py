"""What this machine offers: packages and the pins that clash, cores, memory, disk, GPU. Imports no heavy package."""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.version import Version

from h2d.machine import num_cores, version_of

DISTRIBUTION: Final = "hand-to-diffusion"
OPENCV: Final = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
PACKAGES: Final = (
    *("torch", "torchvision", "diffusers", "transformers", "accelerate", "numpy", "pyarrow", "pandas"),
    *("mediapipe", "protobuf", "segment-anything", *OPENCV, "ray", "pycocotools", "huggingface-hub"),
)
BUNDLED: Final = (
    "pose_detection/pose_detection.tflite",
    "pose_landmark/pose_landmark_full.tflite",
    "holistic_landmark/hand_recrop.tflite",
    "hand_landmark/hand_landmark_full.tflite",
    "palm_detection/palm_detection_full.tflite",
    "face_landmark/face_landmark.tflite",
)
"""Below `mediapipe/modules`: what Holistic at complexity 1 and Hands read."""
ANNOTATE: Final = "pip install 'hand-to-diffusion[annotate]'"
GPU_NODES: Final = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Where no such device is, torch finds no GPU either, and need not be asked."""
GPU_QUESTION: Final = """
import torch
if torch.cuda.is_available():
    for number in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(number)
        print(f"{device.name}|{device.total_memory}")
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clash:
    """Two packages that do not work together, or one that is missing."""

    problem: str
    remedy: str
    breaks: tuple[str, ...]
    """The abilities that it takes away: `keypoints`, `sam`, `llava`, `prepare`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One device that torch can use."""

    name: str
    memory_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What there is to work with; None where the system does not say."""

    system: str
    cores: float
    memory_bytes: int
    memory_available_bytes: int | None
    disk_free_bytes: int
    shared_memory_bytes: int | None


def versions() -> dict[str, str | None]:
    """Every package that matters and its version, None where it is not installed."""
    return {name: version_of(name) for name in PACKAGES}


def clashes(installed: Mapping[str, str | None], *, has_solutions: bool, torchvision_needs: str | None) -> list[Clash]:
    """The known bad combinations among these versions, the remedy for each in one line."""
    found = {name: Version(version) for name, version in installed.items() if version}
    numpy, mediapipe, torch = found.get("numpy"), found.get("mediapipe"), found.get("torch")
    pyarrow, protobuf, torchvision = found.get("pyarrow"), found.get("protobuf"), found.get("torchvision")
    result: list[Clash] = []

    def add(problem: str, remedy: str, *breaks: str) -> None:
        result.append(Clash(problem=problem, remedy=remedy, breaks=breaks))

    if mediapipe and not has_solutions:
        add(f"mediapipe {mediapipe} has no `solutions`", "pip install mediapipe==0.10.21", "keypoints")
    if mediapipe and mediapipe <= Version("0.10.21"):
        if numpy and numpy.major >= 2:
            add(f"mediapipe {mediapipe} needs numpy<2, found {numpy}", "pip install 'numpy>=1.26,<2'", "keypoints")
        if protobuf and protobuf.major >= 5:
            add(f"mediapipe {mediapipe} needs protobuf<5, found {protobuf}", "pip install 'protobuf<5'", "keypoints")
    if pyarrow and numpy and pyarrow.major >= 26 and numpy.major < 2:
        add(f"pyarrow {pyarrow} refuses numpy {numpy}", "pip install 'pyarrow>=17,<26'", "prepare")
    owners = {name: found[name] for name in OPENCV if name in found}
    if len(set(owners.values())) > 1:
        named = " and ".join(f"{name} {version}" for name, version in owners.items())
        remedy = f"pip uninstall -y {' '.join(owners)} && pip install opencv-python-headless=={max(owners.values())}"
        add(f"{named} overwrite each other's cv2", remedy, "prepare")
    if torch and torchvision:
        if torchvision_needs and torch not in Requirement(torchvision_needs).specifier:
            remedy = f"pip install '{torchvision_needs}', or the torchvision made for torch {torch.public}"
            add(f"torchvision {torchvision} is made for {torchvision_needs}, found {torch}", remedy, "sam")
        elif (torch.local == "cpu") != (torchvision.local == "cpu"):
            remedy = "install both from the same package index"
            add(f"torch {torch} and torchvision {torchvision} are a CPU and a CUDA build", remedy, "sam")
    return result


def unmet_requirements() -> list[Clash]:
    """Core packages that are missing or too old; nothing when h2d runs from its source folder, not installed."""
    try:
        texts = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    result = []
    for requirement in map(Requirement, texts):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = version_of(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            problem = f"h2d needs {requirement.name}{requirement.specifier}, found {version or 'none'}"
            remedy = f"pip install '{requirement.name}{requirement.specifier}'"
            result.append(Clash(problem=problem, remedy=remedy, breaks=("prepare",)))
    return result


def mediapipe_folder() -> Path | None:
    """Where the mediapipe package lies, if it is installed."""
    spec = importlib.util.find_spec("mediapipe")
    return Path(spec.origin).parent if spec and spec.origin else None


def missing_bundled_models() -> list[str]:
    """The models that should have come with mediapipe and are not there; all of them without mediapipe."""
    folder = mediapipe_folder()
    return [name for name in BUNDLED if not (folder and (folder / "modules" / name).is_file())]


def has_solutions() -> bool:
    """Whether this mediapipe carries Holistic's Python interface."""
    folder = mediapipe_folder()
    return folder is not None and (folder / "python" / "solutions" / "holistic.py").is_file()


def torchvision_needs() -> str | None:
    """What torchvision's metadata asks of torch, like `torch==2.12.1`."""
    try:
        texts = metadata.requires("torchvision") or []
    except metadata.PackageNotFoundError:
        return None
    wanted = (Requirement(text) for text in texts)
    return next((f"torch{each.specifier}" for each in wanted if each.name == "torch"), None)


def machine(folder: Path) -> Machine:
    """Cores, memory and disk at `folder`, within the limits of the container, if there is one."""
    total, available = _memory()
    shared = Path("/dev/shm")
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cores=_cores(),
        memory_bytes=total,
        memory_available_bytes=available,
        disk_free_bytes=shutil.disk_usage(folder).free,
        shared_memory_bytes=shutil.disk_usage(shared).total if shared.is_dir() else None,
    )


def gpus(*, timeout_s: float = 60.0) -> tuple[list[Gpu], str | None]:
    """The devices that torch can use, and what is wrong when there is one that it cannot.

    Torch is asked in a process of its own, and only where there is a device: it takes seconds, and may crash.
    """
    nodes = [node for node in GPU_NODES if Path(node).exists()]
    if not nodes:
        return [], None
    try:
        answer = subprocess.run(
            [sys.executable, "-c", GPU_QUESTION], capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return [], f"{nodes[0]} is there, but torch did not answer within {timeout_s:.0f} s"
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"])[-1]
        return [], f"{nodes[0]} is there, but torch fails: {last[:160]}"
    found = [line.rsplit("|", 1) for line in answer.stdout.splitlines() if "|" in line]
    devices = [Gpu(name=name, memory_bytes=int(memory)) for name, memory in found]
    return devices, None if devices else f"{nodes[0]} is there, but torch sees no GPU: driver or CPU build of torch?"


def _cores() -> float:
    cores = float(num_cores())
    for group in _control_groups():
        quota = _words(group / "cpu.max")
        if len(quota) == 2 and quota[0].isdigit():
            cores = min(cores, int(quota[0]) / int(quota[1]))
    return cores


def _memory() -> tuple[int, int | None]:
    """Total and available bytes; a container's limit counts when it is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    facts = dict(line.split(":", 1) for line in _lines(Path("/proc/meminfo")) if ":" in line)
    available = int(facts["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in facts else None
    for group in _control_groups():
        limit, used = _words(group / "memory.max"), _words(group / "memory.current")
        if limit and limit[0].isdigit() and int(limit[0]) < total:
            total = int(limit[0])
            left = total - (int(used[0]) if used else 0)
            available = left if available is None else min(available, left)
    return total, available


def _control_groups(root: Path = Path("/sys/fs/cgroup")) -> list[Path]:
    """The control group (version 2) that we run in and those above it; none elsewhere."""
    for line in _lines(Path("/proc/self/cgroup")):
        if line.startswith("0::"):
            own = root / line[3:].lstrip("/")
            return [group for group in (own, *own.parents) if group == root or root in group.parents]
    return []


def _words(file: Path) -> list[str]:
    return " ".join(_lines(file)).split()


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.is_file() else []
