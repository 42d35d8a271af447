"""The report: tables as the paper's, reasons for every dash, text escaped, figures drawn."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from h2d.errors import UserError
from h2d.eval.figures import channel_grid, hand_window, write_figures
from h2d.eval.methods import MethodOptions
from h2d.eval.options import LookConfig
from h2d.eval.placing import Silent
from h2d.eval.report import write_reports
from h2d.eval.report_formats import as_latex, as_markdown, latex
from h2d.eval.report_tables import main_table, number_text
from h2d.eval.results import read_results
from h2d.eval.run import Placing, evaluate_methods
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


def test_letters_that_latex_reads_as_commands_are_escaped():
    assert latex("a_b & 5% {x} \\y ±") == r"a\_b \& 5\% \{x\} \textbackslash{}y $\pm$"


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
