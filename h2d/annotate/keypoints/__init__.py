"""Keypoint detectors by name."""

DETECTORS = {
    "holistic": "h2d.annotate.keypoints.holistic:HolisticDetector",
}
