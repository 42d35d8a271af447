"""Who is compared on what (IV-D): pictures of a manifest's split, drawn with the split's distribution of gestures.

The same manifest, split, count and seed give the same list; a shorter list of a seed is, gesture by gesture, a part of
the longer one. The list's order is drawn too, so that its beginning stands for the whole.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from h2d.errors import UserError
from h2d.eval.picture_list import Entry, PictureList, rounded
from h2d.manifests.store import Manifest, Place, points_array, points_of
from h2d.pose.layouts import HANDS
from h2d.pose.points import moved, present
from h2d.pose.pose import Pose
from h2d.pose.squares import square_around

NO_GESTURE: Final = "(none)"
_LIGHT: Final = ("id", "gesture", "width", "height", "body", "hand_left_found", "hand_right_found", "caption")
_HEAVY: Final = (
    "id", "gesture", "subject", "width", "height", "body", "caption", "keypoint_source", "captioner",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """A row that can be used."""

    id: str
    gesture: str
    place: Place


def draw_list(manifest: Manifest, *, split: str, count: int, seed: int, size: int = 512) -> PictureList:
    """Draw `count` pictures; raises `UserError` with the counts where the split has too few that can be used.

    Usable is a picture with a caption, its prompt, and with a found hand of which a point lies in the square.
    """
    if count < 1:
        raise UserError(f"-n {count}: a list has at least one picture")
    if split not in manifest.splits("images"):
        raise UserError(f"{manifest.root}: no split {split!r}: choose from {', '.join(manifest.splits('images'))}")
    rows, left_out = _usable_rows(manifest, split)
    if len(rows) < count:
        reasons = "".join(f", {number} without {what}" for what, number in left_out.items() if number)
        raise UserError(
            f"{manifest.root}: split {split} has {len(rows)} pictures to compare on{reasons}, {count} were asked for:"
            f" give -n {len(rows)} or fewer" + _remedy(left_out)
        )
    by_gesture: dict[str, list[_Row]] = {}
    for row in sorted(rows, key=lambda row: _drawn(seed, row.id)):
        by_gesture.setdefault(row.gesture, []).append(row)
    shares = quotas({gesture: len(found) for gesture, found in by_gesture.items()}, count, seed=seed)
    chosen = [row for gesture, share in shares.items() for row in by_gesture[gesture][:share]]
    chosen.sort(key=lambda row: _drawn(seed, row.id))
    values = _values_of(manifest, split, [row.place for row in chosen])
    entries = tuple(
        _entry(number, row.place, value, seed, size)
        for number, (row, value) in enumerate(zip(chosen, values, strict=True))
    )
    facts = {
        "manifest": str(manifest.root),
        "source": manifest.facts.get("source"),
        "manifest_sha256": manifest_hash(manifest),
        "split": split,
        "seed": seed,
        "size": size,
        "framing": "largest square around the person",
        "pose_of": _most_common(value["keypoint_source"] for value in values),
        "prompt_of": _most_common(value["captioner"] for value in values),
        "usable": len(rows),
        "left_out": dict(left_out),
        "gestures": {gesture: share for gesture, share in shares.items() if share},
    }
    return PictureList(entries=entries, facts=facts)


def quotas(counts: Mapping[str, int], total: int, *, seed: int) -> dict[str, int]:
    """`total` shared out in proportion to `counts` by largest remainder; among equal remainders the seed draws."""
    whole = sum(counts.values())
    assert total <= whole, (total, whole)
    exact = {name: total * count for name, count in sorted(counts.items())}
    shares = {name: value // whole for name, value in exact.items()}
    rest = total - sum(shares.values())
    for name in sorted(exact, key=lambda name: (-(exact[name] % whole), _drawn(seed, name)))[:rest]:
        shares[name] += 1
    return shares


def manifest_hash(manifest: Manifest) -> str:
    """Of the manifest's own statement of what it holds, and of its parts' sizes."""
    digest = hashlib.sha256((manifest.root / "manifest.json").read_bytes())
    for part in manifest.parts("images"):
        digest.update(f"{part.parent.name}/{part.name} {part.stat().st_size}\n".encode())
    return digest.hexdigest()


def _usable_rows(manifest: Manifest, split: str) -> tuple[list[_Row], Counter[str]]:
    rows: list[_Row] = []
    left_out: Counter[str] = Counter({"a caption": 0, "a hand in the square": 0})
    for place, table in manifest.row_groups("images", _LIGHT, split):
        bodies = points_array(table["body"])
        for number, values in enumerate(table.drop_columns(["body"]).to_pylist()):
            if not (values["caption"] or "").strip():
                left_out["a caption"] += 1
            elif not _shows_a_hand(values, bodies[number]):
                left_out["a hand in the square"] += 1
            else:
                where = Place(path=place.path, group=place.group, row=number)
                rows.append(_Row(id=values["id"], gesture=values["gesture"] or NO_GESTURE, place=where))
    return rows, left_out


def _shows_a_hand(values: Mapping[str, Any], body: Float32[np.ndarray, "133 3"]) -> bool:
    left, top, side = square_around(body, (values["height"], values["width"]))
    for name, hand in HANDS.items():
        xy = body[hand][present(body[hand]), :2]
        inside = (xy >= (left, top)) & (xy <= (left + side, top + side))
        if values[f"hand_{name}_found"] and inside.all(axis=1).any():
            return True
    return False


def _values_of(manifest: Manifest, split: str, places: Sequence[Place]) -> list[dict[str, Any]]:
    """The rows' values, in the order of `places`; each row group is read once."""
    wanted: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for number, place in enumerate(places):
        wanted.setdefault((str(place.path), place.group), []).append((number, place.row))
    values: list[dict[str, Any]] = [{} for _ in places]
    for place, table in manifest.row_groups("images", _HEAVY, split):
        for number, row in wanted.get((str(place.path), place.group), ()):
            values[number] = table.slice(row, 1).to_pylist()[0]
    return values


def _entry(number: int, place: Place, values: Mapping[str, Any], seed: int, size: int) -> Entry:
    body = points_of(values["body"])
    left, top, side = square_around(body, (values["height"], values["width"]))
    points = rounded(moved(body, scale=size / side, shift=(-left, -top)))
    return Entry(
        number=number,
        id=values["id"],
        pose=Pose(people=points[None], width=size, height=size),
        prompt=" ".join(values["caption"].split()),
        seed=int(_drawn(seed, f"{values['id']} picture")[:8], 16) >> 1,
        size=size,
        gesture=values["gesture"],
        subject=values["subject"],
        place={
            "part": f"{place.path.parent.name}/{place.path.name}",
            "group": place.group,
            "row": place.row,
            "square": [left, top, side],
        },
    )


def _drawn(seed: int, name: str) -> str:
    """A hash stands for a drawn number, so that a row's does not depend on the rows before it."""
    return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()


def _remedy(left_out: Mapping[str, int]) -> str:
    without = left_out.get("a caption", 0)
    return ", or caption the manifest: h2d prepare ... --caption llava" if without else ""


def _most_common(values: Any) -> str | None:
    counted = Counter(value for value in values if value)
    return counted.most_common(1)[0][0] if counted else None
