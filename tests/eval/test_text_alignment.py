"""CLIPSIM with the real classes made small: as torchmetrics defines it, on pixels as transformers prepares them."""

import json

import numpy as np
import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from h2d.errors import UserError
from h2d.eval.text_alignment import ClipModel, alignment_measures
from h2d.models.tiny import write_tiny_clip

CAPTIONS = ["a person waves", "two hands", "a person showing the palm to the camera, in a garden, at noon"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("clip") / "clip-tiny"
    write_tiny_clip(place)
    return place


@pytest.fixture(scope="module")
def clip(folder):
    return ClipModel(folder)


def pictures(*sizes_hw):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes_hw]


def test_the_number_is_100_cos_of_what_the_model_says(folder, clip):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    several = pictures((50, 80), (90, 40), (32, 32))
    measured = alignment_measures(clip.pictures(several), clip.texts(CAPTIONS), model=clip)["clipsim"].measured()
    model, tokenizer = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    stated = json.loads((folder / "preprocessor_config.json").read_text())
    processor = CLIPImageProcessorPil(
        **{**stated, "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    )
    values = []
    for picture, caption in zip(several, CAPTIONS, strict=True):
        pixels = processor(picture, return_tensors="pt")["pixel_values"]
        ids = tokenizer([caption], return_tensors="pt", truncation=True, max_length=77)
        with torch.inference_mode():
            output = model(input_ids=ids["input_ids"], pixel_values=pixels)
        values.append(100 * float((output.image_embeds * output.text_embeds).sum()))
    assert measured.value == pytest.approx(np.mean(values), abs=1e-3)
    assert np.ptp(values) > 0.1, "the comparison is of something"
    assert measured.name == "CLIPSIM"
    assert measured.higher_is_better


def test_pixels_are_those_of_transformers(folder, clip):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    for picture in pictures((50, 81), (91, 40), (20, 20), (512, 512), (33, 32)):
        expected = processor(picture, return_tensors="np")["pixel_values"][0]
        np.testing.assert_allclose(clip._pixels.apply(picture), expected, atol=1e-6)


def test_both_forms_of_the_preprocessing_file_are_read(folder, clip, tmp_path):
    for name in ("config.json", "vocab.json", "merges.txt", "model.safetensors"):
        (tmp_path / name).symlink_to(folder / name)
    stated = json.loads((folder / "preprocessor_config.json").read_text())
    stated |= {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stated))
    assert ClipModel(tmp_path)._pixels == clip._pixels


def test_long_captions_are_cut_counted_and_told(clip):
    long = "a person showing both hands " * 20
    texts = clip.texts(["short", long, long + "and a dog at the very end"])
    assert texts.num_tokens[0] < 77 < texts.num_tokens[1] < texts.num_tokens[2]
    np.testing.assert_allclose(texts.rows[1], texts.rows[2], atol=1e-6)
    measured = alignment_measures(clip.pictures(pictures(*[(40, 40)] * 3)), texts, model=clip)["clipsim"].measured()
    assert measured.notes == ("2 of 3 captions are longer than 77 tokens and were cut",)
    assert measured.conventions["longer"] == "cut"


def test_a_caption_of_exactly_77_tokens_is_whole(clip):
    texts = clip.texts(["x " * 75, "x " * 76])
    assert texts.num_tokens.tolist() == [77, 78]
    three = clip.pictures(pictures((32, 32), (32, 32)))
    assert alignment_measures(three, texts, model=clip)["clipsim"].notes[0].startswith("1 of 2")


def test_batches_and_padding_change_nothing(clip):
    several = pictures((40, 60), (60, 40), (32, 50), (35, 35), (99, 33))
    np.testing.assert_allclose(clip.pictures(iter(several), batch_size=2), clip.pictures(several), atol=1e-5)
    together, alone = clip.texts(CAPTIONS), [clip.texts([caption]).rows[0] for caption in CAPTIONS]
    np.testing.assert_allclose(together.rows, alone, atol=1e-5)
    np.testing.assert_allclose(clip.texts(CAPTIONS, batch_size=2).rows, together.rows, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together.rows, axis=1), 1, rtol=1e-5)


def test_weights_published_as_a_pickle_are_read_as_tensors_alone(folder, clip, tmp_path):
    for name in ("config.json", "vocab.json", "merges.txt", "preprocessor_config.json"):
        (tmp_path / name).symlink_to(folder / name)
    torch.save(CLIPModel.from_pretrained(folder).state_dict(), tmp_path / "pytorch_model.bin")
    same = ClipModel(tmp_path)
    np.testing.assert_allclose(same.texts(CAPTIONS).rows, clip.texts(CAPTIONS).rows, atol=1e-6)

    class Payload:
        def __reduce__(self):
            return (tmp_path.joinpath("run").touch, ())

    torch.save({"text_model": Payload()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"pytorch_model.bin: (damaged, or holds more than tensors|cannot be read)"
    ) as refused:
        ClipModel(tmp_path)
    assert "weights_only" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_what_is_missing_is_named_with_the_command_that_gets_it(tmp_path, folder):
    with pytest.raises(UserError, match=r"config.json is missing.*h2d models fetch clip-vit-base-patch16"):
        ClipModel(tmp_path)
    for name in ("config.json", "vocab.json", "merges.txt"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"neither model.safetensors nor pytorch_model.bin"):
        ClipModel(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 30)
    with pytest.raises(UserError, match="not CLIP's preprocessing: KeyError 'size'"):
        ClipModel(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text((folder / "preprocessor_config.json").read_text())
    with pytest.raises(UserError, match=r"model.safetensors: cannot be read"):
        ClipModel(tmp_path)


def test_unequal_and_empty_lists_are_one_line(clip):
    with pytest.raises(UserError, match="3 captions for 2 pictures"):
        alignment_measures(clip.pictures(pictures((32, 32), (32, 32))), clip.texts(CAPTIONS), model=clip)
    with pytest.raises(UserError, match="caption 1 of the list is empty"):
        clip.texts(["a", " "])
    with pytest.raises(UserError, match="no captions"):
        clip.texts([])
    with pytest.raises(UserError, match="no pictures"):
        clip.pictures([])


def test_one_picture_is_a_number(clip):
    measure = alignment_measures(clip.pictures(pictures((40, 40))), clip.texts(["a hand"]), model=clip)["clipsim"]
    assert -100 <= measure.measured().value <= 100
    assert measure.conventions["clip"] == "clip-tiny"
    assert len(measure.conventions["weights"]) == 16
