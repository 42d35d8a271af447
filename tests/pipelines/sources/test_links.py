"""A stranger's links lead nowhere, a user's own are followed when asked to: the same for every dataset."""

from collections import Counter
from dataclasses import replace

import pytest
from fake_studio import STUDIO

from h2d.config import validate_config
from h2d.errors import UserError
from h2d.manifests.io import location
from h2d.pipelines.plan import SelectionConfig, list_source
from h2d.pipelines.sources import SOURCES
from h2d.pipelines.sources.base import Record
from h2d.pipelines.sources.links import Bounds, within_bounds
from h2d.registry import resolve
from h2d.synth.generate import generate

LAYOUT_OF = {name: "hagrid" if name == "folder" else name for name in SOURCES}


@pytest.fixture(params=SOURCES)
def dataset(request, tmp_path):
    """A dataset's name and a function that lists it: paths and findings by kind."""
    root = tmp_path / "dataset"
    layout = LAYOUT_OF[request.param]
    generate(layout, root, count=12, seed=5, size_px=64, flavour=None, hard=False, studio=STUDIO, workers=1)
    reader = resolve(SOURCES, request.param, kind="source")

    def listed(**options):
        listing = list_source(
            validate_config(reader, {"root": root, **options}, where="source"), SelectionConfig(), shard_size=100
        )
        names = [name for block in listing.blocks() for name in block["path"].to_pylist()]
        return names, Counter(listing.num_findings)

    return root, listed


def move_away(path, root):
    """Put a file or folder outside the dataset, and a link in its place."""
    elsewhere = root.parent / f"elsewhere-{path.name}"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def test_a_picture_that_is_a_link_out_of_the_dataset_is_named_and_left_out(dataset):
    root, listed = dataset
    before, findings = listed()
    assert not findings["link_leads_out"]
    move_away(root / before[3], root)
    after, findings = listed()
    assert set(before) - set(after) == {before[3]}
    assert findings["link_leads_out"] == 1 or findings["picture_without_entry"] == 1, "or as LAION-Human's reader says"


def test_a_folder_that_is_a_link_out_of_the_dataset_is_followed_when_asked_to(dataset):
    root, listed = dataset
    before, _ = listed()
    top = next(root / name.split("/")[0] for name in before)
    move_away(top, root)
    rest = {name for name in before if root / name.split("/")[0] != top}
    if rest:
        after, findings = listed()
        assert set(after) == rest
        assert findings["link_leads_out"]
    else:
        with pytest.raises(UserError, match="links lead out of it: give --follow-links if they are your own"):
            listed()
    assert listed(follow_links=True)[0] == before


def test_every_file_of_a_record_is_looked_at(tmp_path):
    (tmp_path / "dataset").mkdir()
    for name in ("a.jpg", "mask.png", "mesh.ply", "poses.npz"):
        (tmp_path / "dataset" / name).touch()
        (tmp_path / name).touch()
        (tmp_path / "dataset" / f"out-{name}").symlink_to(tmp_path / name)
        (tmp_path / "dataset" / f"in-{name}").symlink_to(name)
    source = validate_config(resolve(SOURCES, "folder", kind="source"), {"root": tmp_path / "dataset"}, where="source")
    whole = Record(
        id="a", split="train", path="in-a.jpg", size_bytes=0,
        mask_path="in-mask.png", pose_path="in-poses.npz", meshes={"left": "in-mesh.ply"},
    )  # fmt: skip
    assert list(within_bounds([whole], source)) == [whole]
    for changes in (
        {"path": "out-a.jpg"},
        {"mask_path": "out-mask.png"},
        {"pose_path": "out-poses.npz"},
        {"meshes": {"left": "in-mesh.ply", "right": "out-mesh.ply"}},
        {"path": "../a.jpg"},
        {"path": str(tmp_path / "a.jpg")},
    ):
        (found,) = within_bounds([replace(whole, **changes)], source)
        assert found.kind == "link_leads_out", changes


def test_a_folder_of_a_name_that_begins_alike_is_outside(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data-private").mkdir()
    (tmp_path / "data-private" / "a.jpg").touch()
    (tmp_path / "data" / "a.jpg").symlink_to(tmp_path / "data-private" / "a.jpg")
    assert not Bounds([tmp_path / "data"]).hold(f"{tmp_path}/data/a.jpg")


def test_a_dataset_that_is_itself_a_link_is_no_link_out(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").touch()
    (tmp_path / "data").symlink_to("real")
    assert Bounds([tmp_path / "data"]).hold(f"{tmp_path}/data/a.jpg")


def test_in_a_store_every_address_lies_within():
    assert Bounds([location("s3://bucket/data")]).hold("s3://other/a.jpg")
