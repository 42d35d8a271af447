#!/bin/sh
# Every command of the project once, on drawn people, with miniature networks and nothing downloaded: some minutes on a CPU.
# The networks are trained for seconds: the pictures are noise in the shape of a walk through the program.
set -eu

H2D=${H2D:-h2d}
OUT=${OUT:-runs/walk}
mkdir -p "$OUT"

"$H2D" synth hagrid --out "$OUT/pictures" -n 40
"$H2D" prepare hagrid --root "$OUT/pictures" --out "$OUT/manifest"
"$H2D" train hand --config configs/tiny_hand.yaml --manifest "$OUT/manifest" --out "$OUT/hand"
"$H2D" train outpaint --config configs/tiny_outpaint.yaml --manifest "$OUT/manifest" --out "$OUT/outpaint"
"$H2D" pose examples --write "$OUT/poses"
"$H2D" sample --pose "$OUT/poses/peace.json" --prompt "a person making the peace sign" --seed 1 --size 128x128 --steps 10 \
    --hand "$OUT/hand" --outpaint "$OUT/outpaint" --out "$OUT/samples" --save-intermediates
"$H2D" evaluate protocol --manifest "$OUT/manifest" -n "${PICTURES:-8}" --size 128 --out "$OUT/list.jsonl"
"$H2D" evaluate run --list "$OUT/list.jsonl" --hand "$OUT/hand" --outpaint "$OUT/outpaint" --steps 5 --out "$OUT/eval"
