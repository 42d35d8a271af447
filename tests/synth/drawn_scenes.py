"""Scenes for the renderer's tests: open hands, a fist, a person who faces the camera."""

import numpy as np
from jaxtyping import Float64

from h2d.pose.layouts import SIDES, Side
from h2d.synth.head import HEAD_POINTS_MM
from h2d.synth.scene import Appearance, Camera, Hand, Light, Person, Scene

_OPEN_RIGHT = np.array([
    (0, 0, 0), (24, -20, -9), (46, -58, -16), (62, -84, -18), (74, -106, -18),
    (24, -92, 0), (31, -131, 0), (34, -153, 0), (36, -172, 0),
    (3, -94, 2), (4, -138, 2), (4, -164, 2), (4, -185, 2),
    (-16, -86, 1), (-22, -127, 1), (-25, -152, 1), (-27, -173, 1),
    (-33, -75, -4), (-43, -106, -4), (-48, -123, -4), (-53, -142, -4),
], float)  # fmt: skip
_FIST_RIGHT = np.array([
    (0, 0, 0), (24, -20, -9), (40, -50, -24), (28, -74, -38), (6, -80, -42),
    (24, -92, 0), (27, -97, -40), (25, -77, -46), (24, -62, -34),
    (3, -94, 2), (4, -100, -42), (3, -76, -48), (3, -60, -34),
    (-16, -86, 1), (-19, -92, -40), (-18, -70, -46), (-17, -54, -32),
    (-33, -75, -4), (-37, -80, -36), (-35, -62, -42), (-34, -48, -30),
], float)  # fmt: skip
LOOKS = Appearance(
    skin=(214, 164, 138), skin_name="light", hair=(60, 42, 30), hair_name="brown", hair_style="short",
    top=(70, 96, 140), top_name="blue", bottom=(60, 60, 70), sleeves="long",
)  # fmt: skip


def hand(side: Side, *, fist: bool = False, wrist: tuple[float, float, float] = (0, 0, 0), turn: float = 0.0) -> Hand:
    """A hand with its fingers up and its palm to the camera, or turned about its length (degrees)."""
    joints = (_FIST_RIGHT if fist else _OPEN_RIGHT).copy()
    if side == "left":
        joints[:, 0] *= -1
    angle = np.deg2rad(turn)
    around = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return Hand(joints=joints @ around.T + np.array(wrist), palm_normal=around @ np.array([0.0, 0.0, -1.0]))


def camera(size: int, *, distance: float, focal: float = 1.3, look_at: tuple[float, float] = (0, 0)) -> Camera:
    """Square, before the scene; the focal length is a multiple of the size."""
    return Camera(
        rotation=np.eye(3), translation=np.array([-look_at[0], -look_at[1], distance], float),
        focal=(focal * size,) * 2, principal=(size / 2,) * 2, size_hw=(size, size),
    )  # fmt: skip


def scene(people: tuple[Person, ...], view: Camera, *, seed: int = 0) -> Scene:
    """On a grey background, with light from above."""
    towards = np.array([-0.4, -0.6, -0.7])
    return Scene(
        seed=seed, frame="hands" if people[0].body is None else "selfie", camera=view, people=people,
        light=Light(towards=towards / np.linalg.norm(towards), strength=0.75, ambient=0.45),
        background=np.full((*view.size_hw, 3), (168, 172, 170), np.uint8), background_name="grey",
        background_kind="plain", gesture="free", gesture_sides=("right",), caption="A person.",
    )  # fmt: skip


def hands_scene(size: int, *sides: Side, fist: bool = False, turn: float = 0.0) -> Scene:
    """Hands alone, side by side."""
    apart = 90 if len(sides) > 1 else 0
    places: dict[Side, float] = {"right": -apart, "left": apart}
    person = Person(
        hands={side: hand(side, fist=fist, wrist=(places[side], 0, 0), turn=turn) for side in sides},
        appearance=LOOKS, body=None,
        elbows={side: np.array([places[side] * 1.5, 245, 40], float) for side in sides},
    )  # fmt: skip
    distance = 400 + 2.2 * apart
    return scene((person,), camera(size, distance=distance, look_at=(0, -70)))


def person(*, raised: tuple[Side, ...] = ("right",), sleeves: str = "long") -> Person:
    """Somebody who stands and shows one hand or both."""
    centre = np.array([0.0, -230.0, 0.0])
    body: Float64[np.ndarray, "23 3"] = np.array([
        *(centre + HEAD_POINTS_MM),
        (175, 0, 20), (-175, 0, 20), (215, 270, 10), (-215, 270, 10), (0, 0, 0), (0, 0, 0),
        (100, 500, 20), (-100, 500, 20), (110, 920, 10), (-110, 920, 10), (112, 1320, 30), (-112, 1320, 30),
        (130, 1375, -110), (165, 1375, -90), (112, 1375, 70), (-130, 1375, -110), (-165, 1375, -90), (-112, 1375, 70),
    ], float)  # fmt: skip
    hands = {}
    for side, sign in zip(SIDES, (1, -1), strict=True):
        if side in raised:
            hands[side] = hand(side, wrist=(sign * 230, 55, -140))
        else:
            low = hand(side, turn=sign * 90.0)
            hands[side] = Hand(joints=low.joints * [1, -1, -1] + np.array([sign * 225, 510, -30.0]),
                               palm_normal=np.array([-sign * 1.0, 0.0, 0.0]))  # fmt: skip
        body[9 if side == "left" else 10] = hands[side].joints[0]
    looks = Appearance(**{name: getattr(LOOKS, name) for name in LOOKS.__slots__} | {"sleeves": sleeves})
    return Person(
        hands=hands, appearance=looks, body=body, elbows={"left": body[7], "right": body[8]}, head_rotation=np.eye(3),
        head_centre=centre,
    )  # fmt: skip


def selfie_scene(size: int, **options: object) -> Scene:
    """Head, torso and a raised hand."""
    return scene((person(**options),), camera(size, distance=1150, focal=1.2, look_at=(0, 20)))  # type: ignore[arg-type]
