"""The paper's own numbers (Tables I and II), shown beside ours for reference."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

CONVENTIONS: Final = (
    "Published: FG 2024, 12,000 HaGRID test pictures (Table II: 500). The paper states neither the area nor the score"
    " behind DAP, nor the unit of MPJPE, nor the scale of KID: compare the order of methods, not the digits."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """One row of a table of the paper."""

    title: str
    values: Mapping[str, float]
    spread: Mapping[str, float] = field(default_factory=dict)
    decimals: Mapping[str, int] = field(default_factory=dict)


def _row(title: str, *values: float, spread: float, kid_decimals: int = 2) -> Published:
    names = ("dap", "dap_hands", "mpjpe", "mpjpe_hands", "clipsim", "fid_fg", "kid_fg")
    return Published(
        title=title,
        values=dict(zip(names, values, strict=True)),
        spread={"kid_fg": spread},
        decimals={"kid_fg_spread": kid_decimals},
    )


TABLE_1: Final = (
    _row("Stable Diffusion", 0.00, 0.00, 0.381, 0.469, 32.94, 2.40, 1.28, spread=0.30),
    _row("HandRefiner", 0.00, 0.00, 0.380, 0.466, 32.95, 2.33, 1.17, spread=0.28),
    _row("T2I-Adapter", 0.06, 0.11, 0.179, 0.216, 33.09, 2.39, 1.29, spread=0.27),
    _row("HumanSD", 0.31, 0.04, 0.121, 0.236, 32.80, 2.82, 1.58, spread=0.29),
    _row("ControlNet", 0.59, 0.39, 0.094, 0.135, 32.86, 2.34, 1.46, spread=0.34),
    _row("Two-stage", 0.77, 0.75, 0.047, 0.081, 34.01, 1.81, 0.75, spread=0.045, kid_decimals=3),
)
TABLE_2: Final = (
    Published(title="Bounding box", values={"fid": 16.46, "dap": 0.49, "mpjpe": 0.087}),
    Published(title="Naive", values={"fid": 13.03, "dap": 0.58, "mpjpe": 0.062}),
    Published(title="Sequential mask expansion", values={"fid": 12.13, "dap": 0.59, "mpjpe": 0.057}),
)
