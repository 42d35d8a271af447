"""Segmenters of whole people: a contract over the table, and what each does where the truth is known."""

import cv2
import numpy as np
import pytest

from h2d.annotate.people import PEOPLE_SEGMENTERS
from h2d.annotate.people.base import PeopleSegmenter
from h2d.annotate.people.grabcut import GrabCutPeople, seeds
from h2d.annotate.people.sam import SamPeople, prompt_of
from h2d.annotate.people.selfie import SelfiePeople
from h2d.pose.layouts import BODY, HANDS
from h2d.pose.points import missing_points
from h2d.registry import resolve


def drawn_person(seed=11):
    from h2d.synth.render import render
    from h2d.synth.sampling import sample_scene

    drawing = render(sample_scene(seed, frame="selfie", size_hw=(128, 128), gesture="peace", background="plain"))
    return drawing.picture, drawing.people[0]


@pytest.fixture(scope="module")
def person():
    return drawn_person()


@pytest.mark.parametrize("name", PEOPLE_SEGMENTERS)
def test_every_entry_is_a_segmenter(name, tmp_path):
    kind = resolve(PEOPLE_SEGMENTERS, name, kind="segmenter")
    made = kind(checkpoint=tmp_path / "none.pth", checkpoint_sha256="ab" * 32) if name == "sam" else kind()
    assert isinstance(made, PeopleSegmenter)
    assert made.identity()["name"] == name


@pytest.mark.parametrize("segmenter", [SelfiePeople(), GrabCutPeople()], ids=["selfie", "grabcut"])
def test_hands_and_body_are_kept_and_corners_are_not(segmenter, person):
    picture, truth = person
    segmenter.setup()
    try:
        mask, again = segmenter.segment([picture, picture], [truth.points, truth.points])
    finally:
        segmenter.close()
    np.testing.assert_array_equal(mask, again)
    assert mask.shape == picture.shape[:2]
    body = truth.points[[5, 6, 11, 12]]
    inside = body[(body[:, 0] < 128) & (body[:, 1] < 128)].astype(int)
    assert mask[inside[:, 1], inside[:, 0]].all()
    assert not mask[:12, :12].any()
    assert not mask[:12, -12:].any()


def test_grabcut_finds_nobody_without_points(person):
    picture, _ = person
    (mask,) = GrabCutPeople().segment([picture], [missing_points(133)])
    assert not mask.any()


def test_seeds_are_surely_person_on_the_bones_and_surely_not_far_away():
    points = missing_points(133)
    points[5], points[6], points[11], points[12] = (70, 40, 1), (50, 40, 1), (68, 80, 1), (52, 80, 1)
    labels = seeds(points, (128, 128))
    assert labels[60, 60] == cv2.GC_FGD
    assert labels[5, 5] == cv2.GC_BGD


def test_sam_is_asked_for_what_is_seen():
    points = missing_points(133)
    points[0], points[5], points[16] = (30, 20, 0.9), (200, 50, 0.9), (40, 60, 0.1)
    points[HANDS["left"].start] = (50, 60, 0.8)
    prompt = prompt_of(points, (100, 100))
    np.testing.assert_array_equal(prompt.points, [[30, 20], [50, 60]])
    assert prompt.labels.all()
    assert prompt.box_xyxy[0] < 30
    assert prompt.box_xyxy[3] > 60
    assert prompt_of(missing_points(133), (100, 100)) is None
    assert BODY.start == 0


def test_tiny_sam_answers_and_an_absent_one_is_named(tmp_path, monkeypatch, person):
    import torch
    from segment_anything import sam_model_registry

    from h2d.errors import UserError
    from h2d.models.tiny import tiny_sam

    torch.manual_seed(0)
    monkeypatch.setitem(sam_model_registry, "vit_b", tiny_sam)
    torch.save(tiny_sam().state_dict(), tmp_path / "sam.pth")
    picture, truth = person
    segmenter = SamPeople(model="vit_b", checkpoint=tmp_path / "sam.pth", device="cpu", batch_size=1)
    segmenter.setup()
    masks = segmenter.segment([picture, picture], [truth.points, missing_points(133)])
    assert [mask.shape for mask in masks] == [(128, 128)] * 2
    assert not masks[1].any()
    together = SamPeople(model="vit_b", checkpoint=tmp_path / "sam.pth", device="cpu")
    np.testing.assert_array_equal(together.segment([picture] * 2, [truth.points, missing_points(133)]), masks)
    assert together.identity() == segmenter.identity()
    segmenter.close()
    with pytest.raises(UserError, match="no SAM checkpoint here"):
        SamPeople(checkpoint=tmp_path / "none.pth").identity()
