"""LLaVA's real classes made tiny, saved in their real format and loaded by our code."""

import pickle

import numpy as np
import pytest

from h2d.annotate.base import CaptionRequest
from h2d.annotate.captions.llava import LlavaCaptioner, conversation
from h2d.config import validate_config
from h2d.errors import UserError

WORDS = (
    "a", "the", "person", "hand", "holds", "shows", "waves", "sign", "red", "blue", "shirt", "room", "wall",
    "in", "of", "with", "and", "USER", "ASSISTANT", ":", "?", "\n",
)  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
PROMPT = "the person shows a sign ?"


def save_tiny_llava(folder, *, padding_side="left", template=TEMPLATE, patch_size=8):
    """A LLaVA with random weights of 32-pixel pictures: 16 patches, and a vocabulary of a few words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    special = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
    words = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate([*special, *WORDS])}, unk_token="<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
        padding_side=padding_side,
    )
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=patch_size,
        vision_feature_select_strategy="default",
        chat_template=template,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    torch.manual_seed(5)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**size, image_size=32, patch_size=8, projection_dim=32),
            text_config=LlamaConfig(**size, vocab_size=len(special) + len(WORDS), max_position_embeddings=128),
            image_token_index=special.index("<image>"),
            image_seq_length=16,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # weights of the usual spread would say the same of every picture
                parameter.normal_(std=0.3)
        model.lm_head.weight[[*range(len(special)), -1]] = 0  # it says words, and ends when it has said enough of them
    model.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=3, forced_eos_token_id=2)
    model.save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def captioner(folder):
    ready = LlavaCaptioner(path=folder, prompt=PROMPT, max_new_tokens=6, batch_size=3, device="cpu")
    ready.setup()
    yield ready
    ready.close()


def requests(num, seed=0):
    random = np.random.default_rng(seed)
    shapes = [(40, 60, 3), (64, 32, 3), (32, 32, 3)]
    return [
        CaptionRequest(
            picture=random.integers(0, 256, shapes[index % 3], np.uint8), source="folder", gesture=None, hands=()
        )
        for index in range(num)
    ]


def test_saved_in_the_real_format(folder):
    assert (folder / "model.safetensors").is_file()
    assert (folder / "config.json").is_file()
    assert (folder / "tokenizer.json").is_file()


def test_a_batch_says_what_each_picture_alone_says_in_order(captioner):
    asked = requests(7)
    together = captioner.caption(asked)
    alone = [captioner.caption([request])[0] for request in asked]
    assert together == alone
    assert len(set(together)) > 3, "the pictures must matter, or the order is not tested"
    assert captioner.caption(asked[::-1]) == together[::-1]


def test_the_same_question_gets_the_same_answer(captioner, folder):
    again = LlavaCaptioner(path=folder, prompt=PROMPT, max_new_tokens=6, device="cpu")
    again.setup()
    assert again.caption(requests(4)) == captioner.caption(requests(4))


def test_answers_are_words_without_prompt_or_special_tokens(captioner):
    captions = captioner.caption(requests(6, seed=1))
    for caption in captions:
        assert caption
        assert not any(mark in caption for mark in ("<image>", "<s>", "</s>", "<pad>"))
        assert 1 <= len(caption.split()) <= 5, "the sixth token is the end"
    assert captioner.caption([]) == []


def test_the_prompt_matters(captioner, folder):
    other = LlavaCaptioner(path=folder, prompt="a blue wall in the room", max_new_tokens=6, device="cpu")
    other.setup()
    assert other.caption(requests(6)) != captioner.caption(requests(6))


def test_left_padding_is_forced_and_changes_nothing(tmp_path):
    """Prompts of different length in one batch, from a tokenizer saved with padding on the right."""
    ready = LlavaCaptioner(path=save_tiny_llava(tmp_path, padding_side="right"), device="cpu")
    ready.setup()
    loaded = ready._loaded
    prompts = ["a hand", "the person holds a red sign in the room with a blue wall", "waves"]
    pictures = [request.picture for request in requests(3)]
    inputs = loaded.encode(prompts, pictures)
    assert inputs["input_ids"][:, -1].tolist() == inputs["input_ids"][:1, -1].tolist() * 3
    assert inputs["attention_mask"][:, -1].tolist() == [1, 1, 1]
    assert inputs["attention_mask"][:, 0].tolist() == [0, 1, 0]
    alone = [loaded.answer([prompt], [picture], 6)[0] for prompt, picture in zip(prompts, pictures, strict=True)]
    assert loaded.answer(prompts, pictures, 6) == alone


def test_the_chat_format_is_the_processors_or_llavas_own(captioner, tmp_path):
    from transformers import LlavaProcessor

    processor = captioner._loaded.processor
    assert conversation(processor, "What?") == "USER: <image>\nWhat? ASSISTANT:"
    plain = LlavaProcessor.from_pretrained(save_tiny_llava(tmp_path, template=None))
    assert not plain.chat_template
    assert conversation(plain, "What?") == "USER: <image>\nWhat? ASSISTANT:"
    processor_template = processor.chat_template
    processor.chat_template = "{{ messages[0]['role'] }}"
    try:
        assert conversation(processor, "What?") == "user"
    finally:
        processor.chat_template = processor_template


def test_an_empty_answer_is_an_error_naming_the_picture(captioner, monkeypatch):
    monkeypatch.setattr(type(captioner._loaded), "answer", lambda *_: ["fine", ""])
    with pytest.raises(ValueError, match="answered nothing for picture 2 of 2"):
        captioner.caption(requests(2))


def test_missing_weights_are_one_line_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"llava-hf/llava-1.5-7b-hf: no config.json in .*nowhere; get it: h2d models"):
        LlavaCaptioner(path=tmp_path / "nowhere").setup()


def test_a_name_that_is_not_in_the_cache_is_not_downloaded(tmp_path):
    with pytest.raises(UserError, match=r"h2d models fetch llava-1\.5-7b") as caught:
        LlavaCaptioner(model="nobody/nothing-of-this-name").setup()
    assert "nobody/nothing-of-this-name" in str(caught.value)
    assert "hub" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_too_old_are_refused(tmp_path):
    with pytest.raises(UserError, match="no patch_size"):
        LlavaCaptioner(path=save_tiny_llava(tmp_path, patch_size=None), device="cpu").setup()


def test_identity_holds_what_changes_the_answer(folder, tmp_path):
    plain = LlavaCaptioner(path=folder)
    assert plain.identity()["prompt"] == plain.prompt
    assert plain.identity() == LlavaCaptioner(path=folder, batch_size=1, device="cpu").identity()
    for change in ({"prompt": "Else?"}, {"max_new_tokens": 5}, {"dtype": "float16"}, {"model": "other/model"}):
        assert plain.identity() != LlavaCaptioner(**{"path": folder, **change}).identity()
    copy = tmp_path / "copy"
    copy.mkdir()
    weights = (folder / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights)
    assert LlavaCaptioner(path=copy).identity() == plain.identity()
    (copy / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    assert LlavaCaptioner(path=copy).identity() != plain.identity()


def test_it_is_a_config_that_can_be_read_and_sent_to_a_worker(folder):
    options = validate_config(LlavaCaptioner, {"path": str(folder), "batch_size": 2}, where="options")
    assert pickle.loads(pickle.dumps(options)) == options
    with pytest.raises(UserError, match="prompt"):
        validate_config(LlavaCaptioner, {"prompt": "<image> again"}, where="options")
