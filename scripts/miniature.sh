#!/bin/sh
# The miniature from nothing, one part after the other. Stopped at any moment, it goes on from there.
# To see it run through in minutes:  PICTURES=48 TRAIN="--set steps=2" OUT=runs/packed sh scripts/miniature.sh
set -eu

H2D=${H2D:-h2d} PYTHON=${PYTHON:-python} TRAIN=${TRAIN:-}

train() {
    # shellcheck disable=SC2086  # options, a word each
    "$H2D" train "$1" --config "configs/miniature_$2.yaml" $TRAIN
}

"$H2D" synth manifest --out manifests/miniature -n "${PICTURES:-3000}" --size 256 --flavour near
[ -d runs/miniature/start ] || "$PYTHON" scripts/new_base.py manifests/miniature runs/miniature/start
train vae vae
train base base
train hand hand
train outpaint controlnet
train outpaint outpaint
train keypoints keypoints
"$PYTHON" scripts/pack_miniature.py runs/miniature ${OUT:+"$OUT"}
