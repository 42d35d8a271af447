"""A scene seen otherwise: closer, so that no hand is in the picture, or from the cameras of a capture stage.

Axis legend: n points.
"""

from dataclasses import replace
from itertools import product
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation as Rotation3d

from h2d.pose.layouts import NOSE, SHOULDERS, Side
from h2d.synth.scene import Camera, Person, Rotation, Scene, Vector

LOOK_SIZE_HW: Final = (64, 64)
"""Of a scene that is sampled only for the looks of its person; small, because its background is thrown away."""

_HAND_MARGIN_MM: Final = 30.0
"""Flesh around the joints."""


def without_hands(scene: Scene) -> Scene:
    """The same person through a longer lens, pointed at the head or a shoulder, until no hand is in the picture."""
    camera = scene.camera
    height, width = camera.size_hw
    corners = np.array(list(product((-1.0, 1.0), repeat=3))) * _HAND_MARGIN_MM
    hands = [
        camera.project((hand.joints[:, None] + corners).reshape(-1, 3))[:, :2]
        for person in scene.people
        for hand in person.hands.values()
    ]
    targets = camera.project(_places_without_hands(scene.people[0]))[:, :2]
    for zoom, target in product(1.5 ** np.arange(1, 12), targets):
        half = np.array([width, height]) / 2 / zoom
        if not any(_meet(target - half, target + half, hand.min(axis=0), hand.max(axis=0)) for hand in hands):
            shift = np.array(camera.principal) - target
            closer = replace(
                camera,
                focal=(camera.focal[0] * zoom, camera.focal[1] * zoom),
                principal=(width / 2 + shift[0] * zoom, height / 2 + shift[1] * zoom),
            )
            return replace(scene, camera=closer)
    raise AssertionError(f"scene {scene.seed}: hands wherever one looks")


def stage_camera(
    *,
    yaw: float,
    pitch: float,
    centre: Vector,
    distance_mm: float,
    focal_px: float,
    size_hw: tuple[int, int],
    principal_shift_px: tuple[float, float] = (0.0, 0.0),
) -> Camera:
    """A camera at a distance from `centre` that looks at it, turned about it by degrees."""
    height, width = size_hw
    rotation = Rotation3d.from_euler("yx", [yaw, pitch], degrees=True).as_matrix()
    translation = np.array([0.0, 0.0, distance_mm]) - rotation @ centre
    return Camera(
        rotation=rotation,
        translation=translation,
        focal=(focal_px, focal_px),
        principal=(width / 2 + principal_shift_px[0], height / 2 + principal_shift_px[1]),
        size_hw=size_hw,
    )


def on_stage(scene: Scene, *, centre: Vector) -> Scene:
    """The scene of hands, moved so that the world's origin sees them as its own camera did, around `centre`."""
    rotation = scene.camera.rotation
    joints = np.concatenate([hand.joints for person in scene.people for hand in person.hands.values()])
    seen = joints @ rotation.T
    shift = centre - (seen.min(axis=0) + seen.max(axis=0)) / 2
    return replace(
        scene,
        people=tuple(_moved(person, rotation, shift) for person in scene.people),
        light=replace(scene.light, towards=rotation @ scene.light.towards),
        camera=replace(scene.camera, rotation=np.eye(3), translation=np.zeros(3)),
    )


def dressed_as(scene: Scene, model: Scene) -> Scene:
    """The scene with the colours of another scene's first person, so that a person is the same in several scenes."""
    first, *others = scene.people
    return replace(scene, people=(replace(first, appearance=model.people[0].appearance), *others))


def seen_by(scene: Scene, camera: Camera) -> Scene:
    """The scene from another camera; the background is turned when the picture stands the other way."""
    background = scene.background
    if background.shape[:2] != camera.size_hw:
        background = np.ascontiguousarray(np.rot90(background))
    assert background.shape[:2] == camera.size_hw, (background.shape, camera.size_hw)
    return replace(scene, camera=camera, background=background)


def _places_without_hands(person: Person) -> Float64[np.ndarray, "n 3"]:
    """The crown of the head, the nose and the shoulders."""
    assert person.body is not None
    assert person.head_centre is not None
    assert person.head_rotation is not None
    crown = person.head_centre + person.head_rotation @ np.array([0.0, -80.0 * person.head_scale, 0.0])
    return np.stack([crown, person.body[NOSE], *(person.body[point] for point in SHOULDERS.values())])


def _meet(
    low: Float64[np.ndarray, "2"],
    high: Float64[np.ndarray, "2"],
    other_low: Float64[np.ndarray, "2"],
    other_high: Float64[np.ndarray, "2"],
) -> bool:
    """Whether two rectangles overlap."""
    return bool((low < other_high).all() and (other_low < high).all())


def _moved(person: Person, rotation: Rotation, shift: Vector) -> Person:
    assert person.body is None, "only hands alone are put on a stage"

    def move(points: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        moved: Float64[np.ndarray, "n 3"] = points @ rotation.T + shift
        return moved

    elbows: dict[Side, Vector] = {side: move(elbow[None])[0] for side, elbow in person.elbows.items()}
    hands = {
        side: replace(hand, joints=move(hand.joints), palm_normal=rotation @ hand.palm_normal)
        for side, hand in person.hands.items()
    }
    return replace(person, hands=hands, elbows=elbows)
