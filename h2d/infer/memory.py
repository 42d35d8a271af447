"""How much memory sampling needs, said before anything is loaded, and what would fit instead."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from h2d.errors import UserError
from h2d.machine import as_bytes
from h2d.models.reading import opened_weights

BYTES: Final = {"fp32": 4, "fp16": 2, "bf16": 2}
WORKING_VALUES: Final = 0.4e9
"""Values that the networks hold at once for a picture of 512 x 512 with guidance, beside their weights: the VAE's
decoder holds 0.19e9 by our count, the U-Net and its ControlNet about as many where attention is not written out."""

_BASE_PARTS: Final = ("unet", "vae", "text_encoder")
_MEMINFO: Final = Path("/proc/meminfo")


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Of one batch, in bytes."""

    weights: int
    largest: int
    """What stays on the GPU when the other networks wait in the machine's memory."""
    working: int

    @property
    def whole(self) -> int:
        """With every network on the device."""
        return self.weights + self.working

    @property
    def offloaded(self) -> int:
        """With one U-Net and its ControlNet there at a time."""
        return self.largest + self.working


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a loaded method is checked against before each batch, and before it is loaded."""

    folders: Mapping[str, Path]
    """Of networks by component name, each in its folder or file."""
    precision: str
    device: Any
    offload: bool = False

    def check(self, size_hw: tuple[int, int], batch_size: int, *, loaded: bool) -> None:
        """Raise `UserError` when a batch of pictures of one size will not fit, with what would."""
        height, width = size_hw
        need = need_of(self._values, precision=self.precision, num_pixels=height * width, batch_size=batch_size)
        what = f"a picture of {width} x {height}"
        check_memory(
            replace(need, weights=0) if loaded else need,
            available_bytes(self.device),
            on_gpu=self.device.type == "cuda",
            offload=self.offload,
            batch_size=batch_size,
            what=what if batch_size == 1 else f"a batch of {batch_size} pictures of {width} x {height}",
        )

    @cached_property
    def _values(self) -> dict[str, int]:
        return {name: count_values(folder) for name, folder in self.folders.items()}


def need_of(values: Mapping[str, int], *, precision: str, num_pixels: int, batch_size: int) -> Need:
    """Of networks by component name, each with the number of its values."""
    width = BYTES[precision]
    steered = values.get("unet", 0) + values.get("controlnet", 0) + values.get("hand_controlnet", 0)
    return Need(
        weights=width * sum(values.values()),
        largest=width * max(steered, values.get("hand_unet", 0) + values.get("hand_controlnet", 0)),
        working=round(width * WORKING_VALUES * batch_size * num_pixels / 512**2 * min(1.0, _share(values))),
    )


def network_folders(places: Mapping[str, Path]) -> dict[str, Path]:
    """The networks at some places: of a base in folders those that are read, else what lies there."""
    found: dict[str, Path] = {}
    for name, place in places.items():
        parts = {f"{name} {part}": place / part for part in _BASE_PARTS if (place / part).is_dir()}
        found |= parts or {name: place}
    return found


def count_values(place: Path) -> int:
    """Values in a folder's safetensors files, or in one file, by their headers; of two precisions the full one's."""
    files = [place] if place.is_file() else sorted(place.glob("*.safetensors"))
    full = [file for file in files if not file.name.endswith(".fp16.safetensors")]
    total = 0
    for file in full or files:
        with opened_weights(file) as opened:
            for key in opened.keys():  # noqa: SIM118  # it is no mapping
                size = 1
                for length in opened.get_slice(key).get_shape():
                    size *= length
                total += size
    return total


def available_bytes(device: Any) -> int | None:
    """Free memory of a CUDA device, what torch keeps of it at hand included, or of the machine; None if not known."""
    import torch

    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    if device.type != "cpu" or not _MEMINFO.is_file():
        return None
    for line in _MEMINFO.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def check_memory(need: Need, available: int | None, *, on_gpu: bool, offload: bool, batch_size: int, what: str) -> None:
    """Raise `UserError` when it will not fit, with what would."""
    wanted = need.offloaded if offload else need.whole
    if available is None or wanted <= available:
        return
    remedies = []
    if on_gpu and not offload and need.offloaded <= available:
        remedies.append(f"--offload (about {as_bytes(need.offloaded)})")
    one = wanted - need.working + need.working // batch_size
    if batch_size > 1 and one <= available:
        remedies.append("--batch-size 1")
    place = "GPU memory" if on_gpu else "memory"
    advice = " or ".join(remedies) or ("--device cpu, or a larger GPU" if on_gpu else "a smaller --size")
    raise UserError(f"{what} needs about {as_bytes(wanted)} of {place}, {as_bytes(available)} are free: use {advice}")


def _share(values: Mapping[str, int]) -> float:
    """Widths beside those of Stable Diffusion 1.5's U-Net: what networks hold goes by them, weights by their square."""
    return float((max(values.values(), default=0) / 860e6) ** 0.5)
