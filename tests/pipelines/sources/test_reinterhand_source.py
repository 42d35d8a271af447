import json
import shutil

import numpy as np
import pytest
from fake_studio import STUDIO

from h2d.annotate.masks.given import read_given_mask
from h2d.errors import UserError
from h2d.images import DecodeError, load_rgb
from h2d.pipelines.choices import MaskChoice, PrepareConfig
from h2d.pipelines.plan import SelectionConfig, list_source
from h2d.pipelines.prepare import survey
from h2d.pipelines.sources import reinterhand_files
from h2d.pipelines.sources.base import Finding, Record
from h2d.pipelines.sources.reinterhand import ReinterhandSource
from h2d.pose.layouts import SIDES
from h2d.pose.points import present
from h2d.registry import resolve
from h2d.synth.defects import DEFECTS
from h2d.synth.generate import generate
from h2d.synth.layouts.base import NO_WISH
from h2d.synth.layouts.fisheye import Fisheye
from h2d.synth.layouts.reinterhand import ReinterhandLayout


def draw(root, *, hard=False, count=40, seed=3):
    generate("reinterhand", root, count=count, seed=seed, size_px=96, flavour=None, hard=hard, studio=STUDIO, workers=1)
    return root


@pytest.fixture(scope="module")
def easy(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("reinterhand"))


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    root = draw(tmp_path_factory.mktemp("reinterhand-hard"), hard=True)
    return root, json.loads((root / "planted.json").read_text())


@pytest.fixture
def own(easy, tmp_path):
    return shutil.copytree(easy, tmp_path / "own")


def listed(root, **options):
    found = list(ReinterhandSource(root=root, **options).records())
    return [item for item in found if isinstance(item, Record)], [item for item in found if isinstance(item, Finding)]


def assert_like_drawn(records, tmp_path, root):
    """Joints, masks and sides of every record against what the studio drew."""
    layout, by_path, drawn = ReinterhandLayout(seed=3, count=40, size_px=96), {r.path: r for r in records}, []

    def render(scene):
        drawn.append((scene, STUDIO.render(scene)))
        return drawn[-1][1]

    studio = type(STUDIO)(sample=STUDIO.sample, render=render, setup=STUDIO.setup)
    for index in range(40):
        note = layout.draw(index, tmp_path, studio, NO_WISH)
        record, (scene, drawing) = by_path.pop(note["path"]), drawn[-1]
        camera, is_ego = layout._camera(note["camera"]), note["rig"] == "Ego_cameras"
        assert set(record.hands) == set(SIDES)
        for side in SIDES:
            joints = scene.people[0].hands[side].joints
            pixels = Fisheye(camera).project(joints) if is_ego else camera.project(joints)[:, :2]
            assert np.abs(record.hands[side][:, :2] - pixels).max() < 0.05
        masks = drawing.people[0].hand_masks
        mask = masks["left"] | masks["right"]
        mask = Fisheye(camera).bend_mask(mask) if is_ego else mask
        np.testing.assert_array_equal(read_given_mask(root / record.mask_path), mask)
        assert record.split == note["split"]
    assert not by_path


def selected_ids(source, selection, shard_size):
    return [name for block in list_source(source, selection, shard_size).blocks() for name in block["id"].to_pylist()]


def test_what_is_drawn_comes_back_with_its_exact_labels(easy, tmp_path):
    records, findings = listed(easy)
    assert findings == []
    assert len({record.id for record in records}) == 40
    assert {record.subject for record in records} == {"HIR112", "TXB805", "RNS217"}
    assert_like_drawn(records, tmp_path, easy)


@pytest.mark.parametrize("kept", ["single folder", "24 joints", "padded"])
def test_keypoints_are_found_in_every_form(own, tmp_path, kept):
    for capture in own.iterdir():
        if not capture.is_dir():
            continue
        outer = capture / "keypoints_orig"
        files = list((outer / "keypoints_orig").glob("*.json"))
        for file in files:
            name = f"{int(file.stem):06d}.json" if kept == "padded" else file.name
            file.rename((outer if kept == "single folder" else file.parent) / name)
        if kept == "24 joints":
            shutil.rmtree(outer)
        else:
            shutil.rmtree(capture / "orig_fits")
    records, findings = listed(own)
    assert findings == []
    assert_like_drawn(records, tmp_path / "again", own)


def test_planted_defects_are_found_under_their_names_and_nothing_else_is(hard):
    root, planted = hard
    records, findings = listed(root)
    assert {entry["kind"] for entry in planted} == {
        defect.kind for defect in resolve(DEFECTS, "reinterhand", kind="layout")
    }
    assert sorted((item.kind, item.split, item.name) for item in findings) == sorted(
        tuple(entry["finding"].values()) for entry in planted if entry["finding"]
    )
    unreadable = {record.path for record in records if not readable(root, record)}
    assert unreadable == {entry["path"] for entry in planted if entry["caught_by"] == "read"}
    assert all(set(record.hands) == set(SIDES) for record in records)


def readable(root, record):
    try:
        size_hw = load_rgb(root / record.path).shape[:2]
    except DecodeError:
        return False
    return record.mask_path is None or read_given_mask(root / record.mask_path).shape == size_hw


def test_masks_are_found_under_another_name_and_unpadded(own):
    for folder in own.rglob("masks"):
        for file in folder.rglob("*.png"):
            file.rename(file.with_name(f"{int(file.stem)}.png"))
        folder.rename(folder.with_name("mask"))
    records, findings = listed(own)
    assert findings == []
    assert len(records) == 40
    assert all((own / record.mask_path).is_file() for record in records)


def choices(root, name):
    return PrepareConfig(source="reinterhand", root=root, out=root / "out", mask=MaskChoice(name=name))


def test_without_any_mask_every_place_is_named_and_what_to_choose(own):
    for folder in [*own.rglob("masks")]:
        shutil.rmtree(folder)
    with pytest.raises(UserError) as caught:
        survey(choices(own, "auto"))
    message = str(caught.value)
    assert "\n" not in message
    for shots in {record.path.rpartition("/")[0] for record in listed(own)[0]}:
        assert shots.replace("/images", "/masks") in message
        assert shots.replace("/images", "/mask") + ")" in message or shots.replace("/images", "/mask") + ";" in message
    assert all(word in message for word in ("--mask sam", "--mask grabcut", "--mask mano"))
    assert survey(choices(own, "grabcut")).num_pictures == 40
    with pytest.raises(UserError, match="no meshes"):
        survey(choices(own, "mano"))


def test_a_frame_without_keypoints_or_camera_is_named_and_listed(own):
    capture = next(path for path in own.iterdir() if "HIR112" in path.name)
    shutil.rmtree(capture / "keypoints_orig")
    shutil.rmtree(capture / "orig_fits")
    (capture / "Mugsy_cameras" / "cam_params.json").write_text("{}")
    records, findings = listed(own)
    assert len(records) == 40
    kinds = {finding.kind for finding in findings}
    assert kinds == {"picture_without_keypoints", "picture_without_camera"}
    assert all(capture.name in finding.name for finding in findings)


def test_meshes_come_with_their_camera(own):
    capture = next(path for path in own.iterdir() if "HIR112" in path.name)
    (capture / "mano_fits" / "meshes").mkdir(parents=True)
    (capture / "mano_fits" / "meshes" / "120_left.ply").write_text("ply\n")
    records, _ = listed(own, rig="Ego_cameras")
    with_mesh = [record for record in records if record.meshes]
    assert [record.meshes for record in with_mesh] == [{"left": f"{capture.name}/mano_fits/meshes/120_left.ply"}]
    assert with_mesh[0].camera.distortion is not None


def test_samples_and_choices(easy):
    def ids(**selection):
        return selected_ids(ReinterhandSource(root=easy), SelectionConfig(**selection), 9)

    assert ids(limit=11) == ids()[:11]
    assert len(ids(sample=12, seed=1)) == 12
    assert {"/".join(name.split("/")[1:4]) for name in ids(sample=24)} == {"/".join(n.split("/")[1:4]) for n in ids()}
    assert {record.split for record in listed(easy, split="test")[0]} == {"test"}
    for wrong in ({"split": "val"}, {"rig": "ego"}):
        with pytest.raises(UserError, match="choose one of"):
            ReinterhandSource(root=easy, **wrong)


def test_a_part_of_a_hand_beyond_the_picture_is_kept(easy):
    records, _ = listed(easy)
    assert all(present(points).all() for record in records for points in record.hands.values())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5000])
def test_json_that_is_none_is_named_in_one_line(content, tmp_path):
    shots = reinterhand_files.Shots(capture=tmp_path, rig="Ego_cameras", light="envmap", camera="")
    shots.base.mkdir(parents=True)
    (shots.base / "truncation_ratio.json").write_bytes(content)
    with pytest.raises(UserError, match=r"truncation_ratio\.json: damaged ratios") as caught:
        reinterhand_files.truncation_ratios(shots)
    assert len(str(caught.value).splitlines()) == 1
