"""Which sequences each group of a fleet gets: generated, by plan types, or given with the run."""

from __future__ import annotations

import polars as pl
import pytest

from core.domain import BillingPolicy, CommunicationPlan, PoolScope, RatePlan
from core.errors import InputError
from core.fleet import normalise_fleet
from core.group_sequences import fleet_sequences, given_sequences, plan_types
from core.grouping import group_fleet


def plan(code, fee, included, *, is_pooled=True, plan_type=None):
    return RatePlan(
        code=code,
        monthly_rate_micros=fee,
        included_bytes=included,
        overage_rate_micros=5,
        overage_block_bytes=1,
        is_pooled=is_pooled,
        plan_type=plan_type,
    )


PLANS = [
    plan("A", 10, 10, plan_type="small"),
    plan("B", 20, 40, plan_type="small"),
    plan("C", 50, 200, plan_type="large"),
    plan("D", 5, 4, plan_type="tiny"),
    plan("I", 30, 60, is_pooled=False),
]
LISTS = [
    CommunicationPlan(name="abc", rate_plan_codes=("A", "B", "C")),
    CommunicationPlan(name="ab", rate_plan_codes=("A", "B")),
    CommunicationPlan(name="i", rate_plan_codes=("I",)),
    CommunicationPlan(name="all", rate_plan_codes=("A", "B", "C", "D")),
]


def grouped(*sims, max_rate_plans=3):
    """Communication plan and rate plan of each SIM; group ids follow the plan lists."""
    fleet = pl.DataFrame(
        {
            "iccid": [f"{k:03d}" for k in range(len(sims))],
            "communication_plan": [name for name, _ in sims],
            "rate_plan": [code for _, code in sims],
            "usage_bytes": [5] * len(sims),
        }
    )
    policy = BillingPolicy(pool_scope=PoolScope.COMM_GROUP)
    return group_fleet(normalise_fleet(fleet), PLANS, LISTS, policy, max_rate_plans=max_rate_plans)


def by_list(grouping, sequences):
    """Sequences by the codes of the group's list."""
    name = {group.group_id: "".join(group.rate_plans) for group in grouping.groups}
    return {name[group_id]: found for group_id, found in sequences.items()}


FLEET = [("abc", "A"), ("ab", "A"), ("i", "I"), ("all", "A")]


def test_groups_that_walks_cannot_change_get_no_sequences():
    """One has an individual plan only, one more plans than allowed."""
    grouping = grouped(*FLEET)
    assert set(by_list(grouping, fleet_sequences(grouping, 9))) == {"ABC", "AB"}


def test_only_the_groups_that_are_asked_for_get_sequences():
    grouping = grouped(*FLEET)
    ids = [group.group_id for group in grouping.groups if len(group.rate_plans) == 2]
    found = fleet_sequences(grouping, 9, group_ids=ids)
    assert by_list(grouping, found) == {"AB": [("A", "B"), ("A",), ("B",), ("B", "A")]}


def test_by_plan_types_every_sequence_has_a_plan_of_each_type_present():
    grouping = grouped(("abc", "A"), ("abc", "C"))
    found = by_list(grouping, fleet_sequences(grouping, 99, plan_types=plan_types(PLANS)))["ABC"]
    free = by_list(grouping, fleet_sequences(grouping, 99))["ABC"]
    assert found == [s for s in free if "C" in s and ("A" in s or "B" in s)]


def test_types_that_no_sim_of_the_group_has_are_not_demanded():
    grouping = grouped(("abc", "A"), ("abc", "B"))
    found = by_list(grouping, fleet_sequences(grouping, 99, plan_types=plan_types(PLANS)))["ABC"]
    assert ("A",) in found
    assert ("C",) not in found


def test_a_type_that_no_plan_of_the_list_has_cannot_be_demanded():
    """The SIM has D, of type tiny, which its list lacks."""
    grouping = grouped(("ab", "D"))
    found = fleet_sequences(grouping, 99, plan_types=plan_types(PLANS))
    assert found == fleet_sequences(grouping, 99)


def test_types_are_those_of_the_groups_own_sims():
    grouping = grouped(("ab", "A"), ("abc", "C"))
    found = by_list(grouping, fleet_sequences(grouping, 99, plan_types=plan_types(PLANS)))
    assert found["AB"][0] == ("A", "B")
    assert all("C" in sequence for sequence in found["ABC"])
    assert ("C",) in found["ABC"]


@pytest.mark.parametrize(
    ("included", "is_pooled", "derived"),
    [
        (0, True, "pooled-none"),
        (1, True, "pooled-e0"),
        (999_999, False, "individual-e5"),
        (1_000_000, False, "individual-e6"),
        (1 << 50, True, "pooled-e15"),
    ],
)
def test_a_type_is_derived_from_kind_and_order_of_magnitude(included, is_pooled, derived):
    for missing in (None, "", "  "):
        one = plan("X", 1, included, is_pooled=is_pooled, plan_type=missing)
        assert plan_types([one]) == {"X": derived}


def test_the_type_of_the_catalogue_counts_before_a_derived_one():
    assert plan_types(PLANS[:1]) == {"A": "small"}


def test_given_sequences_go_to_every_group_that_has_all_their_plans():
    grouping = grouped(*FLEET)
    found = by_list(grouping, given_sequences(grouping, [("B", "A"), ("C",), ("A",)]))
    assert found == {"ABC": [("B", "A"), ("C",), ("A",)], "AB": [("B", "A"), ("A",)]}


def test_a_group_that_no_given_sequence_fits_has_none():
    grouping = grouped(*FLEET)
    assert set(by_list(grouping, given_sequences(grouping, [("C", "A")]))) == {"ABC"}


@pytest.mark.parametrize(
    ("codes", "why"),
    [
        (("A", "NEW"), "the catalogue has no plan 'NEW'"),
        (("I",), "it fits no group"),  # its SIMs take their cheapest plan without a walk
        (("A", "D"), "it fits no group"),  # only a skipped group has both
    ],
)
def test_a_given_sequence_that_fits_no_group_is_refused(codes, why):
    with pytest.raises(InputError, match=r"sequence 2 \('.*'\) cannot be used") as caught:
        given_sequences(grouped(*FLEET), [("A",), codes])
    assert why in str(caught.value)
    assert ", ".join(map(repr, codes)) in str(caught.value)
