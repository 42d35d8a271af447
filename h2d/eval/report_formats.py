"""The report's tables as GitHub's Markdown and as LaTeX."""

from collections.abc import Iterable, Sequence
from typing import Final

from h2d.eval.report_tables import Cell, Sheet, Table


def as_markdown(table: Table) -> str:
    """A table of GitHub's Markdown; intervals behind the numbers, the paper's rows in italics."""
    heads = ["Method", *(f"{column.heading} {column.arrow}" for column in table.columns)]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * len(table.columns)]
    for line in table.lines:
        cells = [_markdown_cell(cell, line.kind) for cell in line.cells]
        title = f"*{line.title} (published)*" if line.kind == "published" else line.title
        lines.append("| " + " | ".join([title, *cells]) + " |")
    return "\n".join(lines)


def markdown_sheet(sheet: Sheet) -> str:
    """A table of words as GitHub's Markdown."""
    rows = [sheet.heads, ("---",) * len(sheet.heads), *sheet.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _markdown_cell(cell: Cell, kind: str) -> str:
    text = f"**{cell.text}**" if cell.is_best else f"*{cell.text}*" if kind == "published" else cell.text
    return f"{text} ({cell.interval})" if cell.interval else text


_LATEX: Final = {
    "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": r"\textendash{}",
    "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip


def latex(text: str) -> str:
    """Any text for LaTeX; options keep both of their hyphens."""
    return "".join(_LATEX.get(letter, letter) for letter in text).replace("--", "-{}-")


def as_latex(table: Table, caption: str, notes: Sequence[str] = ()) -> str:
    """A `table*` for booktabs and xcolor: the paper's rows in grey, the best of ours in bold, intervals small."""
    rows = []
    before = ""
    for line in table.lines:
        if before == "published" and line.kind != "published":
            rows.append(r"\midrule")
        before = line.kind
        cells = [
            latex(line.title + (" (published)" if line.kind == "published" else "")),
            *map(_latex_cell, line.cells),
        ]
        if line.kind == "published":
            cells = [rf"\textcolor{{gray}}{{{cell}}}" for cell in cells]
        rows.append(_latex_row(cells))
    heads = ["Method", *(f"{column.heading} {column.arrow}" for column in table.columns)]
    return _latex_table(heads, rows, caption, notes)


def latex_sheet(sheet: Sheet, caption: str, notes: Sequence[str] = ()) -> str:
    """A table of words as a `table*` for booktabs."""
    return _latex_table(sheet.heads, [_latex_row(map(latex, row)) for row in sheet.rows], caption, notes)


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_table(heads: Sequence[str], rows: Sequence[str], caption: str, notes: Sequence[str]) -> str:
    lines = [
        r"\begin{table*}",
        r"  \centering",
        f"  \\caption{{{latex(caption)}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"    \toprule",
        "    " + _latex_row(map(latex, heads)),
        r"    \midrule",
        *(f"    {row}" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
    ]
    if notes:
        lines += [r"  \par\smallskip\footnotesize\raggedright", *(f"  {latex(note)}\\par" for note in notes)]
    return "\n".join([*lines, r"\end{table*}"])


def _latex_cell(cell: Cell) -> str:
    text = rf"\textbf{{{latex(cell.text)}}}" if cell.is_best else latex(cell.text)
    return rf"{text} {{\scriptsize [{latex(cell.interval)}]}}" if cell.interval else text
