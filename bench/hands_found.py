"""How many hands the pose stage finds in a HaGRID folder, beside Holistic with nothing else.

python bench/hands_found.py [--root path/to/hagrid] [--limit N]
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from h2d.annotate.keypoints.holistic import HolisticDetector
from h2d.images import load_rgb
from h2d.pipelines.plan import SelectionConfig, list_source
from h2d.pipelines.sources.hagrid import HagridSource


def main() -> None:
    """Look at every picture twice and print both counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/hagrid"))
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    if not arguments.root.is_dir():
        print(f"skipped: no HaGRID folder at {arguments.root}, name one with --root")
        return
    listing = list_source(HagridSource(root=arguments.root), SelectionConfig(limit=arguments.limit), 512)
    records = [row for block in listing.blocks() for row in block.to_pylist()]
    ours = HolisticDetector()
    counts = {}
    for name, detector in (("ours", ours), ("holistic alone", replace(ours, ask_hands=False))):
        detector.setup()
        hands = []
        for record in records:
            picture = load_rgb(arguments.root / record["path"])
            height, width = picture.shape[:2]
            fractions = np.asarray(record["boxes_xywh"], np.float32).reshape(-1, 4)
            boxes = fractions * np.array([width, height, width, height], np.float32)
            hands.append(len(detector.detect(picture, boxes).hands))
        detector.close()
        counts[name] = {"pictures": len(hands), "with_a_hand": sum(map(bool, hands)), "hands": sum(hands)}
        print(f"{name:<16}{sum(map(bool, hands)):>5} of {len(hands)} pictures with a hand, {sum(hands)} hands")
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
