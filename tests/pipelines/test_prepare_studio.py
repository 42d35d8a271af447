"""The studio datasets from drawn files to a manifest: labels exact, every planted defect under its name."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_studio import STUDIO

from h2d.manifests.validate import validate
from h2d.pipelines.choices import CaptionChoice, MaskChoice, PrepareConfig, RunConfig
from h2d.pipelines.prepare import prepare
from h2d.pipelines.sources.base import Record
from h2d.pipelines.sources.interhand import InterhandSource
from h2d.pipelines.sources.reinterhand import ReinterhandSource
from h2d.pose.layouts import SIDES
from h2d.synth.generate import generate

SOURCES = {"interhand": InterhandSource, "reinterhand": ReinterhandSource}
MINI = Path(__file__).parents[3] / "shared" / "data" / "interhand-mini"


class Silent:
    def job_started(self, name, total, before): ...

    def pictures_worked(self, tally): ...

    def job_ended(self, name): ...

    def should_stop(self):
        return False


def prepared(source, root, out, mask):
    prepare(
        PrepareConfig(
            source=source, root=root, out=out, mask=MaskChoice(name=mask), run=RunConfig(executor="inline"),
            caption=CaptionChoice(name="auto"),
        ),
        Silent(),
    )  # fmt: skip
    return {
        table: [row for file in sorted((out / table).rglob("*.parquet")) for row in pq.read_table(file).to_pylist()]
        for table in ("images", "hands", "rejects")
    }


@pytest.fixture(scope="module", params=SOURCES)
def walked(request, tmp_path_factory):
    source, root = request.param, tmp_path_factory.mktemp(request.param)
    generate(source, root / "data", count=40, seed=3, size_px=96, flavour=None, hard=True, studio=STUDIO, workers=1)
    mask = "given" if source == "reinterhand" else "none"
    tables = prepared(source, root / "data", root / "out", mask)
    return source, root, tables, json.loads((root / "data" / "planted.json").read_text())


def test_it_is_valid(walked):
    _, root, _, _ = walked
    assert validate(root / "out", root / "data") == []


def test_what_is_wrong_when_read_is_rejected_or_told_under_its_name(walked):
    source, _, tables, planted = walked
    expected = {
        entry["path"]: "MaskSizeError" if entry["kind"] == "mask_of_another_size" else "decode"
        for entry in planted
        if entry["caught_by"] == "read" and entry["kind"] != "wrong_size_in_json"
    }
    assert {row["source_path"]: row["reason"] for row in tables["rejects"]} == expected
    assert len(expected) == (3 if source == "interhand" else 4)
    odd = {entry["path"] for entry in planted if entry["kind"] == "wrong_size_in_json"}
    told = {
        row["source_path"]
        for row in tables["images"]
        if any("other_size_stated" in (row[f"hand_{side}_checks"] or ()) for side in SIDES)
    }
    assert told == odd


def test_the_manifest_has_the_dataset_s_own_keypoints(walked):
    source, root, tables, _ = walked
    records = {r.id: r for r in SOURCES[source](root=root / "data").records() if isinstance(r, Record)}
    assert len(tables["images"]) >= 34
    for row in tables["images"]:
        assert (row["keypoint_source"], row["captioner"]) == ("precomputed", "sequence")
        for side in SIDES:
            if row[f"hand_{side}_found"]:
                points = np.asarray(row[f"hand_{side}"], np.float32).reshape(21, 3)
                given = records[row["id"]].hands[side]
                np.testing.assert_allclose(points[:, :2], given[:, :2] * row["image_scale"], atol=0.01)


def test_hands_share_a_crop_when_they_meet_and_have_one_each_when_not(walked):
    _, _, tables, _ = walked
    crops = {}
    for row in tables["hands"]:
        crops.setdefault(row["image_id"], []).append(row["hands"])
    both = [row["id"] for row in tables["images"] if row["hand_left_found"] and row["hand_right_found"]]
    assert {tuple(sorted(crops[name])) for name in both} <= {("both",), ("left", "right")}


def test_real_frames(tmp_path):
    if not MINI.is_dir():
        pytest.skip(f"{MINI} is not here")
    tables = prepared("interhand", MINI, tmp_path / "out", "none")
    assert sorted(row["hands"] for row in tables["hands"]) == ["both", "both", "left", "right"]
    assert tables["rejects"] == []
    assert all(("both hands" in row["caption"]) == (row["hands"] == "both") for row in tables["hands"])
    assert validate(tmp_path / "out", MINI) == []
    thumb = next(row for row in tables["images"] if row["gesture"] == "thumbup_normal")
    assert thumb["caption"] == (
        "a photo of the right hand of a person, giving a thumbs up, in a dark capture studio, in black and white"
    )
