"""Draws `docs/images/synth.jpg`: selfies, whole bodies and hands, as `h2d synth` draws them.

python examples/synth_contact_sheet.py [--out docs/images/synth.jpg] [--tile 200]
"""

import argparse
from pathlib import Path

import numpy as np

from h2d.images import encode_jpeg
from h2d.synth.render import render
from h2d.synth.sampling import sample_scene
from h2d.synth.scene import Frame

GESTURES = (
    *("palm", "peace", "rock", "ok", "like", "call", "hand_heart", "three_gun"),
    *("fist", "stop_inverted", "timeout", "mute", "take_picture", "xsign", "thumb_index2", "point"),
)
ROWS: tuple[tuple[Frame, tuple[str | None, ...]], ...] = (
    ("selfie", GESTURES[:8]),
    ("selfie", GESTURES[8:]),
    ("whole_body", (None,) * 8),
    ("hands", (None,) * 8),
)


def main() -> None:
    """Draw every tile at twice its size and halve it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images/synth.jpg"))
    parser.add_argument("--tile", type=int, default=200)
    parser.add_argument("--seed", type=int, default=100)
    arguments = parser.parse_args()
    size = (2 * arguments.tile, 2 * arguments.tile)
    rows = []
    for number, (frame, gestures) in enumerate(ROWS):
        seeds = [arguments.seed + 8 * number + column for column in range(len(gestures))]
        scenes = [
            sample_scene(seed, frame=frame, size_hw=size, gesture=gesture)
            for seed, gesture in zip(seeds, gestures, strict=True)
        ]
        rows.append(np.concatenate([halved(render(scene).picture) for scene in scenes], axis=1))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(encode_jpeg(np.concatenate(rows, axis=0), quality=95))
    print(arguments.out)


def halved(picture: np.ndarray) -> np.ndarray:
    """The mean of 2 x 2 blocks."""
    height, width, _ = picture.shape
    return picture.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)


if __name__ == "__main__":
    main()
