"""Segmenters of whole people by name: what is left of a picture when its background is removed."""

PEOPLE_SEGMENTERS = {
    "sam": "h2d.annotate.people.sam:SamPeople",
    "selfie": "h2d.annotate.people.selfie:SelfiePeople",
    "grabcut": "h2d.annotate.people.grabcut:GrabCutPeople",
}
NATIVE = frozenset({"selfie"})
"""Those whose library may end its process."""
