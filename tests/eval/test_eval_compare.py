"""Two reports: compared where list and conventions are the same, refused where they are not."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from h2d.errors import UserError
from h2d.eval.average_precision import AveragePrecision
from h2d.eval.compare import compare
from h2d.eval.evidence import evidence_of
from h2d.eval.generate import method_folder
from h2d.eval.measured import REPEATS
from h2d.eval.methods import MethodOptions
from h2d.eval.placing import Silent
from h2d.eval.pose_accuracy import PoseConventions, matched
from h2d.eval.poses import PoseSet
from h2d.eval.protocol import draw_list
from h2d.eval.report_pictures import found_in
from h2d.eval.results import read_results
from h2d.eval.run import Placing, evaluate_methods, measure_and_report
from h2d.manifests.store import Manifest
from h2d.pose.pose import Pose

OPTIONS = MethodOptions(batch_size=4, device="cpu")


@pytest.fixture(scope="module")
def runs(module_fakes, picture_list, choices, tmp_path_factory):
    """One of the method that is near, one of the one that is far."""
    base = tmp_path_factory.mktemp("compare")
    for name in ("shifted", "far"):
        evaluate_methods([name], picture_list, base / name, OPTIONS, choices, Silent(), Placing())
    return base


def compared(first, second):
    return {row.short: row for row in compare(first, second)}


def test_a_run_equals_itself(runs):
    rows = compared(runs / "shifted", runs / "shifted")
    assert rows["mpjpe"].first == rows["mpjpe"].second
    for short in ("dap", "dap_50", "dap_hands", "dap_hands_bbox", "ar_hands", "pck", "mpjpe", "hand_confidence"):
        paired = rows[short].paired
        assert (paired.difference, paired.interval.low, paired.interval.high, paired.p_value) == (0, 0, 0, 1), short


def test_precision_falls_with_the_shift_on_every_resample(runs):
    rows = compared(runs / "far", runs / "shifted")
    for short in ("dap", "dap_hands", "dap_hands_bbox", "ar_hands"):
        paired = rows[short].paired
        assert paired.difference == pytest.approx(rows[short].first.value - rows[short].second.value), short
        assert paired.interval.high < -0.3, short
        assert paired.interval.resamples == 20


def test_the_precision_of_a_resample_is_that_of_its_pictures(picture_list, runs):
    """One picture drawn twice has the precision of that picture matched alone."""
    read = read_results(runs / "shifted")
    evidence = evidence_of(runs / "shifted", read, "shifted")
    entry = picture_list.entries[3]
    found = found_in(method_folder(runs / "shifted", "shifted"), entry, read.looks["pose"])
    alone = matched(
        PoseSet.of([entry.pose]), PoseSet.of([Pose(people=found[None], width=96, height=96)]), points="hands"
    )
    twice = np.array([0, 0, 0, 2, 0, 0, 0, 0])
    assert evidence.statistics["dap_hands"].on(twice) == pytest.approx(AveragePrecision(matches=alone).on())


def test_distances_are_compared_and_kernel_distances_say_why_not(module_fakes, picture_list, choices, tmp_path):
    looking = replace(choices, look=replace(choices.look, features="random"))
    for name in ("shifted", "far"):
        evaluate_methods([name], picture_list, tmp_path / name, OPTIONS, looking, Silent(), Placing())
    rows = compared(tmp_path / "shifted", tmp_path / "shifted")
    frechet, kernel = (rows[f"random_features_{kind}_192"] for kind in ("frechet", "kernel"))
    assert (frechet.paired.difference, frechet.paired.interval.low, frechet.paired.interval.high) == (0, 0, 0)
    assert frechet.paired.interval.method == "centred"
    assert kernel.paired is None
    assert kernel.reason == REPEATS
    apart = compared(tmp_path / "shifted", tmp_path / "far")["random_features_frechet_192"]
    assert apart.paired.difference == pytest.approx(apart.first.value - apart.second.value)
    assert apart.paired.interval.low < apart.paired.interval.high


def test_why_there_is_no_difference_is_said(fakes, runs, choices, tmp_path):
    (tmp_path / "alone").mkdir()
    shutil.copy(runs / "far" / "results.json", tmp_path / "alone")
    row = compared(tmp_path / "alone", runs / "far")["dap"]
    assert row.paired is None
    assert row.reason == f"{tmp_path / 'alone'} has no list.jsonl beside its results"
    assert row.first.value == row.second.value
    other = Path(shutil.copytree(runs / "far", tmp_path / "far"))
    part = next((other / "methods/far/looks/pose").glob("*/part-00000.parquet"))
    shutil.copy(next((runs / "shifted/methods/shifted/looks/pose").glob("*/part-00000.parquet")), part)
    assert "holds other pictures than its report is of" in compared(other, runs / "far")["dap"].reason
    part.unlink()
    assert "is not there, or not whole" in compared(other, runs / "far")["dap"].reason


def test_the_only_methods_of_two_runs_are_compared(runs):
    rows = compared(runs / "far", runs / "shifted" / "results.json")
    paired = rows["mpjpe"].paired
    assert paired.difference == pytest.approx(23.5 / 96, rel=1e-5)
    assert paired.interval.low > 0
    assert rows["mpjpe"].method == "Far / Shifted"


def test_other_conventions_are_refused_by_name(fakes, runs, picture_list, choices, tmp_path):
    other = Path(shutil.copytree(runs / "far", tmp_path / "far"))
    measure_and_report(
        picture_list, other, replace(choices, pose=PoseConventions(truth_inside=True)), Silent(), Placing()
    )
    with pytest.raises(UserError, match=r"cannot be compared: .*: truth_inside is False and True: measure both alike"):
        compare(runs / "far", other)
    more = replace(choices.look, enlarged_px=64)
    measure_and_report(picture_list, other, replace(choices, look=more), Silent(), Placing())
    with pytest.raises(UserError, match=r"enlarged_px is 32 and 64"):
        compare(runs / "far", other)


def test_other_lists_are_refused(fakes, runs, test_manifest, choices, tmp_path):
    other = draw_list(Manifest(test_manifest), split="test", count=5, seed=0, size=96)
    evaluate_methods(["far"], other, tmp_path / "run", OPTIONS, choices, Silent(), Placing())
    with pytest.raises(UserError, match=r"different lists \(.*; 8 and 5 pictures\): measure both on one list"):
        compare(runs / "far", tmp_path / "run")


def test_runs_without_a_common_method_are_refused(fakes, runs, picture_list, choices, tmp_path):
    evaluate_methods(["far", "nobody"], picture_list, tmp_path / "two", OPTIONS, choices, Silent(), Placing())
    with pytest.raises(UserError, match="no method is in both"):
        compare(runs / "shifted", tmp_path / "two")


def test_what_is_no_report_is_one_line(tmp_path, runs):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        compare(tmp_path, runs / "far")
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(UserError, match="not the results of h2d evaluate"):
        compare(tmp_path, runs / "far")
    whole = (runs / "far" / "results.json").read_text()
    (tmp_path / "results.json").write_text(whole.replace('"is_real"', '"is_fake"'))
    with pytest.raises(UserError, match=r"damaged \(TypeError"):
        compare(tmp_path, runs / "far")
    for name in ("sha256", "count"):
        (tmp_path / "results.json").write_text(whole.replace(f'"{name}":', '"lost":', 1))
        with pytest.raises(UserError, match=rf"damaged \(KeyError: '{name}'\): h2d evaluate report makes it again"):
            compare(tmp_path, runs / "far")
