"""`h2d doctor`: whether this installation and machine are fit."""

from dataclasses import asdict
from typing import Annotated

import typer

from h2d.cli.output import print_json


def doctor(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Check packages, models and machine; exit code 1 when packages clash."""
    from h2d.cli.doctor_report import abilities, examine, print_report

    report = examine()
    if as_json:
        print_json({**asdict(report), "ready": [asdict(ability) for ability in abilities(report)]})
    else:
        print_report(report)
    if report.clashes:
        raise typer.Exit(1)
