"""Scenes and drawings without a renderer: crude pictures, exact labels. A module, so that spawned workers find it."""

import cv2
import numpy as np

from h2d.pose.layouts import BODY, FEET, HANDS, NUM_POINTS, SIDES
from h2d.pose.points import missing_points
from h2d.synth.layouts.base import Studio
from h2d.synth.scene import Appearance, Camera, Drawing, Hand, Light, Person, PersonLabels, Scene

_BODY = {
    0: (0, -300), 1: (30, -330), 2: (-30, -330), 3: (70, -310), 4: (-70, -310), 5: (170, -120), 6: (-170, -120),
    7: (230, 60), 8: (-230, 60), 9: (0, 0), 10: (0, 0), 11: (110, 380), 12: (-110, 380), 13: (110, 800),
    14: (-110, 800), 15: (110, 1200), 16: (-110, 1200), 17: (130, 1290), 18: (150, 1280), 19: (100, 1260),
    20: (-130, 1290), 21: (-150, 1280), 22: (-100, 1260),
}  # fmt: skip
TWO_HANDED = {"hand_heart", "hand_heart2", "thumb_index2", "timeout", "holy", "take_picture", "xsign"}


def sample_scene(seed, *, frame, size_hw, gesture=None, background=None, num_people=1, near=False):
    random = np.random.default_rng(seed)
    height, width = size_hw
    distance = {"selfie": 1100.0, "whole_body": 3300.0, "hands": 800.0}[frame]
    focal = {"selfie": 1.0, "whole_body": 1.1, "hands": 1.4}[frame] * max(size_hw)
    camera = Camera(
        rotation=np.eye(3),
        translation=np.array([0.0, 0.0 if frame != "whole_body" else -400.0, distance]),
        focal=(focal, focal),
        principal=(width / 2, height / 2),
        size_hw=size_hw,
    )
    colours = np.random.default_rng(seed)
    background = np.full((height, width, 3), colours.integers(60, 200, 3), np.uint8)
    background[: height // 3] //= 2
    named = gesture or "free"
    two = named in TWO_HANDED or (frame == "hands" and random.random() < 0.6)
    sides = ("left", "right") if two else (SIDES[int(random.integers(2))],)
    people = tuple(_person(random, frame, 500.0 * number, sides) for number in range(num_people))
    return Scene(
        seed=seed,
        frame=frame,
        camera=camera,
        people=people,
        light=Light(towards=np.array([0.0, -0.6, -0.8]), strength=0.8, ambient=0.3),
        background=background,
        background_name="wall",
        background_kind="plain",
        gesture=named,
        gesture_sides=() if named == "no_gesture" else sides,
        caption=f"a person making the gesture {named} before a wall",
    )


def _person(random, frame, shift, sides):
    body = np.array([[_BODY[point][0] + shift, _BODY[point][1], 0.0] for point in range(23)])
    hands, elbows = {}, {}
    for side in SIDES if frame != "hands" else sides:
        x = (150 if side == "left" else -150) + random.uniform(-20, 20) + shift
        y = random.uniform(-60, 40) + (0 if side in sides else 260)
        if frame == "hands":
            x, y = x * 0.5, y * 0.5
        hands[side] = Hand(
            joints=_hand(np.array([x, y, -100.0]), 1 if side == "left" else -1), palm_normal=np.array([0, 0, -1.0])
        )
        elbows[side] = np.array([x * 1.4, y + 220, -20.0])
        body[9 if side == "left" else 10] = hands[side].joints[0]
    appearance = Appearance(
        skin=tuple(int(value) for value in random.integers(80, 240, 3)), skin_name="light",
        hair=(40, 30, 20), hair_name="dark",
        hair_style="short", top=(30, 60, 160), top_name="blue", bottom=(50, 50, 50), sleeves="long",
    )  # fmt: skip
    if frame == "hands":
        return Person(hands=hands, appearance=appearance, body=None, elbows=elbows)
    return Person(
        hands=hands, appearance=appearance, body=body, elbows=elbows, head_rotation=np.eye(3),
        head_centre=np.array([shift, -320.0, 40.0]),
    )  # fmt: skip


def _hand(wrist, mirror):
    joints = [wrist]
    for finger in range(5):
        angle = np.radians(-40 + 20 * finger) * mirror
        for step in (45, 75, 100, 120) if finger else (30, 55, 75, 90):
            joints.append(wrist + np.array([-np.sin(angle) * step, -np.cos(angle) * step, -0.1 * step]))
    return np.stack(joints)


def render(scene):
    height, width = scene.camera.size_hw
    picture = scene.background.copy()
    people = []
    for person in scene.people:
        world = np.full((NUM_POINTS, 3), np.nan)
        if person.body is not None:
            world[BODY.start : FEET.stop] = person.body
        masks = {}
        for side in SIDES:
            mask = np.zeros((height, width), np.uint8)
            if side in person.hands:
                world[HANDS[side]] = person.hands[side].joints
                pixels = scene.camera.project(person.hands[side].joints)[:, :2]
                thick = max(2, int(0.018 * width))
                for finger in range(5):
                    line = np.round(pixels[[0, *range(1 + 4 * finger, 5 + 4 * finger)]]).astype(np.int32)
                    cv2.polylines(mask, [line], False, 1, thick)
            masks[side] = mask > 0
            picture[masks[side]] = person.appearance.skin
        points = missing_points(NUM_POINTS)
        there = np.isfinite(world[:, 0])
        projected = scene.camera.project(world[there])[:, :2]
        inside = ((projected >= 0) & (projected < (width, height))).all(axis=1)
        rows = np.flatnonzero(there)[inside]
        points[rows, :2], points[rows, 2] = projected[inside], 1
        people.append(
            PersonLabels(
                points=points, visible=points[:, 2] > 0, points_3d=world.astype(np.float32),
                mask=masks["left"] | masks["right"], hand_masks=masks,
            )
        )  # fmt: skip
    depth = np.full((height, width), np.inf, np.float32)
    return Drawing(picture=picture, depth=depth, people=tuple(people))


def setup():
    cv2.setNumThreads(1)


STUDIO = Studio(sample=sample_scene, render=render, setup=setup)


def studio_that_keeps(drawn):
    """The same, which adds each scene with its drawing to a list."""

    def keep(scene):
        drawing = render(scene)
        drawn.append((scene, drawing))
        return drawing

    return Studio(sample=sample_scene, render=keep, setup=setup)
