"""`docs/poses.md` names what there is, and its Python runs."""

import re
from pathlib import Path

import pytest

from h2d.pose.checks import CHECKS
from h2d.pose.draw import STYLES
from h2d.pose.examples import write_examples
from h2d.pose.openpose_json import DIALECTS, read_pose

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "poses.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("level", ["error", "warning"])
def test_every_check_is_listed_under_its_level(level):
    table = PAGE.split(f"| {level} | when |")[1].split("\n\n")[0]
    listed = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert sorted(listed) == sorted(name for name, check in CHECKS.items() if check.level == level)


def test_every_dialect_and_style_is_listed():
    assert all(f"| `{name}`" in PAGE for name in (*DIALECTS, *STYLES))


def test_its_pictures_are_there():
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", PAGE):
        assert (Path(__file__).resolve().parents[2] / "docs" / picture).is_file()


def test_its_python_runs_as_it_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_examples(Path("poses"))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(code, names)
    assert names["pose"].people.shape == (2, 133, 3)
    assert names["skeleton"].shape == (512, 768, 3)
    assert read_pose(Path("larger.json")).size_hw == (768, 1152)
    assert len(capsys.readouterr().out.splitlines()) == 4
