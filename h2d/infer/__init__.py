"""Sampling: a pose and a prompt to a picture whose hands are where the pose says."""
