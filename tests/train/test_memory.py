import re
from dataclasses import replace

import pytest

from h2d.errors import UserError
from h2d.train.memory import Need, check_memory

HAND = Need(
    num_trained=860_000_000,
    num_frozen=207_000_000,
    size_px=512,
    activation_bytes=(0.98e9, 0.155e9),
    half_precision=True,
    averaged=True,
    eight_bit=False,
)


def test_the_papers_batch_fits_80_gb_and_says_what_fits_24():
    check_memory(HAND, 78 * 2**30, 32, checkpointing=False)
    with pytest.raises(UserError, match=r"at micro-batch 32, 24.0 GiB are free: --set speed.micro_batch=4 fits"):
        check_memory(HAND, 24 * 2**30, 32, checkpointing=False)


def test_a_card_too_small_for_one_sample_says_so():
    with pytest.raises(UserError, match="not one sample fits"):
        check_memory(HAND, 8 * 2**30, 1, checkpointing=True)


@pytest.mark.parametrize("batch", [28, 20, 30, 7])
@pytest.mark.parametrize("gib", [21, 22, 24])
def test_what_is_said_to_fit_divides_the_batch_and_fits(batch, gib):
    with pytest.raises(UserError) as told:
        check_memory(HAND, gib * 2**30, batch, checkpointing=False)
    size = int(re.search(r"micro_batch=(\d+)", str(told.value))[1])
    assert batch % size == 0
    check_memory(HAND, gib * 2**30, size, checkpointing="gradient_checkpointing=true" in str(told.value))


def test_with_checkpointing_the_largest_batch_that_fits_with_it_is_said():
    with pytest.raises(UserError, match=r"--set speed\.micro_batch=16 fits$"):
        check_memory(HAND, 24 * 2**30, 64, checkpointing=True)


def test_the_estimate_grows_with_the_network_without_a_jump():
    sizes = [int(millions * 1e6) for millions in (1, 10, 83, 84, 85, 99.9, 100.1, 860)]
    wanted = [replace(HAND, num_trained=size, num_frozen=0).num_bytes(32, checkpointing=False) for size in sizes]
    assert wanted == sorted(wanted)
    assert wanted[6] < 1.01 * wanted[5]
