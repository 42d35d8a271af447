"""Whatever a dataset's label files say, listing it ends with rows that a table can hold or with one line."""

import numpy as np
import pytest
from fake_studio import STUDIO
from mutants import misstated, mutated

from h2d.config import validate_config
from h2d.errors import UserError
from h2d.pipelines.plan import SelectionConfig, list_source
from h2d.pipelines.sources import SOURCES
from h2d.registry import resolve
from h2d.synth.generate import generate

LABELS = {
    "hagrid": ["**/*.json"],
    "interhand": ["annotations/**/*.json"],
    "reinterhand": ["**/*.json", "**/frame_list.txt"],
    "laion-human": ["**/mapping_file_training.json"],
}
"""Of each dataset the files that are read when it is listed."""


@pytest.fixture(scope="module", params=LABELS)
def dataset(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    generate(request.param, root, count=12, seed=5, size_px=64, flavour=None, hard=False, studio=STUDIO, workers=1)
    files = sorted(file for pattern in LABELS[request.param] for file in root.glob(pattern))
    reader = resolve(SOURCES, request.param, kind="source")
    source = validate_config(reader, {"root": root}, where=request.param)
    return source, {file: file.read_bytes() for file in files}


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_mutated_labels_are_listed_or_refused_in_one_line(dataset, count):
    source, files = dataset
    rng = np.random.default_rng(count)
    num_listed = num_refused = 0
    for _ in range(count):
        file = list(files)[int(rng.integers(len(files)))]
        change = misstated if file.suffix == ".json" and rng.random() < 0.7 else mutated
        file.write_bytes(mutant := change(files[file], rng))
        try:
            listing = list_source(source, SelectionConfig(), shard_size=8)
            assert sum(shard.num_pictures for shard in listing.shards) == listing.num_pictures
            ids = [name for block in listing.blocks() for name in block["id"].to_pylist()]
            assert len(set(ids)) == len(ids), mutant
            num_listed += 1
        except UserError as error:
            message = str(error)
            assert len(message.splitlines()) == 1, mutant
            assert len(message) < 700, mutant
            assert str(source.root) in message
            num_refused += 1
        finally:
            file.write_bytes(files[file])
    assert num_listed > count // 20
    assert num_refused > count // 20
