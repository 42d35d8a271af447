#!/bin/sh
# The miniature measured on held-out drawn people: every method of docs/miniature.md, one run.
#
#   sh scripts/evaluate_miniature.sh [PICTURES] [STEPS] [GUIDANCE]      with manifests/miniature of `make miniature`
#
# Distances between sets are left out: they want thousands of pictures.
set -eu
pictures=${1:-200} steps=${2:-50} guidance=${3:-1}
H2D=${H2D:-h2d}
out=${OUT:-runs/miniature/evaluation}
list=$out.jsonl

[ -f "$list" ] || "$H2D" evaluate protocol --manifest manifests/miniature --split test -n "$pictures" --size 128 --out "$list"
"$H2D" evaluate run --list "$list" --out "$out" --steps "$steps" --batch 8 --workers "${WORKERS:-2}" \
    --method two-stage,two-stage-naive,two-stage-bbox,controlnet,stable-diffusion \
    --pipeline miniature --baseline base=miniature-base --baseline control=miniature-control \
    --features none --segmenter none --sample guidance_scale="$guidance"
