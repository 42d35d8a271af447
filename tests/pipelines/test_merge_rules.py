"""Who is accepted, asked of whole columns, beside the rule told picture by picture."""

from itertools import product

import numpy as np
import pyarrow as pa

from h2d.pipelines.merge import MergeJob, _is_accepted

STATUSES = ("ok", "error", "skipped", "blocked")
OUTCOMES = [
    {"pose": pose, "mask": mask, "left": left, "right": right, "crops": crops, "persons": persons}
    for pose, mask, left, right, crops, persons in product(
        ("ok", "error"), STATUSES, (True, False, None), (True, False), (None, 0, 2), (0, 1)
    )
    if not (left is False and right is False and crops)  # a crop needs a hand
]


def part(statuses, **columns):
    count = len(statuses)
    reasons = [None if status in ("ok", "blocked") else f"why {status}" for status in statuses]
    return pa.table(
        {
            "id": [f"x/{number}" for number in range(count)],
            "status": statuses,
            "reason": reasons,
            "message": reasons,
            "attempts": pa.array([1] * count, pa.int32()),
            **columns,
        }
    )


def parts():
    crops = [None if each["crops"] is None else [{"hands": "left"}] * each["crops"] for each in OUTCOMES]
    return {
        "pose": part(
            [each["pose"] for each in OUTCOMES],
            persons=[each["persons"] for each in OUTCOMES],
            hand_left_found=[each["left"] for each in OUTCOMES],
            hand_right_found=[each["right"] for each in OUTCOMES],
            hand_left_checks=[["too_small"]] * len(OUTCOMES),
            hand_right_checks=[["off_body", "flat"]] * len(OUTCOMES),
            crops=pa.array(crops, pa.list_(pa.struct([("hands", pa.string())]))),
        ),
        "mask": part([each["mask"] for each in OUTCOMES]),
    }


def expected(each):
    """None, or stage and reason."""
    for stage in ("pose", "mask"):
        if each[stage] not in ("ok", "blocked"):
            return stage, f"why {each[stage]}"
    if not each["left"] and not each["right"]:
        return "pose", "no_hand" if each["persons"] else "no_person"
    return None if each["crops"] else ("pose", "no_usable_hand")


def test_whole_columns_are_judged_as_every_picture_alone():
    assert _is_accepted(parts()).tolist() == [expected(each) is None for each in OUTCOMES]
    assert {expected(each) for each in OUTCOMES} >= {None, ("pose", "no_usable_hand"), ("mask", "why skipped")}


def test_everybody_else_is_rejected_with_the_first_reason(tmp_path):
    job = MergeJob(work=tmp_path, fingerprint="f" * 16, inputs={}, source="x", facts={})
    names = [f"x/{number}" for number in range(len(OUTCOMES))]
    index = pa.table({"id": names, "split": ["train"] * len(names), "path": names})
    rejected = np.flatnonzero(~_is_accepted(parts()))
    rows = {row["id"]: row for row in job._rejects(index, parts(), rejected)}
    for name, each in zip(names, OUTCOMES, strict=True):
        found = (rows[name]["stage"], rows[name]["reason"]) if name in rows else None
        assert found == expected(each)
    message = next(row["message"] for row in rows.values() if row["reason"] == "no_usable_hand")
    assert message.startswith("every hand fails its checks (")
