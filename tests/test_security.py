"""Nothing that strangers made is run: no pickle is loaded, and what they wrote stays text."""

import ast
import os
import pickle
from pathlib import Path

import pytest
import torch

import h2d
from h2d.annotate.masks.sam_weights import read_checkpoint
from h2d.errors import UserError

SOURCE = Path(h2d.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
RUNS_CODE = {
    "builtins": {"eval", "exec"},
    "cloudpickle": {"load", "loads"},
    "dill": {"load", "loads"},
    "joblib": {"load"},
    "marshal": {"load", "loads"},
    "os": {"system", "popen"},
    "pd": {"read_pickle"},
    "pickle": {"load", "loads"},
    "shelve": {"open"},
    "yaml": {"load", "load_all", "unsafe_load", "full_load"},
}
UNPICKLERS = {"pipelines/sources/laion_human_poses.py"}
"""May derive from `pickle.Unpickler`, and must refuse names by its own `find_class`."""


def named(node):
    """`torch.load` of a call to it; "builtins.eval" for a bare name."""
    match node.func:
        case ast.Attribute(value=ast.Name(id=module), attr=name):
            return module, name
        case ast.Name(id=name):
            return "builtins", name
    return "", ""


def dangers(text):
    """Each call in this source that could run what a file says."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module in RUNS_CODE:
            yield from (f"from {node.module} import {name.name}" for name in node.names
                        if name.name in RUNS_CODE[node.module])  # fmt: skip
        if not isinstance(node, ast.Call):
            continue
        module, name = named(node)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if name in RUNS_CODE.get(module, ()):
            yield f"{module}.{name}"
        if (module, name) == ("torch", "load") and given.get("weights_only") != "True":
            yield "torch.load without weights_only=True"
        if given.get("allow_pickle", "False") != "False":
            yield f"{name} with allow_pickle"
        if given.get("trust_remote_code", "False") != "False":
            yield f"{name} with trust_remote_code"
        if given.get("shell", "False") != "False":
            yield f"{name} with shell"


@pytest.mark.parametrize("file", FILES, ids=[file.relative_to(SOURCE).as_posix() for file in FILES])
def test_no_source_file_loads_pickles_or_runs_text(file):
    text = file.read_text()
    assert list(dangers(text)) == []
    if "Unpickler" in text.replace("UnpicklingError", ""):
        assert file.relative_to(SOURCE).as_posix() in UNPICKLERS
        assert "def find_class" in text


@pytest.mark.parametrize(
    "text",
    [
        "pickle.load(f)", "from pickle import loads", "torch.load(f)", "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)", "np.load(f, allow_pickle=asked)", "yaml.load(f, yaml.Loader)", "eval(text)",
        "Model.from_pretrained(name, trust_remote_code=True)", "subprocess.run(line, shell=True)",
    ],
)  # fmt: skip
def test_that_test_sees_what_it_looks_for(text):
    assert len(list(dangers(text))) == 1


class Bomb:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_would_run_something_is_refused(tmp_path, zipped):
    mark, file = tmp_path / "ran", tmp_path / "sam.pth"
    torch.save({"weight": Bomb(mark)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"sam\.pth") as error:
        read_checkpoint("vit_b", file)
    assert not mark.exists()
    assert len(str(error.value).splitlines()) == 1
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists(), "the attack harms nobody, so the test shows nothing"
