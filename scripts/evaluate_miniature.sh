#!/bin/sh
# The miniature measured on held-out drawn people: every method of docs/miniature.md, one run.
#
#   sh scripts/evaluate_miniature.sh [PICTURES] [STEPS]      after `make miniature`
set -eu
pictures=${1:-200} steps=${2:-50}
H2D=${H2D:-h2d}
list=runs/miniature/list.jsonl out=runs/miniature/evaluation

"$H2D" evaluate protocol --manifest manifests/miniature --split test -n "$pictures" --size 128 --out "$list"
"$H2D" evaluate run --list "$list" --out "$out" --steps "$steps" --batch 8 --pipeline miniature \
    --method two-stage,two-stage-naive,two-stage-bbox
"$H2D" evaluate run --list "$list" --out "$out" --steps "$steps" --batch 8 --method controlnet,stable-diffusion \
    --baseline base=miniature-base --baseline control=miniature-control
