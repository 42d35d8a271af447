"""A run's report: one page without network, and the same tables as Markdown and LaTeX.

Names, prompts and notes are strangers' text: the page escapes everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from h2d.eval.picture_list import PictureList
from h2d.eval.pictures import flat
from h2d.eval.published import CONVENTIONS
from h2d.eval.report_charts import CURVE_HEIGHT, CURVE_WIDTH, DOTS_RIGHT, colours_of, dots, pck_curves
from h2d.eval.report_formats import as_latex, as_markdown, latex_sheet, markdown_sheet
from h2d.eval.report_making import making_sheet
from h2d.eval.report_pictures import ASKED_COLOUR, FOUND_COLOUR, galleries
from h2d.eval.report_sections import (
    about_intervals,
    conventions,
    difference_rows,
    every_measure,
    every_sheet,
    part_tables,
    sheets,
)
from h2d.eval.report_tables import Sheet, Table, ablation_table, main_table
from h2d.eval.results import Results
from h2d.manifests.files import write_text
from h2d.pages import page_template

HTML_FILE: Final = "report.html"
MARKDOWN_FILE: Final = "report.md"
LATEX_FILE: Final = "report.tex"
_MAX_NAMED: Final = 5
FEW_PICTURES: Final = 1000
"""Below it the page says that distances between sets are rough. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MainTables:
    """The paper's two."""

    main: Table
    ablation: Table | None

    @property
    def titled(self) -> list[tuple[str, Table]]:
        """Those that there are, by their titles."""
        return [("Methods", self.main), *([("Blending", self.ablation)] if self.ablation is not None else [])]


def write_reports(results: Results, pictures: PictureList, out: Path) -> Path:
    """Write `report.html`, `report.md` and `report.tex` into a run's folder; the page's path."""
    tables = MainTables(main=main_table(results), ablation=ablation_table(results))
    write_text(out / MARKDOWN_FILE, markdown(results, tables))
    write_text(out / LATEX_FILE, latex_tables(results, tables))
    write_text(out / HTML_FILE, page(results, pictures, out, tables))
    return out / HTML_FILE


def page(results: Results, pictures: PictureList, out: Path, tables: MainTables) -> str:
    """The page."""
    colours = colours_of(results)
    methods = [method for method in results.methods if not method.is_real]
    return page_template(Path(__file__).with_name("report.html.j2")).render(
        results=results,
        main=tables.main,
        ablation=tables.ablation,
        methods=methods,
        measured=measured_of(results),
        warnings=warnings(results),
        intervals=about_intervals(results),
        making=making_sheet(results),
        published=CONVENTIONS,
        charts=[drawn for column in tables.main.columns if (drawn := dots(column, results.methods, colours))],
        legend=[(method.title, colours[method.name]) for method in results.methods],
        curves=[
            one
            for title, which in (("All points", "all"), ("Points of the hands", "hands"))
            if (one := pck_curves(title, which, results, colours))
        ],
        sizes={"curve": (CURVE_WIDTH, CURVE_HEIGHT), "dots": DOTS_RIGHT + 12},
        gestures=part_tables(results.methods, "gestures"),
        hand_sizes=part_tables(results.methods, "hand_sizes"),
        differences=difference_rows(results),
        galleries=galleries(results.methods, pictures, out),
        skeletons={"asked for": ASKED_COLOUR, "found": FOUND_COLOUR},
        every=every_measure(results.methods),
        remarks_on_every=every_sheet(results),
        conventions=conventions(results.methods),
        made={method.title: flat(dict(method.made.get("identity", {}))) for method in methods},
        options=flat(dict(results.options)),
    )


def measured_of(results: Results) -> str:
    """What was measured: `12 pictures of hagrid, split test`."""
    facts = results.picture_list
    count = int(facts["count"])
    source = facts.get("source") or Path(str(facts.get("manifest"))).name
    return f"{count:,} picture{'' if count == 1 else 's'} of {source}, split {facts.get('split')}"


def warnings(results: Results) -> list[str]:
    """What a reader must know before any number."""
    count, said = int(results.picture_list["count"]), []
    if count < FEW_PICTURES:
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        said.append(f"{pictures}: too few for distances between sets, and intervals are wide; the paper has 12,000.")
    if results.picture_list.get("split") == "train":
        said.append("Split train: networks that were trained on this very manifest have seen these pictures.")
    said += [f"Left out: {name}: {why}." for name, why in results.unfinished.items()]
    said += [f"{what.capitalize()}: {why}." for what, why in results.missing.items()]
    for method in results.methods:
        if method.lost:
            named = ", ".join(f"{name} ({how})" for name, how in list(method.lost.items())[:_MAX_NAMED])
            more = f" and {len(method.lost) - _MAX_NAMED} more" if len(method.lost) > _MAX_NAMED else ""
            said.append(f"{method.title}: read as if nobody were in them: {named}{more}.")
    return said


def markdown(results: Results, tables: MainTables) -> str:
    """The tables as GitHub's Markdown."""
    facts = results.picture_list
    intervals = about_intervals(results)
    methods = "; ".join(method.title for method in results.methods if not method.is_real)
    lines = [
        f"# Evaluation on {measured_of(results)}",
        "",
        f"{methods}. Measured {results.measured_on}, list {str(facts['sha256'])[:12]}."
        + (f" In brackets: {intervals}" if intervals else ""),
        "",
        *(f"> {warning}  " for warning in warnings(results)),
        "",
    ]
    for title, table in tables.titled:
        lines += [f"## {title}", "", as_markdown(table), "", CONVENTIONS, "", *_remarked(table)]
    section = ""
    for sheet in sheets(results):
        lines += [f"## {sheet.section}", ""] if sheet.section != section else []
        lines += [f"### {sheet.title}", ""] if sheet.title else []
        lines += [markdown_sheet(sheet), "", *_remarked(sheet)]
        section = sheet.section
    lines += ["## Conventions", ""]
    for names, stated in conventions(results.methods):
        lines += [f"**{names}**: " + "; ".join(f"{name} {value}" for name, value in stated), ""]
    return "\n".join(lines)


def _remarked(table: Table | Sheet) -> list[str]:
    lines = []
    for what, said in (("No number", table.reasons), ("Of the numbers", table.notes)):
        lines += [f"{what}:", "", *(f"- {remark}" for remark in said), ""] if said else []
    return lines


def latex_tables(results: Results, tables: MainTables) -> str:
    """The tables for a paper; below each why it has dashes, and all that changes its numbers."""
    facts = results.picture_list
    about = f"{measured_of(results)}, list {str(facts['sha256'])[:12]}"
    intervals = about_intervals(results)
    brackets = f"{about}; in brackets: intervals." if intervals else f"{about}."
    parts = [
        as_latex(
            table,
            f"{title}. {brackets} {CONVENTIONS}",
            [
                *([intervals] if intervals else []),
                *warnings(results),
                *_latex_remarks(table),
                *_stated(results, _shorts(results, table)),
            ],
        )
        for title, table in tables.titled
    ]
    parts += [
        latex_sheet(
            sheet,
            ". ".join(filter(None, (sheet.section, sheet.title, f"{about}."))),
            [*_latex_remarks(sheet), *_stated(results, sheet.shorts)],
        )
        for sheet in sheets(results)
    ]
    return f"% Measured {results.measured_on}.\n% \\usepackage{{booktabs,xcolor}}\n" + "\n\n".join(parts) + "\n"


def _shorts(results: Results, table: Table) -> list[str]:
    """The measures that stand in a table's columns."""
    shown = {column.name for column in table.columns}
    return [short for method in results.methods for short, one in method.measures.items() if one.column in shown]


def _latex_remarks(table: Table | Sheet) -> list[str]:
    said = ("No number", table.reasons), ("Of the numbers", table.notes)
    return [f"{what}. {'. '.join(remarks)}." for what, remarks in said if remarks]


def _stated(results: Results, shorts: Sequence[str]) -> list[str]:
    return [
        f"{names}: " + "; ".join(f"{name} {value}" for name, value in stated) + "."
        for names, stated in conventions(results.methods, shorts)
    ]
