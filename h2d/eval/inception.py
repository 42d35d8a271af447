"""InceptionV3 as FID knows it, cut at the layers whose channels are compared (the paper takes 192).

The blocks are torch-fidelity's, which follow the TensorFlow network of 2015; the walk through them is ours, so that
weights are read without running what a file says, no layer beyond the last one asked for is computed, and the feature
maps can be looked at (the paper's figure 4). Axis legend: b batch, c channels, h w pixels.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import (
    BasicConv2d,
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE_1,
    InceptionE_2,
)

from h2d.errors import UserError
from h2d.eval.features import RANDOM, WIDTHS, PictureFeatures
from h2d.eval.inception_weights import read_inception

Resize: TypeAlias = Literal["tensorflow", "antialias"]
"""To 299 x 299: TensorFlow 1's bilinear resize, which skips pixels, as torchmetrics had it when the paper was written;
or with antialiasing, torchmetrics' default since July 2025. The low layers see the difference."""

SIDE_PX: Final = 299

_LAYERS: Final[dict[int, tuple[tuple[str, Any], ...]]] = {
    64: (
        ("Conv2d_1a_3x3", lambda: BasicConv2d(3, 32, kernel_size=3, stride=2)),
        ("Conv2d_2a_3x3", lambda: BasicConv2d(32, 32, kernel_size=3)),
        ("Conv2d_2b_3x3", lambda: BasicConv2d(32, 64, kernel_size=3, padding=1)),
        ("MaxPool_1", lambda: nn.MaxPool2d(kernel_size=3, stride=2)),
    ),
    192: (
        ("Conv2d_3b_1x1", lambda: BasicConv2d(64, 80, kernel_size=1)),
        ("Conv2d_4a_3x3", lambda: BasicConv2d(80, 192, kernel_size=3)),
        ("MaxPool_2", lambda: nn.MaxPool2d(kernel_size=3, stride=2)),
    ),
    768: (
        ("Mixed_5b", lambda: InceptionA(192, pool_features=32)),
        ("Mixed_5c", lambda: InceptionA(256, pool_features=64)),
        ("Mixed_5d", lambda: InceptionA(288, pool_features=64)),
        ("Mixed_6a", lambda: InceptionB(288)),
        ("Mixed_6b", lambda: InceptionC(768, channels_7x7=128)),
        ("Mixed_6c", lambda: InceptionC(768, channels_7x7=160)),
        ("Mixed_6d", lambda: InceptionC(768, channels_7x7=160)),
        ("Mixed_6e", lambda: InceptionC(768, channels_7x7=192)),
    ),
    2048: (
        ("Mixed_7a", lambda: InceptionD(768)),
        ("Mixed_7b", lambda: InceptionE_1(1280)),
        ("Mixed_7c", lambda: InceptionE_2(2048)),
    ),
}
"""The layers that lead to each width, by the names of the published file."""


class Inception(nn.Module):
    """The network up to the largest of `widths`, frozen, in float32."""

    def __init__(self, widths: Sequence[int], *, resize: Resize = "tensorflow") -> None:
        super().__init__()
        _check_widths(widths)
        self.widths = tuple(sorted(set(widths)))
        self.resize: Resize = resize
        self.identity: Mapping[str, Any] = {}
        for width, layers in _LAYERS.items():
            if width <= self.widths[-1]:
                for name, make in layers:
                    self.add_module(name, make())
        self.requires_grad_(False)
        self.eval()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 2/5 less time on a CPU

    def forward(self, pictures: Float[Tensor, "b 3 299 299"]) -> dict[int, Float[Tensor, "b c"]]:
        """Mean over the map of each channel, for each width; `pictures` as `resized` gives them, stacked."""
        return {
            width: nn.functional.adaptive_avg_pool2d(features, 1).flatten(1) for width, features in self._maps(pictures)
        }

    def maps(self, pictures: Float[Tensor, "b 3 299 299"]) -> dict[int, Float[Tensor, "b c h w"]]:
        """The whole feature map of each width: 35 x 35 at width 192."""
        return dict(self._maps(pictures))

    def resized(self, picture: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "3 299 299"]:
        """A picture as the network takes it, -1..1, on its device."""
        device = next(self.parameters()).device
        levels = torch.from_numpy(np.ascontiguousarray(picture)).to(device).float()
        if self.resize == "tensorflow":
            small = _between(_between(levels, 1), 0).permute(2, 0, 1)
        else:
            size, planes = (SIDE_PX, SIDE_PX), levels.permute(2, 0, 1)[None]
            small = nn.functional.interpolate(planes, size=size, mode="bilinear", align_corners=False, antialias=True)[
                0
            ]
        return (small - 128) / 128

    @torch.inference_mode()
    def features(self, pictures: Iterable[UInt8[np.ndarray, "_ _ 3"]], *, batch_size: int = 32) -> PictureFeatures:
        """Features of pictures of any sizes, RGB 0..255, read as they are needed.

        Raises `UserError` where there are no pictures.
        """
        rows: dict[int, list[np.ndarray]] = {width: [] for width in self.widths}
        for batch in _batches(pictures, batch_size):
            for width, features in self(torch.stack([self.resized(picture) for picture in batch])).items():
                rows[width].append(features.cpu().numpy())
        if not rows[self.widths[0]]:
            raise UserError("no pictures to compute features of")
        by_width = {width: np.concatenate(parts) for width, parts in rows.items()}
        return PictureFeatures(by_width=by_width, identity={**self.identity, "resize": self.resize})

    def _maps(self, pictures: Tensor) -> Iterator[tuple[int, Tensor]]:
        features = pictures
        for width, layers in _LAYERS.items():
            if width > self.widths[-1]:
                return
            for name, _ in layers:
                features = self.get_submodule(name)(features)
            if width in self.widths:
                yield width, features


def load_inception(weights: Path, widths: Sequence[int] = (192,), *, resize: Resize = "tensorflow") -> Inception:
    """The trained network from the published `.pth` file, or from the same weights as `.safetensors`.

    `h2d.models.weights.locate("inception-v3-fid")` finds the file. Raises `UserError` for a file that is absent,
    damaged or another network's, and for a width that there is not.
    """
    _check_widths(widths)
    network = Inception(widths, resize=resize)
    tensors, origin = read_inception(weights)
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    wrong = [name for name, tensor in wanted.items() if name not in tensors or tensors[name].shape != tensor.shape]
    if wrong:
        raise UserError(
            f"{weights}: not the InceptionV3 of FID: {len(wrong)} of {len(wanted)} tensors are missing or of another "
            f"shape, first {wrong[0]}: get it: h2d models fetch inception-v3-fid"
        )
    network.load_state_dict({name: tensors[name] for name in wanted}, strict=False)
    network.identity = {"features": "inception-v3-fid", "weights": origin}
    return network


def random_inception(widths: Sequence[int] = (192,), *, resize: Resize = "tensorflow", seed: int = 0) -> Inception:
    """The same network with random weights, for tests and for machines without the file.

    Distances between its features tell sets apart, but are no FID and no KID, and are never called so.
    """
    _check_widths(widths)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        network = Inception(widths, resize=resize)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    network.identity = {"features": RANDOM, "weights": f"seed {seed}"}
    return network


def _between(levels: Float[Tensor, "h w 3"], axis: int) -> Float[Tensor, "y x 3"]:
    """One axis brought to 299 as TensorFlow 1 does: sample k lies at k * size / 299, between its two neighbours.

    Columns before rows, channels innermost: torch-fidelity's numbers to the bit in a tenth of its time.
    """
    size = levels.shape[axis]
    at = torch.arange(SIDE_PX, device=levels.device) * torch.tensor(size / SIDE_PX)
    low = at.long()
    share = (at - low).reshape(-1, 1) if axis == 1 else (at - low).reshape(-1, 1, 1)
    first = levels.index_select(axis, low)
    return first + (levels.index_select(axis, (low + 1).clamp_max(size - 1)) - first) * share


def _check_widths(widths: Sequence[int]) -> None:
    unknown = [width for width in widths if width not in WIDTHS]
    if unknown or not widths:
        given = ", ".join(str(width) for width in widths) or "none"
        raise UserError(f"Inception widths {given}: choose among {', '.join(str(width) for width in WIDTHS)}")


def _batches(
    pictures: Iterable[UInt8[np.ndarray, "_ _ 3"]], batch_size: int
) -> Iterator[list[UInt8[np.ndarray, "_ _ 3"]]]:
    rest = iter(pictures)
    while batch := list(islice(rest, batch_size)):
        yield batch
