"""`report.html`: one page, without network, by which a person judges a manifest.

It reads the light columns of every row, and of the pictures only those few that it shows: at most `MAX_PICTURES`.
Names, captions and messages are strangers' text: the template escapes everything.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pandas as pd
from jaxtyping import UInt8
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from h2d.images import DecodeError, encode_jpeg, fit_long_side, load_rgb, resize
from h2d.manifests.charts import HEIGHT, WIDTH, Histogram, Rate, RateRow, histogram
from h2d.manifests.files import write_text
from h2d.manifests.overlay import FINGER_COLOURS, SIDE_COLOURS, Window, draw_crop, draw_picture
from h2d.manifests.stats import Frames, load_frames, mask_rates
from h2d.manifests.store import Manifest, Place
from h2d.manifests.wording import STAGES, flat, readable, tool, tools
from h2d.pose.layouts import SIDES
from h2d.pose.points import extent_xywh

REPORT_FILE: Final = "report.html"
MAX_PICTURES: Final = 36
_RANDOM, _WORST, _CROPS, _REJECTS = 8, 4, 8, 8
assert _RANDOM + 3 * _WORST + _CROPS + _REJECTS == MAX_PICTURES

_PICTURE_SIDE: Final = 640
_CROP_SIDE: Final = 384
_PICTURE_BYTES: Final = 140_000
"""A picture's share of a page below 8 MB, of which base64 takes a third."""
_MAX_ROWS: Final = 60
"""Of a table; the rest are summed up in one row."""
_MAX_NAMES: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A picture on the page, or the reason why it cannot be shown."""

    name: str
    data_uri: str | None
    width: int = 0
    height: int = 0
    notes: tuple[str, ...] = ()
    caption: str | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Figures under a heading; `none` says it when there are none."""

    title: str
    about: str
    figures: tuple[Figure, ...]
    none: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A reason or a kind of finding, how often it occurs and the first names."""

    title: str
    count: int
    names: tuple[str, ...]
    detail: str = ""


def write_report(root: Path, source_root: Path | None = None, *, seed: int = 0) -> Path:
    """Write `report.html` into a manifest's folder; with the dataset's folder, rejected pictures are shown too."""
    manifest = Manifest(root)
    frames = load_frames(manifest)
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("report.html.j2")
    random = np.random.default_rng(seed)
    page = template.render(
        manifest=manifest,
        totals=_totals(frames, manifest),
        made_by=_made_by(frames, manifest),
        rates=_rates(frames),
        charts=_charts(frames),
        chart_size=(WIDTH, HEIGHT),
        gestures=_gestures(frames),
        groups=_picture_groups(manifest, frames, random),
        crops=_crop_group(manifest, frames, random),
        rejects=_reject_listings(frames),
        reject_figures=_reject_figures(frames, source_root),
        source_given=source_root is not None,
        findings=_findings(manifest),
        fingers=FINGER_COLOURS,
        sides=SIDE_COLOURS,
    )
    path = root / REPORT_FILE
    write_text(path, page)
    return path


def _totals(frames: Frames, manifest: Manifest) -> dict[str, Any]:
    counts = manifest.counts
    pictures, hands = frames.pictures, frames.hands
    return {
        "indexed": counts["indexed"],
        "accepted": len(pictures),
        "rejected": len(frames.rejects),
        "adds_up": len(pictures) + len(frames.rejects) == counts["indexed"],
        "hands": len(hands),
        "crops": len(frames.crops),
        "with_hand": Rate(part=int((pictures["num_hands"] > 0).sum()), whole=len(pictures)),
        "with_two": Rate(part=int((pictures["num_hands"] > 1).sum()), whole=len(pictures)),
        "masked": Rate(part=int(hands["mask_px"].notna().sum()), whole=len(hands)),
        "clean": Rate(part=int((hands["num_failed"] == 0).sum()), whole=len(hands)),
        "splits": [(split, int((pictures["split"] == split).sum())) for split in manifest.splits("images")],
        "people": int(pictures["subject"].nunique()),
    }


def _made_by(frames: Frames, manifest: Manifest) -> list[dict[str, Any]]:
    columns = {"pose": "keypoint_source", "mask": "segmenter", "caption": "captioner"}
    made_by = []
    for name, facts in manifest.facts.get("stages", {}).items():
        values = flat(facts)
        fingerprint = values.pop("fingerprint", "")
        used = frames.pictures[columns[name]].dropna().unique() if name in columns else []
        made_by.append(
            {
                "title": STAGES.get(name, readable(name).capitalize()),
                "tools": tools(used) if name in columns else "",
                "fingerprint": fingerprint,
                "options": {key.removeprefix("options."): value for key, value in values.items()},
            }
        )
    return made_by


def _rates(frames: Frames) -> list[RateRow]:
    pictures = frames.pictures.assign(gesture=frames.pictures["gesture"].fillna("(none)"))
    hands = frames.hands.assign(gesture=frames.hands["gesture"].fillna("(none)"))
    names = list(pictures["gesture"].value_counts().sort_index().index)
    if len(names) > _MAX_ROWS:
        kept = set(pictures["gesture"].value_counts().index[: _MAX_ROWS - 1])
        others = f"({len(names) - len(kept)} others)"
        for frame in (pictures, hands):
            frame["gesture"] = frame["gesture"].where(frame["gesture"].isin(kept), others)
        names = [*sorted(kept), others]
    rows = [_rate_row(name, pictures[pictures["gesture"] == name], hands[hands["gesture"] == name]) for name in names]
    return [*rows, _rate_row("all", pictures, hands)] if len(rows) != 1 else rows


def _rate_row(name: str, pictures: pd.DataFrame, hands: pd.DataFrame) -> RateRow:
    return RateRow(
        name=name,
        num_pictures=len(pictures),
        rates={
            "a hand found": Rate(part=int((pictures["num_hands"] > 0).sum()), whole=len(pictures)),
            "both hands": Rate(part=int((pictures["num_hands"] > 1).sum()), whole=len(pictures)),
            "mask accepted": Rate(part=int(hands["mask_px"].notna().sum()), whole=len(hands)),
            "passes all checks": Rate(part=int((hands["num_failed"] == 0).sum()), whole=len(hands)),
        },
    )


def _charts(frames: Frames) -> list[Histogram]:
    hands = frames.hands
    charts = (
        histogram("Hand size in the original", hands["source_size_px"].to_numpy("float64"), unit=" px"),
        histogram("Crop size in the original", frames.crops["crop_px"].to_numpy("float64"), unit=" px"),
        histogram("Keypoint confidence", hands["confidence"].to_numpy("float64"), limits=(0, 1)),
        histogram("Mask quality", hands["quality"].to_numpy("float64"), limits=(0, 1)),
    )
    return [chart for chart in charts if chart is not None]


def _gestures(frames: Frames) -> list[tuple[str, Rate]]:
    counts = frames.pictures["gesture"].fillna("(none)").value_counts()
    most = int(counts.max()) if len(counts) else 0
    kept = [(str(name), Rate(part=int(count), whole=most)) for name, count in counts.items()]
    if len(kept) <= _MAX_ROWS:
        return kept
    others = int(counts.iloc[_MAX_ROWS - 1 :].sum())
    return [*kept[: _MAX_ROWS - 1], (f"({len(kept) - _MAX_ROWS + 1} others)", Rate(part=others, whole=max(most, others)))]


def _picture_groups(manifest: Manifest, frames: Frames, random: np.random.Generator) -> list[Group]:
    pictures, hands = frames.pictures, frames.hands
    chosen = np.sort(random.choice(len(pictures), min(_RANDOM, len(pictures)), replace=False))
    failed = hands[hands["num_failed"] > 0].sort_values("num_failed", ascending=False, kind="stable")
    worst = (
        (
            "Lowest mask quality",
            "The segmenter's own score, worst first: does the tint cover the hand and only the hand?",
            hands.dropna(subset=["quality"]).sort_values("quality", kind="stable"),
            "No mask has a score.",
        ),
        (
            "Most checks failed",
            "Keypoints that are kept, but look wrong by size, place or shape.",
            failed,
            "Every found hand passes every check.",
        ),
        (
            "Smallest hands",
            "By the long side of the hand in the original picture.",
            hands.sort_values("source_size_px", kind="stable"),
            "No hand was found.",
        ),
    )
    first = Group(
        title="Random pictures",
        about=f"{len(chosen)} of {len(pictures):,}, drawn with a fixed seed: what the data is like.",
        figures=tuple(_picture(manifest, frames, int(number)) for number in chosen),
        none="No picture was accepted.",
    )
    return [first, *(_worst(manifest, frames, *group) for group in worst)]


def _worst(manifest: Manifest, frames: Frames, title: str, about: str, hands: pd.DataFrame, none: str) -> Group:
    shown = hands.drop_duplicates("picture").head(_WORST)
    figures = (_picture(manifest, frames, int(hand["picture"]), hand["side"]) for _, hand in shown.iterrows())
    return Group(title=title, about=about, figures=tuple(figures), none=none)


def _picture(manifest: Manifest, frames: Frames, number: int, side: str | None = None) -> Figure:
    """A picture with everything drawn: all of it, or the surroundings of one hand."""
    picture = frames.pictures.iloc[number]
    place = Place(path=manifest.parts("images")[picture["part"]], group=picture["group"], row=picture["row"])
    row = manifest.at(place)
    window = None if side is None else _around(row, side)
    drawn = draw_picture(row, long_side=_PICTURE_SIDE, window_xywh=window)
    sides = SIDES if side is None else (side,)
    notes = [note for name in sides if row[f"hand_{name}_found"] for note in _notes(row, name)]
    return _figure(row["id"], drawn, notes or ["no hand found"], row["caption"])


def _notes(row: dict[str, Any], side: str) -> Iterable[str]:
    by = row[f"hand_{side}_by"]
    yield f"{side} hand" + (f" by {tool(by)}" if by else "")
    if row[f"mask_{side}"] is not None:
        quality = row[f"mask_{side}_quality"]
        yield f"{side} mask {row[f'mask_{side}_px']:,} px" + ("" if quality is None else f", quality {quality:.2f}")
    elif row[f"mask_{side}_problem"]:
        yield f"{side}: no mask, {readable(row[f'mask_{side}_problem'])}"
    for check in row[f"hand_{side}_checks"] or []:
        yield f"{side}: {readable(check)}"


def _around(row: dict[str, Any], side: str) -> Window:
    """A square of about four times the hand, inside the picture, at least a quarter of it."""
    points = np.asarray(row[f"hand_{side}"], np.float32).reshape(-1, 3)
    left, top, width, height = extent_xywh(points)
    size = round(max(4 * max(width, height), 0.25 * max(row["width"], row["height"])))
    window_width, window_height = min(size, row["width"]), min(size, row["height"])
    x = int(np.clip(round(left + width / 2 - window_width / 2), 0, row["width"] - window_width))
    y = int(np.clip(round(top + height / 2 - window_height / 2), 0, row["height"] - window_height))
    return x, y, window_width, window_height


def _crop_group(manifest: Manifest, frames: Frames, random: np.random.Generator) -> Group:
    chosen = set(random.choice(len(frames.crops), min(_CROPS, len(frames.crops)), replace=False).tolist())
    figures = []
    before = 0
    for place, ids in manifest.row_groups("hands", ["id"]):
        for number in sorted(chosen & set(range(before, before + ids.num_rows))):
            row = manifest.at(Place(path=place.path, group=place.group, row=number - before))
            notes = [f"{row['hands']} hand{'s' if row['hands'] == 'both' else ''}"]
            notes.append("no mask" if row["mask"] is None else f"mask {row['mask_px']:,} px")
            notes.append(f"cut from {row['crop_box_xywh'][2]:.0f} px")
            figures.append(_figure(row["id"], draw_crop(row, long_side=_CROP_SIDE), notes, None))
        before += ids.num_rows
    about = f"{len(figures)} of {len(frames.crops):,}, at random: what the hand generator is trained on."
    return Group(title="Training crops", about=about, figures=tuple(figures), none="There is no crop.")


def _reject_listings(frames: Frames) -> list[Listing]:
    groups = frames.rejects.groupby(["stage", "status", "reason"])
    listings = [
        Listing(
            title=readable(reason),
            count=len(rows),
            names=tuple(rows["id"].head(_MAX_NAMES)),
            detail=f"{STAGES.get(stage, stage)}, {status}" + _first_message(rows),
        )
        for (stage, status, reason), rows in groups
    ]
    return _shortened(sorted(listings, key=lambda listing: -listing.count))


def _first_message(rows: pd.DataFrame) -> str:
    messages = rows["message"].dropna()
    return f": {messages.iloc[0]}" if len(messages) else ""


def _reject_figures(frames: Frames, source_root: Path | None) -> list[Figure]:
    """Rejected pictures in turn by reason, as they lie in the dataset's folder."""
    if source_root is None or frames.rejects.empty:
        return []
    rejects = frames.rejects.dropna(subset=["source_path"])
    turn = rejects.groupby(["stage", "reason"]).cumcount()
    shown = rejects.assign(turn=turn).sort_values("turn", kind="stable").head(_REJECTS)
    return [_reject_figure(row, source_root.resolve()) for row in shown.to_dict(orient="records")]


def _reject_figure(row: dict[Any, Any], source_root: Path) -> Figure:
    path = (source_root / row["source_path"]).resolve()
    notes = (readable(row["reason"]), STAGES.get(row["stage"], row["stage"]))
    if not path.is_relative_to(source_root) or not path.is_file():
        return Figure(name=row["id"], data_uri=None, notes=notes, problem="the original is not there")
    try:
        picture = load_rgb(path)
    except (DecodeError, OSError) as error:
        return Figure(name=row["id"], data_uri=None, notes=notes, problem=str(error))
    return _figure(row["id"], resize(picture, fit_long_side(*picture.shape[:2], _PICTURE_SIDE)), notes, None)


def _findings(manifest: Manifest) -> list[Listing]:
    found = manifest.unmatched.to_pandas()
    listings = [
        Listing(
            title=readable(kind),
            count=len(rows),
            names=tuple(rows["name"].head(_MAX_NAMES)),
            detail=", ".join(f"{split} {count:,}" for split, count in rows["split"].value_counts().items()),
        )
        for kind, rows in found.groupby("kind")
    ]
    return _shortened(sorted(listings, key=lambda listing: -listing.count))


def _shortened(listings: Sequence[Listing]) -> list[Listing]:
    rest = listings[_MAX_ROWS:]
    if not rest:
        return list(listings)
    return [*listings[:_MAX_ROWS], Listing(title=f"{len(rest)} rarer ones", count=sum(one.count for one in rest), names=())]


def _figure(name: str, picture: UInt8[np.ndarray, "h w 3"], notes: Iterable[str], caption: str | None) -> Figure:
    data = _small_jpeg(picture)
    return Figure(
        name=name,
        data_uri=f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}",
        width=picture.shape[1],
        height=picture.shape[0],
        notes=tuple(notes),
        caption=caption,
    )


def _small_jpeg(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """A JPEG below the limit: first by quality, then by size."""
    while True:
        for quality in (84, 70, 50, 30):
            data = encode_jpeg(picture, quality=quality)
            if len(data) <= _PICTURE_BYTES:
                return data
        picture = np.asarray(cv2.resize(picture, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA), np.uint8)
