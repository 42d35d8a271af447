"""What needs MediaPipe but no photograph; see test_keypoints_real.py for the answers on photographs."""

import dataclasses
import os
import pickle
import sys

import numpy as np
import pytest

from h2d.annotate.keypoints import DETECTORS, installed
from h2d.annotate.keypoints.holistic import HolisticDetector
from h2d.annotate.keypoints.quiet import quiet_native
from h2d.config import validate_config
from h2d.errors import UserError
from h2d.pose.layouts import NUM_POINTS
from h2d.registry import resolve

NO_BOXES = np.zeros((0, 4), np.float32)
BLANK = np.full((48, 64, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def detector():
    detector = HolisticDetector(max_side=256)
    detector.setup()
    yield detector
    detector.close()


def test_nobody_is_an_answer(detector):
    found = detector.detect(BLANK, NO_BOXES)
    assert (found.num_persons, dict(found.hands)) == (0, {})
    assert found.body.shape == (NUM_POINTS, 3)
    assert np.isnan(found.body[:, :2]).all()
    assert (found.body[:, 2] == 0).all()


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 700), (700, 1), (600, 400)])
def test_pictures_and_boxes_of_any_size_pass(detector, size_hw):
    noise = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    boxes = np.array([[0, 0, size_hw[1], size_hw[0]], [0.2, 0.2, 0, 0]], np.float32)
    assert detector.detect(noise[:, ::-1], boxes).hands == {}


def test_an_open_detector_is_pickled_without_its_graphs(detector):
    copy = pickle.loads(pickle.dumps(detector))
    assert copy == detector
    with pytest.raises(AssertionError, match="not set up"):
        copy.detect(BLANK, NO_BOXES)


def test_a_forked_process_is_refused_instead_of_hanging(detector, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(RuntimeError, match="cannot be used in its forks"):
            detector.detect(BLANK, NO_BOXES)
        with pytest.raises(RuntimeError, match="cannot be in its forks"):
            HolisticDetector().setup()
    assert detector.detect(BLANK, NO_BOXES).num_persons == 0


def test_mediapipe_writes_nothing_to_the_terminal(capfd):
    detector = HolisticDetector()
    detector.setup()
    detector.detect(BLANK, NO_BOXES)
    detector.close()
    detector.close()
    assert capfd.readouterr() == ("", "")


def test_quiet_hides_native_output_alone_and_lets_exceptions_pass(capfd):
    def noisy():
        with quiet_native():
            os.write(2, b"native noise\n")
            raise KeyError

    os.write(2, b"before\n")
    with pytest.raises(KeyError):
        noisy()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_quiet_hides_nothing_when_debugging(capfd, caplog):
    caplog.set_level("DEBUG", logger="h2d.annotate.keypoints.quiet")
    with quiet_native():
        os.write(2, b"native words\n")
    assert capfd.readouterr().err == "native words\n"


def test_identity_names_models_and_every_option():
    identity = HolisticDetector().identity()
    assert identity["model"] == "mediapipe-holistic"
    assert identity["mediapipe"] == "0.10.21"
    assert len(identity["files"]) == 9
    assert {len(digest) for digest in identity["files"].values()} == {64}
    assert {field.name for field in dataclasses.fields(HolisticDetector)} <= set(identity)
    assert HolisticDetector(max_side=640).identity() != identity


def test_a_missing_package_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(UserError, match=r"not installed: pip install 'hand-to-diffusion\[annotate\]'"):
        installed.mediapipe_version.__wrapped__()


def test_a_version_without_holistic_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(installed, "mediapipe_folder", lambda: tmp_path)
    with pytest.raises(UserError, match=r"mediapipe 0\.10\.21 has no Holistic.*pip install"):
        installed.mediapipe_version.__wrapped__()
    (tmp_path / "python/solutions").mkdir(parents=True)
    (tmp_path / "python/solutions/holistic.py").touch()
    with pytest.raises(UserError, match=r"lacks its file modules/.*--force-reinstall"):
        installed.mediapipe_version.__wrapped__()


def test_options_are_checked_and_the_name_is_in_the_table():
    with pytest.raises(UserError, match="max_side"):
        validate_config(HolisticDetector, {"max_side": 0}, where="options")
    assert resolve(DETECTORS, "holistic", kind="detector") is HolisticDetector


@pytest.mark.parametrize("num_people", [1, 2, 3])
def test_everybody_is_counted(detector, num_people):
    from h2d.synth.render import render
    from h2d.synth.sampling import sample_scene

    scene = sample_scene(1, frame="whole_body", size_hw=(256, 256), num_people=num_people)
    assert detector.detect(render(scene).picture, NO_BOXES).num_persons == num_people
