"""pycocotools' own evaluation of people of any number of points: what ours is compared with."""

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from h2d.eval.oks import Found, Truth

STATS = ("ap", "ap_50", "ap_75", "ap_medium", "ap_large", "ar", "ar_50", "ar_75", "ar_medium", "ar_large")


def coco_stats(truth: Truth, found: Found, sigmas, num_pictures: int, *, first_id: int = 1) -> dict[str, float]:
    """The ten numbers that pycocotools prints; -1 where it has none."""
    evaluation = prepared(truth, found, sigmas, num_pictures, first_id=first_id)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(STATS, evaluation.stats, strict=True))


def prepared(truth: Truth, found: Found, sigmas, num_pictures: int, *, first_id: int = 1) -> COCOeval:
    """Everything but the evaluation itself."""
    people = [
        {
            "id": row + first_id,
            "image_id": int(truth.picture[row]),
            "category_id": 1,
            "keypoints": triples(truth.xy[row], truth.labelled[row]),
            "num_keypoints": int(truth.labelled[row].sum()),
            "area": float(truth.area[row]),
            "bbox": truth.box_xywh[row].tolist(),
            "iscrowd": int(truth.crowd is not None and truth.crowd[row]),
        }
        for row in range(len(truth.picture))
    ]
    answers = [
        {
            "image_id": int(found.picture[row]),
            "category_id": 1,
            "keypoints": triples(found.xy[row], np.ones(len(sigmas), bool)),
            "score": float(found.scores[row]),
        }
        for row in range(len(found.picture))
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = {
            "images": [{"id": number} for number in range(num_pictures)],
            "annotations": people,
            "categories": [{"id": 1, "name": "person"}],
        }
        ground.createIndex()
        evaluation = COCOeval(ground, ground.loadRes(answers), "keypoints")
    evaluation.params.kpt_oks_sigmas = np.asarray(sigmas)
    return evaluation


def triples(xy, labelled) -> list[float]:
    """x, y, v of each point in one list, zeros where it is not labelled."""
    return np.column_stack([np.where(labelled[:, None], xy, 0), labelled * 2.0]).ravel().tolist()
