import json

import numpy as np
import pytest

from h2d.manifests.stats import load_frames, plain, statistics
from h2d.manifests.store import Manifest
from h2d.pose.points import extent_xywh


@pytest.fixture(scope="module")
def frames(good_manifest):
    return load_frames(Manifest(good_manifest))


def test_one_row_per_picture_and_per_found_hand(frames, good_manifest):
    manifest = Manifest(good_manifest)
    rows = manifest.table("images").to_pylist()
    assert frames.pictures["id"].tolist() == [row["id"] for row in rows]
    found = [
        (number, side) for number, row in enumerate(rows) for side in ("left", "right") if row[f"hand_{side}_found"]
    ]
    assert list(zip(frames.hands["picture"], frames.hands["side"], strict=True)) == found
    for hand in frames.hands.to_dict(orient="records"):
        row = rows[hand["picture"]]
        points = np.asarray(row[f"hand_{hand['side']}"], np.float32).reshape(-1, 3)
        assert hand["size_px"] == pytest.approx(max(extent_xywh(points)[2:]))
        assert hand["confidence"] == pytest.approx(points[:, 2].mean())
        assert hand["source_size_px"] == pytest.approx(hand["size_px"] / row["image_scale"])
        assert hand["num_failed"] == len(row[f"hand_{hand['side']}_checks"])


def test_tables_add_up(frames):
    tables = statistics(frames)
    assert tables["pictures by gesture and split"].loc["all", "all"] == 6
    assert tables["hands per picture"].loc["all", "all"] == 6
    assert tables["hands found by"].loc["all", "all"] == len(frames.hands) == 8
    masks = tables["masks"]
    assert masks["found"].sum() == 8
    assert masks["with mask"].sum() == frames.hands["mask_px"].notna().sum() == 7
    assert tables["why there is no mask"].to_numpy().sum() == 1
    assert tables["rejects"]["pictures"].sum() == 2
    assert tables["crops"].loc["all", "all"] == 7
    assert tables["sizes"].loc["original width px", "50%"] == 480


@pytest.mark.parametrize("num_pictures", [0, 5])
def test_tables_are_json_ready(make_manifest, num_pictures):
    """Also of a manifest without any picture, hand or reject."""
    tables = statistics(load_frames(Manifest(make_manifest(num_pictures=num_pictures, num_rejects=0))))
    text = json.dumps({name: plain(table) for name, table in tables.items()}, allow_nan=False)
    assert json.loads(text)["masks"][0]["side"] == "left"
