"""Masks of hands that come without one, by the segmenters of the data preparation.

Axis legend: s crop size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from h2d.annotate.base import HandView
from h2d.annotate.masks import SEGMENTERS
from h2d.pose.layouts import Side
from h2d.registry import resolve


def segmented(
    views: Sequence[tuple[UInt8[np.ndarray, "s s 3"], Mapping[Side, Float32[np.ndarray, "21 3"]]]], name: str
) -> list[Float32[np.ndarray, "s s"]]:
    """The mask of the hands in each picture, 0 or 1, by a segmenter of that name; empty where it finds none."""
    segmenter: Any = _segmenter(name)
    segmenter.setup()
    try:
        answers = segmenter.segment([HandView(picture=picture, hands=hands) for picture, hands in views])
    finally:
        segmenter.close()
    masks = []
    for (picture, _), answer in zip(views, answers, strict=True):
        joined = np.zeros(picture.shape[:2], bool)
        for found in answer.values():
            if found.mask is not None:
                joined |= found.mask
        masks.append(joined.astype(np.float32))
    return masks


def _segmenter(name: str) -> Any:
    kind = resolve(SEGMENTERS, name, kind="segmenter")
    if name != "sam":
        return kind()
    from h2d.models.weights import locate

    return kind(checkpoint=locate("sam-vit-h"))
