"""Annotators judged on known truth: perfect ones, shifted ones, swapped ones, and masks that are cut in half."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from manifest_builder import build_manifest

from h2d.annotate.base import Detection, FoundHand, HandMask
from h2d.errors import UserError
from h2d.eval.annotators import Annotators, choose_annotators, iou, judge, judged_hand, matching_side
from h2d.eval.annotators_report import markdown, table_rows, write_report
from h2d.eval.placing import Silent
from h2d.manifests.store import Manifest, points_array
from h2d.pose.layouts import HANDS, SIDES
from h2d.pose.points import extent_xywh, present


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return Manifest(build_manifest(tmp_path_factory.mktemp("annotators") / "drawn", num_pictures=9, splits=("test",)))


class Oracle:
    """Knows the truth by the order of calls, and bends it."""

    def __init__(self, manifest: Manifest, *, shift=0.0, swap=False, lose=()) -> None:
        self._truth = points_array(manifest.table("images", ["body"])["body"]).copy()
        self._shift, self._swap, self._lose = shift, swap, lose
        self.calls = 0

    def identity(self) -> Mapping[str, Any]:
        return {"shift": self._shift, "swap": self._swap, "lose": list(self._lose)}

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def detect(self, picture, boxes_xywh, given=None) -> Detection:
        body = self._truth[self.calls].copy()
        self.calls += 1
        hands = {}
        for side in SIDES:
            points = body[HANDS[side]]
            if present(points).any() and side not in self._lose:
                points = points.copy()
                points[:, 0] += self._shift * max(extent_xywh(points)[2:])
                name = {"left": "right", "right": "left"}[side] if self._swap else side
                hands[name] = FoundHand(points=points, found_by="oracle")
        return Detection(num_persons=1, body=body, hands=hands)


class HalfMasks:
    """Draws the upper half of the crop."""

    batch_size = 1

    def identity(self) -> Mapping[str, Any]:
        return {"name": "half"}

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def segment(self, views: Sequence[Any]) -> list[dict[str, HandMask]]:
        answers = []
        for view in views:
            mask = np.zeros(view.picture.shape[:2], bool)
            mask[: len(mask) // 2] = True
            answers.append({side: HandMask(mask=mask, quality=1.0) for side in view.hands})
        return answers


def judged(manifest, out, detector, segmenter=None, **options):
    chosen = Annotators(detector=detector, segmenter=segmenter, names={"detector": "oracle", "segmenter": "half"})
    table = judge(manifest, out, chosen, Silent(), **options)
    return table.to_pandas(), {row["name"]: row for row in table_rows(table.to_pandas(), chosen.names, resamples=20)}


def test_a_perfect_detector_is_perfect(drawn, tmp_path):
    frame, rows = judged(drawn, tmp_path, Oracle(drawn))
    whole = rows["all hands"]
    assert [whole[short].value for short in ("body", "hand", "side", "error")] == [1, 1, 1, 0]
    assert whole["iou"].value is None
    assert whole["iou"].reason == "no mask was compared"
    assert len(frame) == whole["hands"] == 12
    assert rows["left"]["hands"] + rows["right"]["hands"] == 12
    assert sum(row["hands"] for row in rows.values() if row["part"] == "gesture") == 12


def test_a_known_shift_is_the_error(drawn, tmp_path):
    _, rows = judged(drawn, tmp_path, Oracle(drawn, shift=0.1))
    assert rows["all hands"]["error"].value == pytest.approx(0.1, rel=1e-4)
    assert rows["all hands"]["error"].interval.high == pytest.approx(0.1, rel=1e-4)


def test_a_hand_half_its_size_away_is_not_found(drawn, tmp_path):
    _, rows = judged(drawn, tmp_path, Oracle(drawn, shift=0.6))
    whole = rows["all hands"]
    assert whole["hand"].value == 0
    assert whole["error"].value is None
    assert whole["side"].reason == "no hand was found"


def test_swapped_sides_are_found_but_not_their_own(drawn, tmp_path):
    _, rows = judged(drawn, tmp_path, Oracle(drawn, swap=True))
    whole = rows["all hands"]
    assert whole["hand"].value == 1
    assert whole["side"].value == 0
    assert whole["error"].value == 0


def test_lost_hands_count_by_side(drawn, tmp_path):
    _, rows = judged(drawn, tmp_path, Oracle(drawn, lose=("left",)))
    assert rows["left"]["hand"].value == 0
    assert rows["right"]["hand"].value == 1


def test_masks_are_compared_where_the_truth_has_them(drawn, tmp_path):
    frame, rows = judged(drawn, tmp_path, Oracle(drawn), HalfMasks())
    masks = drawn.table("images", ["mask_left_px", "mask_right_px"])
    assert frame["iou"].notna().sum() == sum(len(masks[name].drop_null()) for name in masks.column_names)
    assert 0 < rows["all hands"]["iou"].value < 0.9


def test_what_is_done_is_not_done_again(drawn, tmp_path):
    judged(drawn, tmp_path, Oracle(drawn))
    again = Oracle(drawn)
    judged(drawn, tmp_path, again)
    assert again.calls == 0
    other = Oracle(drawn, shift=0.1)
    judged(drawn, tmp_path, other)
    assert other.calls == 9, "another annotator looks for itself"


def test_reports_are_written(drawn, tmp_path):
    frame, _ = judged(drawn, tmp_path, Oracle(drawn))
    names = {"detector": "oracle", "segmenter": "half"}
    rows = table_rows(frame, names, resamples=20)
    facts = {"manifest": "drawn", "pictures": 9, **names, "lost": {}}
    write_report(tmp_path, frame, rows, facts)
    assert (tmp_path / "annotators.json").stat().st_size > 1000
    text = markdown(rows, facts)
    assert "| all hands | 12 | 1.000 | 1.000 |" in text
    assert "no interval: every resample has the same number" in text
    assert "| call | " in text


def test_an_annotator_is_not_judged_by_itself(drawn, tmp_path):
    chosen = Annotators(detector=Oracle(drawn), segmenter=None, names={"detector": "holistic", "segmenter": "none"})
    with pytest.raises(UserError, match="its keypoints are by holistic, which is what is to be judged"):
        judge(drawn, tmp_path, chosen, Silent())
    with pytest.raises(UserError, match="no pictures in split 'val': it has test"):
        judged(drawn, tmp_path, Oracle(drawn), split="val")


def test_names_are_checked(monkeypatch, tmp_path):
    monkeypatch.setenv("H2D_MODELS", str(tmp_path))
    with pytest.raises(UserError, match="unknown detector 'mine'"):
        choose_annotators("mine", "none")
    with pytest.raises(UserError, match="unknown segmenter 'mine'"):
        choose_annotators("holistic", "mine")
    with pytest.raises(UserError, match="h2d models fetch sam-vit-h"):
        choose_annotators("holistic", "sam")
    assert choose_annotators("holistic", "none").segmenter is None


def test_of_two_hands_that_touch_the_own_side_counts():
    points = np.ones((21, 3), np.float32)
    points[:, 0] = np.arange(21) * 5
    near = FoundHand(points=points + np.array([1, 0, 0], np.float32), found_by="x")
    exact = FoundHand(points=points, found_by="x")
    assert matching_side({"left": near, "right": exact}, "left", points) == "left"
    assert judged_hand({"right": exact}, "left", points) == {"found": True, "own_side": False, "error": 0.0}
    assert judged_hand({}, "left", points)["found"] is False


def test_iou():
    one, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert iou(one, other) == 1
    one[:2], other[1:3] = True, True
    assert iou(one, other) == pytest.approx(1 / 3)
