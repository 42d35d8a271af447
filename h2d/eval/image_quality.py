"""Picture quality as the paper measures it (IV-C): FID and KID of Inception features, whole pictures and foregrounds.

Both want many pictures, and their value depends on how many: the number is a convention like others.
"""

from collections.abc import Mapping
from typing import Any

from h2d.config import config
from h2d.errors import UserError
from h2d.eval.feature_distance import FrechetDistance, KernelDistance
from h2d.eval.features import RANDOM, WIDTHS, PictureFeatures
from h2d.eval.measured import Measure, Measures


@config
class QualityConventions:
    """What changes the figures, with torchmetrics' defaults."""

    subsets: int = 100
    subset_size: int = 1000
    """Of KID's subsets; smaller sets are taken whole, and the conventions say so."""
    seed: int = 0
    region: str = "whole"
    """`whole`, or what removed the background and what took its place, as `foreground by sam-vit-h, fill 0`."""

    def __post_init__(self) -> None:
        if self.subsets < 1:
            raise ValueError(f"subsets must be at least 1, got {self.subsets}")
        if self.subset_size < 2:
            raise ValueError(f"subset_size must be at least 2, got {self.subset_size}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")


def quality_measures(
    real: PictureFeatures, made: PictureFeatures, conventions: QualityConventions | None = None, *, paired: bool = True
) -> Measures:
    """FID and KID for every width that both have.

    Short names `fid_192` and `kid_192`, with `_foreground` where the region is not whole; on random weights
    `random_features_frechet_192` and `random_features_kernel_192`, for those distances are no FID and no KID. `paired`:
    the k-th real picture belongs to the k-th generated one, and they are resampled together.

    Raises `UserError` where the sets were computed differently, or are `paired` and not equally many.
    """
    conventions = conventions or QualityConventions()
    if dict(real.identity) != dict(made.identity):
        raise UserError(
            f"features of the real pictures are by {_words(real.identity)}, those of the generated ones by "
            f"{_words(made.identity)}: compute both the same way"
        )
    if paired and real.num_pictures != made.num_pictures:
        raise UserError(
            f"{made.num_pictures} generated pictures for {real.num_pictures} real ones: give one for each picture of "
            "the list, or compare them unpaired"
        )
    widths = [width for width in WIDTHS if width in real.by_width and width in made.by_width]
    if not widths:
        raise UserError("the real and the generated pictures have features of no common width")
    measures: Measures = {}
    for width in widths:
        measures |= _of_width(real, made, width, conventions, paired)
    return measures


def _of_width(
    real: PictureFeatures, made: PictureFeatures, width: int, conventions: QualityConventions, paired: bool
) -> Measures:
    trained = real.identity["features"] != RANDOM
    frechet, kernel = ("fid", "kid") if trained else ("random_features_frechet", "random_features_kernel")
    fg = "" if conventions.region == "whole" else "_fg"
    columns = (f"fid{fg}", f"kid{fg}") if trained else (f"random{fg}", "")
    names = ("FID", "KID") if trained else (f"{RANDOM} Frechet distance", f"{RANDOM} kernel distance")
    region = "" if conventions.region == "whole" else "_foreground"
    sets = real.by_width[width], made.by_width[width]
    smallest = min(real.num_pictures, made.num_pictures)
    stated = {**real.identity, "width": width, "region": conventions.region, "paired": paired}
    subset_size = min(conventions.subset_size, smallest)
    return {
        f"{frechet}_{width}{region}": Measure(
            name=f"{names[0]} {width}{region.replace('_', ', ')}",
            statistic=FrechetDistance(real=sets[0], made=sets[1], paired=paired),
            higher_is_better=False,
            column=columns[0],
            is_distance=True,
            conventions={**stated, "real_pictures": real.num_pictures},
            notes=_frechet_notes(smallest, width),
        ),
        f"{kernel}_{width}{region}": Measure(
            name=f"{names[1]} {width}{region.replace('_', ', ')}",
            statistic=KernelDistance(
                real=sets[0],
                made=sets[1],
                subsets=conventions.subsets,
                subset_size=conventions.subset_size,
                seed=conventions.seed,
                paired=paired,
            ),
            higher_is_better=False,
            column=columns[1],
            is_distance=True,
            conventions={
                **stated,
                "real_pictures": real.num_pictures,
                "subsets": conventions.subsets,
                "subset_size": subset_size,
                "seed": conventions.seed,
            },
            notes=_kernel_notes(subset_size, conventions.subset_size, smallest),
        ),
    }


def _frechet_notes(smallest: int, width: int) -> tuple[str, ...]:
    if smallest > width:
        return ()
    return (f"{smallest} pictures do not fill {width} dimensions: it falls as pictures are added",)


def _kernel_notes(subset_size: int, wanted: int, smallest: int) -> tuple[str, ...]:
    if subset_size < wanted:
        return (f"subsets of {subset_size} instead of {wanted} pictures: there are no more",)
    if smallest / 2 < subset_size < smallest:
        return (f"subsets of {subset_size} of {smallest} pictures share most of them: their spread is too small",)
    return ()


def _words(identity: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in identity.items())
