"""Two reports: compared where list and conventions are the same, refused where they are not."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from h2d.errors import UserError
from h2d.eval.compare import compare
from h2d.eval.methods import MethodOptions
from h2d.eval.placing import Silent
from h2d.eval.pose_accuracy import PoseConventions
from h2d.eval.protocol import draw_list
from h2d.eval.run import Placing, evaluate_methods, measure_and_report
from h2d.manifests.store import Manifest

OPTIONS = MethodOptions(batch_size=4, device="cpu")


@pytest.fixture(scope="module")
def runs(module_fakes, picture_list, choices, tmp_path_factory):
    """One of the method that is near, one of the one that is far."""
    base = tmp_path_factory.mktemp("compare")
    for name in ("shifted", "far"):
        evaluate_methods([name], picture_list, base / name, OPTIONS, choices, Silent(), Placing())
    return base


def test_a_run_equals_itself(runs):
    rows = {row.short: row for row in compare(runs / "far", runs / "far")}
    assert rows["mpjpe"].first == rows["mpjpe"].second
    assert rows["mpjpe"].paired.difference == 0
    assert rows["mpjpe"].paired.p_value == 1
    assert rows["dap"].paired is None


def test_the_only_methods_of_two_runs_are_compared(runs):
    rows = {row.short: row for row in compare(runs / "far", runs / "shifted" / "results.json")}
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
