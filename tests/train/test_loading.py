"""Batches out of loader processes: what they hold, and the memory that they come in."""

import pytest
import torch
from stand_in import StandIn, StandInOptions

from h2d.manifests.store import Manifest
from h2d.train.loading import Share, step_batches
from h2d.train.rows import divide


def batches(manifest, *, workers, steps=12):
    stage = StandIn(StandInOptions(), size_px=64)
    rows = divide([Manifest(manifest)], stage, seed=0, held_out_share=0, window_groups=2).training
    share = Share(global_batch=2, micro_batch=2)
    return step_batches(
        rows, stage.examples(), share, seed=0, first_step=0, last_step=steps, workers=workers, pin=False
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_batch_holds_until_the_next_is_asked_for_and_its_memory_is_used_again(small_manifest, workers):
    here = list(batches(small_manifest, workers=0))
    places = set()
    for mine, theirs in zip(here, batches(small_manifest, workers=workers), strict=True):
        torch.linspace(0, 1, 2_000_000).sin().sum()  # while the processes make what comes next
        assert mine.ids == theirs.ids
        for name, tensor in mine.tensors.items():
            assert torch.equal(theirs.tensors[name], tensor), name
        places.add(theirs.tensors["image"].data_ptr())
    assert len(places) == 3 * workers


def test_batches_made_here_are_kept(small_manifest):
    made = list(batches(small_manifest, workers=0, steps=5))
    assert len({batch.tensors["image"].data_ptr() for batch in made}) == 5
