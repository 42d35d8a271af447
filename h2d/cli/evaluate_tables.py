"""What an evaluation says at its end: the table, what is missing from it, and where the report lies."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table as RichTable
from rich.text import Text

from h2d.cli.console import console
from h2d.cli.output import say

if TYPE_CHECKING:
    from h2d.eval.report_tables import Table
    from h2d.eval.results import Results


def tell(results: "Results", out: Path) -> None:
    """Print the tables without the paper's rows, the warnings, and the report's place."""
    from h2d.eval.report import HTML_FILE, warnings
    from h2d.eval.report_tables import ablation_table, main_table

    for table in (main_table(results), ablation_table(results)):
        if table is not None:
            print_table(table)
    for warning in warnings(results):
        say(warning)
    say(f"Report:      {out / HTML_FILE} (also report.md, report.tex, results.json, per_picture.parquet)")


def print_table(table: "Table") -> None:
    """The lines of this run, without the columns in which none has a number."""
    lines = [line for line in table.lines if line.kind != "published"]
    shown = RichTable(box=None, pad_edge=False, header_style="bold")
    shown.add_column("method", overflow="fold")
    kept = [number for number in range(len(table.columns)) if any(not line.cells[number].reason for line in lines)]
    for number in kept:
        column = table.columns[number]
        shown.add_column(f"{column.heading} {column.arrow}", justify="right", overflow="fold")
    for line in lines:
        cells = [line.cells[number] for number in kept]
        shown.add_row(Text(line.title), *(Text(cell.text, style="bold" if cell.is_best else "") for cell in cells))
    console.print(shown)
