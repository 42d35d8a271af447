"""What a choice of models and options leads to, before any work."""

import pytest

from h2d.config import load_config
from h2d.errors import UserError
from h2d.pipelines import choices as module
from h2d.pipelines.choices import MaskChoice, PrepareConfig, build_source, build_stages


@pytest.fixture
def built(tmp_path, monkeypatch):
    monkeypatch.setenv("H2D_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "pictures").mkdir()

    def build(*overrides: str):
        flags = {"source": "folder", "root": tmp_path / "pictures", "out": tmp_path / "out"}
        return build_stages(load_config(PrepareConfig, flags, overrides=["pose.name=colour", *overrides]))

    return build


def names(stages):
    return {stage.name: stage.annotator for stage in stages}


def test_without_weights_the_defaults_need_no_model(built):
    assert names(built()) == {"pose": "colour", "mask": "grabcut", "caption": "template"}


def test_none_leaves_a_stage_out(built):
    assert names(built("mask.name=none", "caption.name=none")) == {"pose": "colour"}


@pytest.mark.parametrize(
    ("weights", "gpu", "chosen"), [(True, True, "sam"), (True, False, "grabcut"), (False, True, "grabcut")]
)
def test_auto_takes_sam_only_with_its_weights_and_a_gpu(tmp_path, monkeypatch, weights, gpu, chosen):
    checkpoint = tmp_path / "sam_vit_h_4b8939.pth"
    monkeypatch.setattr(module.weights, "find", lambda name: checkpoint if weights else None)
    monkeypatch.setattr(module.weights, "locate", lambda name: checkpoint)
    monkeypatch.setattr(module, "has_gpu", lambda: gpu)
    located = module._located_mask(MaskChoice())
    assert located.name == chosen
    assert located.options.get("checkpoint") == (checkpoint if chosen == "sam" else None)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("mask.name=sma", "unknown segmenter 'sma': choose one of given, grabcut, mano, sam"),
        ("mask.name=sam", "h2d models fetch sam-vit-h"),
        ("caption.name=llava", "h2d models fetch llava-1.5-7b"),
        ("caption={name: endpoint, options: {url: here}}", "url must be like http://localhost:8000/v1"),
        ("mask.options.work_px=100", "auto takes none"),
        ("mask={name: grabcut, options: {workpx: 1}}", "workpx = 1: there is no such option"),
        ("mask={name: sam, options: {model: vit_x}}", "choose one of vit_h, vit_l, vit_b"),
        ("run.shard_size=0", "shard_size must be 1 to 4096, got 0"),
        ("run.executor=dask", "run.executor = 'dask'"),
        ("pictures.long_side=10", "long_side must be at least 64, got 10"),
        ("selection.limit=0", "limit must be at least 1, got 0"),
    ],
)
def test_a_wrong_choice_is_one_line(built, override, message):
    with pytest.raises(UserError) as caught:
        built(override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    choices = load_config(PrepareConfig, {"source": "folder", "root": tmp_path / "none", "out": tmp_path})
    with pytest.raises(UserError, match="none: no such folder"):
        build_source(choices)


def test_an_unknown_source_option_is_named(tmp_path):
    flags = {"source": "folder", "root": tmp_path, "out": tmp_path, "source_options.gestures": ["call"]}
    with pytest.raises(UserError, match=r"gestures = .*: there is no such option"):
        build_source(load_config(PrepareConfig, flags))
