"""The real classes of `segment_anything`, made tiny, with random weights saved in the official format."""

import logging
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from masks_samples import SIZE_HW, open_hand, photograph, true_mask
from segment_anything import SamPredictor, sam_model_registry
from segment_anything.modeling import Sam

from h2d.annotate.base import HandView
from h2d.annotate.masks.cleanup import MaskRules, clean_mask
from h2d.annotate.masks.prompts import Candidates, hand_prompts
from h2d.annotate.masks.sam import SamSegmenter, chosen
from h2d.annotate.masks.sam_attention import fuse_attention
from h2d.annotate.masks.sam_model import PromptedSam
from h2d.annotate.masks.sam_weights import file_sha256, load_sam
from h2d.config import validate_config
from h2d.errors import UserError
from h2d.models.tiny import SAM_PX, tiny_sam
from h2d.pose.points import missing_points

RULES = MaskRules()


@pytest.fixture
def sam() -> Sam:
    """Random everywhere, also where the package starts at zero."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = tiny_sam()
    for name, weights in model.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(weights)
    return model


@pytest.fixture
def checkpoint(sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model's weights in the official format; the package's "vit_b" is the tiny model meanwhile."""
    monkeypatch.setitem(sam_model_registry, "vit_b", tiny_sam)
    file = tmp_path / "sam_vit_b.pth"
    torch.save(sam.state_dict(), file)
    return file


def two_hand_view() -> HandView:
    left, right = open_hand(centre=(150, 300), scale=0.7), open_hand(centre=(350, 320), scale=0.7, turn=20)
    return HandView(picture=photograph(true_mask(left) | true_mask(right)), hands={"left": left, "right": right})


def one_hand_view(seed: int = 1) -> HandView:
    points = open_hand(turn=10.0 * seed)
    return HandView(picture=photograph(true_mask(points), seed=seed), hands={"right": points})


def prompts_of(view: HandView):
    return hand_prompts(view.hands, margin=RULES.box_margin, size_hw=SIZE_HW)


def runner_of(sam: Sam) -> PromptedSam:
    return PromptedSam(sam, device=torch.device("cpu"), dtype=torch.float32)


def test_fused_attention_is_the_same_function(sam):
    pictures = torch.randn(2, 3, SAM_PX, SAM_PX)
    with torch.inference_mode():
        theirs = sam.image_encoder(pictures)
        fuse_attention(sam.image_encoder)
        ours = sam.image_encoder(pictures)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_relative_positions_matter_to_that_test(sam):
    pictures = torch.randn(1, 3, SAM_PX, SAM_PX)
    with torch.inference_mode():
        before = sam.image_encoder(pictures)
        sam.image_encoder.blocks[1].attn.rel_pos_w.neg_()
        assert (sam.image_encoder(pictures) - before).abs().max() > 1e-2


@pytest.mark.parametrize("size_hw", [(64, 64), (96, 64), (300, 300), (100, 170)])
def test_pictures_are_resized_as_the_package_does(sam, size_hw):
    picture = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    theirs = SamPredictor(sam).transform.apply_image(picture)
    ours = runner_of(sam)._resized(picture).permute(1, 2, 0).numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= (0 if size_hw == (64, 64) else 1)


def test_batched_logits_are_those_of_the_packages_predictor(sam):
    """Hand by hand, picture by picture, in the package's own coordinates: pixel indices instead of pixel edges."""
    views = [two_hand_view(), one_hand_view()]
    prompts = [prompts_of(view) for view in views]
    predictor, expected = SamPredictor(sam), []
    scale = SAM_PX / SIZE_HW[0]
    for view, hands in zip(views, prompts, strict=True):
        predictor.set_image(view.picture)
        for prompt in hands.values():
            asked = {
                "point_coords": prompt.points - 0.5 / scale,
                "point_labels": prompt.labels.astype(int),
                "box": np.array(prompt.box_xyxy) - 0.5 / scale,
            }
            answers = [predictor.predict(**asked, multimask_output=many, return_logits=True) for many in (False, True)]
            expected.append([np.concatenate(parts) for parts in zip(*answers, strict=True)])
    runner = runner_of(sam)
    rows, flat = [0, 0, 1], [prompt for hands in prompts for prompt in hands.values()]
    with torch.inference_mode():
        embeddings = runner.encode([view.picture for view in views])
        found = [runner._decode(embeddings[[row]], [prompt], [SIZE_HW]) for row, prompt in zip(rows, flat, strict=True)]
        together = runner._decode(embeddings[[0, 0]], flat[:2], [SIZE_HW] * 2)
    for (masks, iou, _), (low, predicted) in zip(expected, found, strict=True):
        np.testing.assert_allclose(runner._at_view_size(low[0], SIZE_HW), masks, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(predicted[0], iou, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together[0], torch.cat([low for low, _ in found[:2]]), atol=1e-5, rtol=1e-4)
    offers = runner.candidates([view.picture for view in views], prompts)
    for (masks, iou, _), offer in zip(
        expected, [offers[0]["left"], offers[0]["right"], offers[1]["right"]], strict=True
    ):
        assert (offer.masks != (masks > 0)).mean() < 1e-4
        np.testing.assert_allclose(offer.iou, iou, atol=1e-5, rtol=1e-4)


def test_a_hands_mask_does_not_depend_on_the_batch(checkpoint):
    views = [
        one_hand_view(1),
        two_hand_view(),
        HandView(picture=one_hand_view().picture, hands={"left": missing_points()}),
    ]
    answers = []
    for batch_size in (1, 3):
        segmenter = SamSegmenter(
            model="vit_b", checkpoint=checkpoint, device="cpu", batch_size=batch_size, rules=LENIENT
        )
        segmenter.setup()
        answers.append(segmenter.segment(views) + segmenter.segment(views[::-1])[::-1])
        segmenter.close()
    for first, second in zip(*answers, strict=True):
        assert first.keys() == second.keys()
        for side in first:
            assert first[side].quality == pytest.approx(second[side].quality, abs=1e-5)
            assert (first[side].mask is None) == (second[side].mask is None)
            if first[side].mask is not None:
                assert (first[side].mask != second[side].mask).mean() < 1e-4
    assert answers[0][2]["left"].problem == "no point of the hand lies in the crop"
    assert sorted(answers[0][1]) == ["left", "right"]


LENIENT = MaskRules(min_recall=0.0, min_area=0.0, max_area=100.0)


def test_the_encoder_alone_takes_bfloat16(checkpoint):
    sam = load_sam("vit_b", checkpoint)
    runner = PromptedSam(sam, device=torch.device("cpu"), dtype=torch.bfloat16)
    view = one_hand_view()
    offer = runner.candidates([view.picture], [prompts_of(view)])[0]["right"]
    assert sam.image_encoder.neck[0].weight.dtype == torch.bfloat16
    assert sam.mask_decoder.iou_token.weight.dtype == torch.float32
    assert offer.masks.shape == (4, *SIZE_HW)


def test_the_best_accepted_candidate_is_chosen():
    points = open_hand()
    good, fingerless = true_mask(points), true_mask(points) & (np.arange(512)[:, None] > points[9, 1])
    everything, ragged = np.ones(SIZE_HW, bool), good.copy()
    ragged[150:156, 120:126] = True
    masks = np.stack([fingerless, everything, ragged, np.zeros(SIZE_HW, bool)])
    answer = chosen(Candidates(masks=masks, iou=np.array([1.0, 0.9, 0.8, 1.2], np.float32)), points, RULES)
    assert answer.problem is None
    np.testing.assert_array_equal(answer.mask, good)
    assert answer.quality == pytest.approx(0.8)


def test_leaking_out_of_the_box_costs_score():
    """Though both come out of the cleaning alike."""
    points = open_hand(scale=0.5)
    good = clean_mask(true_mask(points), points, RULES)
    leaking = good.copy()
    leaking[:, 430:] = True
    offer = Candidates(masks=np.stack([leaking, good]), iou=np.array([0.95, 0.9], np.float32))
    answer = chosen(offer, points, RULES)
    np.testing.assert_array_equal(answer.mask, good)
    assert answer.quality == pytest.approx(0.9)


def test_a_refusal_tells_of_the_best_candidate():
    points = open_hand()
    fingerless = true_mask(points) & (np.arange(512)[:, None] > points[9, 1])
    offer = Candidates(masks=np.stack([np.zeros(SIZE_HW, bool), fingerless]), iou=np.array([0.9, 0.5], np.float32))
    answer = chosen(offer, points, RULES)
    assert answer.mask is None
    assert answer.problem is not None
    assert answer.problem.startswith("recall 0.")
    assert 0 < answer.quality < 0.5


def test_absent_file_is_named(tmp_path):
    for ask in (lambda segmenter: segmenter.setup(), lambda segmenter: segmenter.identity()):
        with pytest.raises(UserError, match=r"nowhere\.pth: no SAM checkpoint here"):
            ask(SamSegmenter(checkpoint=tmp_path / "nowhere.pth"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a PyTorch checkpoint"),
        (b"<html>not found</html>", "not a PyTorch checkpoint"),
        (pickle.dumps(print, protocol=2), "damaged, or holds more than tensors"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    file = tmp_path / "sam.pth"
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"sam\.pth: {message}.*get sam_vit_h_4b8939\.pth again"):
        SamSegmenter(checkpoint=file).setup()


def test_a_truncated_file_is_refused(checkpoint):
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut off at \d+ bytes: get sam_vit_b_01ec64\.pth again"):
        SamSegmenter(model="vit_b", checkpoint=checkpoint).setup()


def test_another_models_file_is_told_by_its_shapes(tmp_path, monkeypatch):
    """The width of the patches and the number of blocks say which of the three it is."""
    monkeypatch.setitem(sam_model_registry, "vit_h", tiny_sam)
    names = [f"image_encoder.blocks.{block}.norm1.weight" for block in range(12)]
    weights = {name: torch.zeros(768) for name in names}
    weights["image_encoder.patch_embed.proj.weight"] = torch.zeros(768, 3, 16, 16)
    file = tmp_path / "sam.pth"
    torch.save(weights, file)
    with pytest.raises(UserError, match=r"seems to hold SAM vit_b; \d+ tensors differ.*set the model to vit_b"):
        SamSegmenter(checkpoint=file).setup()
    torch.save({"weights": torch.zeros(3)}, file)
    with pytest.raises(UserError, match=r"holds 1 tensors that are no known SAM.*give sam_vit_h_4b8939\.pth"):
        SamSegmenter(checkpoint=file).setup()
    torch.save([torch.zeros(3)], file)
    with pytest.raises(UserError, match="holds list instead of a plain state dict"):
        SamSegmenter(checkpoint=file).setup()


def test_a_missing_tensor_is_named(checkpoint):
    weights = torch.load(checkpoint, weights_only=True)
    del weights["mask_decoder.iou_token.weight"]
    torch.save(weights, checkpoint)
    with pytest.raises(UserError, match=r"1 tensors differ, first mask_decoder\.iou_token\.weight"):
        SamSegmenter(model="vit_b", checkpoint=checkpoint).setup()


def test_the_old_format_of_pytorch_loads_too(checkpoint):
    torch.save(torch.load(checkpoint, weights_only=True), checkpoint, _use_new_zipfile_serialization=False)
    SamSegmenter(model="vit_b", checkpoint=checkpoint, device="cpu").setup()


def test_the_hash_is_checked_and_identifies_the_weights(checkpoint):
    digest = file_sha256(checkpoint)
    known = SamSegmenter(model="vit_b", checkpoint=checkpoint, checkpoint_sha256=digest.upper(), device="cpu")
    known.setup()
    assert known.identity() == SamSegmenter(model="vit_b", checkpoint=checkpoint).identity()
    assert known.identity()["checkpoint_sha256"] == digest
    with pytest.raises(UserError, match=r"sam_vit_b\.pth: its SHA-256 is not 00ff"):
        SamSegmenter(model="vit_b", checkpoint=checkpoint, checkpoint_sha256="00ff").setup()


def test_options_come_from_plain_values(checkpoint):
    values = {"model": "vit_b", "checkpoint": str(checkpoint), "rules": {"wrist_cut": None}}
    segmenter = validate_config(SamSegmenter, values, where="segmenter sam")
    assert segmenter.rules.wrist_cut is None
    assert pickle.loads(pickle.dumps(segmenter)) == segmenter
    with pytest.raises(UserError, match="vit_x"):
        validate_config(SamSegmenter, {**values, "model": "vit_x"}, where="segmenter sam")
    with pytest.raises(UserError, match="batch_size must be at least 1"):
        validate_config(SamSegmenter, {**values, "batch_size": 0}, where="segmenter sam")


@pytest.mark.slow
def test_the_real_vit_h_loads_and_answers(tmp_path):
    """2.6 GB of random weights in the official format, our loading, one view on the CPU."""
    torch.manual_seed(0)
    file = tmp_path / "sam_vit_h_4b8939.pth"
    torch.save(sam_model_registry["vit_h"]().state_dict(), file)
    with pytest.raises(UserError, match=r"not vit_l: it seems to hold SAM vit_h; .*set the model to vit_h"):
        SamSegmenter(model="vit_l", checkpoint=file, device="cpu").setup()
    segmenter = SamSegmenter(checkpoint=file, device="cpu", rules=LENIENT)
    start = time.perf_counter()
    segmenter.setup()
    loaded = time.perf_counter()
    answers = segmenter.segment([two_hand_view()])
    logging.info("ViT-H: loading %.1f s, one view %.1f s", loaded - start, time.perf_counter() - loaded)
    assert sorted(answers[0]) == ["left", "right"]
    assert segmenter._runner.sam.image_encoder.blocks[0].attn.qkv.weight.shape == (3840, 1280)
    segmenter.close()
    file.unlink()
