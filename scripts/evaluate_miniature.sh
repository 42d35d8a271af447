#!/bin/sh
# The miniature measured on held-out drawn people: every method of docs/miniature.md, read back by MediaPipe and by the
# miniature's own keypoint network; then the table of both, over all seeds.
#
#   sh scripts/evaluate_miniature.sh [PICTURES] [STEPS] [SEEDS]      with manifests/miniature of `make miniature`
#
# A seed draws the people, and the noise of every picture. Goes on where it stopped. Distances between sets are left out:
# they want thousands of pictures.
set -eu
pictures=${1:-200} steps=${2:-25} seeds=${3:-"0 1 2"}
H2D=${H2D:-h2d} PYTHON=${PYTHON:-python}
out=${OUT:-runs/miniature/evaluation}

evaluate() {
    "$H2D" evaluate run --list "$out/list-$1.jsonl" --out "$2" --steps "$steps" --batch 8 --workers "${WORKERS:-2}" \
        --method two-stage,two-stage-naive,two-stage-bbox,controlnet,stable-diffusion \
        --pipeline miniature --baseline base=miniature-base --baseline control=miniature-control \
        --features none --segmenter none --set look.detector="$3"
}

mkdir -p "$out"
for seed in $seeds; do
    list=$out/list-$seed.jsonl
    [ -f "$list" ] || "$H2D" evaluate protocol \
        --manifest manifests/miniature --split test -n "$pictures" --size 128 --seed "$seed" --out "$list"
    evaluate "$seed" "$out/holistic-$seed" holistic
    if [ ! -d "$out/miniature-$seed" ]; then # the same pictures, without what the first reader made of them
        rm -rf "$out/copied"
        cp -r "$out/holistic-$seed" "$out/copied"
        rm "$out/copied"/results.json "$out/copied"/report.* "$out/copied"/per_picture.parquet
        mv "$out/copied" "$out/miniature-$seed"
    fi
    evaluate "$seed" "$out/miniature-$seed" miniature
done
"$PYTHON" scripts/seeds_table.py "$out"
