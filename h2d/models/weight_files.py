"""What is known of published weights: their files, licence, size and origin."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightFile:
    """One file that must be there."""

    path: str
    """Below the weights' folder, with forward slashes."""
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """One published set of weights: a repository of the Hugging Face Hub, a file at an address, or one got by hand."""

    about: str
    """What h2d uses it for, in a few words."""
    licence: str
    size_bytes: int
    """Of everything that is fetched; rounded where the exact size is not known."""
    files: tuple[WeightFile, ...]
    repo: str | None = None
    revision: str | None = None
    extras: tuple[str, ...] = ()
    """Patterns of further small files of the repository that are fetched along."""
    single_file: bool = False
    """Of a repository of many, one file alone is wanted."""
    variant: str | None = None
    """What diffusers' `from_pretrained` calls the variant: `fp16` where only that is published as safetensors."""
    url: str | None = None
    by_hand: str | None = None
    """What a person must do where no program may fetch it."""

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return self.url or (f"huggingface.co/{self.repo}" if self.repo else "by hand")

    @property
    def is_file(self) -> bool:
        """Whether it is one file alone, and its place that file."""
        return self.repo is None or self.single_file

    def how(self, name: str) -> str:
        """How it gets here, for people: a command, or what to do."""
        return self.by_hand or f"h2d models fetch {name}"


PIPELINE_EXTRAS: Final = ("model_index.json", "scheduler/*.json", "tokenizer/*", "feature_extractor/*.json")
"""Small files of a pipeline in diffusers' format, besides those that must be there."""

PIPELINE_CONFIGS: Final = tuple(
    WeightFile(path=path)
    for path in (
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "unet/config.json",
        "vae/config.json",
    )
)
"""The configurations that a pipeline of Stable Diffusion in diffusers' format must have."""
