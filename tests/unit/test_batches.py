from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.batches import Batch, split_batches


def split(units, sims=100, most=3):
    return split_batches(units, sims_per_batch=sims, max_units_per_batch=most)


def test_units_fill_a_batch_up_to_the_limit_of_sims():
    batches = split([("U1", 60), ("U2", 40), ("U3", 1)])
    assert [batch.unit_ids for batch in batches] == [("U1", "U2"), ("U3",)]
    assert [batch.n_sims for batch in batches] == [100, 1]


def test_units_fill_a_batch_up_to_the_limit_of_units():
    batches = split([(f"U{k}", 1) for k in range(7)])
    assert [len(batch.unit_ids) for batch in batches] == [3, 3, 1]


def test_a_unit_above_the_limit_is_a_batch_of_its_own():
    batches = split([("U1", 1), ("U2", 500), ("U3", 1)])
    assert [batch.unit_ids for batch in batches] == [("U1",), ("U2",), ("U3",)]


def test_no_units_make_no_batches():
    assert split([]) == []


def test_the_name_of_a_batch_follows_its_contents():
    (batch,) = split([("U1", 60), ("U2", 40)])
    assert batch == Batch(batch_id="5d1bfeff220ff967", unit_ids=("U1", "U2"), n_sims=100)
    assert split([("U2", 40), ("U1", 60)])[0].batch_id != batch.batch_id
    assert split([("U1", 61), ("U2", 39)])[0].batch_id != batch.batch_id


@pytest.mark.parametrize("limits", [(0, 1), (1, 0)])
def test_limits_below_one_are_refused(limits):
    with pytest.raises(ValueError, match="at least 1"):
        split([("U1", 1)], *limits)


def test_a_unit_in_the_list_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        split([("U1", 1), ("U1", 1)])


@given(st.lists(st.integers(0, 200), max_size=30), st.integers(1, 150), st.integers(1, 5))
def test_every_unit_is_in_one_batch_in_order_and_within_the_limits(sizes, sims, most):
    units = [(f"U{k}", size) for k, size in enumerate(sizes)]
    batches = split(units, sims, most)
    assert [unit for batch in batches for unit in batch.unit_ids] == [unit for unit, _ in units]
    assert sum(batch.n_sims for batch in batches) == sum(sizes)
    for batch in batches:
        assert len(batch.unit_ids) <= most
        assert batch.n_sims <= sims or len(batch.unit_ids) == 1
