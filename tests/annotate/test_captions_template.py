"""The template captioner: a sentence for every gesture, and for what has none."""

import numpy as np
import pytest

from h2d.annotate.base import CaptionRequest
from h2d.annotate.captions.template import NO_GESTURE, ONE_HANDED, TWO_HANDED, TemplateCaptioner, sentence

HAGRID_V1 = (
    "call", "dislike", "fist", "four", "like", "mute", "ok", "one", "palm", "peace", "peace_inverted", "rock", "stop",
    "stop_inverted", "three", "three2", "two_up", "two_up_inverted",
)  # fmt: skip
HAGRID_V2_1M = (
    *HAGRID_V1, "grabbing", "grip", "holy", "point", "three3", "timeout", "xsign", "hand_heart", "hand_heart2",
    "little_finger", "middle_finger", "take_picture", "three_gun", "thumb_index", "thumb_index2", "no_gesture",
)  # fmt: skip
HANDS = [(), ("left",), ("right",), ("left", "right")]


@pytest.mark.parametrize("hands", HANDS)
def test_every_class_of_hagrid_has_a_sentence_of_its_own(hands):
    sentences = [sentence(gesture, hands) for gesture in HAGRID_V2_1M]
    assert len(set(sentences)) == len(HAGRID_V2_1M) == 34
    assert set(HAGRID_V2_1M) == {*ONE_HANDED, *TWO_HANDED, "no_gesture"}
    for text in sentences:
        assert text.startswith("a photo of a person")
        assert "_" not in text
        assert "  " not in text
        assert not text.endswith((",", " "))


def test_a_side_is_named_only_when_one_hand_was_found():
    assert sentence("rock", ("left",)) == "a photo of a person showing the rock sign with the left hand"
    assert sentence("rock", ("left", "right")) == "a photo of a person showing the rock sign"
    assert sentence("rock", ()) == "a photo of a person showing the rock sign"


@pytest.mark.parametrize("gesture", TWO_HANDED)
def test_a_gesture_of_two_hands_is_never_said_of_one(gesture):
    assert len({sentence(gesture, hands) for hands in HANDS}) == 1


@pytest.mark.parametrize("gesture", [None, "", *sorted(NO_GESTURE)])
def test_without_a_gesture_the_hands_are_all_there_is_to_say(gesture):
    assert sentence(gesture, ()) == "a photo of a person"
    assert sentence(gesture, ("right",)) == "a photo of a person whose right hand is visible"
    assert sentence(gesture, ("left", "right")) == "a photo of a person whose hands are both visible"


def test_an_unknown_gesture_keeps_its_name():
    assert (
        sentence("vulcan_salute", ("right",))
        == "a photo of a person making the vulcan salute gesture with the right hand"
    )


def test_the_captioner_answers_in_order_without_looking():
    def request(gesture):
        return CaptionRequest(picture=np.zeros((2, 2, 3), np.uint8), source="folder", gesture=gesture, hands=())

    captioner = TemplateCaptioner()
    captioner.setup()
    captions = captioner.caption([request("fist"), request(None), request("fist")])
    assert captions == ["a photo of a person showing a fist", "a photo of a person", captions[0]]
    assert captioner.caption([]) == []
