"""Exports, each read back by the program that it is for."""

import gc
import io
import itertools
import json
import tarfile
from functools import partial

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from h2d.errors import UserError
from h2d.images import decode_rgb
from h2d.manifests.export import EXPORTS, web_dataset
from h2d.manifests.export.base import Export, export
from h2d.manifests.export.coco import read_coco
from h2d.manifests.rle import decode_rle
from h2d.manifests.store import Manifest, points_of
from h2d.pose.layouts import HANDS, SIDES
from h2d.registry import resolve


def _rows(root, table="images", split="train"):
    return Manifest(root).table(table, split=split).to_pylist()


@pytest.mark.parametrize("form", EXPORTS)
def test_every_export_writes_every_row_of_each_of_its_tables(good_manifest, tmp_path, form):
    writer = resolve(EXPORTS, form, kind="export")
    assert isinstance(writer(Manifest(good_manifest), tmp_path, writer.tables[0]), Export)
    for table in writer.tables:
        seen = itertools.count()
        counts = export(good_manifest, tmp_path / table, form, table=table, on_row=partial(next, seen))
        splits = Manifest(good_manifest).splits(table)
        assert counts == {split: len(_rows(good_manifest, table, split)) for split in splits}
        assert next(seen) == sum(counts.values())
        files = [path.name for path in (tmp_path / table).rglob("*") if path.is_file()]
        assert files
        assert not [name for name in files if ".tmp-" in name]


@pytest.mark.parametrize("form", EXPORTS)
def test_a_failure_leaves_nothing_and_what_is_there_is_not_overwritten(good_manifest, tmp_path, form):
    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(good_manifest, tmp_path / "new", form, on_row=fail)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.txt").touch()
    with pytest.raises(UserError, match="is there already"):
        export(good_manifest, tmp_path / "new", form)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"form": "csv"}, "unknown export 'csv': choose one of coco, hf"),
        ({"form": "coco", "table": "hands"}, "table 'hands' cannot be exported to coco: choose one of images"),
        ({"form": "yolo", "split": "tset"}, "no rows of images in split 'tset': it has train, val"),
    ],
)
def test_refusals(good_manifest, tmp_path, choices, message):
    with pytest.raises(UserError, match=message):
        export(good_manifest, tmp_path / "out", **choices)
    assert not (tmp_path / "out").exists()


def test_coco_comes_back_exactly(good_manifest, tmp_path):
    export(good_manifest, tmp_path / "coco", "coco", split="train")
    people = read_coco(tmp_path / "coco" / "annotations" / "train.json")
    rows = _rows(good_manifest)
    assert [person.id for person in people] == [row["id"] for row in rows]
    for person, row in zip(people, rows, strict=True):
        np.testing.assert_array_equal(person.points, points_of(row["body"]))
        assert person.masks == {side: row[f"mask_{side}"] for side in SIDES if row[f"mask_{side}"]}
        assert (tmp_path / "coco" / "images" / "train" / person.file_name).read_bytes() == row["image"]["bytes"]


def test_coco_is_read_by_pycocotools(good_manifest, tmp_path, capsys):
    export(good_manifest, tmp_path / "coco", "coco")
    coco = COCO(str(tmp_path / "coco" / "annotations" / "train.json"))
    capsys.readouterr()
    rows = _rows(good_manifest)
    assert sorted(coco.getImgIds()) == list(range(1, len(rows) + 1))
    for row, annotation in zip(rows, coco.loadAnns(coco.getAnnIds()), strict=True):
        body = points_of(row["body"])
        assert len(annotation["keypoints"]) == 17 * 3
        assert annotation["num_keypoints"] == int((body[:17, 2] > 0).sum())
        shown = np.reshape(annotation["lefthand_kpts"], (-1, 3))
        assert set(shown[:, 2]) == ({2} if row["hand_left_found"] else {0})
        assert annotation["lefthand_valid"] == row["hand_left_found"]
        if row["mask_left"]:
            assert coco.annToMask({"segmentation": row["mask_left"], "image_id": annotation["image_id"]}).any()


def test_coco_of_others_is_read(tmp_path):
    flags = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
    annotation = {"image_id": 7, **{name: [0.0] * count * 3 for name, count in flags.items()}}
    annotation["lefthand_kpts"] = [3.0, 4.0, 1.0] * 21
    file = tmp_path / "theirs.json"
    file.write_text(json.dumps({"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": [annotation]}))
    (person,) = read_coco(file)
    assert (person.id, person.masks) == ("a.jpg", {})
    assert (person.points[HANDS["left"]] == (3, 4, 1)).all()
    assert np.isnan(person.points[0, 0])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": [], "annotations": [{}]}', '{"images": 3, "annotations": []}']
)
def test_what_is_no_coco_is_one_line(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(UserError, match=r"bad\.json: not a COCO-WholeBody file"):
        read_coco(tmp_path / "bad.json")
    with pytest.raises(UserError, match="cannot be read"):
        read_coco(tmp_path / "none.json")


@pytest.mark.parametrize(("table", "column"), [("images", "hand_{}"), ("hands", "keypoints_{}")])
def test_yolo_lines_are_the_hands_in_fractions(good_manifest, tmp_path, table, column):
    export(good_manifest, tmp_path / "yolo", "yolo", table=table)
    about = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert (about["names"], about["kpt_shape"]) == ({0: "left", 1: "right"}, [21, 3])
    rows = _rows(good_manifest, table)
    pictures = sorted((tmp_path / "yolo" / about["train"]).iterdir())
    assert len(pictures) == len(rows)
    for row, picture in zip(rows, pictures, strict=True):
        size = Image.open(io.BytesIO(picture.read_bytes())).size
        lines = (tmp_path / "yolo" / "labels" / "train" / f"{picture.stem}.txt").read_text().splitlines()
        hands = {side: points_of(row[column.format(side)]) for side in SIDES}
        found = [side for side in SIDES if (hands[side][:, 2] > 0).any()]
        assert [line.split()[0] for line in lines] == [str(SIDES.index(side)) for side in found]
        for side, line in zip(found, lines, strict=True):
            numbers = np.array(line.split()[1:], float)
            assert len(numbers) == 4 + 21 * 3
            assert ((numbers[:4] >= 0) & (numbers[:4] <= 1)).all()
            labelled = numbers[4:].reshape(-1, 3)
            shown = labelled[:, 2] == 2
            assert shown.any()
            np.testing.assert_allclose(labelled[shown, :2] * size, hands[side][shown, :2], atol=0.01)
            middle = (hands[side][shown, :2].min(axis=0) + hands[side][shown, :2].max(axis=0)) / 2
            if shown.all():
                np.testing.assert_allclose(numbers[:2] * size, middle, atol=0.01)


@pytest.mark.filterwarnings("ignore:.*unclosed file:ResourceWarning")  # the package leaves its shards open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_is_read_by_its_package(good_manifest, tmp_path, monkeypatch):
    import webdataset

    monkeypatch.setattr(web_dataset, "ROWS_PER_SHARD", 2)
    export(good_manifest, tmp_path / "tars", "webdataset", table="hands", split="train")
    shards = sorted(str(path) for path in (tmp_path / "tars").glob("hands-train-*.tar"))
    rows = _rows(good_manifest, "hands")
    assert len(shards) == -(-len(rows) // 2)
    samples = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode("rgb8"))
    assert [sample["json"]["id"] for sample in samples] == [row["id"] for row in rows]
    for sample, row in zip(samples, rows, strict=True):
        assert np.abs(sample["jpg"].astype(int) - decode_rgb(row["image"]["bytes"])).mean() < 2
        points = np.array(sample["json"]["keypoints_left"], np.float32)
        np.testing.assert_array_equal(points, np.array(row["keypoints_left"], np.float32))
        assert sample["json"]["mask"] == row["mask"]
    gc.collect()


def test_the_same_manifest_gives_the_same_tar(good_manifest, tmp_path):
    tars = []
    for name in ("a", "b"):
        export(good_manifest, tmp_path / name, "webdataset", split="train")
        tars.append((tmp_path / name / "hands-train-000000.tar").read_bytes())
    assert tars[0] == tars[1]
    with tarfile.open(tmp_path / "a" / "hands-train-000000.tar") as archive:
        assert not any("/" in name or " " in name for name in archive.getnames())


def test_hf_is_opened_by_datasets(good_manifest, tmp_path):
    import datasets

    export(good_manifest, tmp_path / "hub", "hf", table="hands")
    opened = datasets.load_dataset(str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"))
    assert set(opened) == {"train", "validation"} or set(opened) == {"train", "val"}
    rows = _rows(good_manifest, "hands")
    assert opened["train"]["id"][:] == [row["id"] for row in rows]
    assert opened["train"][0]["image"].size[0] > 0
    mask = opened["train"][0]["mask"]
    assert decode_rle(mask).any()
