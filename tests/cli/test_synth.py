"""`h2d synth`: arguments in, one call, a few lines out."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from h2d.cli.synth import synth
from h2d.errors import UserError
from h2d.synth import generate as generate_module
from h2d.synth.generate import Written

app = typer.Typer()
app.command()(synth)


@pytest.fixture
def asked(monkeypatch):
    """What the command asks to be drawn; what comes of it can be changed."""
    calls = []
    outcome = {"num_drawn": 40, "num_planted": 0, "not_planted": (), "interrupted": False}

    def generate(layout, out, **choices):
        watch = choices.pop("watch")
        calls.append({"layout": layout, "out": out, **choices})
        watch.started(choices["count"], 0)
        watch.drawn()
        assert not watch.should_stop()
        watch.ended()
        return Written(out=out, layout=layout, flavour="v2-1M", num_pictures=choices["count"], **outcome)

    monkeypatch.setattr(generate_module, "generate", generate)
    generate.outcome = outcome
    generate.calls = calls
    return generate


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_defaults_draw_forty_pictures_below_data(asked):
    result = run("hagrid")
    assert result.exit_code == 0, result.output
    assert asked.calls == [
        {
            "layout": "hagrid", "out": Path("data/hagrid"), "count": 40, "seed": 0, "size_px": 512, "flavour": None,
            "hard": False, "workers": None, "fresh": False,
        }
    ]  # fmt: skip
    assert "40 pictures in the layout of hagrid v2-1M: data/hagrid" in result.output
    assert "h2d prepare hagrid --root data/hagrid --out manifests/hagrid" in result.output


def test_every_option_arrives(asked, tmp_path):
    asked.outcome |= {"num_planted": 17, "not_planted": ("odd_kind",)}
    result = run(
        "hagrid", "--out", str(tmp_path / "set"), "-n", "50", "--seed", "7", "--size", "256", "--flavour", "v1",
        "--hard", "--workers", "2", "--fresh",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (call,) = asked.calls
    assert call == {
        "layout": "hagrid", "out": tmp_path / "set", "count": 50, "seed": 7, "size_px": 256, "flavour": "v1",
        "hard": True, "workers": 2, "fresh": True,
    }  # fmt: skip
    assert "not planted: odd_kind" in result.output
    assert f"17 defects, named in {tmp_path / 'set' / 'planted.json'}" in result.output.replace("\n", "")


def test_a_drawn_manifest_is_none_to_be_prepared(asked):
    told = run("manifest").output
    assert "40 pictures as a manifest, v2-1M: data/manifest" in told
    assert "Next:        h2d manifest validate data/manifest" in told


def test_a_layout_that_cannot_be_prepared_yet_suggests_nothing(asked, monkeypatch):
    from h2d.pipelines import sources

    monkeypatch.setattr(sources, "SOURCES", {})
    result = run("hagrid")
    assert "Next:" not in result.output


def test_json_is_for_machines(asked):
    result = CliRunner().invoke(app, ["hagrid", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "out": "data/hagrid", "layout": "hagrid", "flavour": "v2-1M", "num_pictures": 40, "num_drawn": 40,
        "num_planted": 0, "not_planted": [], "interrupted": False,
    }  # fmt: skip


def test_a_finished_set_and_a_stopped_run_are_said(asked):
    asked.outcome["num_drawn"] = 0
    assert "Nothing to do" in run("hagrid").output
    asked.outcome["interrupted"] = True
    result = run("hagrid")
    assert result.exit_code == 130
    assert "the same command goes on" in result.output


def test_a_mistake_reaches_the_frame_as_one_line():
    result = run("coco")
    assert isinstance(result.exception, UserError)
    assert "choose one of hagrid, interhand, laion-human, manifest, reinterhand" in str(result.exception)
