"""Picture quality and agreement with the text over a whole run, on sets where the truth is known."""

import cv2
import numpy as np
import pyarrow as pa
import pytest

from h2d.errors import UserError
from h2d.eval.generate import method_folder
from h2d.eval.given import take_folder
from h2d.eval.looking import choose_looks
from h2d.eval.looks.base import Seen
from h2d.eval.looks.text import embeddings_of, prompts_of
from h2d.eval.options import LookConfig, MeasureConfig
from h2d.eval.pictures import REAL, PictureFolder, copy_real
from h2d.eval.placing import Silent
from h2d.eval.report_tables import main_table
from h2d.eval.run import Placing, evaluate_folder
from h2d.eval.text_alignment import alignment_measures
from h2d.models.tiny import write_tiny_clip


def with_looks(tmp_path, **options):
    look = LookConfig(detector="fake", enlarged_px=32, features="random", device="cpu", **options)
    return MeasureConfig(look=look, resamples=20)


@pytest.fixture(scope="module")
def compared(module_fakes, picture_list, tmp_path_factory):
    """The real pictures again, and blurred, as if two programs had made them."""
    base = tmp_path_factory.mktemp("quality")
    real = PictureFolder(path=base / "copied")
    copy_real(picture_list, real, Silent())
    for name, blur in (("same", 0), ("blurred", 9)):
        (base / name).mkdir()
        for entry in picture_list.entries:
            picture = cv2.imread(str(real.picture(entry.name)))
            cv2.imwrite(str(base / name / f"{entry.name}.png"), cv2.blur(picture, (blur, blur)) if blur else picture)
    write_tiny_clip(base / "clip")
    choices = with_looks(base, segmenter="selfie", text=str(base / "clip"))
    folder = method_folder(base / "run", "same")
    assert take_folder(base / "same", picture_list, folder, Silent(), name="same", title="same", match="auto")
    results = evaluate_folder(base / "blurred", picture_list, base / "run", choices, Silent(), Placing())
    return {method.name: method for method in results.methods}, results, base


def test_identical_sets_are_not_apart_and_blurred_ones_are(compared):
    methods, _, _ = compared
    for region in ("", "_foreground"):
        short = f"random_features_frechet_192{region}"
        assert methods["same"].measures[short].value == pytest.approx(0, abs=1e-6)
        assert methods["blurred"].measures[short].value > 1e-3
    assert methods["blurred"].measures["random_features_frechet_192"].interval is not None


def test_random_features_are_never_called_fid(compared):
    methods, results, _ = compared
    for method in methods.values():
        for short, measured in method.measures.items():
            assert not short.startswith(("fid", "kid"))
            assert "FID" not in measured.name
            assert "KID" not in measured.name
    assert "h2d models fetch inception-v3-fid" in results.missing["features"]
    table = main_table(results)
    for column, cells in zip(table.columns, zip(*(line.cells for line in table.lines), strict=True), strict=True):
        if column.heading.startswith(("FID", "KID")):
            ours = [cell for cell, line in zip(cells, table.lines, strict=True) if line.kind == "ours"]
            assert all(cell.text == "–" and "inception-v3-fid" in cell.reason for cell in ours)


def test_the_segmenter_and_the_fill_are_named(compared):
    methods, _, _ = compared
    conventions = methods["same"].measures["random_features_frechet_192_foreground"].conventions
    assert conventions["region"] == "foreground by selfie, fill 0"
    assert conventions["resize"] == "tensorflow"
    assert conventions["width"] == 192
    assert len(conventions["segmented_fingerprint"]) == 16


def test_what_is_seen_of_a_foreground_is_of_its_own_mask():
    """Or another segmenter's numbers would be those of the masks before it, under its name."""

    def prints(segmenter, **options):
        chosen = LookConfig(segmenter=segmenter, features="random", text="none", device="cpu", **options)
        return choose_looks(chosen).fingerprints

    selfie, grabcut, larger = prints("selfie"), prints("grabcut"), prints("grabcut", enlarged_px=640)
    assert selfie["features_whole"] == grabcut["features_whole"] == larger["features_whole"]
    assert selfie["features_foreground"] != grabcut["features_foreground"], "other masks"
    assert grabcut["features_foreground"] != larger["features_foreground"], "by points of another look"


def test_text_is_compared_with_every_picture_the_real_ones_too(compared):
    methods, _, _ = compared
    real, same, blurred = (methods[name].measures["clipsim"] for name in (REAL, "same", "blurred"))
    assert same.value == pytest.approx(real.value, abs=1e-4)
    assert blurred.value != pytest.approx(real.value, abs=1e-6)
    assert same.conventions["clip"] == "clip"


def test_the_large_clip_is_an_option_and_is_named(monkeypatch, picture_list, tmp_path):
    name = "clip-vit-large-patch14"
    monkeypatch.setenv("H2D_MODELS", str(tmp_path))
    monkeypatch.setattr("h2d.models.weights._problem", lambda place, file: None)
    write_tiny_clip(tmp_path / name, large=True)
    looks = choose_looks(LookConfig(segmenter="none", features="none", text=name, device="cpu"))
    noise = np.random.default_rng(0).integers(0, 256, (2, 60, 60, 3), np.uint8)
    seen = [Seen(entry=entry, picture=picture) for entry, picture in zip(picture_list.entries, noise, strict=False)]
    of_pictures, of_prompts = (pa.Table.from_pylist(look.look(seen)) for look in (looks.clip, looks.prompts))
    measure = alignment_measures(embeddings_of(of_pictures), prompts_of(of_prompts), model=looks.clip.model)["clipsim"]
    assert measure.conventions["clip"] == name
    assert looks.clip.identity()["clip"] == name
    assert abs(measure.measured().value) <= 100
    base = tmp_path / "clip-vit-base-patch16"
    write_tiny_clip(base)
    other = choose_looks(LookConfig(segmenter="none", features="none", text=str(base), device="cpu"))
    assert other.fingerprints["clip_pictures"] != looks.fingerprints["clip_pictures"]


def test_what_was_asked_for_and_is_not_there_is_an_error_and_auto_a_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("H2D_MODELS", str(tmp_path))
    monkeypatch.setattr("h2d.models.weights._hub_cache", lambda weights: tmp_path / "hub")
    looks = choose_looks(LookConfig(device="cpu"))
    assert set(looks.missing) == {"features", "text"}
    assert looks.foreground is not None
    assert looks.foreground.identity()["segmenter"]["name"] == "selfie"
    for option, message in (
        ({"features": "inception"}, "h2d models fetch inception-v3-fid"),
        ({"segmenter": "sam"}, "h2d models fetch sam-vit-h"),
        ({"text": "clip-vit-base-patch16"}, "h2d models fetch clip-vit-base-patch16"),
        ({"segmenter": "mine"}, "unknown segmenter 'mine': choose one of grabcut, sam, selfie"),
        ({"features": "random", "inception_weights": tmp_path}, "takes no --inception-weights"),
    ):
        with pytest.raises(UserError, match=message):
            choose_looks(LookConfig(device="cpu", **option))
