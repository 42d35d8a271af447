"""MediaPipe's two graphs, Holistic and Hands, open in one process and forgetting each picture before the next.

Points are x, y, confidence; x and y are fractions of the picture that was given.
Axis legend: h height, w width, n points.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, UInt8

from h2d.annotate.keypoints.installed import mediapipe_version
from h2d.annotate.keypoints.quiet import quiet_native
from h2d.pose.layouts import SIDES, Side

_HAND = "handlandmarksleftandrightcpu__handlandmarksfromposecpu_{}__handlandmarkcpu__hand_presence_score"
_PRESENCE_STREAMS: Final[dict[Side, str]] = {"left": _HAND.format(1), "right": _HAND.format(2)}
_PEOPLE_STREAM = "poselandmarkcpu__pose_detections"
"""Everybody whom the detector in front of Holistic's pose model finds; Holistic itself goes on with the first."""
_NUM_ROI_TRACKERS = 3

_first_process: int | None = None
"""The process that first opened a graph: MediaPipe aborts or hangs in its forks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """What Holistic found; absent parts are None."""

    num_people: int
    """All whom its detector finds, this one included."""
    pose: Float32[np.ndarray, "33 3"] | None
    """Confidence is the model's visibility."""
    face: Float32[np.ndarray, "468 3"] | None
    """Confidence 1: the model gives none."""
    hands: Mapping[Side, Float32[np.ndarray, "21 3"]]
    """By the person's own side. Confidence is the model's presence score of the whole hand, 0.5..1."""
    presence: Mapping[Side, float]
    """0..1: the score of each place where the body made Holistic look for a hand, found or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LooseHand:
    """A hand that Hands found without knowing of a body."""

    points: Float32[np.ndarray, "21 3"]
    """Confidence is how sure the model is of `side`: the only score that it gives."""
    side: Side
    """The person's own, as the model guesses; its labels are swapped here, because it takes pictures for mirrored."""


class Graphs:
    """Both graphs. One process and one call at a time: MediaPipe crashes when a graph is shared by threads."""

    def __init__(self) -> None:
        global _first_process
        mediapipe_version()
        if _first_process not in (None, os.getpid()):
            raise RuntimeError(f"MediaPipe was opened in process {_first_process}, and cannot be in its forks: spawn")
        _first_process = self._process = os.getpid()
        self._lock = threading.Lock()
        with quiet_native():
            from mediapipe.python.solutions.hands import Hands

            self._holistic = _forgetful_holistic()
            self._hands = Hands(static_image_mode=True, max_num_hands=2, model_complexity=1)
        blank = np.zeros((64, 64, 3), np.uint8)
        self.person(blank)  # Their threads go on opening, and logging, until a first picture has passed.
        self.loose_hands(blank)

    def person(self, picture: UInt8[np.ndarray, "h w 3"]) -> Person:
        """Ask Holistic for the most prominent person."""
        with self._alone():
            found = self._holistic.process(np.ascontiguousarray(picture))
        presence = {side: float(getattr(found, name) or 0.0) for side, name in _PRESENCE_STREAMS.items()}
        hands = {}
        for side in SIDES:
            landmarks = getattr(found, f"{side}_hand_landmarks")
            assert (landmarks is not None) == (presence[side] > 0.5), "the presence score belongs to another hand"
            if landmarks is not None:
                hands[side] = _points(landmarks, presence[side])
        return Person(
            num_people=len(getattr(found, _PEOPLE_STREAM) or ()),
            pose=_pose_points(found.pose_landmarks) if found.pose_landmarks else None,
            face=_points(found.face_landmarks, 1.0) if found.face_landmarks else None,
            hands=hands,
            presence=presence,
        )

    def loose_hands(self, picture: UInt8[np.ndarray, "h w 3"]) -> list[LooseHand]:
        """Ask Hands for up to two hands."""
        with self._alone():
            found = self._hands.process(np.ascontiguousarray(picture))
        answers = []
        for landmarks, handedness in zip(found.multi_hand_landmarks or (), found.multi_handedness or (), strict=True):
            label = handedness.classification[0]
            side: Side = "left" if label.label == "Right" else "right"
            answers.append(LooseHand(points=_points(landmarks, label.score), side=side))
        return answers

    def close(self) -> None:
        """Close both graphs."""
        with self._alone():
            self._holistic.close()
            self._hands.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if os.getpid() != self._process:
            raise RuntimeError(
                f"MediaPipe was opened in process {self._process}, and cannot be used in its forks: spawn"
            )
        with self._lock, quiet_native():
            yield


def _forgetful_holistic() -> Any:
    """Holistic without its hidden state, and with the hands' presence scores among its answers.

    Even with `static_image_mode` its hand and face trackers take over the region of the previous picture where the new
    one lies near enough, so that the answer depends on the order of pictures. A tolerance below zero is never met.
    """
    from mediapipe.modules.holistic_landmark.calculators.roi_tracking_calculator_pb2 import RoiTrackingCalculatorOptions
    from mediapipe.python.solution_base import PacketDataType
    from mediapipe.python.solutions.holistic import Holistic

    num_trackers = 0

    class ForgetfulHolistic(Holistic):  # type: ignore[misc]
        def _initialize_graph_interface(self, *args: Any, **kwargs: Any) -> Any:
            graph = super()._initialize_graph_interface(*args, **kwargs)
            self._output_stream_type_info.update(dict.fromkeys(_PRESENCE_STREAMS.values(), PacketDataType.FLOAT))
            self._output_stream_type_info[_PEOPLE_STREAM] = PacketDataType.PROTO_LIST
            return graph

        def _modify_calculator_options(self, graph: Any, params: Any) -> None:
            nonlocal num_trackers
            super()._modify_calculator_options(graph, params)
            for node in graph.node:
                if node.calculator == "RoiTrackingCalculator":
                    node.options.Extensions[RoiTrackingCalculatorOptions.ext].rect_requirements.translation = -1
                    num_trackers += 1

    holistic = ForgetfulHolistic(static_image_mode=True, model_complexity=1, refine_face_landmarks=False)
    assert num_trackers == _NUM_ROI_TRACKERS, f"Holistic has {num_trackers} region trackers: another version?"
    return holistic


def _pose_points(landmarks: Any) -> Float32[np.ndarray, "33 3"]:
    return np.asarray([(point.x, point.y, point.visibility) for point in landmarks.landmark], np.float32)


def _points(landmarks: Any, confidence: float) -> Float32[np.ndarray, "n 3"]:
    return np.asarray([(point.x, point.y, confidence) for point in landmarks.landmark], np.float32)
