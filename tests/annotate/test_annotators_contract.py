"""What every entry of the annotators' tables promises; a new line in a table is tested here by being there."""

import json
import pickle
from dataclasses import FrozenInstanceError, fields

import pytest

from h2d.annotate.base import Captioner, KeypointDetector, Segmenter
from h2d.annotate.captions import CAPTIONERS
from h2d.annotate.keypoints import DETECTORS
from h2d.annotate.masks import SEGMENTERS
from h2d.config import validate_config
from h2d.registry import resolve

ENTRIES = [
    pytest.param(table, name, promise, id=f"{kind}-{name}")
    for kind, table, promise in (
        ("detector", DETECTORS, KeypointDetector),
        ("segmenter", SEGMENTERS, Segmenter),
        ("captioner", CAPTIONERS, Captioner),
    )
    for name in table
]
# The options that have no default: whatever stands here is never opened.
NEEDED = {"sam": {"checkpoint": "/nowhere/sam.pth", "checkpoint_sha256": "0" * 64}}


@pytest.fixture
def annotator(table, name):
    return validate_config(resolve(table, name, kind="annotator"), NEEDED.get(name, {}), where=name)


@pytest.mark.parametrize(("table", "name", "promise"), ENTRIES)
def test_it_keeps_the_protocol(annotator, promise):
    assert isinstance(annotator, promise)


@pytest.mark.parametrize(("table", "name", "promise"), ENTRIES)
def test_it_is_frozen_and_travels_to_a_worker(annotator, promise):
    assert pickle.loads(pickle.dumps(annotator)) == annotator
    with pytest.raises(FrozenInstanceError):
        setattr(annotator, fields(annotator)[0].name, None)


@pytest.mark.parametrize(("table", "name", "promise"), ENTRIES)
def test_its_identity_can_be_hashed_and_repeats(annotator, promise):
    assert json.dumps(annotator.identity(), sort_keys=True) == json.dumps(annotator.identity(), sort_keys=True)


@pytest.mark.parametrize(("table", "name", "promise"), ENTRIES)
def test_it_may_be_closed_unopened(annotator, promise):
    annotator.close()
