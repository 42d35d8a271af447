import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h2d.manifests.spread import Least, Spread, together
from h2d.manifests.stats import plain, statistics
from h2d.manifests.store import Manifest
from h2d.manifests.summary import summarise
from h2d.pose.points import extent_xywh


@pytest.fixture(scope="module")
def summary(good_manifest):
    return summarise(Manifest(good_manifest))


def test_every_picture_and_every_found_hand_is_counted(summary, good_manifest):
    rows = Manifest(good_manifest).table("images").to_pylist()
    found = [(row, side) for row in rows for side in ("left", "right") if row[f"hand_{side}_found"]]
    assert summary.num_pictures == len(rows)
    assert summary.pictures == Counter(
        (row["gesture"], row["split"], row["hand_left_found"] + row["hand_right_found"]) for row in rows
    )
    assert summary.hands == Counter(
        (
            row["gesture"], side, row[f"hand_{side}_by"], row[f"mask_{side}_px"] is not None,
            not row[f"hand_{side}_checks"],
        )
        for row, side in found
    )  # fmt: skip
    for side in ("left", "right"):
        mine = [row for row, own in found if own == side]
        points = [np.asarray(row[f"hand_{side}"], np.float32).reshape(-1, 3) for row in mine]
        sizes = [max(extent_xywh(each)[2:]) for each in points]
        expected = {
            "size_px": sizes,
            "source_size_px": [size / row["image_scale"] for size, row in zip(sizes, mine, strict=True)],
            "confidence": [each[:, 2].mean() for each in points],
            "mask_px": [row[f"mask_{side}_px"] for row in mine if row[f"mask_{side}_px"] is not None],
        }
        for name, values in expected.items():
            spread = summary.measures[name, side]
            counted = np.repeat(spread.values, spread.counts)
            np.testing.assert_allclose(counted, sorted(values), rtol=3e-5)


def test_the_worst_hands_are_numbered_by_picture_and_side(summary, good_manifest):
    rows = Manifest(good_manifest).table("images").to_pylist()
    sizes = {
        2 * number + place: max(extent_xywh(np.asarray(row[f"hand_{side}"], np.float32).reshape(-1, 3))[2:])
        / row["image_scale"]
        for number, row in enumerate(rows)
        for place, side in enumerate(("left", "right"))
        if row[f"hand_{side}_found"]
    }
    assert summary.worst["source_size_px"].rows == sorted(sizes, key=sizes.get)[:8]


def test_tables_add_up(summary):
    tables = statistics(summary)
    assert tables["pictures by gesture and split"].loc["all", "all"] == 6
    assert tables["hands per picture"].loc["all", "all"] == 6
    assert tables["hands found by"].loc["all", "all"] == summary.num_hands == 8
    masks = tables["masks"]
    assert masks["found"].sum() == 8
    assert masks["with mask"].sum() == 7
    assert tables["why there is no mask"].to_numpy().sum() == 1
    assert tables["rejects"]["pictures"].sum() == 2
    assert tables["crops"].loc["all", "all"] == 7
    assert tables["sizes"].loc["original width px", "50%"] == 480


@pytest.mark.parametrize("num_pictures", [0, 5])
def test_tables_are_json_ready(make_manifest, num_pictures):
    """Also of a manifest without any picture, hand or reject."""
    tables = statistics(summarise(Manifest(make_manifest(num_pictures=num_pictures, num_rejects=0))))
    text = json.dumps({name: plain(table) for name, table in tables.items()}, allow_nan=False)
    assert json.loads(text)["masks"][0]["side"] == "left"


def test_rows_are_found_by_their_number(good_manifest):
    manifest = Manifest(good_manifest)
    ids = manifest.table("images", ["id"])["id"].to_pylist()
    places = manifest.places("images", [5, 0, 3, 3])
    assert {number: manifest.at(place)["id"] for number, place in places.items()} == {
        number: ids[number] for number in (0, 3, 5)
    }
    assert manifest.num_rows("images") == len(ids)


NUMBERS = st.lists(st.one_of(st.integers(0, 32_768), st.floats(0, 1e6, width=32), st.just(float("nan"))), max_size=60)


@given(NUMBERS, st.integers(1, 5))
def test_a_spread_has_the_quantiles_of_its_numbers(numbers, num_parts):
    spread = together(_spreads(numbers, num_parts))
    kept = np.asarray([number for number in numbers if number == number], np.float32)
    assert len(spread) == spread.counts.sum() == len(kept)
    assert (np.diff(spread.values) > 0).all()
    for share in (0, 0.05, 0.5, 0.995, 1):
        expected = np.quantile(kept.astype(np.float64), share) if len(kept) else np.nan
        np.testing.assert_allclose(spread.quantile(share), expected, rtol=4e-5, atol=1e-30)


def _spreads(numbers, num_parts):
    spreads = [Spread() for _ in range(num_parts)]
    for place, spread in enumerate(spreads):
        spread.add(np.asarray(numbers[place::num_parts], np.float64))
    return spreads


def test_a_spread_of_many_numbers_is_small():
    spread = Spread()
    for seed in range(20):
        spread.add(np.random.default_rng(seed).lognormal(5, 0.5, 50_000))
    assert len(spread) == 1_000_000
    assert len(spread.values) < 250_000
    whole = Spread()
    whole.add(np.arange(32_769))
    assert whole.values.tolist() == list(range(32_769))


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 99)), max_size=40, unique_by=lambda pair: pair[1]))
def test_the_least_are_those_of_a_sorted_list(pairs):
    least = Least(8)
    for start in range(0, len(pairs), 7):
        part = pairs[start : start + 7]
        least.add(np.array([number for number, _ in part]), np.array([row for _, row in part], np.int64))
    assert least.rows == [row for _, row in sorted(pairs)[:8]]
