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
