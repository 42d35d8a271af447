"""Poses as programs write them, sampled: what a file says arrives in the picture, whatever its dialect."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from h2d.infer.jobs import guessed
from h2d.infer.options import SampleOptions
from h2d.pose.examples import read_example
from h2d.pose.openpose_json import DIALECTS, read_pose, write_pose

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "openpose-json"
FEW = SampleOptions(num_inference_steps=1, hand_attempts=1)


@pytest.mark.parametrize("name", ["palm", "two_people"])
def test_one_pose_is_one_picture_in_every_dialect(name, pipe, tmp_path):
    pose = read_example(name).shown()  # of a point that no skeleton shows, editors write nothing
    pictures = []
    for dialect in DIALECTS:
        write_pose(pose, tmp_path / f"{dialect}.json", dialect=dialect)
        read = read_pose(tmp_path / f"{dialect}.json", size_hw=pose.size_hw)
        output = pipe("a person", read, seed=3, options=FEW)
        assert output.hands[0], dialect
        pictures.append(np.asarray(output.images[0]))
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    assert pictures[0].std() > 0


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no files of other programs at {SAMPLES}")
def test_files_of_other_programs_are_sampled(pipe):
    files = sorted(SAMPLES.glob("*.json"))
    assert files
    for file in files:
        pose = read_pose(file)
        output = pipe("a person", pose, seed=3, options=FEW)
        picture = np.asarray(output.images[0])
        assert picture.std() > 0, file.name
        wide, high = pose.width > pose.height, pose.height > pose.width
        assert (picture.shape[1] > picture.shape[0], picture.shape[0] > picture.shape[1]) == (wide, high), file.name
        said = [note for note in output.notes[0] if "names no canvas" not in note]
        assert output.hands[0] or said, f"{file.name}: neither a hand nor a word of why"
        assert (said == output.notes[0]) == pose.canvas_stated, file.name


def test_a_guessed_canvas_is_told(pose):
    assert guessed(pose) == []
    assert guessed(replace(pose, canvas_stated=False)) == [
        f"the pose's file names no canvas, {pose.width}x{pose.height} was taken, the smallest: h2d pose convert --size"
        " states another"
    ]
