"""What pictures are asked for: new ones, or those of a picture's record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from h2d.config import validate_config
from h2d.errors import UserError
from h2d.infer.options import SampleOptions
from h2d.infer.provenance import pose_of
from h2d.pose.pose import Pose


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One picture to be made."""

    prompt: str
    pose: Pose
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Pictures of one prompt and pose: one a seed."""

    prompt: str
    pose: Pose
    seeds: tuple[int, ...]
    options: SampleOptions
    only: int | None = None
    """The one seed whose picture is wanted of a batch that is made again as a whole, for its bits."""

    @property
    def wanted_seeds(self) -> tuple[int, ...]:
        """Those whose pictures are wanted."""
        return self.seeds if self.only is None else (self.only,)

    @property
    def count(self) -> int:
        """How many pictures are wanted."""
        return len(self.wanted_seeds)

    def items(self) -> list[Item]:
        """One a seed."""
        return [Item(prompt=self.prompt, pose=self.pose, seed=seed) for seed in self.seeds]


def request_of(record: Mapping[str, Any], name: str) -> Request:
    """The request that a record is of, in its whole batch; raises `UserError` naming the file where it is none."""
    try:
        return Request(
            prompt=record["prompt"],
            pose=pose_of(record["pose"]),
            seeds=tuple(record["batch_seeds"]),
            options=validate_config(SampleOptions, record["options"], where=name),
            only=int(record["seed"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name}: its record is damaged: give a PNG as h2d sample wrote it") from None


def varied(
    request: Request,
    *,
    prompt: str | None = None,
    pose: Pose | None = None,
    seeds: tuple[int, ...] | None = None,
    options: SampleOptions,
) -> Request:
    """The request with some of it changed; without new seeds, of its own picture alone."""
    if prompt is None and pose is None and seeds is None and options == request.options:
        return request
    assert request.only is not None
    return Request(
        prompt=request.prompt if prompt is None else prompt,
        pose=pose or request.pose,
        seeds=seeds or (request.only,),
        options=options,
    )
