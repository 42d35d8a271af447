#!/bin/sh
# The miniature from nothing, one part after the other. Stopped at any moment, it goes on from there.
set -eu

H2D=${H2D:-h2d} PYTHON=${PYTHON:-python}

"$H2D" synth manifest --out manifests/miniature -n "${PICTURES:-3000}" --size 256 --flavour near
[ -d runs/miniature/start ] || "$PYTHON" scripts/new_base.py manifests/miniature runs/miniature/start
"$H2D" train vae --config configs/miniature_vae.yaml
"$H2D" train base --config configs/miniature_base.yaml
"$H2D" train hand --config configs/miniature_hand.yaml
"$H2D" train outpaint --config configs/miniature_controlnet.yaml
"$H2D" train outpaint --config configs/miniature_outpaint.yaml
"$H2D" train keypoints --config configs/miniature_keypoints.yaml
"$PYTHON" scripts/pack_miniature.py
