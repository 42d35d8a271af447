import importlib.util
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from h2d.cli.manifest import app
from h2d.errors import UserError
from h2d.images import load_rgb
from h2d.manifests.store import part_path

BUILDER = Path(__file__).parents[1] / "manifests" / "manifest_builder.py"


@pytest.fixture(scope="module")
def build_manifest():
    spec = importlib.util.spec_from_file_location("manifest_builder", BUILDER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build_manifest


@pytest.fixture
def root(build_manifest, tmp_path):
    return build_manifest(tmp_path / "manifest", source_root=tmp_path / "originals")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_valid_manifest_is_one_line_and_exit_code_0(root, tmp_path):
    result = run("validate", root, "--root", tmp_path / "originals")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{root}: valid: 8 indexed = 6 accepted + 2 left out; 7 hand crops\n"


def test_problems_are_a_line_each_and_exit_code_1(root):
    path = part_path(root, "images", "val", 0)
    path.write_bytes(path.read_bytes()[:-9])
    result = run("validate", root)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0].startswith("whole: images/val/part-00000.parquet: ")
    assert all(re.match(r"\w+: \S+: ", line) for line in result.stdout.splitlines())
    told = json.loads(run("validate", root, "--json").stdout)
    assert told["valid"] is False
    assert len(told["problems"]) == len(result.stdout.splitlines())


def test_stats_for_people_and_machines(root):
    result = run("stats", root)
    assert result.exit_code == 0
    assert "hands found by" in result.stdout
    tables = json.loads(run("stats", root, "--json").stdout)["tables"]
    assert tables["rejects"][0]["pictures"] == 1


def test_show_writes_a_picture_and_says_where(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("show", root, "call/0000")
    assert result.stdout == "wrote drawn_call_0000.png\n"
    assert load_rgb(tmp_path / "drawn_call_0000.png").shape[0] == 1200
    result = run("show", root, "call/0000", "--mask-steps", "--out", "new/steps.png")
    assert result.stdout == "wrote new/steps.png\n"
    assert load_rgb(tmp_path / "new" / "steps.png").shape[1] > 3 * 128


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "0042"), "no such row"),
        (("show",), r"^ID is missing: .*manifest has drawn/call/0000, \S+, \S+, \.\.\.$"),
        (("show", "call/0000", "--out", "picture.jpg"), r"ends with .png"),
        (("show", "0004", "--mask-steps"), "has a mask .*too_few_points_inside"),
        (("validate", "--root", "nowhere"), "no such folder"),
    ],
)
def test_mistakes_are_user_errors(root, arguments, message):
    verb, *others = arguments
    result = run(verb, root, *others)
    assert isinstance(result.exception, UserError)
    assert re.search(message, str(result.exception))


def test_manifests_are_dealt_out_merged_and_compared(root, build_manifest, tmp_path):
    result = run("split", root, "--out", tmp_path / "dealt", "--shares", "train=1,test=1")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == f"{tmp_path / 'dealt'}: train 3, test 3 pictures"
    result = run("diff", root, tmp_path / "dealt")
    assert result.exit_code == 1
    assert re.search(r"images: split differs in \d+: drawn/call/000\d", result.stdout)
    assert run("diff", root, root).stdout == "the same rows\n"
    told = json.loads(run("diff", root, tmp_path / "dealt", "--json").stdout)
    assert told["same"] is False
    result = run("merge", root, tmp_path / "dealt", "--out", tmp_path / "both")
    assert isinstance(result.exception, UserError)
    assert "stands in" in str(result.exception)
