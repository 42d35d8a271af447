import subprocess
import sys

import pytest
import yaml

from h2d.manifests.card import write_card
from h2d.manifests.schema import TABLES

LOADING = """
import sys, datasets
root = sys.argv[1]
images = datasets.load_dataset(root, "images")
assert {name: len(split) for name, split in images.items()} == {"train": 3, "val": 3}, images
first = images["train"][0]
assert first["image"].size == (first["width"], first["height"]) == (240, 320), first["image"]
assert len(first["body"]) == 133 * 3
hands = datasets.load_dataset(root, "hands", split="val")
assert hands[0]["image"].size == (128, 128)
assert len(datasets.load_dataset(root, "rejects")["train"]) == 1
assert datasets.load_dataset(root)["val"].features == images["val"].features
streamed = next(iter(datasets.load_dataset(root, "images", split="train", streaming=True)))
assert streamed["id"] == first["id"]
plain = datasets.load_dataset("parquet", data_files=f"{root}/hands/**/*.parquet", split="train")
assert len(plain) == 7, plain
folder = datasets.load_dataset("parquet", data_dir=f"{root}/hands")
assert {name: len(split) for name, split in folder.items()} == {"train": 3, "validation": 4}, folder
assert plain[0]["image"].size == (128, 128), plain[0]["image"]
print("loaded")
"""


def header_of(text):
    _, header, _ = text.split("---\n", 2)
    return yaml.safe_load(header)


def test_the_card_counts_and_names_its_files(make_manifest):
    root = make_manifest("a *starred* name")
    text = write_card(root).read_text()
    header = header_of(text)
    assert header["license"] == "other"
    assert [config["config_name"] for config in header["configs"]] == list(TABLES)
    for config in header["configs"]:
        for files in config["data_files"]:
            assert list(root.glob(files["path"])), files
    assert "8 pictures indexed = 6 accepted + 2 left out. 7 hand crops." in text
    assert "GrabCut (no model weights)" in text
    assert "| pose | DecodeError | 1 |" in text
    assert "# a \\*starred\\* name" in text


def test_only_what_is_there_is_named(make_manifest):
    """`datasets` refuses every table when the files of one are missing."""
    header = header_of(write_card(make_manifest(num_pictures=2, num_rejects=0, splits=("val",))).read_text())
    assert [config["config_name"] for config in header["configs"]] == ["images", "hands"]
    assert {files["split"] for config in header["configs"] for files in config["data_files"]} == {"val"}
    assert header_of(write_card(make_manifest("empty", num_pictures=0, num_rejects=0)).read_text())["configs"] == []


def test_datasets_loads_it_offline_without_our_code(make_manifest, tmp_path):
    pytest.importorskip("datasets")
    root = make_manifest()
    write_card(root)
    environment = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LOADING, str(root)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.endswith("loaded\n"), done.stderr[-1500:]
