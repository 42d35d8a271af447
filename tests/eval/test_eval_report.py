"""The report: tables as the paper's, reasons for every dash, text escaped, figures drawn."""

import html
import json
import re
import shutil
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from h2d.errors import UserError
from h2d.eval.figures import channel_grid, hand_window, write_figures
from h2d.eval.measured import Interval, Measured
from h2d.eval.methods import MethodOptions
from h2d.eval.options import LookConfig
from h2d.eval.placing import Silent
from h2d.eval.report import warnings, write_reports
from h2d.eval.report_charts import colours_of, pck_curves
from h2d.eval.report_formats import as_latex, as_markdown, latex
from h2d.eval.report_making import making_sheet
from h2d.eval.report_remarks import Remark, gathered
from h2d.eval.report_sections import conventions, difference_rows, every_measure, part_tables, sheets
from h2d.eval.report_tables import main_table, number_text
from h2d.eval.results import read_results
from h2d.eval.run import Placing, evaluate_methods
from h2d.eval.settings import settings_of
from h2d.pose.layouts import HANDS


@pytest.fixture(scope="module")
def finished(module_fakes, picture_list, choices, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "run"
    options = MethodOptions(batch_size=4, device="cpu")
    results = evaluate_methods(["shifted", "far", "nobody"], picture_list, out, options, choices, Silent(), Placing())
    return out, results


def test_the_main_table_has_the_papers_rows_then_real_then_ours(finished):
    table = main_table(finished[1])
    kinds = [line.kind for line in table.lines]
    assert kinds == ["published"] * 6 + ["real"] + ["ours"] * 3
    assert [cell.text for cell in table.lines[5].cells][:7] == [
        "0.77", "0.75", "0.047", "0.081", "34.01", "1.81", "0.75 ± 0.045",
    ]  # fmt: skip
    assert [column.heading for column in table.columns][:7] == [
        "DAP", "DAP hands", "MPJPE", "MPJPE hands", "CLIPSIM", "FID fg", "KID fg",
    ]  # fmt: skip
    best = {line.title: line.cells[2].is_best for line in table.lines if line.kind == "ours"}
    assert best == {"Shifted": True, "Far": False, "Nobody": False}


def test_every_format_is_titled_by_what_was_measured_and_when(finished, picture_list):
    out, results = finished
    on = "8 pictures of drawn, split test"
    page, markdown, tex = ((out / f"report.{kind}").read_text() for kind in ("html", "md", "tex"))
    assert f"<h1>Evaluation on {on}</h1>" in page
    assert re.search(f"<title>.*Shifted.* on {on}</title>", page)
    assert markdown.startswith(f"# Evaluation on {on}\n")
    assert tex.count(f"{on}, list {picture_list.sha256[:12]}") == tex.count(r"\caption{")
    assert results.measured_on == datetime.now(timezone.utc).date().isoformat()
    for text in (page, markdown, tex):
        assert f"Measured {results.measured_on}" in text


def test_a_list_of_a_training_split_is_told(finished):
    results = finished[1]
    trained = replace(results, picture_list={**results.picture_list, "split": "train"})
    assert "Split train: networks that were trained on this very manifest have seen these pictures." in warnings(
        trained
    )
    assert not any("Split" in warning for warning in warnings(results))


def test_the_real_pictures_are_no_method_that_could_be_best(finished):
    """Not even where they have the same number."""
    results = finished[1]
    real, shifted = (next(one for one in results.methods if one.name == name) for name in ("real", "shifted"))
    same = replace(real, measures={**real.measures, "mpjpe": shifted.measures["mpjpe"]})
    table = main_table(replace(results, methods=(same, *results.methods[1:])))
    best = {line.title: line.cells[2].is_best for line in table.lines if line.kind != "published"}
    assert best["Shifted"]
    assert not best[real.title]


def test_every_dash_has_its_reason_and_nothing_is_nan(finished):
    out, results = finished
    for line in main_table(results).lines:
        for cell in line.cells:
            assert cell.reason if cell.text == "–" else cell.text
    for name in ("report.html", "report.md", "report.tex", "results.json"):
        assert not re.search(r"\bnan\b", (out / name).read_text(), re.IGNORECASE), name


def test_markdown_and_latex_hold_the_same_numbers(finished):
    table = main_table(finished[1])
    markdown, tex = as_markdown(table), as_latex(table, "Methods & more.")
    for line in table.lines:
        for cell in line.cells:
            number = cell.text.split(" ")[0]
            if number != "–":
                assert number in markdown
                assert number in tex
    assert r"Methods \& more." in tex
    assert tex.count(r"\\") == len(table.lines) + 1
    assert tex.count("&") - tex.count(r"\&") == (len(table.lines) + 1) * len(table.columns)
    assert markdown.splitlines()[1].count("---:") == len(table.columns)


def section(page, name):
    """A section of the page, as text."""
    return html.unescape(page.split(f'<h2 id="{name}">')[1].split("<h2 id=")[0])


def test_the_page_draws_every_measure_and_curve(finished):
    out, results = finished
    charts = section((out / "report.html").read_text(), "charts")
    for title in ("DAP", "DAP hands", "MPJPE", "MPJPE hands", "PCK: all points", "PCK: points of the hands"):
        assert f"<b>{title}</b>" in charts
    assert charts.count("<svg") == 4 + 2
    assert charts.count("<circle") == 4 * len(results.methods)
    assert charts.count("<polyline") == 2 * len(results.methods)
    for method in results.methods:
        assert f"{method.title}: {method.measures['mpjpe'].value:.3f}" in charts


def test_curves_reach_their_share_at_the_distance_of_the_shift(finished):
    results = finished[1]
    curves = pck_curves("All points", "all", results, colours_of(results))
    heights = {curve.title: [float(point.split(",")[1]) for point in curve.points.split()] for curve in curves.curves}
    bottom, top = (at for at, share in curves.y_marks if share in ("0%", "100%"))
    assert set(heights["Nobody"]) == {bottom}
    assert heights["Shifted"][0] == bottom
    assert heights["Shifted"][-1] == top
    assert len(heights["Far"]) == len(results.pck_thresholds)
    assert pck_curves("None", "feet", results, {}) is None


def test_parts_of_the_list_are_on_the_page_with_their_numbers(finished):
    out, results = finished
    page = (out / "report.html").read_text()
    for name, which in (("gestures", "gestures"), ("sizes", "hand_sizes")):
        tables = part_tables(results.methods, which)
        assert [table.short for table in tables] == [
            "dap_hands", "mpjpe_hands", "oks_hands", "found_hands", "finger_count", "dap",
        ]  # fmt: skip
        shown = section(page, name)
        for table in tables:
            assert f"<b>{table.title}</b><span>{table.better}</span>" in shown
            for part, count, bars in table.rows:
                assert f'<td>{part}</td><td class="num">{count}</td>' in shown
                for text, share, reason in bars:
                    assert f'<span class="rate-text">{text}</span>' in shown
                    assert 0 <= share <= 1
                    assert reason if text == "–" else not reason
        far = table_of(tables, "mpjpe_hands").heads.index("Far")
        assert {bars[far][0] for _, _, bars in table_of(tables, "mpjpe_hands").rows} == {"0.250"}


def test_parts_of_which_nothing_is_measured_are_one_table_of_counts(finished, picture_list, tmp_path):
    """Six of dashes said no more; an empty bar beside a dash reads as a zero."""
    results = finished[1]
    few = Measured(name="x", value=None, reason="fewer than 10 pictures", num_pictures=1, higher_is_better=True)
    empty = [
        [replace(part, measures=dict.fromkeys(part.measures, few)) for part in method.gestures]
        for method in results.methods
    ]
    methods = tuple(
        replace(method, gestures=tuple(parts)) for method, parts in zip(results.methods, empty, strict=True)
    )
    (table,) = part_tables(methods, "gestures")
    assert [count for _, count, _ in table.rows] == [part.num_pictures for part in results.methods[0].gestures]
    out = Path(shutil.copytree(finished[0], tmp_path / "run"))
    page = write_reports(replace(results, methods=methods), picture_list, out).read_text()
    assert "rate-bar" not in section(page, "gestures")
    assert "rate-bar" in section(page, "sizes")


def test_measures_whose_names_have_commas_can_be_told_apart(finished):
    named = [names for names, _ in conventions(finished[1].methods, ["oks_hands_bbox", "ar_hands_bbox"])]
    assert all(name.endswith(", by their own area") for name in named[0].split("; "))


def table_of(tables, short):
    return next(table for table in tables if table.short == short)


def test_differences_say_who_is_better_and_why_not(finished):
    out, results = finished
    rows = {(row["method"], row["than"], row["measure"]): row for row in difference_rows(results)}
    assert len(rows) == 2 * 4
    reference = results.differences[0].method
    titles = {method.name: method.title for method in results.methods}
    first, other = titles[reference], next(title for name, title in titles.items() if name not in (reference, "real"))
    row = rows[first, other, "MPJPE"]
    assert row["verdict"] in ("better", "worse", "not told apart")
    shown = section((out / "report.html").read_text(), "differences")
    for row in rows.values():
        assert f"<td>{row['method']} less {row['than']}</td>" in shown
        assert row["difference"] in shown
    nothing = replace(results.differences[0], difference=None, interval=None, p_value=None, reason="no resampling")
    assert difference_rows(replace(results, differences=(nothing,)))[0]["verdict"] == "no resampling"


def test_the_report_says_with_what_each_method_sampled(finished):
    sheet = sheets(finished[1])[0]
    rows = {row[0]: dict(zip(sheet.heads[1:], row[1:], strict=True)) for row in sheet.rows}
    assert list(rows) == [method.title for method in finished[1].methods if not method.is_real]
    assert (rows["Far"]["steps"], rows["Far"]["guidance"]) == ("5", "7.5")
    assert set(rows["Nobody"].values()) == {"–"}
    for name in sheet.heads[1:]:
        assert any(name in reason for reason in sheet.reasons)
    assert any(reason.startswith("skeleton's strength (") and "has none" in reason for reason in sheet.reasons)
    shown = section((finished[0] / "report.html").read_text(), "made")
    assert all(f">{text}</td>" in shown for text in rows["Far"].values())


def test_settings_that_pictures_do_not_share_are_all_told():
    """Those of a run that went on after its weights had stated others."""
    about = [{"settings": {"steps": 5, "eta": 0.0}}, {"settings": {"steps": 5, "eta": 1.0}}, {}]
    assert settings_of({"identity": {}}, about) == {"steps": 5, "eta": [0.0, 1.0]}


def test_another_programs_pictures_have_no_settings_and_a_table_of_none_is_left_out(finished):
    results = finished[1]
    theirs = replace(results.methods[1], made={"identity": {"folder": "x"}}, settings={})
    sheet = making_sheet(replace(results, methods=(theirs, *results.methods[2:])))
    assert any(f"({theirs.title}): another program's pictures" in reason for reason in sheet.reasons)
    assert making_sheet(replace(results, methods=(theirs,))) is None


def test_every_measure_is_on_the_page(finished):
    out, results = finished
    shown = section((out / "report.html").read_text(), "every")
    rows = every_measure(results.methods)
    assert {row["short"] for row in rows} == {short for method in results.methods for short in method.measures}
    for row in rows:
        assert f'<td title="{row["short"]}">{row["name"]} {row["arrow"]}</td>' in shown
        for cell, method in zip(row["cells"], results.methods, strict=True):
            measured = method.measures[row["short"]]
            assert cell.text in shown
            if measured.value is None:
                assert (cell.text, cell.reason) == ("–", measured.reason)
            else:
                assert float(cell.text) == pytest.approx(measured.value, abs=1e-3)
            assert bool(cell.interval) == (measured.interval is not None)


def test_all_formats_hold_the_same_tables(finished):
    out, results = finished
    markdown, tex, page = ((out / f"report.{kind}").read_text() for kind in ("md", "tex", "html"))
    every = sheets(results)
    sections = list(dict.fromkeys(sheet.section for sheet in every))
    assert sections == ["How each was made", "Paired differences", "By gesture", "By hand size", "All measures"]
    assert tex.count(r"\begin{table*}") == 1 + len(every)
    for sheet in every:
        assert f"## {sheet.section}" in markdown
        assert f"{sheet.section}</h2>" in page
        for row in sheet.rows:
            assert "| " + " | ".join(row) + " |" in markdown
            assert " & ".join(map(latex, row)) in tex
        for remark in (*sheet.reasons, *sheet.notes):
            assert f"- {remark}" in markdown
            assert latex(remark) in tex


def test_latex_tables_say_what_changes_their_numbers_and_why_there_are_dashes(finished, picture_list):
    out, _ = finished
    for table in (out / "report.tex").read_text().split("\n\n"):
        caption, notes = table.split(r"\begin{tabular}")[0], table.split(r"\end{tabular}")[1]
        assert picture_list.sha256[:12] in caption
        assert (r"found\_by fake" in notes) == ("How each was made" not in caption)
        verdicts = "Paired differences" in caption
        rows = [line for line in table.splitlines() if line.endswith(r"\\") and "textcolor" not in line]
        if any(r"& \textendash{} " in line for line in rows) and not verdicts:
            assert "No number. " in notes
    main = (out / "report.tex").read_text().split("\n\n")[0]
    for stated in ("area person", "missing zero", r"enlarged\_px 32", "CLIPSIM: no agreement with the prompts"):
        assert stated in main
    assert "too few for distances between sets" in main


def test_what_must_be_known_of_numbers_stands_below_them_in_every_format(finished, picture_list, tmp_path):
    """Once for all methods of which it holds; the page said it on hover alone, and the other two nowhere."""
    results = finished[1]
    noted = [
        replace(method, measures={**method.measures, "mpjpe": replace(method.measures["mpjpe"], notes=("x is y",))})
        for method in results.methods
    ]
    title = noted[-1].title
    out = Path(shutil.copytree(finished[0], tmp_path / "run"))
    for methods, said in ((noted, "MPJPE: x is y"), ([*results.methods[:-1], noted[-1]], f"MPJPE ({title}): x is y")):
        write_reports(replace(results, methods=tuple(methods)), picture_list, out)
        for name in ("report.html", "report.md", "report.tex"):
            assert (out / name).read_text().count(said) == 2, (name, "the main table and all measures")


def test_remarks_are_gathered_without_saying_more_than_was_said():
    said = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "x")]
    remarks = [Remark(what=what, method=method, text="why") for what, method in said]
    assert gathered(remarks, ["x", "y"]) == ("a; b: why", "c (x): why")
    assert gathered(remarks, ["x", "y", "z"]) == ("a; b (all but z): why", "c (x): why")
    assert gathered(remarks, ["x", "y", "z", "w"]) == ("a; b (x; y): why", "c (x): why")


def test_how_intervals_were_found_is_said_in_every_format_where_there_are_any(finished, picture_list, tmp_path):
    out = Path(shutil.copytree(finished[0], tmp_path / "run"))
    results = finished[1]
    dap = results.methods[0].measures["dap"]
    centred = replace(dap, interval=Interval(low=0, high=1, level=0.95, resamples=20, method="centred"))
    first = replace(results.methods[0], measures={**results.methods[0].measures, "dap": centred})
    distances = replace(results, methods=(first, *results.methods[1:]))
    nothing = replace(results, intervals={**results.intervals, "resamples": 0})
    bootstrap, cut = "intervals by bootstrap, 20 resamples of the pictures", "and cut at 0"
    finer = replace(results, intervals={**results.intervals, "level": 0.999})
    cases = (
        (results, [f"95% {bootstrap}"], [cut]),
        (finer, [f"99.9% {bootstrap}"], []),
        (distances, [bootstrap, cut], []),
        (nothing, [], [bootstrap]),
    )
    for run, said, unsaid in cases:
        write_reports(run, picture_list, out)
        for name in ("report.html", "report.md", "report.tex"):
            text = html.unescape((out / name).read_text()).replace(r"\%", "%")
            assert all(words in text for words in said), name
            assert not any(words in text for words in unsaid), name


def test_letters_that_latex_reads_as_commands_are_escaped():
    assert latex("a_b & 5% {x} \\y ±") == r"a\_b \& 5\% \{x\} \textbackslash{}y $\pm$"
    assert latex("–: --segmenter") == r"\textendash{}: -{}-segmenter"


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.0, 2, "0.00"), (-1e-9, 2, "0.00"), (0.004, 2, "0.004"), (0.126, 2, "0.13"), (33.333, 2, "33.33"),
        (-0.5, 2, "-0.50"),
    ],
)  # fmt: skip
def test_numbers_are_shown_with_enough_decimals(value, decimals, text):
    assert number_text(value, decimals, grow=True) == text
    assert number_text(0.004, 2) == "0.00"


def test_the_page_shows_pictures_and_loads_nothing(finished, picture_list):
    page = (finished[0] / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2 * 8 + 4, "the best and worst four, and four where nobody is found"
    assert not re.search(r'(src|href)="http', page)
    assert "<script" not in page
    for entry in picture_list.entries[:2]:
        assert entry.id in page
    assert "too few for distances between sets" in page
    assert "No hand was found where one was asked for" in page


def test_strangers_text_is_escaped(finished, picture_list, tmp_path):
    out = Path(shutil.copytree(finished[0], tmp_path / "run"))
    path = out / "results.json"
    plain = json.loads(path.read_text())
    plain["methods"][1]["title"] = "<script>alert(1)</script>"
    path.write_text(json.dumps(plain))
    page = write_reports(read_results(out), picture_list, out).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_figures_are_drawn_or_say_why_not(finished, picture_list, tmp_path):
    out, _ = finished
    look = LookConfig(detector="fake", enlarged_px=32, segmenter="selfie", features="random", text="none", device="cpu")
    written = write_figures(out, picture_list, ["shifted", "far"], tmp_path, look, Silent(), numbers=[1, 3])
    by_name = {figure.name: figure for figure in written}
    assert by_name["blends"].path is None
    assert "h2d evaluate ablation" in by_name["blends"].reason
    for name in ("methods", "foregrounds", "inception_channels"):
        picture = cv2.imread(str(by_name[name].path))
        assert picture.std() > 10
    with pytest.raises(UserError, match="--pictures 8: the list has rows 0 to 7"):
        write_figures(out, picture_list, ["far"], tmp_path, look, Silent(), numbers=[8])


def test_all_channels_are_in_the_grid():
    maps = np.random.default_rng(0).normal(size=(192, 35, 35)).astype(np.float32)
    maps[3] = 2
    grid = channel_grid(maps)
    assert grid.shape == (12 * 66, 16 * 66, 3)
    assert grid[1:65, 3 * 66 + 1 : 4 * 66 - 1].std(axis=(0, 1)).max() == 0


def test_the_window_holds_the_larger_hand(picture_list):
    for entry in picture_list.entries:
        left, top, side = hand_window(entry)
        assert 0 <= left <= left + side <= entry.size
        assert 0 <= top <= top + side <= entry.size
        shares = []
        for hand in HANDS.values():
            points = entry.pose.people[0, hand]
            inside = (points[:, :2] >= (left, top)) & (points[:, :2] <= (left + side, top + side))
            shares.append(inside.all(axis=1).mean())
        assert max(shares) > 0.9
