#!/bin/sh
# The four datasets of the paper, drawn, each prepared from its own files, mixed and checked: nothing is downloaded.
#
#   sh examples/four_datasets.sh [FOLDER] [INTERHAND]
#
# FOLDER (default: runs/four_datasets) gets pictures and manifests; INTERHAND is a folder of real InterHand2.6M, if there
# is one. Under 5 minutes on 2 cores.
set -eu
out=${1:-runs/four_datasets}
interhand=${2:-}
h2d=${H2D:-.venv/bin/h2d}

$h2d synth hagrid --out "$out/data/hagrid" -n 68 --size 384
$h2d synth laion-human --out "$out/data/laion-human" -n 16 --size 384
$h2d synth interhand --out "$out/data/interhand" -n 24 --size 384
$h2d synth reinterhand --out "$out/data/reinterhand" -n 24 --size 384

$h2d prepare hagrid --root "$out/data/hagrid" --out "$out/manifests/hagrid"
$h2d prepare laion-human --root "$out/data/laion-human" --out "$out/manifests/laion-human" --min-hand-px 500
$h2d prepare interhand --root "$out/data/interhand" --out "$out/manifests/interhand"
$h2d prepare reinterhand --root "$out/data/reinterhand" --out "$out/manifests/reinterhand"
[ -z "$interhand" ] || $h2d prepare interhand --root "$interhand" --out "$out/manifests/interhand-real"

cat > "$out/mix.yaml" <<YAML
out: $out/manifests/mix
parts:
  - {manifest: $out/manifests/interhand, count: 6}
  - {manifest: $out/manifests/reinterhand, count: 6}
  - {manifest: $out/manifests/hagrid, count: 20}
YAML
$h2d prepare mix --config "$out/mix.yaml"

for manifest in "$out"/manifests/*; do
    $h2d manifest validate "$manifest"
done
echo "Open in a browser:  $out/manifests/mix/mix.html"
