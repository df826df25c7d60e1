"""A pool's overage is shared out among its SIMs (B10)."""

import numpy as np
import pytest

from core.billing.allocation import allocate


def shares(charges, weights, pools):
    return allocate(
        np.array(charges, dtype=np.int64),
        np.array(weights, dtype=np.int64),
        np.array(pools, dtype=np.int32),
    ).tolist()


def test_shares_are_in_proportion_to_weight():
    assert shares([60], [1, 2, 3], [0, 0, 0]) == [10, 20, 30]


def test_what_is_left_goes_to_the_largest_remainders():
    """10 * (1, 2, 4) / 7 = 1.43, 2.86, 5.71: the second and third are rounded up."""
    assert shares([10], [1, 2, 4], [0, 0, 0]) == [1, 3, 6]


def test_ties_go_to_the_earlier_row():
    assert shares([2], [5, 5, 5], [0, 0, 0]) == [1, 1, 0]


def test_a_sim_within_its_allowance_pays_nothing():
    assert shares([5], [0, 1, 0, 1], [0, 0, 0, 0]) == [0, 3, 0, 2]


def test_pools_are_shared_out_each_by_itself():
    assert shares([3, 0, 8], [1, 9, 1, 1, 7], [0, 1, 0, 2, 2]) == [2, 0, 1, 1, 7]


def test_sims_in_no_pool_get_nothing():
    assert shares([4], [9, 1], [-1, 0]) == [0, 4]
    assert shares([], [9], [-1]) == [0]
    assert shares([], [], []) == []


def test_products_past_64_bits_are_exact():
    """charge * weight has 112 bits; float64 and wrapped int64 both fail here."""
    charge, weight = (1 << 62) - 1, (1 << 50) - 1
    assert shares([charge], [weight, weight], [0, 0]) == [1 << 61, (1 << 61) - 1]
    # charge * 1 / 2**50 is just below 4096, so that the second remainder is the larger one
    assert shares([charge], [weight, 1], [0, 0]) == [charge - 4096, 4096]


@pytest.mark.parametrize("n", [2, 3, 4, 7, 4095])
def test_remainders_just_below_the_divisor_do_not_wrap(n):
    """(n * w - 1) * w / (n * w) is w - 1 / n: all but the last SIM are rounded up."""
    weight = (1 << 50) - 1
    assert shares([n * weight - 1], [weight] * n, [0] * n) == [weight] * (n - 1) + [weight - 1]


def test_the_largest_total_weight_is_divided_exactly():
    """4095 weights of 2**50 add up to just below 2**62: long division runs bit by bit."""
    weights = [1 << 50] * 4095
    charge = (1 << 62) - 12345
    result = shares([charge], weights, [0] * 4095)
    floor, rest = divmod(charge, 4095)
    assert result == [floor + 1] * rest + [floor] * (4095 - rest)


def test_a_charge_that_nobody_caused_is_refused():
    with pytest.raises(ValueError, match="none of its SIMs used more"):
        shares([1], [0, 0], [0, 0])
