"""What `h2d manifest stats` prints: a summary as tables."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from h2d.manifests.spread import Spread, together
from h2d.manifests.summary import Summary
from h2d.pose.layouts import SIDES

QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def statistics(summary: Summary) -> dict[str, pd.DataFrame]:
    """Every table that `h2d manifest stats` prints, by its name."""
    return {
        "pictures by gesture and split": _crosstab(summary.pictures, ("gesture", 0), ("split", 1)),
        "hands per picture": _crosstab(summary.pictures, ("num_hands", 2), ("split", 1)),
        "hands found by": _crosstab(summary.hands, ("by", 2), ("side", 1)),
        "checks failed": _crosstab(summary.checks, ("checks", 0), ("side", 1)),
        "masks": mask_rates(summary),
        "why there is no mask": _crosstab(summary.problems, ("problem", 0), ("side", 1)),
        "rejects": _rejects(summary),
        "crops": _crosstab(summary.crops, ("hands", 0), ("split", 1)),
        "sizes": size_quantiles(summary),
    }


def mask_rates(summary: Summary) -> pd.DataFrame:
    """Per side: hands found, masks accepted, their share, and the median share of the picture that a mask covers."""
    rows = {}
    for side in SIDES:
        found = sum(count for (_, own, *_), count in summary.hands.items() if own == side)
        masked = sum(count for (_, own, _, has_mask, _), count in summary.hands.items() if own == side and has_mask)
        rows[side] = {
            "found": found,
            "with mask": masked,
            "share": masked / found if found else np.nan,
            "median coverage": summary.measures["coverage", side].quantile(0.5),
            "median quality": summary.measures["accepted_quality", side].quantile(0.5),
        }
    table = pd.DataFrame.from_dict(rows, orient="index").astype({"found": "int64", "with mask": "int64"})
    return _frame(table.rename_axis("side"))


def size_quantiles(summary: Summary) -> pd.DataFrame:
    """Quantiles of every size and score; see `Spread` for how exact they are."""
    spreads: dict[str, Spread] = {
        "original width px": summary.sizes["source_width"],
        "original height px": summary.sizes["source_height"],
        "working width px": summary.sizes["width"],
        "working height px": summary.sizes["height"],
        "hand px": together(summary.measure("size_px")),
        "hand in original px": together(summary.measure("source_size_px")),
        "hand confidence": together(summary.measure("confidence")),
        "mask px": together(summary.measure("mask_px")),
        "mask quality": together(summary.measure("quality")),
        "crop in original px": summary.sizes["crop"],
    }
    names = [f"{share:.0%}" if 0 < share < 1 else ("min", "max")[int(share)] for share in QUANTILES]
    rows = {name: [spread.quantile(share) for share in QUANTILES] for name, spread in spreads.items()}
    return _frame(pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis("size"))


def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as JSON-ready rows; what is not there is None."""
    rows: list[dict[str, Any]] = []
    for row in table.reset_index().to_dict(orient="records"):
        rows.append({str(key): _plain(value) for key, value in row.items()})
    return rows


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _frame(values: Any) -> pd.DataFrame:
    """A frame by its type's name: pandas' stubs know it on Python 3.11 and later only."""
    frame: pd.DataFrame = pd.DataFrame(values)
    return frame


def _crosstab(counts: Mapping[Any, int], row: tuple[str, int], column: tuple[str, int]) -> pd.DataFrame:
    """Counts by two parts of their keys, with totals; columns in the order train, val, test, others."""
    cells = Counter[tuple[Any, Any]]()
    for key, count in counts.items():
        cells[key[row[1]], key[column[1]]] += count
    names = sorted({name for _, name in cells})
    usual = [name for name in ("train", "val", "test") if name in names]
    columns = usual + [name for name in names if name not in usual]
    rows = sorted({name for name, _ in cells})
    table = pd.DataFrame(
        {name: [cells[each, name] for each in rows] for name in columns},
        index=pd.Index(rows, name=row[0], dtype=None if rows else "object"),
    )
    if len(columns) > 1:
        table["all"] = table.sum(axis=1)
    if len(rows) > 1:
        table.loc["all"] = table.sum()
    return _frame(table)


def _rejects(summary: Summary) -> pd.DataFrame:
    kinds = sorted(summary.rejects.counts.items(), key=lambda item: (-item[1], item[0]))
    index = pd.MultiIndex.from_tuples([kind for kind, _ in kinds], names=["stage", "status", "reason"])
    return _frame(pd.DataFrame({"pictures": [count for _, count in kinds]}, index=index))
