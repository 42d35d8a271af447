#!/bin/sh
# Drawn people, prepared; six poses sampled with the miniature that comes with h2d; a short evaluation. Nothing is downloaded.
#
#   sh examples/demo.sh [FOLDER]        FOLDER: runs/demo. 2 to 6 minutes on 2 cores.
set -eu
out=${1:-runs/demo}
h2d=${H2D:-.venv/bin/h2d}

$h2d synth hagrid --out "$out/pictures" -n 40
$h2d prepare hagrid --root "$out/pictures" --out "$out/manifest"
$h2d manifest validate "$out/manifest" --root "$out/pictures"

$h2d sample --batch examples/demo.jsonl --grid --out "$out/samples"

# Of another seed than the miniature's training set, so that no network has seen them; `train` is the largest split.
# Both methods as the miniature's networks state it: no guidance, eta 1, the skeleton twice as strong.
$h2d synth manifest --out "$out/unseen" -n 12 --seed 7 --size 256 --flavour near
$h2d evaluate protocol --manifest "$out/unseen" --split train -n 8 --size 128 --out "$out/list.jsonl"
$h2d evaluate run --list "$out/list.jsonl" --method two-stage,controlnet --steps 20 --out "$out/evaluation" \
    --baseline base=miniature-base --baseline control=miniature-control

cat <<TEXT

Six poses and what was made of them:  $out/samples-grid.png
Measured:                             $out/evaluation/report.html
The prepared manifest:                $out/manifest/report.html
A picture of your own:                $h2d sample --pose prayer
Poses and prompts to vary:            $h2d pose examples
Your own pictures prepared:           $h2d prepare folder --root my/pictures --out manifests/mine
HaGRID prepared:                      make prepare ROOT=path/to/hagrid OUT=manifests/hagrid
TEXT
