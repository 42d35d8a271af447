"""CLIPSIM: how well a picture agrees with its caption, by CLIP (the paper's IV-C).

100 times the cosine of CLIP's embeddings of picture and text, averaged over pictures, as torchmetrics' CLIPScore. The
paper's values, near 33, are those of `openai/clip-vit-base-patch16`, which HumanSD's evaluation takes too.
torch and transformers are imported inside. Axis legend: n pictures, d dimensions, h w pixels.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from PIL import Image

from h2d.errors import UserError
from h2d.eval.measured import Measure, Measures, Ratio, mean_of
from h2d.hashes import sha256_of

MODELS: Final = ("clip-vit-base-patch16", "clip-vit-large-patch14")
"""Names of `h2d.models.weights`; the first is the paper's."""

_WEIGHT_FILES: Final = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextEmbeddings:
    """Captions as CLIP sees them."""

    rows: Float32[np.ndarray, "n d"]
    """Of length 1."""
    num_tokens: Int64[np.ndarray, " n"]
    """Of each whole caption, start and end included: CLIP reads the first 77, so a longer one is cut."""


class ClipModel:
    """CLIP from a folder in transformers' format, frozen, in float32. Never uses the network."""

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        from transformers import CLIPTokenizer

        weights = _weights_file(folder)
        self._pixels = _Preprocessing.of(folder)
        self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = _model(folder, weights).float().eval().requires_grad_(False).to(device)
        self._device = device
        self.max_tokens: int = self._model.config.text_config.max_position_embeddings
        self.identity: Mapping[str, Any] = {"clip": folder.name, "weights": sha256_of(weights)[:16]}
        """JSON-ready: two figures compare only where it is equal."""

    def pictures(
        self, pictures: Iterable[UInt8[np.ndarray, "_ _ 3"]], *, batch_size: int = 32
    ) -> Float32[np.ndarray, "n d"]:
        """Embeddings of length 1 of pictures of any sizes, read as they are needed; raises `UserError` for none."""
        import torch

        rest, rows = iter(pictures), []
        while batch := [self._pixels.apply(picture) for picture in islice(rest, batch_size)]:
            with torch.inference_mode():
                pixels = torch.from_numpy(np.stack(batch)).to(self._device)
                rows.append(_unit(self._model.get_image_features(pixel_values=pixels)))
        if not rows:
            raise UserError("no pictures to compare with their captions")
        return np.concatenate(rows)

    def texts(self, texts: Sequence[str], *, batch_size: int = 64) -> TextEmbeddings:
        """Embeddings of captions; those that are too long are cut, and all are counted.

        Raises `UserError` where there is none, or one is empty.
        """
        import torch

        empty = [number for number, text in enumerate(texts) if not text.strip()]
        if empty or not texts:
            raise UserError(f"caption {empty[0]} of the list is empty" if empty else "no captions to compare with")
        whole = self._tokenizer(list(texts), verbose=False)["input_ids"]
        rows = []
        for start in range(0, len(texts), batch_size):
            tokens = self._tokenizer(
                list(texts[start : start + batch_size]),
                padding=True,
                truncation=True,
                max_length=self.max_tokens,
                return_tensors="pt",
            ).to(self._device)
            with torch.inference_mode():
                rows.append(
                    _unit(
                        self._model.get_text_features(
                            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
                        )
                    )
                )
        return TextEmbeddings(
            rows=np.concatenate(rows), num_tokens=np.array([len(tokens) for tokens in whole], np.int64)
        )


def alignment_measures(pictures: Float32[np.ndarray, "n d"], texts: TextEmbeddings, *, model: ClipModel) -> Measures:
    """`clipsim` with what changes it; raises as the function of that name."""
    statistic = clipsim(pictures, texts)
    num_cut = int((texts.num_tokens > model.max_tokens).sum())
    note = f"{num_cut} of {len(pictures)} captions are longer than {model.max_tokens} tokens and were cut"
    return {
        "clipsim": Measure(
            name="CLIPSIM",
            statistic=statistic,
            higher_is_better=True,
            column="clipsim",
            decimals=2,
            conventions={**model.identity, "max_tokens": model.max_tokens, "longer": "cut"},
            notes=(note,) if num_cut else (),
        )
    }


def clipsim(pictures: Float32[np.ndarray, "n d"], texts: TextEmbeddings) -> Ratio:
    """The mean of 100 cos of each picture with its own caption; `texts` in the order of the pictures.

    Raises `UserError` where there are not as many captions as pictures.
    """
    if len(pictures) != len(texts.rows):
        raise UserError(f"{len(texts.rows)} captions for {len(pictures)} pictures: give one for each, in their order")
    return mean_of(100 * (pictures.astype(np.float64) * texts.rows).sum(axis=1))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Preprocessing:
    """What `preprocessor_config.json` says, done by Pillow wherever it runs.

    transformers would take torchvision where that is installed, and give slightly other numbers.
    """

    shortest_edge: int
    crop_hw: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, folder: Path) -> "_Preprocessing":
        file = folder / "preprocessor_config.json"
        try:
            stated = json.loads(file.read_text())
            size, crop = stated["size"], stated["crop_size"]
            edge = size["shortest_edge"] if isinstance(size, dict) else size
            crop_hw = (crop["height"], crop["width"]) if isinstance(crop, dict) else (crop, crop)
            return cls(
                shortest_edge=int(edge),
                crop_hw=(int(crop_hw[0]), int(crop_hw[1])),
                mean=tuple(stated["image_mean"]),
                std=tuple(stated["image_std"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: not CLIP's preprocessing: {type(error).__name__} {error}") from None

    def apply(self, picture: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "3 y x"]:
        """Shrink or enlarge to the shortest edge, cut the middle, scale the levels."""
        height, width = picture.shape[:2]
        short = min(height, width)
        long = int(self.shortest_edge * max(height, width) / short)
        size = (self.shortest_edge, long) if width <= height else (long, self.shortest_edge)
        resized = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC), np.float32)
        top, left = (resized.shape[0] - self.crop_hw[0]) // 2, (resized.shape[1] - self.crop_hw[1]) // 2
        middle = resized[top : top + self.crop_hw[0], left : left + self.crop_hw[1]]
        scaled = (middle / 255 - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1), np.float32)


def _weights_file(folder: Path) -> Path:
    """The first that is there; raises `UserError` where the folder lacks anything."""
    for name in ("config.json", "preprocessor_config.json", "vocab.json", "merges.txt"):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: {name} is missing: it is no CLIP of transformers: h2d models fetch {MODELS[0]}")
    for name in _WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder}: neither {' nor '.join(_WEIGHT_FILES)}: get it: h2d models fetch {MODELS[0]}")


def _model(folder: Path, weights: Path) -> Any:
    """The network; raises `UserError` where its file is damaged or lacks a tensor, which transformers would invent."""
    from transformers import CLIPModel

    try:
        model, loaded = CLIPModel.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=weights.suffix == ".safetensors",
            weights_only=True,
            output_loading_info=True,
        )
    except UnpicklingError:  # torch's own words advise to run what the file holds
        raise UserError(f"{weights}: damaged, or holds more than tensors: h2d models fetch {MODELS[0]}") from None
    except Exception as error:  # noqa: BLE001  # what damaged files raise depends on their bytes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{weights}: cannot be read: {reason}: h2d models fetch {MODELS[0]}") from None
    if loaded["missing_keys"]:
        first = sorted(loaded["missing_keys"])[0]
        raise UserError(
            f"{weights}: not the weights of this CLIP: {len(loaded['missing_keys'])} missing, first {first}"
        )
    return model


def _unit(features: Any) -> Float32[np.ndarray, "n d"]:
    """Of length 1; version 5 of transformers wraps what version 4 gave as it is."""
    rows = features if hasattr(features, "norm") else features.pooler_output
    return np.asarray((rows / rows.norm(dim=-1, keepdim=True)).cpu().numpy(), np.float32)
