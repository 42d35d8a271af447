"""A manifest straight from the drawing: valid, and exact."""

from dataclasses import replace

import numpy as np
import pytest
from fake_studio import STUDIO

from h2d.errors import UserError
from h2d.manifests.rle import decode_rle
from h2d.manifests.store import MANIFEST_FILE, Manifest, points_array
from h2d.manifests.validate import validate
from h2d.pose.layouts import HANDS, SIDES
from h2d.pose.points import present
from h2d.synth.generate import generate
from h2d.synth.layouts.base import NO_WISH, scene_seed
from h2d.synth.layouts.hagrid import CLASSES_V2_1M
from h2d.synth.layouts.manifest import ManifestLayout

COUNT = 24
SIZE = 128


def drawing_of(index):
    scene = STUDIO.sample(
        scene_seed(5, index), frame="selfie", size_hw=(SIZE, SIZE), gesture=CLASSES_V2_1M[index % len(CLASSES_V2_1M)]
    )
    return scene, STUDIO.render(scene).people[0]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn") / "set"
    generate("manifest", root, count=COUNT, seed=5, size_px=SIZE, workers=1, studio=STUDIO)
    return root


def test_it_is_valid_and_nothing_else_is_left(drawn):
    assert validate(drawn) == []
    manifest = Manifest(drawn)
    assert manifest.counts["images"] == COUNT
    assert manifest.counts["rejects"] == 0
    assert set(manifest.splits("images")) == {"train", "val", "test"}
    assert not (drawn / "drawn").exists()


def test_points_masks_and_captions_are_those_of_the_drawing(drawn):
    rows = {row["source_path"]: row for row in Manifest(drawn).table("images").to_pylist()}
    layout = ManifestLayout(seed=5, count=COUNT, size_px=SIZE)
    num_hands = 0
    for index in range(COUNT):
        scene, labels = drawing_of(index)
        row = next(row for path, row in rows.items() if path.endswith(f"{layout.name_of(index)}.jpg"))
        np.testing.assert_allclose(np.reshape(row["body"], (133, 3)), labels.points, atol=1e-3)
        assert row["caption"] == scene.caption
        for side in SIDES:
            if row[f"hand_{side}_found"]:
                num_hands += 1
                assert np.array_equal(decode_rle(row[f"mask_{side}"]), labels.hand_masks[side])
                assert present(labels.points[HANDS[side]]).sum() >= 16
    assert num_hands > COUNT / 2


def test_crops_hold_their_hands(drawn):
    table = Manifest(drawn).table("hands")
    for row in table.to_pylist():
        x, y, side, _ = row["crop_box_xywh"]
        mask = decode_rle(row["mask"])
        assert mask.shape == (512, 512)
        assert row["mask_px"] == mask.sum() > 0
        assert 0 <= x <= SIZE
        assert 0 <= y <= SIZE
        assert side >= 64
    for name in ("left", "right"):
        points = points_array(table[f"keypoints_{name}"])
        shown = np.array([row["hands"] in (name, "both") for row in table.select(["hands"]).to_pylist()])
        assert np.isnan(points[~shown][..., 0]).all()
        assert (np.isfinite(points[shown][..., 0]).sum(axis=1) >= 16).all()


def test_a_run_stopped_after_its_tables_were_written_ends(tmp_path):
    root = tmp_path / "set"
    notes = [ManifestLayout(seed=5, count=2, size_px=SIZE).draw(index, root, STUDIO, NO_WISH) for index in range(2)]
    layout = ManifestLayout(seed=5, count=2, size_px=SIZE)
    layout.write_labels(notes, root)
    written = (root / MANIFEST_FILE).read_bytes()
    layout.write_labels(notes, root)
    assert (root / MANIFEST_FILE).read_bytes() == written
    assert Manifest(root).counts["images"] == 2


@pytest.mark.parametrize(("flavour", "near"), [("calm", False), ("near", True)])
def test_calm_and_near_pictures_have_no_clutter(tmp_path, flavour, near):
    asked = []

    def sample(*args, background, near, **kwargs):
        asked.append((background, near))
        return STUDIO.sample(*args, background=background, near=near, **kwargs)

    layout = ManifestLayout(seed=0, count=3, size_px=96, flavour=flavour)
    for index in range(3):
        layout.draw(index, tmp_path, replace(STUDIO, sample=sample), NO_WISH)
    assert asked == [("gradient", near), ("plain", near), ("plain", near)]


def test_there_are_no_defects_to_plant(tmp_path):
    with pytest.raises(UserError, match="no known defects"):
        generate("manifest", tmp_path / "set", count=40, hard=True, studio=STUDIO)
