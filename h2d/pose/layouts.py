"""Keypoint orders: COCO-WholeBody 133 (ours everywhere), and how MediaPipe's points map onto it.

Left and right are always the person's own. Hands have 21 points in the order shared by MediaPipe, OpenPose and
COCO-WholeBody: wrist, then thumb, index, middle, ring and little finger, each from base to tip.
"""

from typing import Literal, TypeAlias

Side: TypeAlias = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")

NUM_POINTS = 133
NUM_HAND_POINTS = 21

BODY = slice(0, 17)
FEET = slice(17, 23)
FACE = slice(23, 91)
LEFT_HAND = slice(91, 112)
RIGHT_HAND = slice(112, 133)
HANDS: dict[Side, slice] = {"left": LEFT_HAND, "right": RIGHT_HAND}

# Points of the body.
NOSE = 0
EYES: dict[Side, int] = {"left": 1, "right": 2}
SHOULDERS: dict[Side, int] = {"left": 5, "right": 6}
ELBOWS: dict[Side, int] = {"left": 7, "right": 8}
WRISTS: dict[Side, int] = {"left": 9, "right": 10}
HIPS: dict[Side, int] = {"left": 11, "right": 12}

# Points of a hand.
WRIST = 0
FINGERS: dict[str, tuple[int, int, int, int]] = {
    "thumb": (1, 2, 3, 4),
    "index": (5, 6, 7, 8),
    "middle": (9, 10, 11, 12),
    "ring": (13, 14, 15, 16),
    "little": (17, 18, 19, 20),
}
KNUCKLES = (5, 9, 13, 17)
PALM = (0, 1, 5, 9, 13, 17)
HAND_BONES: tuple[tuple[int, int], ...] = tuple(
    bone for finger in FINGERS.values() for bone in zip((WRIST, *finger[:-1]), finger, strict=True)
)
BODY_BONES: tuple[tuple[int, int], ...] = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
    (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip

# MediaPipe's 33 body points -> COCO's 17, and its heels and toes -> the feet. It has no small toes: those stay missing.
POSE33_TO_BODY = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
POSE33_TO_FEET = {17: 31, 19: 29, 20: 32, 22: 30}

# MediaPipe's 468 face points -> the 68 of iBUG and dlib, the MaixPy convention: mirror-symmetric, jaw from image-left.
FACE468_TO_68 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip

FLIP_BODY_FEET = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 20, 21, 22, 17, 18, 19)
FLIP_FACE68 = (
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17,
    27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
FLIP = (
    *FLIP_BODY_FEET,
    *(FACE.start + point for point in FLIP_FACE68),
    *range(RIGHT_HAND.start, RIGHT_HAND.stop),
    *range(LEFT_HAND.start, LEFT_HAND.stop),
)
"""Where each point comes from when the picture is mirrored: sides swap."""
