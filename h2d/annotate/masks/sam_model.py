"""Running `segment_anything`: pictures encoded in batches, prompts decoded in batches.

torch is imported at the top: load this from `setup`. Legend: b pictures, p prompts of one length, n points, c channels,
h w a picture, H W the same at the size of the input, y x an embedding, v u low-resolution masks.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor
from torch.nn.functional import interpolate

from h2d.annotate.masks.prompts import Candidates, HandPrompt, size_of
from h2d.annotate.masks.sam_attention import fuse_attention
from h2d.pose.layouts import Side


class PromptedSam:
    """A `segment_anything` model on its device: the encoder in `dtype` and with fused attention, the rest float32."""

    def __init__(self, sam: Any, *, device: torch.device, dtype: torch.dtype) -> None:
        fuse_attention(sam.image_encoder)
        sam.image_encoder.to(dtype=dtype)
        self.sam = sam.to(device)
        self.dtype = dtype

    def candidates(
        self, pictures: Sequence[UInt8[np.ndarray, "h w 3"]], prompts: Sequence[Mapping[Side, HandPrompt]]
    ) -> list[dict[Side, Candidates]]:
        """SAM's four masks for every prompt. Pictures without a prompt are not encoded.

        Prompts are decoded together when they have the same number of points. Filling shorter ones up with "not a
        point" would add tokens that SAM attends to, and a hand's mask would depend on its neighbours in the batch.
        """
        asked = [index for index, hands in enumerate(prompts) if hands]
        offers: list[dict[Side, Candidates]] = [{} for _ in pictures]
        if not asked:
            return offers
        with torch.inference_mode():
            embeddings = self.encode([pictures[index] for index in asked])
            by_length: dict[int, list[tuple[int, int, Side]]] = defaultdict(list)
            for row, index in enumerate(asked):
                for side, prompt in prompts[index].items():
                    by_length[len(prompt.points)].append((row, index, side))
            for group in by_length.values():
                logits, iou = self._decode(
                    embeddings[[row for row, _, _ in group]],
                    [prompts[index][side] for _, index, side in group],
                    [size_of(pictures[index]) for _, index, _ in group],
                )
                for (_, index, side), low, predicted in zip(group, logits, iou.cpu().numpy(), strict=True):
                    masks = self._at_view_size(low, size_of(pictures[index])) > self.sam.mask_threshold
                    offers[index][side] = Candidates(masks=masks.cpu().numpy(), iou=predicted)
        return offers

    def encode(self, pictures: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Float[Tensor, "b c y x"]:
        """The pictures' embeddings, float32, in one call of the encoder."""
        encoder = self.sam.image_encoder
        inputs = [self.sam.preprocess(self._resized(picture)) for picture in pictures]
        embeddings: Tensor = encoder(torch.stack(inputs).to(self.dtype)).float()
        return embeddings

    def _resized(self, picture: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "3 H W"]:
        """The picture with its long side at the model's size, as Pillow's bilinear resize makes it, on the device.

        Pillow resizes along x, rounds to whole levels, then along y: SAM was trained on such pictures.
        """
        height, width = self._input_size(size_of(picture))
        levels = torch.from_numpy(picture).to(self.sam.device).permute(2, 0, 1)[None].float()
        for size in ((picture.shape[0], width), (height, width)):
            levels = interpolate(levels, size=size, mode="bilinear", antialias=True).add_(0.5).floor_()
        return levels[0]

    def _input_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        height, width = ResizeLongestSide.get_preprocess_shape(*size_hw, self.sam.image_encoder.img_size)
        return int(height), int(width)

    def _decode(
        self,
        embeddings: Float[Tensor, "p c y x"],
        prompts: Sequence[HandPrompt],
        sizes_hw: Sequence[tuple[int, int]],
    ) -> tuple[Float[Tensor, "p 4 v u"], Float[Tensor, "p 4"]]:
        """Low-resolution logits and predicted IoU, each prompt on its own embedding, in one call of the decoder."""
        sam, decoder = self.sam, self.sam.mask_decoder
        frames = [self._to_input_frame(prompt, size) for prompt, size in zip(prompts, sizes_hw, strict=True)]
        points, boxes = (torch.from_numpy(np.stack(part)).to(sam.device) for part in zip(*frames, strict=True))
        labels = torch.from_numpy(np.stack([prompt.labels for prompt in prompts])).int().to(sam.device)
        sparse, dense = sam.prompt_encoder(points=(points, labels), boxes=boxes, masks=None)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(len(prompts), -1, -1)
        places = sam.prompt_encoder.get_dense_pe().expand(len(prompts), -1, -1, -1)
        tokens, pixels = decoder.transformer(embeddings + dense, places, torch.cat([own, sparse], dim=1))
        pixels = decoder.output_upscaling(pixels.transpose(1, 2).reshape(embeddings.shape))
        kernels = [head(tokens[:, 1 + index]) for index, head in enumerate(decoder.output_hypernetworks_mlps)]
        logits = torch.einsum("pmc,pchw->pmhw", torch.stack(kernels, dim=1), pixels)
        return logits, decoder.iou_prediction_head(tokens[:, 0])

    def _to_input_frame(
        self, prompt: HandPrompt, size_hw: tuple[int, int]
    ) -> tuple[Float32[np.ndarray, "n 2"], Float32[np.ndarray, " 4"]]:
        """Points and box in the encoder's input. SAM adds half a pixel itself, which our points have already."""
        height, width = self._input_size(size_hw)
        scale = np.array([width / size_hw[1], height / size_hw[0]])
        box = np.array(prompt.box_xyxy).reshape(2, 2) * scale - 0.5
        return (prompt.points * scale - 0.5).astype(np.float32), box.reshape(4).astype(np.float32)

    def _at_view_size(self, logits: Float[Tensor, "4 v u"], size_hw: tuple[int, int]) -> Float[Tensor, "4 h w"]:
        result: Tensor = self.sam.postprocess_masks(logits[None], self._input_size(size_hw), size_hw)[0]
        return result
