"""Numbers as people say them."""

import pytest
from typer.testing import CliRunner

from h2d.cli import app
from h2d.cli.wording import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 shards"), (1, "1 shard"), (2, "2 shards")])
def test_one_thing_is_no_plural(number, said):
    assert counted(number, "shard") == said


def test_commands_say_one_picture_of_one(tmp_path):
    drawn = CliRunner().invoke(app, ["synth", "hagrid", "--out", str(tmp_path / "set"), "-n", "1", "--size", "64"])
    assert "1 picture in the layout of" in drawn.output
