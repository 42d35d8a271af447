"""Weights by short name: what they are, where they lie on this machine, and how they get there.

A name is looked for in our own models folder, then in the Hugging Face cache. Only `fetch` uses the network. Revisions
and checksums are those that the publishers' pages and several independent projects state; None means not known.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from h2d.errors import JobError, UserError
from h2d.hashes import sha256_of
from h2d.models.baseline_weights import BASELINE_WEIGHTS
from h2d.models.download import download
from h2d.models.shipped import find_shipped
from h2d.models.weight_files import PIPELINE_CONFIGS, PIPELINE_EXTRAS, WeightFile, Weights

logger = logging.getLogger(__name__)

FOLDER_VARIABLE: Final = "H2D_MODELS"


class MissingWeightsError(UserError):
    """Weights of a known name that are not on this machine."""


def _sam(file: str, size_bytes: int, sha256: str) -> Weights:
    return Weights(
        about="hand masks",
        licence="Apache-2.0",
        size_bytes=size_bytes,
        files=(WeightFile(path=file, size_bytes=size_bytes, sha256=sha256),),
        url=f"https://dl.fbaipublicfiles.com/segment_anything/{file}",
    )


WEIGHTS: Final[dict[str, Weights]] = {
    "sam-vit-h": _sam(
        "sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    "sam-vit-l": _sam(
        "sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    "sam-vit-b": _sam(
        "sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    "llava-1.5-7b": Weights(
        about="captions",
        licence="Llama 2 Community",
        size_bytes=14_130_000_000,
        repo="llava-hf/llava-1.5-7b-hf",
        revision="b234b804b114d9e37bb655e11cbbb5f5e971b7a9",
        files=(
            WeightFile(path="config.json"),
            WeightFile(path="preprocessor_config.json"),
            WeightFile(path="tokenizer.json"),
            WeightFile(path="tokenizer_config.json"),
            WeightFile(path="model.safetensors.index.json"),
            WeightFile(
                path="model-00001-of-00003.safetensors",
                sha256="c11dbf016ee7d35ee130c19b67e20eb04873996006f424b7bcbd453b6517ee66",
            ),
            WeightFile(
                path="model-00002-of-00003.safetensors",
                sha256="46df6c6e5fad297fe7fbca4963dcf180cb1d0528cabc884d1f603311fed01328",
            ),
            WeightFile(
                path="model-00003-of-00003.safetensors",
                sha256="4f06177c37ca13944e73b57dd6d051767b950dffc12400c700dfa2509c24c697",
            ),
        ),
        extras=("*.json", "*.jinja", "tokenizer.model"),
    ),
    "stable-diffusion-1.5": Weights(
        about="both stages",
        licence="CreativeML OpenRAIL-M",
        size_bytes=4_267_000_000,
        repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        files=(
            *PIPELINE_CONFIGS,
            WeightFile(
                path="unet/diffusion_pytorch_model.safetensors",
                size_bytes=3_438_167_540,
                sha256="19da7aaa4b880e59d56843f1fcb4dd9b599c28a1d9d9af7c1143057c8ffae9f1",
            ),
            WeightFile(
                path="vae/diffusion_pytorch_model.safetensors",
                size_bytes=334_643_276,
                sha256="a2b5134f4dbc140d9c11f11cba3233099e00af40f262f136c691fb7d38d2194c",
            ),
            WeightFile(
                path="text_encoder/model.safetensors",
                size_bytes=492_265_874,
                sha256="d008943c017f0092921106440254dbbe00b6a285f7883ec8ba160c3faad88334",
            ),
        ),
        extras=PIPELINE_EXTRAS,
    ),
    "sd-1.5-inpainting": Weights(
        about="stage 2, frozen",
        licence="CreativeML OpenRAIL-M",
        size_bytes=2_136_000_000,
        repo="stable-diffusion-v1-5/stable-diffusion-inpainting",
        revision="8a4288a76071f7280aedbdb3253bdb9e9d5d84bb",
        variant="fp16",
        files=(
            *PIPELINE_CONFIGS,
            WeightFile(
                path="unet/diffusion_pytorch_model.fp16.safetensors",
                sha256="24b788b4a777748377cc20364eea4ae113c8c42f4468c16bc8c02fdae5492af9",
            ),
            WeightFile(
                path="vae/diffusion_pytorch_model.fp16.safetensors",
                sha256="4fbcf0ebe55a0984f5a5e00d8c4521d52359af7229bb4d81890039d2aa16dd7c",
            ),
            WeightFile(path="text_encoder/model.fp16.safetensors"),
        ),
        extras=PIPELINE_EXTRAS,
    ),
    "control-openpose-1.1": Weights(
        about="stage 2, start",
        licence="OpenRAIL",
        size_bytes=1_445_000_000,
        repo="lllyasviel/control_v11p_sd15_openpose",
        revision="9ae9f970358db89e211b87c915f9535c6686d5ba",
        files=(
            WeightFile(path="config.json"),
            WeightFile(
                path="diffusion_pytorch_model.safetensors",
                sha256="46b10abb28f3750aba7eea208e188539f7945d9256de9a248cbb9902f2276988",
            ),
        ),
    ),
    "controlnet-hands": Weights(
        about="stage 1, untrained",
        licence="Apache-2.0",
        # As ControlNets of Stable Diffusion 1.5 are; the publisher states neither size, revision nor checksum.
        size_bytes=1_445_000_000,
        repo="Vincent-luo/controlnet-hands",
        files=(WeightFile(path="config.json"), WeightFile(path="diffusion_pytorch_model.safetensors")),
    ),
    "clip-vit-base-patch16": Weights(
        about="evaluation",
        licence="MIT",  # OpenAI's own model card; the Hub's page declares none
        size_bytes=603_000_000,
        repo="openai/clip-vit-base-patch16",
        revision="57c216476eefef5ab752ec549e440a49ae4ae5f3",
        files=(
            WeightFile(path="config.json"),
            WeightFile(path="preprocessor_config.json"),
            WeightFile(path="merges.txt"),
            WeightFile(path="vocab.json"),
            # This revision has no safetensors: a pickle, which transformers reads with weights_only.
            WeightFile(
                path="pytorch_model.bin", sha256="ec89c7b09c749a60aae3c9cd910516f24b58214a7df060b48962d14c469cfbf0"
            ),
        ),
        extras=("*.json",),
    ),
    "clip-vit-large-patch14": Weights(
        about="evaluation, by option",
        licence="MIT",
        size_bytes=1_713_000_000,
        repo="openai/clip-vit-large-patch14",
        revision="32bd64288804d66eefd0ccbe215aa642df71cc41",
        files=(
            WeightFile(path="config.json"),
            WeightFile(path="preprocessor_config.json"),
            WeightFile(path="merges.txt"),
            WeightFile(path="vocab.json"),
            WeightFile(
                path="model.safetensors",
                size_bytes=1_710_540_580,
                sha256="a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
            ),
        ),
        extras=("*.json",),
    ),
    "inception-v3-fid": Weights(
        about="evaluation, FID and KID",
        licence="Apache-2.0",
        size_bytes=95_628_359,
        files=(
            WeightFile(
                path="weights-inception-2015-12-05-6726825d.pth",
                size_bytes=95_628_359,
                sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            ),
        ),
        url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    ),
    **BASELINE_WEIGHTS,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCheck:
    """What `verify` found of one file."""

    path: str
    size_bytes: int
    status: str
    """`ok`, `unchecked` (no checksum is known), or what is wrong."""


def weights_named(name: str) -> Weights:
    """The table's entry; an unknown name raises `UserError` with the choices."""
    if name not in WEIGHTS:
        raise UserError(f"unknown weights {name!r}: choose one of {', '.join(WEIGHTS)}")
    return WEIGHTS[name]


def models_folder() -> Path:
    """`$H2D_MODELS`, or `~/.cache/h2d/models`."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given).expanduser() if given else Path.home() / ".cache" / "h2d" / "models"


def find(name: str, *, folder: Path | None = None) -> Path | None:
    """Where the weights lie, whole, on this machine: the file when there is one alone, else the folder; or None."""
    weights = weights_named(name)
    for place in _places(name, folder or models_folder()):
        if all(_problem(place, file) is None for file in weights.files):
            return place / weights.files[0].path if weights.is_file else place
    return None


def locate(name: str, *, path: Path | None = None, folder: Path | None = None) -> Path:
    """As `find`, or `path` itself when given; raises `MissingWeightsError` saying what is missing and how to get it."""
    weights = weights_named(name)
    if path is not None:
        if not path.exists():
            raise MissingWeightsError(f"{name}: {path} does not exist; get it: {weights.how(name)}")
        return path
    if found := find(name, folder=folder):
        return found
    places = list(_places(name, folder or models_folder()))
    half = next((place for place in places if any((place / file.path).is_file() for file in weights.files)), places[0])
    problem = next(problem for file in weights.files if (problem := _problem(half, file)))
    looked = ", ".join(str(place) for place in places)
    raise MissingWeightsError(f"{name}: {problem}; looked in {looked}; get it: {weights.how(name)}")


def named_or_path(given: Path | str, *, folder: Path | None = None) -> Path:
    """Where the weights of a name lie, as `locate` says, or in the package, or a path as it was given."""
    if shipped := find_shipped(str(given)):
        return shipped
    return locate(str(given), folder=folder) if str(given) in WEIGHTS else Path(given)


def fetch(name: str, *, folder: Path | None = None, progress: Callable[[int, int], None] | None = None) -> Path:
    """Bring the weights to `folder`/name, unless they are whole already, and give their place.

    Without a `folder`, those found anywhere on this machine are good enough. Raises `JobError` when the transfer fails
    or a checksum is wrong; an interrupted transfer goes on where it stopped.
    """
    weights = weights_named(name)
    if found := find(name) if folder is None else None:
        return found
    target = (folder or models_folder()) / name
    if not any(_problem(target, file) for file in weights.files):
        return target / weights.files[0].path if weights.is_file else target
    if weights.by_hand:
        raise UserError(f"{name}: no program may fetch it: {weights.by_hand}")
    if weights.url:
        file = weights.files[0]
        assert file.size_bytes is not None, "what comes from an address needs its size"
        assert file.sha256 is not None, "and its checksum"
        path = target / file.path
        download(weights.url, path, size_bytes=file.size_bytes, sha256=file.sha256, progress=progress)
        return path
    _fetch_repository(weights, target)
    _convert_pickles(weights, target)
    for check in _checks(weights, target):
        if check.status not in ("ok", "unchecked"):
            raise JobError(f"{name}: {check.path}: {check.status}; delete {target} and fetch again")
    return target / weights.files[0].path if weights.is_file else target


def verify(name: str, *, folder: Path | None = None) -> list[FileCheck]:
    """Read every file of the weights where they lie and compare; raises `UserError` when they are not there."""
    found = locate(name, folder=folder)
    weights = weights_named(name)
    return list(_checks(weights, found.parent if weights.is_file else found))


def _places(name: str, folder: Path) -> Iterator[Path]:
    weights = WEIGHTS[name]
    yield folder / name
    if weights.is_file:
        yield folder  # a checkpoint that was simply put there
    if weights.repo:
        yield _hub_cache(weights)


def _hub_cache(weights: Weights) -> Path:
    """The snapshot's folder in the Hugging Face cache, there or not."""
    from huggingface_hub.constants import HF_HUB_CACHE

    assert weights.repo is not None
    stored = Path(HF_HUB_CACHE) / f"models--{weights.repo.replace('/', '--')}"
    main = stored / "refs" / "main"
    revision = weights.revision or (main.read_text().strip() if main.is_file() else "main")
    return stored / "snapshots" / revision


def _problem(place: Path, file: WeightFile) -> str | None:
    path = place / file.path
    if not path.is_file():
        return f"{file.path} not found"
    size = path.stat().st_size
    if file.size_bytes not in (None, size):
        return f"{path} has {size} bytes, not {file.size_bytes}"
    return None


def _checks(weights: Weights, place: Path) -> Iterator[FileCheck]:
    for file in weights.files:
        path = place / file.path
        problem = _problem(place, file)
        if problem is None and file.sha256:
            found = sha256_of(path)
            problem = None if found == file.sha256 else f"sha256 is {found}, not {file.sha256}"
        size = path.stat().st_size if path.is_file() else 0
        yield FileCheck(path=file.path, size_bytes=size, status=problem or ("ok" if file.sha256 else "unchecked"))


def _convert_pickles(weights: Weights, target: Path) -> None:
    """Make the safetensors that are wanted of the pickles that came in their stead, where only those are published."""
    from h2d.models.conversion import convert_pickle

    for file in weights.files:
        path = target / file.path
        pickled = path.with_suffix(".bin")
        if path.suffix == ".safetensors" and pickled.is_file():
            if not path.is_file():
                convert_pickle(pickled, path)
            pickled.unlink()


def _fetch_repository(weights: Weights, target: Path) -> None:
    """Only the files named, at the pinned revision, into `target`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # whichever HTTP library it uses
    from huggingface_hub.utils import logging as hub_logging

    assert weights.repo is not None
    logger.info("fetching %s at %s into %s", weights.repo, weights.revision or "main", target)
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it would tell each of its retries
    try:
        snapshot_download(
            weights.repo,
            revision=weights.revision,
            local_dir=target,
            allow_patterns=[*(file.path for file in weights.files), *weights.extras],
        )
    except (OSError, HTTPError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise JobError(
            f"{weights.repo}: cannot be fetched: {reason}: see that huggingface.co is reached; the same command goes on"
        ) from None
