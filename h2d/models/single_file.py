"""A Stable Diffusion 1.x checkpoint in one .safetensors file, in the layout of its first authors ("LDM").

Such a file holds the U-Net, the autoencoder and CLIP's text encoder, but not the words of CLIP's tokenizer. Widths are
read from the shapes; the rest is Stable Diffusion 1.x's. Weights become float32.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from h2d.errors import UserError
from h2d.models.reading import opened_weights, tensor_names

UNET: Final = "model.diffusion_model."
VAE: Final = "first_stage_model."
TEXT: Final = "cond_stage_model.transformer."

_HEADS: Final = 8
_CHANNELS_PER_TEXT_HEAD: Final = 64


def check_file(file: Path) -> None:
    """Raise `UserError` unless all parts are in the file, and the tokenizer beside it; reads the header alone."""
    names = tensor_names(file)
    for prefix, part in ((UNET, "U-Net"), (VAE, "autoencoder"), (TEXT, "text encoder")):
        if not any(name.startswith(prefix) for name in names):
            raise UserError(f"{file}: holds no {part} of Stable Diffusion 1.x: nothing in it begins with {prefix}")
    tokenizer_folder(file)


def tokenizer_folder(file: Path) -> Path:
    """The folder `tokenizer` beside the file; raises `UserError` where it is not."""
    folder = file.parent / "tokenizer"
    if not (folder / "vocab.json").is_file():
        raise UserError(
            f"{file}: a single file does not carry CLIP's words: put the folder tokenizer (vocab.json, merges.txt) "
            f"of any Stable Diffusion 1.x in diffusers' format beside it, as {folder}"
        )
    return folder


def unet_of(file: Path) -> Any:
    """The U-Net in float32, of any number of input channels."""
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    state = _part(file, UNET, "U-Net")
    widths = tuple(
        len(_known(state, f"{UNET}input_blocks.{1 + 3 * level}.0.out_layers.3.weight", file)) for level in range(4)
    )
    text_width = _known(state, f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", file).shape[1]
    unet = UNet2DConditionModel(
        in_channels=_known(state, f"{UNET}input_blocks.0.0.weight", file).shape[1],
        sample_size=64,
        block_out_channels=widths,
        cross_attention_dim=text_width,
        attention_head_dim=_HEADS,
    )
    return _filled(unet, convert_ldm_unet_checkpoint(state, dict(unet.config)), file, "U-Net")


def unet_channels_of(file: Path) -> int:
    """How many channels its U-Net takes; reads the header alone."""
    name = f"{UNET}input_blocks.0.0.weight"
    if name not in tensor_names(file):
        raise UserError(f"{file}: not a checkpoint of Stable Diffusion 1.x: {name} is missing")
    with opened_weights(file) as opened:
        return int(opened.get_slice(name).get_shape()[1])


def vae_of(file: Path) -> Any:
    """The autoencoder in float32."""
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    state = _part(file, VAE, "autoencoder")
    widths = tuple(len(_known(state, f"{VAE}encoder.down.{level}.block.0.conv1.weight", file)) for level in range(4))
    vae = AutoencoderKL(
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=512,
    )
    return _filled(vae, convert_ldm_vae_checkpoint(state, dict(vae.config)), file, "autoencoder")


def text_encoder_of(file: Path) -> Any:
    """CLIP's text encoder in float32."""
    from transformers import CLIPTextConfig, CLIPTextModel

    stored = _part(file, TEXT, "text encoder")
    # Positions are counted, not learnt; transformers has named the inner model with and without this word.
    state = {
        name.removeprefix(TEXT).removeprefix("text_model."): tensor
        for name, tensor in stored.items()
        if not name.endswith("position_ids")
    }
    num_words, width = _known(state, "embeddings.token_embedding.weight", file).shape
    settings = CLIPTextConfig(
        vocab_size=num_words,
        hidden_size=width,
        intermediate_size=len(_known(state, "encoder.layers.0.mlp.fc1.weight", file)),
        num_hidden_layers=len({name.split(".")[2] for name in state if name.startswith("encoder.layers.")}),
        num_attention_heads=max(1, width // _CHANNELS_PER_TEXT_HEAD),
        max_position_embeddings=len(_known(state, "embeddings.position_embedding.weight", file)),
        hidden_act="quick_gelu",
        bos_token_id=num_words - 2,
        eos_token_id=num_words - 1,
        pad_token_id=num_words - 1,
    )
    encoder = CLIPTextModel(settings)
    prefix = "text_model." if any(name.startswith("text_model.") for name in encoder.state_dict()) else ""
    return _filled(encoder, {f"{prefix}{name}": tensor for name, tensor in state.items()}, file, "text encoder")


def _filled(model: Any, state: Mapping[str, Tensor], file: Path, part: str) -> Any:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file}: its {part} is not one of Stable Diffusion 1.x: {reason}") from None
    return model.float().eval()


def _known(state: Mapping[str, Tensor], name: str, file: Path) -> Tensor:
    if name not in state:
        raise UserError(f"{file}: not a checkpoint of Stable Diffusion 1.x: {name} is missing")
    return state[name]


def _part(file: Path, prefix: str, part: str) -> dict[str, Tensor]:
    """The tensors of a part, and only these are read."""
    chosen = [name for name in tensor_names(file) if name.startswith(prefix)]
    if not chosen:
        raise UserError(f"{file}: holds no {part} of Stable Diffusion 1.x: nothing in it begins with {prefix}")
    with opened_weights(file) as opened:
        return {name: opened.get_tensor(name) for name in chosen}
