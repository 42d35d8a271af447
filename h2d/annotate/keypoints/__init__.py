"""Keypoint detectors by name."""

DETECTORS = {
    "holistic": "h2d.annotate.keypoints.holistic:HolisticDetector",
    "miniature": "h2d.annotate.keypoints.miniature:MiniatureDetector",
    "precomputed": "h2d.annotate.keypoints.precomputed:PrecomputedDetector",
}
NATIVE = frozenset({"holistic"})
"""Those whose library may end its process."""
