"""A mix: what is drawn, what is left out, and a manifest like any other."""

import re
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from h2d.config import load_config
from h2d.errors import UserError
from h2d.manifests.files import write_parquet
from h2d.manifests.store import Manifest
from h2d.manifests.validate import validate
from h2d.pipelines import mix as mix_module
from h2d.pipelines.mix import mix, survey
from h2d.pipelines.mix_draw import PAPER, MixConfig, MixPart, draw

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "manifests"))
from manifest_builder import build_manifest

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "mix_hand.yaml"


def renamed(root, source):
    """Give a manifest's rows a source of their own, so that two drawn manifests differ in names."""
    for table in ("images", "hands"):
        for path in (root / table).rglob("*.parquet"):
            rows = pq.read_table(path)
            for name in ("id", "image_id", "source"):
                if name in rows.column_names:
                    values = [re.sub("^drawn", source, value) for value in rows[name].to_pylist()]
                    rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), pa.array(values))
            write_parquet(path, rows)
    file = root / "manifest.json"
    file.write_text(file.read_text().replace('"source": "drawn"', f'"source": "{source}"'))
    return root


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two manifests of different pictures, train and val, and one that repeats the first one's pictures."""
    folder = tmp_path_factory.mktemp("sources")
    one = renamed(build_manifest(folder / "one", num_pictures=60, seed=1), "one")
    two = renamed(build_manifest(folder / "two", num_pictures=30, seed=2), "two")
    again = renamed(build_manifest(folder / "again", num_pictures=60, seed=1), "again")
    return {"one": one, "two": two, "again": again}


def choices_for(out, *parts, **more):
    return MixConfig(out=out, parts=tuple(MixPart(manifest=path, **values) for path, values in parts), **more)


def pictures(out):
    return Manifest(out).table("images", ["id", "source", "split", "gesture", "subject", "source_sha256"]).to_pandas()


def test_a_mix_is_a_manifest_like_any_other(sources, tmp_path):
    choices = choices_for(tmp_path / "mix", (sources["one"], {"count": 13}), (sources["two"], {"count": 7}))
    done = mix(choices)
    assert validate(done.out) == []
    assert Manifest(done.out).counts == {"indexed": 20, "images": 20, "hands": 20, "rejects": 0}
    assert Counter(pictures(done.out)["source"]) == {"one": 13, "two": 7}
    for name, root in (("one", sources["one"]), ("two", sources["two"])):
        before = {row["id"]: row for row in Manifest(root).table("hands").to_pylist()}
        for row in Manifest(done.out).table("hands").to_pylist():
            if row["source"] == name:
                assert repr(row) == repr(before[row["id"]])  # NaN is not equal to itself
    assert (done.out / "report.html").is_file()


def test_one_crop_per_picture_and_either_hand(sources, tmp_path):
    done = mix(choices_for(tmp_path / "mix", (sources["one"], {"count": 20})))
    hands = Manifest(done.out).table("hands", ["image_id", "hands", "mask_px"]).to_pandas()
    assert not hands["image_id"].duplicated().any()
    assert hands["mask_px"].notna().all()
    both = Manifest(sources["one"]).table("hands", ["image_id"]).to_pandas()["image_id"].value_counts()
    two_handed = set(both[both == 2].index)
    sides = set()
    for seed in range(6):
        for drawn in draw(choices_for(tmp_path / "x", (sources["one"], {"count": 20}), seed=seed)):
            sides |= {name.rsplit("/", 1)[1] for name in drawn.rows[drawn.rows["id"].isin(two_handed)]["hand_id"]}
    assert sides == {"left", "right"}


@pytest.mark.parametrize("count", [5, 13, 22])
def test_the_gestures_are_kept_by_largest_remainder(sources, tmp_path, count):
    (drawn,) = draw(choices_for(tmp_path / "mix", (sources["one"], {"count": count})))
    got = drawn.rows["gesture"].value_counts()
    for gesture, available in drawn.available.items():
        exact = count * available / drawn.candidates
        assert abs(got.get(gesture, 0) - exact) < 1
    up, down = [], []
    for gesture, available in drawn.available.items():
        quota, remainder = divmod(count * available, drawn.candidates)
        (up if got.get(gesture, 0) > quota else down).append(remainder)
    assert min(up, default=drawn.candidates) >= max(down, default=0)


def test_the_same_seed_draws_the_same_and_another_does_not(sources, tmp_path):
    def ids(seed):
        return [*draw(choices_for(tmp_path / "mix", (sources["one"], {"count": 15}), seed=seed))[0].rows["hand_id"]]

    assert ids(0) == ids(0) != ids(1)


def test_nobody_is_in_two_splits(sources, tmp_path):
    root = tmp_path / "people"
    build_manifest(root, num_pictures=40, seed=3)
    for path in (root / "images" / "val").glob("*.parquet"):  # person-0 stands in val, too
        rows = pq.read_table(path)
        at = rows.schema.get_field_index("subject")
        write_parquet(path, rows.set_column(at, rows.schema.field(at), pa.array(["person-0"] * len(rows))))
    done = mix(choices_for(tmp_path / "mix", (root, {"count": 6}), (root, {"count": 6, "split": "val"})))
    splits = pictures(done.out).groupby("subject")["split"].nunique()
    assert (splits == 1).all()
    left_out = done.parts[0]["left_out"]
    assert left_out["whose person is in another split"] > 0
    assert validate(done.out) == []


def test_the_same_picture_is_drawn_once_and_named(sources, tmp_path):
    most = survey(choices_for(tmp_path / "x", (sources["one"], {"count": 1})))[0]["candidates"]
    with pytest.raises(UserError, match=rf"again \(train\): 1 wanted, 0 to draw from.*, {most} the same picture as"):
        mix(choices_for(tmp_path / "mix", (sources["one"], {"count": 9}), (sources["again"], {"count": 1})))


def test_repeats_are_named_in_the_manifest(sources, tmp_path):
    longer = renamed(build_manifest(tmp_path / "longer", num_pictures=60, seed=1), "longer")
    for path in (longer / "images" / "train").glob("*.parquet"):
        rows = pq.read_table(path)
        at = rows.schema.get_field_index("source_sha256")
        hashes = [*rows["source_sha256"].to_pylist()[:3], *(f"{number:064x}" for number in range(len(rows) - 3))]
        write_parquet(path, rows.set_column(at, rows.schema.field(at), pa.array(hashes)))
    done = mix(choices_for(tmp_path / "mix", (sources["one"], {"count": 5}), (longer, {"count": 5})))
    names = Manifest(done.out).unmatched.to_pylist()
    assert len(names) == done.parts[1]["left_out"]["the same picture as another"] > 0
    for row in names:
        this, other = row["name"].split(" = ")
        assert this.removeprefix("longer") == other.removeprefix("one")


def test_too_few_pictures_are_said_for_every_source_before_anything_is_written(sources, tmp_path):
    choices = choices_for(tmp_path / "mix", (sources["one"], {"count": 500}), (sources["two"], {"count": 400}))
    with pytest.raises(UserError) as caught:
        mix(choices)
    assert re.search(
        r"one \(train\): 500 wanted, \d+ to draw from.*two \(train\): 400 wanted, \d+ to", str(caught.value)
    )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mix").exists()


def test_shares_divide_the_total(sources, tmp_path):
    choices = choices_for(
        tmp_path / "mix", (sources["one"], {"share": 2}), (sources["two"], {"share": 1}), total=16
    )  # fmt: skip
    assert choices.counts() == [11, 5]
    assert sum(MixConfig(parts=choices.parts, total=17).counts()) == 17
    for bad in ({"total": 4}, {"parts": choices.parts}, {"parts": ()}, {"parts": (*PAPER, PAPER[0])}):
        with pytest.raises(ValueError, match=r"total|parts"):
            MixConfig(**bad)


def test_the_papers_numbers_are_the_default_and_the_yamls():
    assert [part.count for part in PAPER] == [60_000, 56_500, 76_800]
    assert load_config(MixConfig, {}, file=CONFIG) == MixConfig()


def test_a_stopped_mix_goes_on_and_a_finished_one_does_nothing(sources, tmp_path, monkeypatch):
    parts = (sources["one"], {"count": 14}), (sources["two"], {"count": 9})
    whole = mix(choices_for(tmp_path / "whole", *parts, shard_size=4)).out
    choices = choices_for(tmp_path / "halves", *parts, shard_size=4)
    written = []

    def stopping(path, table):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(path)
        write_parquet(path, table)

    monkeypatch.setattr(mix_module, "write_parquet", stopping)
    with pytest.raises(KeyboardInterrupt):
        mix(choices)
    assert not (choices.out / "manifest.json").exists()
    written.clear()
    monkeypatch.setattr(mix_module, "write_parquet", lambda path, table: (written.append(path), write_parquet(path, table)))  # fmt: skip # noqa: E501
    assert not mix(choices).did_nothing
    files = sorted(path.relative_to(whole) for path in whole.rglob("part-*.parquet"))
    assert len(written) == len(files) - 5 + 1  # and `unmatched.parquet`
    for path in files:
        assert (choices.out / path).read_bytes() == (whole / path).read_bytes()
    assert max(pq.read_metadata(path).num_rows for path in whole.rglob("part-*.parquet")) <= 4
    again = mix(choices)
    assert again.did_nothing
    with pytest.raises(UserError, match="holds another mix: give --fresh"):
        mix(choices_for(choices.out, *parts, seed=1))
    assert not mix(choices_for(choices.out, *parts, seed=1), fresh=True).did_nothing
    assert validate(choices.out) == []


def test_another_manifests_folder_is_left_alone(sources, tmp_path):
    before = (sources["two"] / "manifest.json").read_bytes()
    with pytest.raises(UserError, match="holds something else than a mix"):
        mix(choices_for(sources["two"], (sources["one"], {"count": 3})), fresh=True)
    assert (sources["two"] / "manifest.json").read_bytes() == before


def test_a_file_where_the_mix_would_be_is_one_line(sources, tmp_path):
    (tmp_path / "mix").write_text("mine")
    with pytest.raises(UserError, match="mix: no folder that can be written into: it is a file: give another --out"):
        mix(choices_for(tmp_path / "mix", (sources["one"], {"count": 2, "split": "train"})), fresh=True)


def test_a_manifest_of_an_older_schema_is_read(sources, tmp_path):
    root = renamed(build_manifest(tmp_path / "older", num_pictures=20, seed=5), "older")
    for path in (root / "images").rglob("*.parquet"):
        rows = pq.read_table(path).drop_columns(["original_caption"])
        old = {**rows.schema.metadata, b"h2d": rows.schema.metadata[b"h2d"].replace(b'"1.1"', b'"1.0"')}
        write_parquet(path, rows.replace_schema_metadata(old))
    assert validate(root) == []
    done = mix(choices_for(tmp_path / "mix", (root, {"count": 5})))
    assert validate(done.out) == []
    assert Manifest(done.out).table("images", ["original_caption"])["original_caption"].null_count == 5


def test_crops_without_a_mask_only_when_asked_for(sources, tmp_path):
    with_masks = survey(choices_for(tmp_path / "x", (sources["one"], {"count": 1})))[0]["candidates"]
    without = survey(choices_for(tmp_path / "x", (sources["one"], {"count": 1}), with_masks=False))[0]["candidates"]
    masks = Manifest(sources["one"]).table("hands", ["image_id", "mask_px"], "train").to_pandas()
    assert with_masks == masks.dropna()["image_id"].nunique()
    assert without == masks["image_id"].nunique()


def test_the_page_shows_what_was_mixed(sources, tmp_path):
    done = mix(choices_for(tmp_path / "<mix>", (sources["one"], {"count": 12}), (sources["two"], {"count": 5})))
    page = (done.out / "mix.html").read_text()
    assert "<mix>" not in page
    assert page.count("data:image/jpeg;base64,") == 11
    words = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "17 crops, one per picture" in words
    for part in done.parts:
        assert f"{part['count']} of {part['candidates']}" in words
        for gesture, count in part["gestures"].items():
            row = pd.Series(re.findall(rf"{gesture} (\d+) ([\d.]+) % (\d+) ([\d.]+) %", words))
            assert str(count) in {found[2] for found in row}
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"base64,[^\"]+", "", page))
