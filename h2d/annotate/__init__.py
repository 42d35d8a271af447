"""What looks at pictures: keypoint detectors, segmenters, captioners. None knows of files, tables or Ray."""
