"""What looks at pictures may die of one: that picture is lost and told by its name, the run is not."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_methods import MortalDetector, MortalSegmenter
from manifest_builder import build_manifest

from h2d.eval.annotators import Annotators, judge
from h2d.eval.annotators_report import lost_pictures, markdown, table_rows
from h2d.eval.looks.base import Seen
from h2d.eval.looks.foreground import ForegroundLook
from h2d.eval.looks.pose import PoseLook
from h2d.eval.methods import MethodOptions
from h2d.eval.placing import Silent
from h2d.eval.report import warnings
from h2d.eval.results import read_results
from h2d.eval.run import Placing, evaluate_methods, measure_and_report
from h2d.images import decode_rgb, encode_png
from h2d.manifests.files import write_parquet
from h2d.manifests.store import Manifest, part_path

KILLED = "the worker was killed by SIGSEGV"


@pytest.fixture
def mortal(fakes, monkeypatch, choices):
    """A run's options with a detector that dies of one picture of the method `shifted`."""
    from h2d.annotate import keypoints

    monkeypatch.setitem(keypoints.DETECTORS, "mortal", "fake_methods:MortalDetector")
    monkeypatch.setattr(keypoints, "NATIVE", frozenset({"mortal"}))
    return replace(choices, look=replace(choices.look, detector="mortal"))


def test_a_picture_that_kills_the_detector_is_lost_alone_and_named(mortal, picture_list, tmp_path):
    options = MethodOptions(batch_size=4, device="cpu")
    results = evaluate_methods(["shifted", "far"], picture_list, tmp_path / "run", options, mortal, Silent(), Placing())
    methods = {method.name: method for method in results.methods}
    name = picture_list.entries[5].id
    assert methods["shifted"].lost == {name: f"pose: {KILLED}"}
    assert methods["far"].lost == methods["real"].lost == {}
    assert methods["shifted"].measures["found"].value == pytest.approx(7 / 8)
    assert methods["far"].measures["found"].value == 1
    assert f"Shifted: read as if nobody were in them: {name} (pose: {KILLED})." in warnings(results)
    assert name in (tmp_path / "run" / "report.html").read_text()
    assert read_results(tmp_path / "run").methods[2].lost == methods["shifted"].lost
    again = measure_and_report(picture_list, tmp_path / "run", mortal, Silent(), Placing())
    assert [method.lost for method in again.methods] == [method.lost for method in results.methods]


def seen_pictures(entries, numbers):
    pictures = {number: np.zeros((96, 96, 3), np.uint8) for number in numbers}
    for number, picture in pictures.items():
        picture[0, 0] = 1, number, 7
    return [Seen(entry=entries[number], picture=picture) for number, picture in pictures.items()]


def test_a_picture_that_kills_the_segmenter_has_an_empty_mask(picture_list):
    look = ForegroundLook(MortalSegmenter(), in_child=True)
    look.setup()
    try:
        rows = look.look(seen_pictures(picture_list.entries, [4, 5, 6]))
    finally:
        look.close()
    assert [row["mask_px"] for row in rows] == [96 * 48, 0, 96 * 48]
    assert [row["problem"] for row in rows] == [None, KILLED, None]


def test_a_look_that_is_not_mortal_stays_in_this_process(picture_list):
    look = PoseLook(MortalDetector(), enlarged_px=32)
    look.setup()
    (row,) = look.look(seen_pictures(picture_list.entries, [4]))
    assert (row["persons"], row["problem"]) == (1, None)


def test_annotators_miss_the_hands_of_the_picture_that_kills_them(mortal, tmp_path):
    root = build_manifest(tmp_path / "drawn", num_pictures=4, splits=("test",))
    part = part_path(root, "images", "test", 0)
    table = pq.read_table(part)
    rows = table.to_pylist()
    picture = decode_rgb(rows[2]["image"]["bytes"])
    picture[0, 0] = 1, 5, 7
    rows[2]["image"]["bytes"] = encode_png(picture)
    write_parquet(part, pa.Table.from_pylist(rows, schema=table.schema))
    chosen = Annotators(detector=MortalDetector(), segmenter=None, names={"detector": "mortal", "segmenter": "none"})
    hands = judge(Manifest(root), tmp_path / "out", chosen, Silent()).to_pandas()
    lost = lost_pictures(hands)
    assert lost == {rows[2]["id"]: KILLED}
    assert not hands[hands["id"].isin(lost)]["body_found"].any()
    assert hands[~hands["id"].isin(lost)]["body_found"].all()
    facts = {"manifest": "drawn", "pictures": 4, **chosen.names, "lost": lost}
    assert f"The detector died of {next(iter(lost))}" in markdown(table_rows(hands, chosen.names, resamples=0), facts)
