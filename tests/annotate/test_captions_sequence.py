import numpy as np
import pytest

from h2d.annotate.base import CaptionRequest
from h2d.annotate.captions.sequence import SequenceCaptioner
from h2d.errors import UserError

THUMB_UP = "interhand/test/Capture4/0007_thumbup_normal/cam410028/image2017"
UNKNOWN = "interhand/train/Capture9/0055_mystery/cam400002/image9"


def caption(picture, *hands, captions=None):
    request = CaptionRequest(
        picture=np.zeros((2, 2, 3), np.uint8), source="interhand", gesture=None, hands=hands, id=picture
    )
    return SequenceCaptioner(captions=captions).caption([request])[0]


def test_what_is_known_is_said_and_nothing_else():
    assert caption(THUMB_UP, "right") == (
        "a photo of the right hand of a person, giving a thumbs up, in a dark capture studio, in black and white"
    )
    assert caption(UNKNOWN, "left", "right") == "a photo of both hands of a person, in a dark capture studio"
    assert caption("elsewhere/1") == "a photo of the hands of a person"
    assert "seen from the head" in caption("reinterhand/m--x/Ego_cameras/envmap_per_segment/000120", "left")


def test_a_user_s_table_goes_before_ours_and_fills_in(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text(
        "pictures,gender,skin,look,caption\n"
        "interhand/train/Capture9/*,woman,brown,painted nails,\n"
        "*/Capture4/*,,,,a fist bump\n"
        "interhand/*,man,,,\n"
    )
    assert caption(UNKNOWN, "left", captions=table) == (
        "a photo of the left hand of a woman with brown skin and painted nails, in a dark capture studio"
    )
    assert caption(THUMB_UP, "right", captions=table) == "a fist bump"
    as_yaml = tmp_path / "mine.yaml"
    as_yaml.write_text("- {pictures: 'interhand/*', look: a ring, place: at night}\n")
    assert caption(UNKNOWN, "left", captions=as_yaml) == "a photo of the left hand of a person with a ring, at night"


def test_another_table_is_another_identity(tmp_path):
    table = tmp_path / "mine.yaml"
    table.write_text("- {pictures: '*', skin: dark}\n")
    first = SequenceCaptioner(captions=table).identity()
    table.write_text("- {pictures: '*', skin: pale}\n")
    assert first != SequenceCaptioner(captions=table).identity() != SequenceCaptioner().identity()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "pictures,colour\n*,red\n", "row 1: colour is no column: choose from pictures, caption"),
        ("t.csv", "pictures,skin\n,dark\n", "row 1: needs `pictures`"),
        ("t.yaml", "- {pictures: '*'}\n", "row 1: needs `pictures`"),
        ("t.yaml", "skin: dark\n", "expected rows with the columns"),
        ("t.yaml", "- [", "not a table of captions"),
        ("t.txt", "", "expected a .csv or .yaml file"),
        ("t.csv", None, "cannot be read: No such file"),
    ],
)
def test_a_table_out_of_order_is_one_line(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        SequenceCaptioner(captions=tmp_path / name).identity()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
