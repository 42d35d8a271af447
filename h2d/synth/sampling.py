"""From a seed to a scene: who stands where, what the hands do, and the camera that sees it.

The same seed at another size of the same shape is the same scene, scaled.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from h2d.errors import UserError
from h2d.pose.layouts import SIDES, Side
from h2d.synth.backgrounds import BackgroundKind, draw_background
from h2d.synth.body import Build, Legs, Stance, body_points, reach, sample_build, sample_stance
from h2d.synth.cameras import NEAR_HAND, SELFIE_HAND, frame_hands, frame_selfie, frame_whole_body
from h2d.synth.gestures import GESTURES, TWO_HANDED, HandPose, free_hand, gesture_hands, mirror, relaxed_hand
from h2d.synth.hand import HandShape, bone_gaps, place, rotation_facing, sample_shape
from h2d.synth.looks import sample_appearance, sample_light
from h2d.synth.scene import Frame, Hand, Person, Scene, Vector
from h2d.synth.wording import hands_caption, person_caption

FREE = "free"
"""The gesture of a random pose."""
_LIPS = np.array([0.0, 75.0, -97.0])
_FINGER_BEFORE_LIPS = np.array([0.0, 4.0, -13.0])
_BETWEEN_PEOPLE_MM = 780.0


@dataclass(frozen=True, slots=True)
class _Body:
    build: Build
    stance: Stance
    shapes: dict[Side, HandShape]


def sample_scene(
    seed: int,
    *,
    frame: Frame,
    size_hw: tuple[int, int],
    gesture: str | None = None,
    background: BackgroundKind | None = None,
    num_people: int = 1,
    near: bool = False,
) -> Scene:
    """Everything of one picture; what isn't given is drawn from the seed. The first person makes the gesture.

    `near` brings the camera of a selfie so close that hands fill a third of the picture.
    """
    if gesture is not None and gesture != FREE and gesture not in GESTURES:
        raise UserError(f"gesture must be {FREE} or one of {', '.join(sorted(GESTURES))}; got {gesture!r}")
    pose_rng, look_rng, view_rng, wall_rng = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(4))
    gesture = gesture or _sample_gesture(frame, pose_rng)
    kind = background or _sample_kind(wall_rng, studio=frame == "hands")
    wall, wall_name = draw_background(wall_rng, size_hw, kind, studio=frame == "hands")
    if frame == "hands":
        person, sides = _hands_alone(gesture, pose_rng, look_rng)
        camera = frame_hands(person, size_hw, view_rng)
        people: tuple[Person, ...] = (person,)
        caption = hands_caption(person.appearance, gesture=gesture, hands=person.hands, background=wall_name)
    else:
        people, sides = _people(gesture, frame, num_people, pose_rng, look_rng)
        if frame == "selfie":
            hand = NEAR_HAND if near else SELFIE_HAND
            camera = frame_selfie(people, sides, size_hw, view_rng, hand=hand)
        else:
            camera = frame_whole_body(people, sides, size_hw, view_rng)
        caption = person_caption(
            people[0].appearance, gesture=gesture, sides=sides, background=wall_name, num_people=num_people
        )
    return Scene(
        seed=seed,
        frame=frame,
        camera=camera,
        people=people,
        light=sample_light(look_rng),
        background=wall,
        background_name=wall_name,
        background_kind=kind,
        gesture=gesture,
        gesture_sides=sides,
        caption=caption,
    )


def _sample_gesture(frame: Frame, rng: np.random.Generator) -> str:
    free = {"selfie": 0.0, "whole_body": 0.5, "hands": 0.8}[frame]
    named = str(rng.choice(tuple(GESTURES)))
    return FREE if rng.random() < free else named


def _sample_kind(rng: np.random.Generator, *, studio: bool) -> BackgroundKind:
    kinds: tuple[BackgroundKind, ...] = ("plain", "gradient", "cluttered")
    shares = (0.7, 0.3, 0.0) if studio else (0.3, 0.2, 0.5)
    return kinds[int(rng.choice(len(kinds), p=shares))]


def _people(
    gesture: str, frame: Frame, num_people: int, rng: np.random.Generator, look_rng: np.random.Generator
) -> tuple[tuple[Person, ...], tuple[Side, ...]]:
    people: list[Person] = []
    builds: list[Build] = []
    sides: tuple[Side, ...] = ()
    for number in range(num_people):
        beside = _BETWEEN_PEOPLE_MM * ((number + 1) // 2) * (-1) ** number
        legs: Legs = "sitting" if frame == "selfie" and rng.random() < 0.3 else "standing"
        build = sample_build(rng)
        builds.append(build)
        floor = builds[0].standing - build.standing
        at = np.array([beside, floor, rng.uniform(0, 260) if number else 0.0])
        shapes: dict[Side, HandShape] = {"right": sample_shape(rng, scale=build.scale)}
        shapes["left"] = shapes["right"]
        body = _Body(build, sample_stance(build, rng, at=at, legs=legs), shapes)
        hands = _gesturing_hands(body, gesture, frame, rng) if number == 0 else {}
        if number == 0:
            sides = tuple(side for side in SIDES if side in hands)
        for side in SIDES:
            if side not in hands:
                hands[side] = _idle_hand(body, side, rng)
        people.append(_person(body, hands, look_rng))
    return tuple(people), sides


def _person(body: _Body, hands: Mapping[Side, Hand], look_rng: np.random.Generator) -> Person:
    reached = {side: reach(body.build, body.stance, side, hand) for side, hand in hands.items()}
    elbows = {side: elbow for side, (elbow, _) in reached.items()}
    hands = {side: hand for side, (_, hand) in reached.items()}
    return Person(
        hands=hands,
        appearance=sample_appearance(look_rng),
        body=body_points(body.stance, elbows, hands),
        elbows=elbows,
        head_rotation=body.stance.head_rotation.as_matrix(),
        head_centre=body.stance.head_centre,
        head_scale=body.stance.head_scale,
    )


def _gesturing_hands(body: _Body, gesture: str, frame: Frame, rng: np.random.Generator) -> dict[Side, Hand]:
    lead: Side = "right" if rng.random() < 0.5 else "left"
    if gesture == FREE:
        both = rng.random() < (0.4 if frame == "whole_body" else 0.25)
        return {side: _free_raised(body, side, rng) for side in (SIDES if both else (lead,))}
    target = _target(body, gesture, lead, rng)
    return {
        side: _anchored(hand, rotation, pose, side, target)
        for side, (hand, rotation, pose) in gesture_hands(gesture, lead, body.shapes, rng).items()
    }


def _anchored(hand: Hand, rotation: Rotation, pose: HandPose, side: Side, target: Vector) -> Hand:
    turned = place(hand, np.zeros(3), rotation)
    return Hand(
        joints=turned.joints - turned.joints[pose.anchor] + target + mirror(pose.offset, side),
        palm_normal=turned.palm_normal,
    )


def _target(body: _Body, gesture: str, lead: Side, rng: np.random.Generator) -> Vector:
    """Where the anchors of a gesture's hands go."""
    stance, scale = body.stance, body.build.scale
    shoulder, outwards = stance.shoulders[lead], (1 if lead == "left" else -1)
    chest = (stance.shoulders["left"] + stance.shoulders["right"]) / 2
    match GESTURES[gesture].place:
        case "lips":
            target = stance.head_point(_LIPS) + _FINGER_BEFORE_LIPS + [outwards * rng.uniform(0, 5), 0, 0]
        case "ear":
            target = (
                stance.head_centre + np.array([outwards * 105, rng.uniform(35, 80), rng.uniform(-100, -60)]) * scale
            )
        case "chest":
            target = chest + np.array([rng.uniform(-30, 30), rng.uniform(10, 130), rng.uniform(-330, -260)]) * scale
        case "front":
            target = shoulder + scale * np.array(
                [outwards * rng.uniform(-20, 90), rng.uniform(-90, 90), rng.uniform(-340, -240)]
            )
        case "low":
            target = shoulder + scale * np.array(
                [outwards * rng.uniform(-60, 60), rng.uniform(-30, 120), rng.uniform(-320, -240)]
            )
        case _:
            target = shoulder + scale * np.array(
                [outwards * rng.uniform(20, 150), rng.uniform(-190, 20), rng.uniform(-300, -160)]
            )
    return np.asarray(target, np.float64)


def _free_raised(body: _Body, side: Side, rng: np.random.Generator) -> Hand:
    hand = free_hand(body.shapes[side], side, rng)
    fingers = mirror((rng.uniform(-0.4, 0.7), -1, rng.uniform(-0.6, 0.3)), side)
    turn = np.radians(rng.uniform(-75, 110))
    palm = mirror((float(np.sin(turn)), 0, -float(np.cos(turn))), side)
    offset = np.array([rng.uniform(0, 160), rng.uniform(-170, 180), rng.uniform(-320, -180)]) * body.build.scale
    offset[0] *= 1 if side == "left" else -1
    turned = place(hand, np.zeros(3), rotation_facing(fingers, palm))
    shift = body.stance.shoulders[side] + offset - turned.joints[9]
    return Hand(joints=turned.joints + shift, palm_normal=turned.palm_normal)


def _idle_hand(body: _Body, side: Side, rng: np.random.Generator) -> Hand:
    """Hanging beside the hip, or lying before the belly."""
    hand = relaxed_hand(body.shapes[side], side, rng)
    arm = body.build.upper_arm + body.build.forearm
    if rng.random() < 0.85:
        offset = mirror((-rng.uniform(45, 110), rng.uniform(0.93, 0.97) * arm, -rng.uniform(10, 80)), side)
        rotation = rotation_facing(mirror((0.05, 1, -0.12), side), mirror((1, 0, rng.uniform(-0.2, 0.5)), side))
    else:
        offset = mirror((rng.uniform(40, 110), rng.uniform(0.62, 0.72) * arm, -rng.uniform(190, 240)), side)
        rotation = rotation_facing(mirror((1, -0.1, -0.05), side), mirror((0, 0.15, 1), side))
    return place(hand, body.stance.shoulders[side] + body.stance.torso_rotation.apply(offset), rotation)


def _hands_alone(
    gesture: str, rng: np.random.Generator, look_rng: np.random.Generator
) -> tuple[Person, tuple[Side, ...]]:
    lead: Side = "right" if rng.random() < 0.5 else "left"
    shape = sample_shape(rng, scale=float(np.clip(rng.normal(1, 0.05), 0.88, 1.12)))
    if gesture == FREE:
        hands = _free_hands(shape, lead, rng)
    else:
        posed = gesture_hands(gesture, lead, {"left": shape, "right": shape}, rng)
        hands = {side: _anchored(*hand, side, np.zeros(3)) for side, hand in posed.items()}
    sides = tuple(side for side in SIDES if side in hands)
    elbows = {side: _elbow_alone(hands[side], gesture in TWO_HANDED, side, rng) for side in sides}
    person = Person(hands=hands, appearance=sample_appearance(look_rng), body=None, elbows=elbows)
    return person, sides


def _free_hands(shape: HandShape, lead: Side, rng: np.random.Generator) -> dict[Side, Hand]:
    """One hand, or two that interact."""
    both = rng.random() < 0.45
    hands = {side: _free_turned(shape, side, both, rng) for side in (SIDES if both else (lead,))}
    if both:
        apart = np.array([0.0, 0.0, 0.0])
        toward = np.array([rng.uniform(15, 45), rng.uniform(-25, 25), rng.uniform(-30, 30)])
        left, right = (hands[side].joints - hands[side].joints.mean(axis=0) for side in SIDES)
        while bone_gaps(left + toward + apart, right - toward - apart).min() < 19:
            apart[0] += 3
        joints = {"left": left + toward + apart, "right": right - toward - apart}
        hands = {side: Hand(joints=joints[side], palm_normal=hands[side].palm_normal) for side in SIDES}
    return hands


def _free_turned(shape: HandShape, side: Side, both: bool, rng: np.random.Generator) -> Hand:
    hand = free_hand(shape, side, rng)
    fingers = mirror((rng.uniform(0.0, 0.9) if both else rng.uniform(-0.8, 0.8), -1, rng.uniform(-0.7, 0.4)), side)
    turn = np.radians(rng.uniform(0, 150) if both else rng.uniform(-180, 180))
    palm = mirror((float(np.sin(turn)), 0.1, -float(np.cos(turn))), side)
    return place(hand, np.zeros(3), rotation_facing(fingers, palm))


def _elbow_alone(hand: Hand, both_meet: bool, side: Side, rng: np.random.Generator) -> Vector:
    """Behind the wrist, a little bent; hands that meet come from below and outside."""
    axis = hand.joints[9] - hand.joints[0]
    axis = axis / np.linalg.norm(axis)
    outwards = 1 if side == "left" else -1
    back = np.array([outwards * 0.5, 0.85, 0.1]) - 0.5 * axis if both_meet else -axis + [0, 0.25, 0]
    back = back + rng.normal(0, 0.1, 3)
    return np.asarray(hand.joints[0] + back / np.linalg.norm(back) * 250, np.float64)
