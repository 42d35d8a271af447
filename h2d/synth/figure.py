"""A person as solids: pieces of flesh, each with its coat."""

from dataclasses import dataclass

import numpy as np

from h2d.synth import body_flesh
from h2d.synth.face import face_skin
from h2d.synth.hand_flesh import hand_flesh
from h2d.synth.paint import Painter, cloth, hair, plain_skin
from h2d.synth.scene import Part, Person, Scene
from h2d.synth.sdf import Field, Limb
from h2d.synth.skin import hand_skin

_SHOE_COLOUR = (52, 46, 44)


@dataclass(frozen=True, kw_only=True, slots=True)
class Solid:
    """One piece of somebody."""

    person: int
    field: Field
    paint: Painter


def solids(scene: Scene, *, device: str) -> list[Solid]:
    """Everybody's pieces."""
    pieces = []
    for number, person in enumerate(scene.people):
        for limbs, paint in (*_hands(person), *(_body(person) if person.body is not None else ())):
            pieces.append(Solid(person=number, field=Field(limbs, device=device), paint=paint))
    return pieces


_Pieces = list[tuple[list[Limb], Painter]]


def _hands(person: Person) -> _Pieces:
    """Hands with their forearms."""
    pieces: _Pieces = []
    sleeved = person.body is not None and person.appearance.sleeves == "long"
    for side, hand in person.hands.items():
        flesh = hand_flesh(hand, person.elbows[side], sleeved=sleeved)
        paint = hand_skin(flesh, person.appearance.skin, side, fades=person.body is None)
        pieces.append((list(flesh.limbs), paint))
    return pieces


def _body(person: Person) -> _Pieces:
    """Clothes, head, hair, bare arms and shoes."""
    looks = person.appearance
    frame = body_flesh.head_frame(person)
    top = cloth(looks.top, Part.TOP)
    pieces: _Pieces = [
        (body_flesh.top(person), top),
        (body_flesh.head(person), face_skin(looks, frame)),
        (body_flesh.bottom(person), cloth(looks.bottom, Part.BOTTOM)),
    ]
    if looks.hair_style != "bald":
        left = np.asarray(frame.rotation[:, 0])
        pieces.append((body_flesh.hair(person), hair(looks.hair, left, frame.centre)))
    if looks.sleeves == "long":
        pieces.append((body_flesh.forearm_sleeves(person), top))
    else:
        pieces.append((body_flesh.upper_arms(person), plain_skin(looks.skin)))
    pieces.append((body_flesh.shoes(person), cloth(_SHOE_COLOUR, Part.SHOES)))
    return pieces
