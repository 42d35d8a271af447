"""Captions by LLaVA-1.5, with transformers' own classes: batched, left-padded, greedy."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
from jaxtyping import UInt8

from h2d.annotate.base import CaptionRequest
from h2d.config import config
from h2d.errors import UserError
from h2d.machine import device_named

PROMPT: Final = (
    "Describe this photo in one or two short sentences: the person, their clothes, "
    "the gesture that their hands make, and the surroundings."
)
GET_IT: Final = "get it: h2d models fetch llava-1.5-7b"
SAMPLED_BYTES: Final = 1 << 20


@config
class LlavaCaptioner:
    """LLaVA-1.5 describes each picture. The weights are read from this machine only; nothing is downloaded here."""

    model: str = "llava-hf/llava-1.5-7b-hf"
    """The Hub's name of the model: looked up in the Hugging Face cache when `path` is not given."""
    path: Path | None = None
    """A folder with the model's files; wins over the cache."""
    revision: str | None = None
    """The Hub's commit; None takes whichever the cache calls main."""
    prompt: str = PROMPT
    max_new_tokens: int = 77
    """CLIP's text encoder reads no more than this."""
    sees_pictures: ClassVar[bool] = True
    batch_size: int = 16
    """Our choice: fits beside the 14 GB of weights on a 24 GB card."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, ..."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """`auto` is bfloat16 on a CUDA device that has it, float16 on an older one, float32 elsewhere."""

    _loaded: ClassVar["LoadedLlava | None"] = None

    def __post_init__(self) -> None:
        if "<image>" in self.prompt or not self.prompt.strip():
            raise ValueError(f"prompt must be a plain question without <image>, got {self.prompt!r}")
        if self.max_new_tokens < 1 or self.batch_size < 1:
            raise ValueError("max_new_tokens and batch_size must be at least 1")

    def identity(self) -> Mapping[str, Any]:
        """The model, what is asked and how the answer is computed; not where it runs, nor how many at once."""
        return {
            "captioner": "llava",
            "model": self.model,
            "revision": self.revision,
            "weights": _weights_mark(self.path) if self.path else None,
            "prompt": self.prompt,
            "max_new_tokens": self.max_new_tokens,
            "dtype": self.dtype,
        }

    def setup(self) -> None:
        """Load the model; raises `UserError` when its files are not on this machine."""
        object.__setattr__(self, "_loaded", load_llava(self))

    def close(self) -> None:
        """Drop the model."""
        self.__dict__.pop("_loaded", None)

    def caption(self, requests: Sequence[CaptionRequest]) -> list[str]:
        """One description per request, in order; raises `ValueError` when the model has nothing to say."""
        assert self._loaded is not None, "call setup() first"
        captions: list[str] = []
        for start in range(0, len(requests), self.batch_size):
            batch = requests[start : start + self.batch_size]
            pictures = [request.picture for request in batch if request.picture is not None]
            assert len(pictures) == len(batch)
            captions += self._loaded.answer([self.prompt] * len(pictures), pictures, self.max_new_tokens)
        for number, caption in enumerate(captions, 1):
            if not caption:
                raise ValueError(f"{self.model} answered nothing for picture {number} of {len(requests)}")
        return captions


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedLlava:
    """The model and its processor, on one device."""

    model: Any
    processor: Any

    def answer(
        self, prompts: Sequence[str], pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], max_new_tokens: int
    ) -> list[str]:
        """Ask each prompt of its picture, all in one batch; an answer may be empty."""
        import torch

        inputs = self.encode(prompts, pictures)
        with torch.inference_mode():
            tokens = self.model.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                pad_token_id=self.processor.tokenizer.pad_token_id,
            )
        answers = self.processor.tokenizer.batch_decode(
            tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return [" ".join(answer.split()) for answer in answers]

    def encode(self, prompts: Sequence[str], pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Any:
        """The batch as the model takes it, padded on the left so that every row ends where its answer begins."""
        # A tokenizer saved with right padding would have the model go on after the padding: empty or wrong answers.
        self.processor.tokenizer.padding_side = "left"
        texts = [conversation(self.processor, prompt) for prompt in prompts]
        inputs = self.processor(text=texts, images=list(pictures), padding=True, return_tensors="pt")
        return inputs.to(self.model.device, self.model.dtype)


def conversation(processor: Any, prompt: str) -> str:
    """The prompt in the model's chat format: the processor's template, or LLaVA-1.5's own when it has none."""
    if not processor.chat_template:
        return f"USER: <image>\n{prompt} ASSISTANT:"
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
    text: str = processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
    return text


def load_llava(options: LlavaCaptioner) -> LoadedLlava:
    """Load processor and weights from `options.path` or the Hugging Face cache, never from the network."""
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

    if options.path and not (options.path / "config.json").is_file():
        raise UserError(f"{options.model}: no config.json in {options.path}; {GET_IT}")
    device = device_named(options.device)
    where: dict[str, Any] = {"local_files_only": True, "revision": None if options.path else options.revision}
    try:
        processor: Any = LlavaProcessor.from_pretrained(options.path or options.model, **where)
        model: Any = LlavaForConditionalGeneration.from_pretrained(
            options.path or options.model, **where, **_dtype(options.dtype, device), device_map={"": device}
        )
    except OSError as error:
        from huggingface_hub.constants import HF_HUB_CACHE

        reason = " ".join(str(error).split())[:200]
        place = options.path or HF_HUB_CACHE
        raise UserError(f"{options.model}: cannot be loaded from {place} ({reason}); {GET_IT}") from None
    if processor.patch_size is None:
        raise UserError(f"{options.model}: processor_config.json gives no patch_size, the files are too old; {GET_IT}")
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return LoadedLlava(model=model.eval(), processor=processor)


def _dtype(name: str, device: str) -> dict[str, Any]:
    """The weights' type under the keyword that this transformers knows: `torch_dtype` before 4.56."""
    import torch
    import transformers
    from packaging.version import Version

    if name != "auto":
        dtype = getattr(torch, name)
    elif torch.device(device).type == "cuda":
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    else:
        dtype = torch.float32
    return {"dtype" if Version(transformers.__version__) >= Version("4.56") else "torch_dtype": dtype}


def _weights_mark(folder: Path) -> str:
    """A hash that tells one set of weights from another in a moment: every file's name, size and last mebibyte."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as content:
            content.seek(max(0, size - SAMPLED_BYTES))
            digest.update(content.read())
    return digest.hexdigest()[:16]
