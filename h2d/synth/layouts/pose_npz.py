"""HumanSD's pose files: a numpy archive with one pickled array of people, byte for byte of the published structure.

Written by hand around pickle's protocol 3, because what numpy writes by itself depends on its version.
"""

import io
import pickle
import zipfile
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from h2d.pose.layouts import BODY
from h2d.pose.points import present
from h2d.synth.scene import Drawing

_PROTOCOL: Final = 3
_HIDDEN_SCORE: Final = 0.3
"""Of a point in the picture that something hides. Our choice: such scores are low in the dataset, not absent."""


def people_of(drawing: Drawing) -> list[dict[str, Any]]:
    """What the file says of each person: 17 body points with x, y and score, a score, and the area of their box."""
    people = []
    for labels in drawing.people:
        body = labels.points[BODY]
        there = present(body)
        if not there.any():
            continue
        keypoints = np.where(there[:, None], body, 0).astype(np.float32)
        keypoints[there, 2] = np.where(labels.visible[BODY][there], 1.0, _HIDDEN_SCORE)
        size = keypoints[there, :2].max(axis=0) - keypoints[there, :2].min(axis=0)
        people.append(
            {"keypoints": keypoints, "score": np.float32(keypoints[:, 2].mean()), "area": np.float32(size[0] * size[1])}
        )
    return people


def encode_poses(people: Sequence[Any]) -> bytes:
    """The archive's bytes; the same people give the same bytes."""
    array = np.empty(len(people), object)
    array[:] = list(people)
    # numpy 2 has moved these; the dataset was written by numpy 1, and readers that guard themselves know both.
    pickled = pickle.dumps(array, protocol=_PROTOCOL).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    return encode_archive(pickled, num_people=len(people))


def encode_archive(pickled: bytes, *, num_people: int) -> bytes:
    """An archive around any pickle."""
    member = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": (num_people,)}
    np.lib.format.write_array_header_1_0(member, header)  # type: ignore[no-untyped-call]
    member.write(pickled)
    data = io.BytesIO()
    with (
        zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as file,
    ):
        file.write(member.getvalue())
    return data.getvalue()
