"""What every entry of the sources' table promises."""

import json

import pytest

from h2d.config import validate_config
from h2d.errors import UserError
from h2d.pipelines.plan import SelectionConfig, list_source
from h2d.pipelines.sources import SOURCES
from h2d.pipelines.sources.base import Source
from h2d.registry import resolve


@pytest.mark.parametrize("name", SOURCES)
def test_it_keeps_the_protocol_and_its_name(name, tmp_path):
    source = validate_config(resolve(SOURCES, name, kind="source"), {"root": tmp_path}, where=name)
    assert isinstance(source, Source)
    assert source.name == name
    json.dumps(source.options())


@pytest.mark.parametrize("name", SOURCES)
def test_an_empty_folder_is_a_one_line_mistake_that_names_it(name, tmp_path):
    source = validate_config(resolve(SOURCES, name, kind="source"), {"root": tmp_path}, where=name)
    with pytest.raises(UserError) as caught:
        list_source(source, SelectionConfig(), shard_size=10)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(UserError, match="unknown source 'cifar': choose one of folder, hagrid"):
        resolve(SOURCES, "cifar", kind="source")
