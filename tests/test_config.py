"""Configuration from files, overrides and flags."""

from pathlib import Path

import pytest

from h2d.config import as_plain, config, load_config
from h2d.errors import UserError


@config
class Inner:
    scale: float = 1.5

    def __post_init__(self):
        if self.scale <= 0:
            raise ValueError(f"scale must be positive, got {self.scale}")


@config
class Outer:
    name: str
    folder: Path = Path("here")
    inner: Inner = Inner()


def test_flags_go_before_overrides_and_overrides_before_the_file(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("name: file\ninner: {scale: 1}\nfolder: x")
    loaded = load_config(Outer, {"name": "flag", "folder": None}, file=file, overrides=["inner.scale=2", "name=set"])
    assert loaded == Outer(name="flag", folder=Path("x"), inner=Inner(scale=2))


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("nmae: a", [], "nmae = 'a': there is no such option: did you mean name?"),
        ("name: a\ninner: {scal: 1}", [], "inner.scal = 1: there is no such option: did you mean inner.scale?"),
        ("name: a", ["inner.scale=-1"], "scale must be positive, got -1.0"),
        ("name: a", ["inner.scale=big"], "inner.scale = 'big'"),
        ("name: a", ["inner"], "expected section.key=value"),
        ("name: a", ["=3"], "--set '=3': expected section.key=value"),
        ("name: a", ["inner.scale=[1"], "--set 'inner.scale=[1': '[1' is no value: close its brackets and quotes"),
        ("name: a", ["name.first=1"], "--set: name.first: name is not a section"),
        ("inner: {scale: 2}", [], "name is missing"),
        ("- a", [], "expected a mapping"),
        ("a: [", [], "not valid YAML"),
    ],
)
def test_mistakes_name_the_file_the_field_and_the_value(tmp_path, text, overrides, message):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load_config(Outer, {}, file=file, overrides=overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_option_that_is_like_no_other_is_not_guessed():
    with pytest.raises(UserError, match=r"foo = 1: there is no such option: choose one of name, folder, inner$"):
        load_config(Outer, {}, overrides=["name=a", "foo=1"])


def test_a_part_of_a_name_is_told_with_the_names_that_have_it():
    @config
    class Steps:
        num_inference_steps: int = 1
        unmasked_steps: int = 2
        paste: str = ""

    with pytest.raises(UserError, match=r"did you mean num_inference_steps or unmasked_steps\?$"):
        load_config(Steps, {}, overrides=["steps=1"])


def test_who_gave_a_wrong_value_is_blamed(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("name: a\ninner: {scale: big}")
    with pytest.raises(UserError, match=r"a\.yaml: inner\.scale"):
        load_config(Outer, {}, file=file, overrides=["name=b"])
    for wrong in ("inner.scale=big", "inner={scale: big}", "inner.scal=1"):
        with pytest.raises(UserError, match=r"^--set: inner\.scal"):
            load_config(Outer, {}, file=file, overrides=["inner.scale=1", wrong])
    with pytest.raises(UserError, match=r"^options: inner\.scale"):
        load_config(Outer, {"inner.scale": "big"}, file=file, overrides=["inner.scale=1"])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: cannot read"):
        load_config(Outer, {}, file=tmp_path / "none.yaml")


def test_plain_values_can_be_written_as_json():
    assert as_plain(Outer(name="a")) == {"name": "a", "folder": "here", "inner": {"scale": 1.5}}
