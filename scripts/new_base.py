"""A miniature of Stable Diffusion with random weights, whose words are those of a manifest's captions.

python scripts/new_base.py MANIFEST OUT [--vae BASE], where BASE has an autoencoder that is trained already.
"""

import argparse
from pathlib import Path

from h2d.manifests.store import Manifest
from h2d.models.base import load_vae
from h2d.models.miniature import MiniatureSizes, write_base


def main() -> None:
    """Read the captions and write the folder, whole or not at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--vae", type=Path, help="folder of a base: its autoencoder is taken over")
    arguments = parser.parse_args()
    captions = Manifest(arguments.manifest).table("images", ["caption"])["caption"].to_pylist()
    partial = arguments.out.with_name(f".{arguments.out.name}.partial")
    vae = None if arguments.vae is None else load_vae(arguments.vae)
    write_base(partial, captions, MiniatureSizes(), vae=vae)
    partial.rename(arguments.out)


if __name__ == "__main__":
    main()
