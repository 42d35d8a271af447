"""`h2d manifest`: check a manifest, count it, look at one picture, export, merge, split and compare."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from h2d.cli.console import console
from h2d.cli.folders import read_location
from h2d.cli.output import print_json, say, write_png

if TYPE_CHECKING:
    import pandas as pd

    from h2d.manifests.difference import TableDifference
    from h2d.manifests.store import Manifest

app = typer.Typer(no_args_is_help=True, help="Check, count, look at, export, merge, split and compare manifests.")

Folder = Annotated[
    Any,
    typer.Argument(metavar="DIR", parser=read_location, help="A manifest's folder or address: manifests/hagrid."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.command()
def validate(
    folder: Folder,
    root: Annotated[
        Any, typer.Option(metavar="DATASET", parser=read_location, help="The dataset's folder: hash the originals too.")
    ] = None,
    json: Json = False,
) -> None:
    """Check files, schemas, sums, names and every row; exit code 1 when something is wrong."""
    from h2d.manifests.store import Manifest
    from h2d.manifests.validate import validate as find_problems

    problems = find_problems(folder, root)
    counts = Manifest(folder).counts
    if json:
        plain = [{"check": one.check, "where": one.where, "message": one.message} for one in problems]
        print_json({"manifest": str(folder), "valid": not problems, "counts": counts, "problems": plain})
    elif problems:
        for problem in problems:
            console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    else:
        console.print(
            f"{folder}: valid: {counts['indexed']:,} indexed = {counts['images']:,} accepted + "
            f"{counts['rejects']:,} left out; {counts['hands']:,} hand crops",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if problems:
        raise typer.Exit(1)


@app.command()
def stats(folder: Folder, json: Json = False) -> None:
    """Count pictures, hands, masks, checks and rejects."""
    from h2d.manifests.stats import plain, statistics
    from h2d.manifests.store import Manifest
    from h2d.manifests.summary import summarise

    manifest = Manifest(folder)
    tables = statistics(summarise(manifest))
    if json:
        rows = {name.replace(" ", "_"): plain(table) for name, table in tables.items()}
        print_json({"manifest": str(folder), "counts": manifest.counts, "tables": rows})
        return
    for name, table in tables.items():
        if len(table):
            _print_table(name, table)


@app.command()
def show(
    folder: Folder,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="The picture's id, or an ending of it that no other has. Left out, the first ids are told.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Where to write. Default: ID.png.")] = None,
    mask_steps: Annotated[
        bool, typer.Option("--mask-steps", help="The paper's figure 3 instead: mask, dilated mask, difference.")
    ] = False,
) -> None:
    """Draw a picture and its hand crops, with keypoints and masks, into a PNG."""
    from h2d.errors import UserError
    from h2d.manifests.overlay import draw_sheet, draw_steps
    from h2d.manifests.store import Manifest

    manifest = Manifest(folder)
    if name is None:
        raise UserError(f"ID is missing: {manifest.root} has {_ids(manifest)}")
    row = manifest.row(name)
    crops = manifest.hands_of(row["id"])
    if mask_steps and all(crop["mask"] is None for crop in crops):
        problems = {row[f"mask_{side}_problem"] for side in ("left", "right")} - {None}
        why = f" ({', '.join(sorted(problems))})" if problems else ""
        raise UserError(f"{row['id']}: none of its {len(crops)} hand crops has a mask{why}: choose another picture")
    path = out or Path(f"{row['id'].replace('/', '_')}{'_mask_steps' if mask_steps else ''}.png")
    write_png(path, draw_steps(crops) if mask_steps else draw_sheet(row, crops))
    console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def export(
    folder: Folder,
    to: Annotated[
        str,
        typer.Option(help="coco (COCO-WholeBody JSON), yolo (hand pose), webdataset (tar shards) or hf (Hub folder)."),
    ],
    out: Annotated[Path, typer.Option(help="The new folder.")],
    table: Annotated[
        str | None, typer.Option(help="images or hands, as far as the form holds it. Default: the form's own.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="This split alone. Default: all.")] = None,
    json: Json = False,
) -> None:
    """Write a manifest in the form of another program."""
    from rich.progress import Progress

    from h2d.cli.console import errors
    from h2d.manifests.export.base import export as export_manifest

    with Progress(console=errors, transient=True, disable=json or not errors.is_terminal) as progress:
        task = progress.add_task(f"export to {to}", total=None)
        rows = export_manifest(folder, out, to, table=table, split=split, on_row=lambda: progress.advance(task))
    if json:
        print_json({"out": out, "rows": rows})
        return
    say(f"{out}: " + ", ".join(f"{name} {count:,}" for name, count in rows.items()) + " rows")


@app.command()
def merge(
    folders: Annotated[
        list[Any], typer.Argument(metavar="DIR DIR ...", parser=read_location, help="Manifests of different pictures.")
    ],
    out: Annotated[Path, typer.Option(help="The new manifest's folder.")],
    json: Json = False,
) -> None:
    """Put several manifests together, their rows unchanged."""
    from h2d.manifests.merge_manifests import merge as merge_manifests

    counts = merge_manifests(folders, out)
    if json:
        print_json({"out": out, "counts": counts})
        return
    say(f"{out}: {counts['indexed']:,} pictures = {counts['images']:,} accepted + {counts['rejects']:,} left out")
    say(f"Next:  h2d manifest validate {out}")


@app.command()
def split(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="The new manifest's folder.")],
    shares: Annotated[str, typer.Option(help="The splits and what each shall hold, in any unit.")] = (
        "train=0.9,val=0.05,test=0.05"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of the order in which people are dealt out.")] = 0,
    json: Json = False,
) -> None:
    """Deal the pictures into other splits, every person into one alone."""
    from h2d.manifests.split_manifest import parse_shares, split_manifest

    pictures = split_manifest(folder, out, parse_shares(shares), seed=seed)
    if json:
        print_json({"out": out, "pictures": pictures})
        return
    say(f"{out}: " + ", ".join(f"{name} {count:,}" for name, count in pictures.items()) + " pictures")
    say(f"Next:  h2d manifest validate {out}")


@app.command()
def diff(first: Folder, second: Folder, json: Json = False) -> None:
    """Say which rows and columns of two manifests differ; exit code 1 when any does."""
    from h2d.manifests.difference import differences, settings_that_differ
    from h2d.manifests.store import Manifest

    manifests = Manifest(first), Manifest(second)
    found = [difference for difference in differences(*manifests) if not difference.is_empty]
    settings = settings_that_differ(*manifests)
    if json:
        print_json({"same": not found, "tables": [asdict(one) for one in found], "made_differently": settings})
    else:
        for one in found:
            _say_difference(one)
        if settings:
            say(f"made differently: {', '.join(settings)}")
        if not found:
            say("the same rows")
    if found:
        raise typer.Exit(1)


def _say_difference(found: "TableDifference") -> None:
    for where, names in (("first", found.only_first), ("second", found.only_second)):
        if names:
            say(f"{found.table}: {len(names):,} only in the {where}: {_some(names)}")
    for column, names in found.changed.items():
        say(f"{found.table}: {column} differs in {len(names):,}: {_some(names)}")


def _ids(manifest: "Manifest") -> str:
    """Some of a manifest's ids, without reading all of them."""
    names = (name for _, rows in manifest.row_groups("images", ["id"]) for name in rows["id"].to_pylist())
    return _some(list(islice(names, 4))) or "no pictures"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _print_table(name: str, table: "pd.DataFrame") -> None:
    from rich.markup import escape
    from rich.table import Table

    flat = table.reset_index()
    num_labels = flat.shape[1] - table.shape[1]
    printed = Table(title=name, title_justify="left", title_style="bold", header_style="dim")
    for number, column in enumerate(flat.columns):
        printed.add_column(escape(str(column)), justify="left" if number < num_labels else "right")
    for row in flat.itertuples(index=False):
        printed.add_row(*(escape(_text(value)) for value in row))
    console.print(printed)
    console.print()


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
