"""`h2d models`: the weights that h2d knows, where they are, and how they get here."""

from pathlib import Path
from typing import Annotated

import typer

from h2d.cli.console import console, errors
from h2d.cli.output import print_json
from h2d.errors import UserError

app = typer.Typer(help="List, fetch and verify model weights.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Models folder; else $H2D_MODELS, else ~/.cache/h2d/models."),
]
Name = Annotated[str, typer.Argument(help="A name of `h2d models list`.", show_default=False)]


@app.command(name="list")
def list_weights(
    folder: Folder = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show all weights: what for, how large, under which licence, and where found."""
    from rich.table import Table

    from h2d.infer.baselines import NEEDS
    from h2d.models.weights import WEIGHTS, find, models_folder

    places = {name: find(name, folder=folder) for name in WEIGHTS}
    if as_json:
        rows = [
            {
                "name": name,
                "about": weights.about,
                "size_bytes": weights.size_bytes,
                "licence": weights.licence,
                "origin": weights.origin,
                "revision": weights.revision,
                "how": weights.how(name),
                "methods": [method for method, needed in NEEDS.items() if name in needed],
                "found": str(places[name]) if places[name] else None,
            }
            for name, weights in WEIGHTS.items()
        ]
        print_json(rows)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for header in ("name", "for", "size", "licence", "found"):
        table.add_column(header, justify="right" if header == "size" else "left", no_wrap=header in ("name", "size"))
    for name, weights in WEIGHTS.items():
        found = "[green]yes[/green]" if places[name] else "no"
        table.add_row(name, weights.about, f"{weights.size_bytes / 1e9:.1f} GB", weights.licence, found)
    console.print(table)
    for name, place in places.items():
        if place:
            console.print(f"{name}: {place}", soft_wrap=True, highlight=False)
    console.print(f"Models folder: {folder or models_folder()}", soft_wrap=True, highlight=False)
    for method, needed in NEEDS.items():
        lacking = [name for name in needed if not places[name]]
        state = f"lacks {', '.join(lacking)}" if lacking else "ready"
        console.print(f"h2d sample --method {method}: {state}", soft_wrap=True, highlight=False)
    console.print("Fetch one: h2d models fetch NAME", highlight=False)
    for name, weights in WEIGHTS.items():
        if weights.by_hand and not places[name]:
            console.print(f"{name}: {weights.by_hand}", soft_wrap=True, highlight=False)


@app.command(name="fetch")
def fetch_weights(name: Name, folder: Folder = None) -> None:
    """Download weights; goes on where an interrupted download stopped."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from h2d.models.weights import fetch, weights_named

    weights = weights_named(name)
    if weights.by_hand:
        raise UserError(f"{name}: no program may fetch it: {weights.by_hand}")
    console.print(
        f"{name}: {weights.size_bytes / 1e9:.1f} GB from {weights.origin}, licence {weights.licence}",
        soft_wrap=True,
        highlight=False,
    )
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=errors, transient=True) as bar:
        task = bar.add_task(name, total=weights.size_bytes, visible=False)
        place = fetch(
            name,
            folder=folder,
            progress=lambda done, total: bar.update(task, completed=done, total=total, visible=True),
        )
    console.print(f"{name}: at {place}", soft_wrap=True, highlight=False)


@app.command(name="verify")
def verify_weights(
    name: Annotated[str | None, typer.Argument(help="One name; else all that are found.", show_default=False)] = None,
    folder: Folder = None,
) -> None:
    """Compare sizes and checksums, file by file; exit code 1 if any is wrong."""
    from h2d.models.weights import WEIGHTS, find, verify

    names = [name] if name else [known for known in WEIGHTS if find(known, folder=folder)]
    if not names:
        console.print("No weights found here. Fetch one: h2d models fetch NAME", highlight=False)
    wrong = False
    for each in names:
        for check in verify(each, folder=folder):
            bad = check.status not in ("ok", "unchecked")
            wrong = wrong or bad
            note = "no checksum known" if check.status == "unchecked" else check.status
            console.print(f"{each}/{check.path}: {note}", style="red" if bad else None, soft_wrap=True, highlight=False)
    if wrong:
        errors.print("h2d: some files are wrong: delete them and fetch again", style="red")
        raise typer.Exit(1)


@app.command(name="convert")
def convert_weights(
    source: Annotated[Path, typer.Argument(help="A pickled checkpoint: .ckpt, .pth, .bin.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.", show_default=False)],
) -> None:
    """Write a pickled checkpoint's tensors as safetensors, without running what it says."""
    from h2d.models.conversion import convert_pickle

    count = convert_pickle(source, target)
    console.print(f"{target}: {count} tensors", soft_wrap=True, highlight=False, markup=False)
