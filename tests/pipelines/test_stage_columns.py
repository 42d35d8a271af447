"""A stage gets the columns that it names and no others, so the names must be those that are written."""

import numpy as np
import pytest

from h2d.annotate.captions.endpoint import EndpointCaptioner
from h2d.annotate.captions.template import TemplateCaptioner
from h2d.images import encode_png
from h2d.pipelines.index import INDEX
from h2d.pipelines.stages.caption import CaptionStage
from h2d.pipelines.stages.hand_size import HandSizeStage
from h2d.pipelines.stages.mask import MaskStage
from h2d.pipelines.stages.pose import PoseStage
from h2d.pipelines.stages.screen import ScreenStage

SCHEMAS = {stage.name: stage.schema for stage in (ScreenStage, PoseStage, MaskStage, HandSizeStage, CaptionStage)}


def captions(captioner):
    return CaptionStage(annotator="x", source="x", captioner=captioner, refused_by=("hand_size",))


LOOKS = captions(EndpointCaptioner(url="http://localhost", model="x"))
LOOKS_NOT = captions(TemplateCaptioner())


@pytest.mark.parametrize(
    "stage",
    [ScreenStage, MaskStage, HandSizeStage, LOOKS, LOOKS_NOT],
    ids=lambda stage: stage.name,
)
def test_the_columns_that_a_stage_reads_are_written(stage):
    assert set(stage.index_columns) <= set(INDEX.names)
    for name, columns in stage.reads.items():
        for column in columns:
            field = SCHEMAS[name].field(column.split(".")[0])
            if "." in column:
                assert column.split(".")[3] in [inner.name for inner in field.type.value_type]


def test_pictures_are_not_read_for_a_captioner_that_does_not_look():
    assert "picture" in LOOKS.reads["pose"]
    assert "picture" not in LOOKS_NOT.reads["pose"]


def test_pose_names_what_it_reads_of_the_index():
    assert set(PoseStage.index_columns) <= set(INDEX.names)


def test_hands_are_described_one_by_one_only_where_nobody_looks():
    one = {"hand_left_found": True, "hand_right_found": False, "picture": encode_png(np.zeros((8, 8, 3), np.uint8))}
    rows = [{"id": str(n), "gesture": "fist", "pose": {**one, "hand_right_found": n == 1}} for n in range(2)]
    single, double = LOOKS_NOT.process(rows)
    assert single.keys() == {"caption", "captioner"}
    assert "right hand" in double["caption_right"]
    assert "left hand" in double["caption_left"]
    asked = []

    class Looking(TemplateCaptioner):
        sees_pictures = True

        def caption(self, requests):
            asked.extend(requests)
            return TemplateCaptioner.caption(self, requests)

    assert [row.keys() for row in captions(Looking()).process(rows)] == [single.keys()] * 2
    assert [request.hands for request in asked] == [("left",), ("left", "right")]
