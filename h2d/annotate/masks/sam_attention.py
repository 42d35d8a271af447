"""SAM's image encoder with fused attention: the same function, without its softmax in memory.

torch is imported at the top: load this from `setup`. Legend: b windows or pictures, n heads, t tokens of one window or
picture, h w its rows and columns, c channels of a head.
"""

from types import MethodType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def fuse_attention(encoder: Any) -> None:
    """Replace the attention of every block of an `ImageEncoderViT`, in place; its weights and its state dict stay."""
    for block in encoder.blocks:
        assert block.attn.use_rel_pos
        block.attn.forward = MethodType(_attend, block.attn)


def _attend(self: Any, features: Float[Tensor, "b h w channels"]) -> Float[Tensor, "b h w channels"]:
    """Attention with SAM's decomposed relative positions, given to the fused kernel as a bias.

    The bias of a pair of tokens is a_row(query, key's row) + a_column(query, key's column).
    """
    b, h, w, _ = features.shape
    projected = self.qkv(features).reshape(b, h * w, 3, self.num_heads, -1)
    query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)  # each: b n t c
    grid = query.unflatten(2, (h, w))
    row_bias = torch.einsum("bnhwc,hkc->bnhwk", grid, _relative(self.rel_pos_h, h))
    column_bias = torch.einsum("bnhwc,wkc->bnhwk", grid, _relative(self.rel_pos_w, w))
    bias = (row_bias[..., :, None] + column_bias[..., None, :]).reshape(b, self.num_heads, h * w, h * w)
    attended = scaled_dot_product_attention(query, key, value, attn_mask=bias)
    result: Tensor = self.proj(attended.transpose(1, 2).reshape(b, h, w, -1))
    return result


def _relative(table: Float[Tensor, "distances c"], size: int) -> Float[Tensor, "size size c"]:
    """The table's vectors by query and key position."""
    assert table.shape[0] == 2 * size - 1
    place = torch.arange(size, device=table.device)
    return table[place[:, None] - place[None, :] + size - 1]
