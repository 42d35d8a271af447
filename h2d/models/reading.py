"""The door through which every part of a pipeline comes: what is not whole, or not what it should be, is one line."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open

from h2d.errors import UserError

logger = logging.getLogger(__name__)

PICKLES: Final = (".ckpt", ".bin", ".pt", ".pth")


def quiet_libraries() -> None:
    """No bars of the libraries' own and no warnings, as of prompts that are cut: what matters of them we say."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()


def read_network(kind: Any, folder: Path) -> Any:
    """A network of diffusers' or transformers' class `kind`, in float32; raises `UserError` on anything else."""
    check_network(folder)
    settings = read_json(folder / "config.json")
    # Weights that were trained in JAX say so in the name of their class.
    stated = str(settings.get("_class_name", kind.__name__)).removeprefix("Flax")
    if stated != kind.__name__:
        raise UserError(f"{folder}: holds a {stated}: give a {kind.__name__}")
    with one_line(folder, kind):
        network, found = kind.from_pretrained(
            **stored_weights(folder), output_loading_info=True, ignore_mismatched_sizes=True
        )
    for name, stored, wanted in found["mismatched_keys"]:
        shapes = f"of shape {tuple(stored)}, by its config.json {tuple(wanted)}"
        raise UserError(f"{folder}: {name} is {shapes}: not weights of this {kind.__name__}: fetch or train it again")
    for name in sorted(found["missing_keys"]):
        raise UserError(f"{folder}: {name} is missing: it is not a whole {kind.__name__}: fetch or train it again")
    for name in sorted(found["unexpected_keys"])[:1]:
        logger.warning("%s: %s and other tensors of no use: not read", folder, name)
    return network


def read_part(kind: Any, folder: Path, *files: str) -> Any:
    """A scheduler or a tokenizer: what its class makes of a folder that holds one of `files`; raises `UserError`."""
    if not any((folder / file).is_file() for file in files):
        raise UserError(f"{folder / files[0]}: no such file: it is not a whole checkpoint: fetch or train it again")
    with one_line(folder, kind):
        return kind.from_pretrained(folder)


def read_json(file: Path) -> dict[str, Any]:
    """The mapping that a JSON file holds; raises `UserError` on anything else."""
    try:
        found = json.loads(file.read_text())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{file}: damaged: {error}: fetch or train it again") from None
    if not isinstance(found, Mapping):
        raise UserError(f"{file}: holds a {type(found).__name__}, not names and values: fetch or train it again")
    return dict(found)


def check_network(folder: Path) -> None:
    """Raise `UserError` unless a folder holds a network: configuration and whole, unpickled weights. Reads headers."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: give one in diffusers' format")
    files = weight_files(folder)
    for file in () if files else sorted(folder.iterdir()):
        refuse_pickle(file)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no network in diffusers' format: config.json is missing")
    if not files:
        raise UserError(f"{folder}: holds no weights: its .safetensors file is missing")
    for file in files:
        tensor_names(file)


def weight_files(folder: Path) -> list[Path]:
    """Those of full precision, else those of half; `non_ema` and other variants count for nothing."""
    plain = [file for file in folder.glob("*.safetensors") if "." not in file.stem]
    return plain or list(folder.glob("*.fp16*.safetensors"))


def refuse_pickle(file: Path) -> None:
    """Raise `UserError` of a file that its name says is pickled."""
    if file.suffix in PICKLES:
        raise UserError(
            f"{file}: pickled weights can run code when they are read: h2d models convert {file}"
            f" {file.with_suffix('.safetensors')}"
        )


def stored_weights(folder: Path) -> dict[str, Any]:
    """What `from_pretrained` is told of one network's folder, to give it in float32.

    Some checkpoints are published in half precision only, by another name.
    """
    half_only = any(".fp16" in file.name for file in weight_files(folder))
    variant = {"variant": "fp16"} if half_only else {}
    return {"pretrained_model_name_or_path": folder, "use_safetensors": True, "torch_dtype": torch.float32, **variant}


def tensor_names(file: Path) -> list[str]:
    """What is in a .safetensors file, by its header; raises `UserError` where it is not whole."""
    with opened_weights(file) as opened:
        return list(opened.keys())


@contextmanager
def opened_weights(file: Path) -> Iterator[Any]:
    """A safetensors file, its tensors to be read one by one; raises `UserError` on a pickle and a damaged file."""
    refuse_pickle(file)
    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
    except SafetensorError as error:
        raise UserError(f"{file}: damaged: {error}: fetch or train it again") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}: give a .safetensors file") from None


@contextmanager
def one_line(folder: Path, kind: Any) -> Iterator[None]:
    """What diffusers and transformers raise as one line; what they would warn of is left to the caller."""
    libraries = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    levels = [library.level for library in libraries]
    try:
        for library in libraries:
            library.setLevel(logging.CRITICAL)
        yield
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  # they raise what comes, of a dozen classes of their own
        said = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: cannot be read as {kind.__name__}: {said}: fetch or train it again") from None
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.setLevel(level)
