"""A run from list to report, with methods whose errors are known; stopped, gone on with, and refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from h2d.errors import UserError
from h2d.eval.generate import method_folder
from h2d.eval.methods import MethodOptions
from h2d.eval.parts import by_gesture
from h2d.eval.placing import Silent
from h2d.eval.report import warnings
from h2d.eval.results import read_results
from h2d.eval.run import Placing, evaluate_methods, list_of, measure_and_report, methods_of
from h2d.eval.summary import PER_PICTURE_FILE

OPTIONS = MethodOptions(batch_size=3, device="cpu")


class StopAfter(Silent):
    """Stops once so many pictures were worked on."""

    def __init__(self, count: int) -> None:
        self._left = count

    def worked(self, count: int) -> None:
        self._left -= count

    def should_stop(self) -> bool:
        return self._left <= 0


def run(names, pictures, out, choices, watch=None, options=OPTIONS, **more):
    return evaluate_methods(names, pictures, out, options, choices, watch or Silent(), Placing(), **more)


@pytest.fixture(scope="module")
def whole_run(module_fakes, picture_list, choices, tmp_path_factory):
    """All three methods, to read only."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, run(["shifted", "far", "nobody"], picture_list, out, choices)


@pytest.fixture
def measured(whole_run):
    return whole_run


@pytest.fixture
def own_run(fakes, whole_run, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(whole_run[0], tmp_path / "run"))


def by_name(results):
    return {method.name: method for method in results.methods}


def test_known_errors_come_out_as_they_are(measured, picture_list):
    _, results = measured
    shifted, far, nobody = (by_name(results)[name].measures for name in ("shifted", "far", "nobody"))
    assert shifted["mpjpe"].value == pytest.approx(0.5 / 96, rel=1e-5)
    assert shifted["mpjpe_hands"].value == pytest.approx(0.5 / 96, rel=1e-5)
    assert far["mpjpe"].value == pytest.approx(24 / 96, rel=1e-5)
    assert shifted["dap"].value > far["dap"].value
    assert nobody["found"].value == 0
    assert nobody["dap"].value == 0
    assert nobody["mpjpe_skip"].value is None
    assert "missing" in nobody["mpjpe_skip"].reason
    interval = shifted["mpjpe"].interval
    assert interval.low <= shifted["mpjpe"].value + 1e-9 <= interval.high + 2e-9
    assert results.picture_list["sha256"] == picture_list.sha256


def test_numbers_carry_their_conventions(measured):
    _, results = measured
    conventions = by_name(results)["shifted"].measures["dap_hands"].conventions
    assert conventions["area"] == "person"
    assert conventions["found_by"] == "fake"
    assert conventions["asked_for_by"] == "holistic"
    assert conventions["picture_px"] == 96
    assert len(conventions["found_fingerprint"]) == 16


def test_parts_add_up_to_the_list(measured, picture_list):
    _, results = measured
    method = by_name(results)["far"]
    for parts in (method.gestures, method.hand_sizes):
        assert sum(part.num_pictures for part in parts) == len(picture_list)
        assert all(part.measures["mpjpe_hands"].value == pytest.approx(0.25, rel=1e-5) for part in parts)
    assert {part.name for part in method.gestures} == set(picture_list.facts["gestures"])


@pytest.mark.parametrize("least", [4, 9])
def test_parts_of_few_pictures_are_counted_and_have_no_numbers(own_run, picture_list, choices, least):
    """One picture a row would read as if it were a figure of its gesture."""
    results = measure_and_report(picture_list, own_run, replace(choices, part_pictures=least), Silent(), Placing())
    method = by_name(results)["far"]
    assert [part.name for part in method.gestures] == [f"3 gestures of fewer than {least} pictures each"]
    for parts in (method.gestures, method.hand_sizes):
        assert sum(part.num_pictures for part in parts) == len(picture_list)
        for part in parts:
            one = part.measures["mpjpe_hands"]
            assert (one.value is None) == (part.num_pictures < least)
            assert one.reason == (f"fewer than {least} pictures" if part.num_pictures < least else None)
    for name in ("report.html", "report.md", "report.tex"):
        assert f"fewer than {least} pictures" in (own_run / name).read_text()


def test_gestures_of_few_pictures_stand_together_and_one_alone_keeps_its_name(picture_list):
    names = ["a"] * 3 + ["b"] * 2 + ["c"] * 2 + [None]
    entries = [replace(entry, gesture=name) for entry, name in zip(picture_list.entries, names, strict=True)]
    sums = {name: int(counts.sum()) for name, counts in by_gesture(entries, least=3).items()}
    assert sums == {"a": 3, "3 gestures of fewer than 3 pictures each": 5}
    assert list(by_gesture(entries, least=2)) == ["(none)", "a", "b", "c"]


def test_differences_are_paired(measured):
    _, results = measured
    found = {(one.method, one.than, one.short): one for one in results.differences}
    reference = results.differences[0].method
    for other in {"shifted", "far", "nobody"} - {reference}:
        one = found[reference, other, "mpjpe"]
        values = by_name(results)
        expected = values[reference].measures["mpjpe"].value - values[other].measures["mpjpe"].value
        assert one.difference == pytest.approx(expected)
        if "nobody" not in (reference, other):
            assert one.interval.high - one.interval.low == pytest.approx(0, abs=1e-6), "the same shift in every picture"


def test_every_pictures_own_numbers_are_written(measured, picture_list):
    out, _ = measured
    table = pq.read_table(out / PER_PICTURE_FILE).to_pandas()
    assert len(table) == 4 * len(picture_list)
    far = table[table["method"] == "far"]
    np.testing.assert_allclose(far["mpjpe"], 0.25, rtol=1e-5)
    assert far["id"].tolist() == [entry.id for entry in picture_list.entries]


def test_results_come_back_from_their_file(measured):
    out, results = measured
    assert read_results(out) == read_results(out / "results.json")
    assert read_results(out).methods[1].measures == json_round(results.methods[1].measures)


def json_round(measures):
    from dataclasses import replace

    return {
        short: replace(one, conventions=json.loads(json.dumps(dict(one.conventions))))
        for short, one in measures.items()
    }


def test_a_stopped_run_goes_on_and_gives_the_same(fakes, measured, picture_list, choices, tmp_path):
    _, whole = measured
    out = tmp_path / "stopped"
    rounds = 0
    while (results := run(["shifted", "far", "nobody"], picture_list, out, choices, StopAfter(5))) is None:
        rounds += 1
        assert rounds < 20
    assert rounds > 3
    assert sorted(fakes.MADE) == sorted(list(range(8)) * 3), "no picture is made twice"
    assert len(fakes.LOOKED) == 4 * 8, "no picture is looked at twice"
    assert [method.measures for method in results.methods] == [method.measures for method in whole.methods]


def test_a_killed_run_goes_on(fakes, picture_list, choices, tmp_path, monkeypatch):
    monkeypatch.setattr(fakes.ShiftedMethod, "fail_at", 5)
    with pytest.raises(KeyboardInterrupt):
        run(["shifted"], picture_list, tmp_path / "run", choices)
    assert method_folder(tmp_path / "run", "shifted").lacking(picture_list.entries) == [3, 4, 5, 6, 7]
    monkeypatch.setattr(fakes.ShiftedMethod, "fail_at", None)
    assert run(["shifted"], picture_list, tmp_path / "run", choices) is not None
    assert sorted(set(fakes.MADE)) == list(range(8))


def test_a_picture_changed_since_is_looked_at_again(fakes, own_run, picture_list, choices):
    out = own_run
    folder = method_folder(out, "shifted")
    measure_and_report(picture_list, out, choices, Silent(), Placing())
    assert fakes.LOOKED == []
    picture = np.zeros((96, 96, 3), np.uint8)
    folder.write("00003", picture, {})
    results = measure_and_report(picture_list, out, choices, Silent(), Placing())
    assert len(fakes.LOOKED) == 8, "the part that holds it is made again"
    assert by_name(results)["shifted"].measures["found"].value == pytest.approx(7 / 8)


def test_other_options_are_refused_and_fresh_makes_anew(fakes, own_run, picture_list, choices):
    out = own_run
    other = MethodOptions(batch_size=3, device="cpu", sample={"num_inference_steps": 7})
    with pytest.raises(UserError, match=r"made with identity.sample.num_inference_steps = None, not 7: .*--fresh"):
        run(["shifted"], picture_list, out, choices, options=other)
    run(["shifted"], picture_list, out, choices, options=other, fresh=True)
    assert len(fakes.MADE) == 8


def test_another_list_needs_another_folder(measured, test_manifest, choices):
    from h2d.eval.protocol import draw_list
    from h2d.manifests.store import Manifest

    other = draw_list(Manifest(test_manifest), split="test", count=8, seed=9, size=96)
    with pytest.raises(UserError, match="holds a run of another list"):
        run(["shifted"], other, measured[0], choices)


def test_a_manifest_that_changed_is_refused(fakes, picture_list, choices, tmp_path):
    from manifest_builder import build_manifest

    from h2d.eval.run import Placing as Place

    other = build_manifest(tmp_path / "other", num_pictures=12, splits=("test",), seed=4)
    with pytest.raises(UserError, match="not the manifest that the list was drawn from"):
        evaluate_methods(["shifted"], picture_list, tmp_path / "run", OPTIONS, choices, Silent(), Place(manifest=other))


def test_unknown_methods_are_named_before_anything_is_made(fakes, picture_list, choices, tmp_path):
    with pytest.raises(UserError, match="unknown method 'mine': choose one of"):
        run(["shifted", "mine"], picture_list, tmp_path / "run", choices)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            {"inception_weights": Path("weights.pth"), "features": "inception"},
            r"weights\.pth: not a PyTorch checkpoint",
        ),
        ({"text": "clip"}, r"clip: config\.json is missing: .*h2d models fetch clip"),
    ],
)
def test_weights_of_another_kind_are_named_before_anything_is_made(
    fakes, picture_list, choices, tmp_path, monkeypatch, option, message
):
    monkeypatch.chdir(tmp_path)
    Path("weights.pth").write_bytes(b"a page that says where the file has moved")
    Path("clip").mkdir()
    with pytest.raises(UserError, match=message):
        run(["shifted"], picture_list, tmp_path / "run", replace(choices, look=replace(choices.look, **option)))
    assert not (tmp_path / "run").exists()
    assert not fakes.MADE


def test_the_list_and_the_methods_stay_with_the_run(own_run, picture_list):
    out = own_run
    assert list_of(out).sha256 == picture_list.sha256
    assert set(methods_of(out, picture_list)) == {"shifted", "far", "nobody"}
    (out / "methods" / "far" / "pictures" / "00002.png").unlink()
    assert set(methods_of(out, picture_list)) == {"shifted", "nobody"}


def test_a_method_that_lacks_pictures_is_named_with_what_makes_them(fakes, own_run, picture_list, choices):
    damaged = method_folder(own_run, "far").picture("00002")
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(UserError, match=r"00002.png: .*: delete it, and make it again: h2d evaluate run --method far"):
        measure_and_report(picture_list, own_run, choices, Silent(), Placing())
    damaged.unlink()
    results = measure_and_report(picture_list, own_run, choices, Silent(), Placing())
    assert "far" not in by_name(results)
    said = (
        "Left out: far: 1 of 8 pictures are not there, first 00002: h2d evaluate run --method far, with the options it"
        " was made with."
    )
    assert said in warnings(results)
    assert said in (own_run / "report.md").read_text()
    assert read_results(own_run).unfinished == results.unfinished
    assert run(["nobody"], picture_list, own_run, choices).unfinished == results.unfinished
    assert fakes.MADE == []
    results = run(["far"], picture_list, own_run, choices)
    assert (fakes.MADE, results.unfinished) == ([2], {})
    assert "far" in by_name(results)


def test_a_run_without_a_whole_method_or_real_picture_says_what_lacks(fakes, own_run, picture_list, choices):
    (own_run / "real/pictures/00001.png").unlink()
    with pytest.raises(UserError, match=r"run/real: 1 of 8 pictures are not there, first 00001: h2d evaluate run or"):
        measure_and_report(picture_list, own_run, choices, Silent(), Placing())
    shutil.rmtree(own_run / "methods/far")
    shutil.rmtree(own_run / "methods/nobody")
    method_folder(own_run, "shifted").picture("00000").unlink()
    with pytest.raises(UserError, match=r"no method's pictures are all there: shifted: 1 of 8 .* --method shifted"):
        measure_and_report(picture_list, own_run, choices, Silent(), Placing())


def test_one_picture_only_gives_numbers_or_reasons(fakes, test_manifest, choices, tmp_path):
    from h2d.eval.protocol import draw_list
    from h2d.manifests.store import Manifest

    one = draw_list(Manifest(test_manifest), split="test", count=1, seed=0, size=96)
    results = run(["shifted", "nobody"], one, tmp_path / "run", choices)
    for method in results.methods:
        for measured in method.measures.values():
            assert measured.value is not None or measured.reason
    assert "only 1" in by_name(results)["shifted"].measures["mpjpe"].notes[-1]


def test_pictures_say_what_they_are(measured, picture_list):
    out, _ = measured
    about = method_folder(out, "far").about("00002")
    assert about["id"] == picture_list.entries[2].id
    assert about["seed"] == picture_list.entries[2].seed
    assert about["notes"] == ["noise"]
