"""LAION-Human from its files to a manifest: each filter of the paper leaves out what it names, and nothing else."""

import json
from dataclasses import replace

import numpy as np
import pytest
from colour_world import ColourDetector, Scene, draw
from test_prepare import Watching, rows

from h2d.annotate.keypoints import DETECTORS
from h2d.config import config
from h2d.errors import UserError
from h2d.images import encode_jpeg
from h2d.manifests.validate import validate
from h2d.pipelines.choices import MaskChoice, PoseChoice, PrepareConfig, RulesConfig, RunConfig
from h2d.pipelines.prepare import prepare
from h2d.synth.layouts.pose_npz import encode_poses

HAND = {"left": (0.6, 0.5)}
CASES = {
    "good": (1, Scene(hands=HAND)),
    "nobody_listed": (0, Scene(hands=HAND)),
    "two_listed": (2, Scene(hands=HAND)),
    "crowd": (1, Scene(hands={"left": (0.7, 0.5), "right": (0.3, 0.5)})),
    "small": (1, Scene(hands=HAND, hand_px=24)),
    "no_hand": (1, Scene(hands={})),
    "damaged": (None, Scene(hands=HAND)),
}
REASONS = {
    "nobody_listed": ("screen", "persons_listed"),
    "two_listed": ("screen", "persons_listed"),
    "crowd": ("pose", "persons_in_picture"),
    "small": ("hand_size", "hand_mask_small"),
    "no_hand": ("pose", "no_person"),
    "damaged": ("screen", "damaged_pose_file"),
}


@config
class CrowdDetector(ColourDetector):
    """Takes each hand for a person's."""

    def detect(self, *arguments):
        found = super().detect(*arguments)
        return replace(found, num_persons=len(found.hands))


@pytest.fixture
def choices(tmp_path, monkeypatch):
    monkeypatch.setitem(DETECTORS, "crowd", "test_prepare_laion_human:CrowdDetector")
    folder = tmp_path / "data" / "Aesthetics_Human"
    person = {"keypoints": np.ones((17, 3), np.float32), "score": np.float32(1), "area": np.float32(9)}
    mapping = {}
    for number, (name, (listed, scene)) in enumerate(CASES.items()):
        paths = {kind: f"Aesthetics_Human/{kind}/00000/{number:09d}" for kind in ("images", "pose")}
        for path in paths.values():
            (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / f"{paths['images']}.jpg").write_bytes(encode_jpeg(draw(scene, number)))
        poses = b"" if listed is None else encode_poses([person] * listed)
        (tmp_path / "data" / f"{paths['pose']}.npz").write_bytes(poses)
        entry = {"img_path": f"{paths['images']}.jpg", "pose_path": f"{paths['pose']}.npz"}
        mapping[name] = {**entry, "prompt": f"what the web says of {name}"}
    (folder / "mapping_file_training.json").write_text(json.dumps(mapping))
    return PrepareConfig(
        source="laion-human",
        root=tmp_path / "data",
        out=tmp_path / "out",
        pose=PoseChoice(name="crowd"),
        mask=MaskChoice(name="grabcut"),
        run=RunConfig(shard_size=4, executor="inline"),
    )


def reasons(out):
    return {row["id"].split("/")[1]: (row["stage"], row["reason"]) for row in rows(out, "rejects")}


def test_each_filter_leaves_out_what_it_names(choices):
    outcome = prepare(choices, Watching())
    assert reasons(outcome.out) == REASONS
    (image,) = rows(outcome.out, "images")
    assert image["id"] == "laion-human/good"
    assert image["original_caption"] == "what the web says of good" != image["caption"]
    assert validate(outcome.out, source_root=choices.root) == []


def test_each_filter_can_be_switched_off(choices):
    prepare(choices, Watching())
    watch = Watching()
    outcome = prepare(replace(choices, rules=RulesConfig(min_hand_px=0)), watch)
    assert reasons(outcome.out) == {name: why for name, why in REASONS.items() if name != "small"}
    assert watch.worked["pose"] == watch.worked["mask"] == 0  # a threshold costs no second look at the pictures
    outcome = prepare(replace(choices, rules=RulesConfig(persons=0, min_hand_px=0)), Watching())
    assert reasons(outcome.out) == {name: REASONS[name] for name in ("no_hand", "damaged")}


def test_small_hands_cannot_be_told_without_masks(choices):
    with pytest.raises(UserError, match=r"rules.min_hand_px = 2500: it needs masks"):
        prepare(replace(choices, mask=MaskChoice(name="none")), Watching())


def test_other_datasets_are_not_filtered_unless_asked(choices, tmp_path):
    folder = replace(choices, source="folder", root=choices.root / "Aesthetics_Human" / "images", out=tmp_path / "all")
    assert prepare(folder, Watching()).reject_reasons == {"no_person": 1}
    asked = prepare(replace(folder, rules=RulesConfig(persons=1, min_hand_px=2500)), Watching())
    assert asked.reject_reasons == {"no_person": 1, "persons_in_picture": 1, "hand_mask_small": 1}
