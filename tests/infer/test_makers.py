"""Makers of hands: the contract over the table, MediaPipe's drawing to the pixel, a photograph fitted to a pose."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from poses import spread_hand
from test_two_stage import FEW, pixels

from h2d.annotate.crops import Crop
from h2d.errors import UserError
from h2d.infer.choosing import Models
from h2d.infer.framing import HandCrop
from h2d.infer.hands import DrawnHand, HandMaker, HandRequest, make_hands
from h2d.infer.loading import load_checkpoints, load_models, weight_folders
from h2d.infer.makers import MAKERS, photo
from h2d.infer.makers.landmarks import draw_landmarks
from h2d.infer.makers.photo import HandPhoto, fitted, load_photo, mirrored, similarity
from h2d.models.tiny import write_tiny
from h2d.registry import resolve

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "hagrid-mini" / "hagrid_dataset"


def request(size=128, *sides: str) -> HandRequest:
    points = {side: spread_hand(size * (0.3 + 0.4 * place), size * 0.8, size * 0.4) for place, side in enumerate(sides)}
    hands = sides[0] if len(sides) == 1 else "both"
    place = HandCrop(person=0, crop=Crop(hands=hands, box_xywh=(0, 0, size, size), size=size), points=points)
    return HandRequest(place=place, prompt="a hand", seed=(1, 1, 0))


def drawn_photo(side="left") -> HandPhoto:
    """A red hand on green: palm and fingers as thick lines along its points."""
    points = spread_hand(200, 330, 250)
    mask = np.zeros((400, 400), np.uint8)
    for finger in range(5):
        chain = points[[0, *range(1 + 4 * finger, 5 + 4 * finger)], :2].astype(np.int32)
        cv2.polylines(mask, [chain], False, 1, 28)
    picture = np.full((400, 400, 3), (0, 160, 0), np.uint8)
    picture[mask > 0] = (200, 30, 30)
    return HandPhoto(picture=picture, mask=mask > 0, points=points, side=side)


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """A pipeline of public parts alone: an OpenPose ControlNet, a hand ControlNet, two bases."""
    folder = tmp_path_factory.mktemp("public")
    write_tiny(folder / "base-9", in_channels=9)
    write_tiny(folder / "base-4", seed=5)
    pipe = load_checkpoints(
        outpaint=folder / "base-9" / "controlnet",
        base=folder / "base-9",
        hand_controlnet=folder / "base-4" / "controlnet",
        hand_base=folder / "base-4",
    )
    pipe.register_to_config(size_px=128, hand_size_px=128)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("name", MAKERS)
def test_contract(name, pipe, public, monkeypatch, tmp_path):
    monkeypatch.setattr(photo, "load_photo", lambda path, segmenter: drawn_photo())
    chosen = replace(FEW, hand_photo=tmp_path / "hand.jpg")
    maker = resolve(MAKERS, name, kind="maker")(public if name == "controlnet" else pipe, chosen)
    assert isinstance(maker, HandMaker)
    requests = [request(128, "left"), request(128, "left", "right")]
    first = maker.draw(requests, [(1, 1, 0, 0), (1, 1, 1, 0)])
    assert [hand.picture.shape for hand in first] == [(128, 128, 3)] * 2
    assert [hand.mask.shape for hand in first] == [(128, 128)] * 2
    other = maker.draw(requests, [(2, 1, 0, 0), (1, 1, 1, 0)])
    assert np.array_equal(other[0].picture, first[0].picture) == maker.repeats
    difference = np.abs(other[1].picture.astype(int) - first[1].picture.astype(int))
    assert difference.mean() < 0.5, "a hand depends on its own seed alone"


def test_the_method_runs_without_a_trained_network(public, pose):
    """Bad hands of random networks: no mask is found, so all is painted by stage 2, and it is said."""
    assert public.hand_vae is not None
    output = public("a person", pose, seed=1, options=FEW)
    assert output.images[0].size == (128, 128)
    assert len(output.hands[0]) == 2
    sizes = []
    handle = public.hand_controlnet.register_forward_pre_hook(
        lambda module, inputs: sizes.append(len(inputs[0])), with_kwargs=False
    )
    public("a person", pose, seed=1, options=FEW)
    handle.remove()
    assert sizes == [4] * FEW.num_inference_steps


def test_landmarks_are_drawn_as_mediapipe_draws_them():
    """Also at the edges, and with two hands."""
    from mediapipe.framework.formats.landmark_pb2 import NormalizedLandmark, NormalizedLandmarkList
    from mediapipe.python.solutions import drawing_styles, drawing_utils, hands

    random = np.random.default_rng(3)
    for _ in range(5):
        canvas = np.zeros((512, 512, 3), np.uint8)
        both = {}
        for side, x in (("left", 180), ("right", 330)):
            points = spread_hand(x, 400, 300)
            points[:, :2] += random.normal(0, 25, (21, 2)).astype(np.float32)
            marks = [NormalizedLandmark(x=float(point[0]) / 512, y=float(point[1]) / 512) for point in points]
            both[side] = points
            drawing_utils.draw_landmarks(
                canvas,
                NormalizedLandmarkList(landmark=marks),
                hands.HAND_CONNECTIONS,
                drawing_styles.get_default_hand_landmarks_style(),
                drawing_styles.get_default_hand_connections_style(),
            )
        ours = draw_landmarks(both, 512)
        # Crossing lines may lie the other way round: MediaPipe goes through a set.
        assert (np.abs(ours.astype(int) - canvas).sum(axis=2) > 0).mean() < 5e-4


def test_similarity_finds_turn_scale_and_shift():
    points = spread_hand(200, 300, 200)
    angle, scale = np.deg2rad(35), 0.4
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wanted = points.copy()
    wanted[:, :2] = points[:, :2] @ turn.T + (12, -7)
    points[5] = (np.nan, np.nan, 0)
    found = similarity(points, wanted)
    np.testing.assert_allclose(found, np.column_stack([turn, (12, -7)]), atol=1e-3)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_photographed_hand_comes_to_the_poses_place_and_side(side):
    """The photograph shows a left hand: the right one is its mirror image."""
    wanted = request(128, side)
    if side == "right":
        wanted.place.points[side][:, 0] = 128 - wanted.place.points[side][:, 0]
    hand = fitted(drawn_photo("left"), wanted)
    assert hand.remark is None
    assert np.abs(hand.points[side] - wanted.place.points[side])[:, :2].max() < 1


def test_a_mirrored_thumb_is_on_the_other_side():
    photo = drawn_photo("left")
    flipped = mirrored(photo)
    assert flipped.side == "right"
    np.testing.assert_allclose(flipped.points[:, 0], 400 - photo.points[:, 0])
    assert np.array_equal(mirrored(flipped).picture, photo.picture)


def test_only_the_hands_own_pixels_are_taken():
    hand = fitted(drawn_photo(), request(128, "left"))
    kept = hand.mask >= 0.5
    assert 0.01 < kept.mean() < 0.5
    assert np.abs(hand.picture[kept].astype(int) - (200, 30, 30)).mean() < 25
    assert (hand.picture[~kept] == 128).all()


def test_fingers_elsewhere_are_told():
    asked = request(128, "left")
    bent = {"left": asked.place.points["left"].copy()}
    bent["left"][5:, :2] = bent["left"][0, :2] + (np.arange(16)[:, None] % 4) * 2
    hand = fitted(drawn_photo(), replace(asked, place=replace(asked.place, points=bent)))
    assert "left hand: the photograph's fingers are" in hand.remark


def test_a_photograph_in_the_pipeline(pipe, pose, monkeypatch, tmp_path):
    monkeypatch.setattr(photo, "load_photo", lambda path, segmenter: drawn_photo())
    output = pipe("x", pose, seed=1, options=replace(FEW, hand_photo=tmp_path / "hand.jpg"))
    mask = output.masks[0] > 0
    assert mask.mean() > 0.01
    red = pixels(output)[0][mask].astype(int) - (200, 30, 30)
    assert np.abs(red).mean() < 40
    assert output.hands[0][0].attempts == 1


def test_files_that_show_no_hand_are_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        load_photo(tmp_path / "none.jpg", "grabcut")
    (tmp_path / "broken.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"broken\.jpg: not a picture"):
        load_photo(tmp_path / "broken.jpg", "grabcut")
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((200, 200, 3), 128, np.uint8))
    with pytest.raises(UserError, match=r"grey\.png: no hand was found"):
        load_photo(tmp_path / "grey.png", "grabcut")


@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"the sample photographs are not at {PHOTOS}")
def test_a_real_photograph():
    hand = load_photo(PHOTOS / "call" / "0413d5c5-f5ba-476f-a921-ea5e967692a9.jpg", "grabcut")
    assert hand.side == "left"
    assert 0.05 < hand.mask.mean() < 0.5


class Failing:
    """A maker whose masks are empty until an attempt."""

    repeats = False

    def __init__(self, good_from: int):
        self.good_from, self.asked = good_from, []

    def draw(self, requests, seeds):
        self.asked.append([seed[-1] for seed in seeds])
        good = seeds[0][-1] >= self.good_from
        picture = np.full((128, 128, 3), seeds[0][-1], np.uint8)
        mask = np.zeros((128, 128), np.float32)
        if good:
            x, y = (request.place.points["left"][:, axis] for request in requests[:1] for axis in (0, 1))
            mask[int(y.min()) : int(y.max()) + 1, int(x.min()) : int(x.max()) + 1] = 1
        return [DrawnHand(picture=picture, mask=mask) for _ in requests]


def test_hands_that_fail_the_check_are_made_again_from_other_seeds():
    maker = Failing(good_from=2)
    (hand,) = make_hands(maker, [request(128, "left")], attempts=5)
    assert maker.asked == [[0], [1], [2]]
    assert (hand.problem, hand.attempts, hand.picture[0, 0, 0]) == (None, 3, 2)
    assert hand.fit == 1
    (kept,) = make_hands(Failing(good_from=9), [request(128, "left")], attempts=2)
    assert "left hand: recall 0.00" in kept.problem
    assert kept.attempts == 2


def test_what_is_not_there_is_one_line(tmp_path, checkpoints, pose):
    write_tiny(tmp_path / "base", in_channels=9)
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="pickled weights can run code"):
        load_checkpoints(outpaint=checkpoints[1], hand_controlnet=tmp_path / "pickled", hand_base=tmp_path / "base")
    with pytest.raises(UserError, match="no checkpoint of h2d train"):
        load_checkpoints(outpaint=tmp_path)
    pipe = load_checkpoints(outpaint=checkpoints[1])
    with pytest.raises(UserError, match="nothing makes hands"):
        pipe("x", pose, seed=1, options=FEW)


def test_a_hand_controlnet_may_be_named(checkpoints, tmp_path, monkeypatch):
    base = checkpoints[0].parent / "base-4"
    monkeypatch.setenv("H2D_MODELS", str(tmp_path))
    named = Models(outpaint=checkpoints[1], hand_controlnet=Path("controlnet-hands"), hand_base=str(base))
    assert named.exist(), "a picture made with it is made with it again, or says what to fetch"
    with pytest.raises(
        UserError, match=r"controlnet-hands: config\.json not found.* h2d models fetch controlnet-hands"
    ):
        load_models(named)
    (tmp_path / "controlnet-hands").symlink_to(base / "controlnet")
    assert load_models(named).hand_controlnet is not None
    assert weight_folders(named)["hand_controlnet"] == tmp_path / "controlnet-hands"
