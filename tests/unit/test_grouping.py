"""Eligibility, groups, solve units and problems (E1, G1, V1-V3, B9, O11)."""

from dataclasses import replace
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.billing.bill import total_cost
from core.billing.limits import GroupUse, _dearest
from core.domain import (
    MAX_PRICE_MICROS,
    MAX_USAGE_BYTES,
    BillingCycle,
    BillingPolicy,
    ChargeType,
    CommunicationPlan,
    Constraints,
    OverageTier,
    PlanLimit,
    PoolScope,
    Portal,
    RatePlan,
)
from core.eligibility import groupable, invalid_rate_plans, split_eligible
from core.errors import DataError, InfeasibleError, InvalidRatePlansError
from core.fleet import FLEET_SCHEMA, normalise_fleet
from core.grouping import build_problem, group_fleet, iter_problems, unit_fleets
from core.problem import INDIVIDUAL, NO_LIMIT

SOLO = RatePlan(
    code="S",
    monthly_rate_micros=1_000,
    included_bytes=100,
    overage_rate_micros=7,
    overage_block_bytes=10,
    is_pooled=False,
)


FALLING = (OverageTier(from_bytes=10, rate_micros=6),)
RISING = (OverageTier(from_bytes=10, rate_micros=9), OverageTier(from_bytes=25, rate_micros=20))


def pooled(code, **changes):
    return replace(SOLO, code=code, is_pooled=True, **changes)


def solo(code, **changes):
    return replace(SOLO, code=code, **changes)


def lists(**codes):
    return [CommunicationPlan(name=name, rate_plan_codes=tuple(c)) for name, c in codes.items()]


def fleet(*sims, **columns):
    """Each SIM as (communication plan, rate plan); ICCIDs 1, 2, ... in that order."""
    frame = {
        "iccid": [f"{k + 1}" for k in range(len(sims))],
        "communication_plan": [sim[0] for sim in sims],
        "rate_plan": [sim[1] for sim in sims],
        "usage_bytes": columns.pop("usage", [50] * len(sims)),
    }
    schema = {"iccid": pl.String, "communication_plan": pl.String, "rate_plan": pl.String}
    return normalise_fleet(pl.DataFrame({**frame, **columns}, schema_overrides=schema))


def grouped(frame, plans, communication_plans, *, max_rate_plans=15, **policy):
    return group_fleet(
        frame, plans, communication_plans, BillingPolicy(**policy), max_rate_plans=max_rate_plans
    )


def units_of(grouping):
    return {group.communication_plans: group.unit_id for group in grouping.groups}


# --- V1, V2: plans that may not be assigned


def test_valid_plans_have_no_problem():
    assert invalid_rate_plans([solo("A"), pooled("B")]) == {}


def test_inactive_foreign_and_unbillable_plans_are_named_with_the_reason():
    plans = [
        solo("OFF", is_active=False),
        solo("MOB", portal=Portal.MOBILITY),
        solo("RATE", overage_rate_micros=0),
        solo("BLOCK", overage_block_bytes=0),
        solo("FEE", monthly_rate_micros=-1),
        solo("GOOD"),
    ]
    assert invalid_rate_plans(plans) == {
        "OFF": "the plan is not active",
        "MOB": "the plan is for mobility, not for m2m",
        "RATE": "the overage rate must be above 0",
        "BLOCK": "the overage block must be above 0",
        "FEE": "monthly_rate_micros is -1, allowed are 0 to 100000000000",
    }
    assert "MOB" not in invalid_rate_plans(plans, Portal.MOBILITY)


def test_a_pooled_plan_that_only_an_individual_one_can_be_is_invalid_where_pools_are_on():
    plans = [pooled("CAP", overage_cap_micros=5), pooled("FALL", overage_tiers=FALLING), solo("S")]
    assert invalid_rate_plans(plans) == {
        "CAP": "it is pooled and has an overage cap (0.000005), which only an individual plan can "
        "have",
        "FALL": "it is pooled and has overage tiers whose price falls (from 0.000007 to 0.000006 per "
        "block), which only an individual "
        "plan can have",
    }
    assert invalid_rate_plans(plans, pooling_enabled=False) == {}


# --- E1: who is optimised


def devices(*rows):
    return pl.DataFrame(
        [
            (iccid, comm_plan, rate_plan, 5, True, 0, 0, None, None, False, status)
            for iccid, status, comm_plan, rate_plan in rows
        ],
        schema={**FLEET_SCHEMA, "status": pl.String},
        orient="row",
    )


def test_every_sim_is_either_in_the_fleet_or_listed_with_the_first_reason():
    everyone = devices(
        ("7", "ACTIVATED", "x", "B"),
        ("1", "ACTIVATED", "x", "A"),
        ("2", "RETIRED", None, None),
        ("3", None, "x", "A"),
        ("4", "ACTIVATED", "", "A"),
        ("5", "ACTIVATED", "nowhere", "A"),
        ("6", "ACTIVATED", "empty", "A"),
        ("8", "ACTIVATED", "x", None),
    )
    chosen, listed = split_eligible(
        everyone, lists(x=["A"], empty=[]), billable_statuses=["ACTIVATED"]
    )
    assert chosen["iccid"].to_list() == ["1", "7"]
    assert chosen.schema == FLEET_SCHEMA
    assert dict(listed.iter_rows()) == {
        "2": "not_billable",
        "3": "not_billable",
        "4": "no_communication_plan",
        "5": "no_communication_plan",
        "6": "communication_plan_without_rate_plans",
        "8": "no_rate_plan",
    }
    assert listed.columns == ["iccid", "reason"]
    assert listed["iccid"].is_sorted()


def test_with_the_catalogue_unknown_plans_are_listed_too():
    everyone = devices(
        ("1", "ACTIVATED", "x", "A"),
        ("2", "ACTIVATED", "x", "GONE"),
        ("3", "ACTIVATED", "y", "A"),
    )
    chosen, listed = split_eligible(
        everyone,
        lists(x=["A"], y=["GONE"]),
        billable_statuses={"ACTIVATED"},
        rate_plan_codes={"A"},
    )
    assert chosen["iccid"].to_list() == ["1"]
    assert dict(listed.iter_rows()) == {
        "2": "unknown_rate_plan",
        "3": "communication_plan_without_rate_plans",
    }


def test_nobody_is_eligible_of_nobody():
    chosen, listed = split_eligible(devices(), lists(x=["A"]), billable_statuses=["ACTIVATED"])
    assert (chosen.height, listed.height) == (0, 0)


def test_a_communication_plan_is_groupable_if_one_listed_plan_is_known():
    plans = lists(x=["A", "GONE"], y=["GONE"], z=[])
    assert groupable(plans) == {"x", "y"}
    assert groupable(plans, {"A"}) == {"x"}


# --- G1: groups


def test_the_same_set_of_plans_is_one_group_in_any_order():
    grouping = grouped(
        fleet(("x", "A"), ("y", "A"), ("z", "B")),
        [solo("A"), solo("B")],
        lists(z=["B"], y=["B", "A", "B"], x=["A", "B"], unused=["B", "A"]),
    )
    first, second = grouping.groups
    assert (first.group_id, first.communication_plans) == ("G0001", ("unused", "x", "y"))
    assert (first.rate_plans, first.devices) == (("A", "B"), 2)
    assert (second.group_id, second.communication_plans) == ("G0002", ("z",))
    assert grouping.fleet["group_id"].to_list() == ["G0001", "G0001", "G0002"]


def test_codes_that_the_catalogue_lacks_are_dropped_before_sets_are_compared():
    grouping = grouped(fleet(("x", "A"), ("y", "A")), [solo("A")], lists(x=["A"], y=["GONE", "A"]))
    assert [group.communication_plans for group in grouping.groups] == [("x", "y")]
    assert grouping.groups[0].rate_plans == ("A",)


def test_an_inactive_plan_is_priced_but_offered_to_nobody():
    grouping = grouped(
        fleet(("x", "OLD")), [solo("A"), solo("OLD", is_active=False)], lists(x=["A", "OLD"])
    )
    assert grouping.groups[0].rate_plans == ("A",)
    assert grouping.groups[0].devices == 1


def test_without_plan_lists_there_is_one_group_with_every_plan():
    grouping = grouped(fleet(("y", "B"), ("x", "A"), ("y", "A")), [solo("B"), solo("A")], None)
    (group,) = grouping.groups
    assert group.communication_plans == ("x", "y")
    assert group.rate_plans == ("A", "B")
    assert group.devices == 3
    assert not group.is_fixed


def test_groups_without_sims_do_not_appear():
    grouping = grouped(
        fleet(("x", "A"), ("y", "GONE")), [solo("A"), solo("B")], lists(x=["A"], y=["B"])
    )
    assert [group.communication_plans for group in grouping.groups] == [("x",)]


def test_a_sim_on_an_unknown_plan_is_unpriced():
    grouping = grouped(fleet(("x", "GONE"), ("x", "A")), [solo("A")], lists(x=["A"]))
    assert grouping.fleet["group_id"].to_list() == [None, "G0001"]
    assert grouping.fleet["unit_id"].to_list() == [None, "U0001"]
    assert grouping.groups[0].devices == 1
    assert build_problem(grouping, "U0001").n_sims == 1


@pytest.mark.parametrize("communication_plans", [None, lists(x=["A"])])
@pytest.mark.parametrize("sims", [[], [("x", "GONE")]])
def test_a_fleet_without_priced_sims_has_no_groups(sims, communication_plans):
    grouping = grouped(fleet(*sims), [solo("A")], communication_plans)
    assert grouping.groups == ()
    assert grouping.unit_ids == ()
    assert list(iter_problems(grouping)) == []
    assert grouping.fleet.columns == [*FLEET_SCHEMA, "group_id", "unit_id"]


def test_without_any_plan_every_sim_is_unpriced():
    grouping = grouped(fleet(("x", "A")), [], None)
    assert grouping.groups == ()
    assert grouping.fleet["group_id"].to_list() == [None]


def test_sims_of_communication_plans_without_a_group_are_refused_by_name():
    frame = fleet(("x", "A"), ("empty", "A"), ("absent", "A"))
    with pytest.raises(DataError, match=r"2 SIMs are on .* 'absent', 'empty'; give these a list"):
        grouped(frame, [solo("A")], lists(x=["A"], empty=["GONE"]))


def test_a_communication_plan_that_stands_there_twice_is_refused():
    twice = [*lists(x=["A"]), *lists(x=["A"])]
    with pytest.raises(DataError, match="communication plan 'x' stands there twice"):
        grouped(fleet(("x", "A")), [solo("A")], twice)


def test_an_unsorted_fleet_is_refused():
    with pytest.raises(ValueError, match="sorted by ICCID"):
        grouped(fleet(("x", "A"), ("x", "A")).reverse(), [solo("A")], None)


def test_plans_that_cannot_be_billed_are_refused():
    with pytest.raises(InvalidRatePlansError, match="BAD: the overage block must be above 0"):
        grouped(fleet(("x", "A")), [solo("A"), solo("BAD", overage_block_bytes=0)], None)


def test_an_activation_after_the_cycle_is_refused():
    frame = fleet(("x", "A"), activated_date=[date(2024, 4, 1)])
    cycle = BillingCycle(start_date=date(2024, 3, 1), end_date=date(2024, 3, 31))
    with pytest.raises(ValueError, match="after the cycle's end"):
        grouped(frame, [solo("A")], None, cycle=cycle)


# --- V3: too many plans


def test_a_group_with_too_many_plans_is_fixed():
    plans = [solo(code) for code in "ABC"]
    grouping = grouped(
        fleet(("x", "A"), ("y", "B")),
        plans,
        lists(x=["A", "B", "C"], y=["A", "B"]),
        max_rate_plans=2,
    )
    assert {g.communication_plans: g.is_fixed for g in grouping.groups} == {
        ("x",): True,
        ("y",): False,
    }
    fixed = next(group for group in grouping.groups if group.is_fixed)
    problem = build_problem(grouping, fixed.unit_id, {fixed.group_id: [("A", "B")]})
    assert problem.groups[0].is_fixed
    assert problem.groups[0].sequences == ()
    assert problem.groups[0].eligible == (0, 1, 2)


# --- O11: solve units


def test_groups_on_individual_plans_are_units_of_their_own():
    grouping = grouped(
        fleet(("x", "A"), ("y", "A")), [solo("A"), solo("B")], lists(x=["A"], y=["A", "B"])
    )
    assert units_of(grouping) == {("x",): "U0001", ("y",): "U0002"}


def test_groups_that_may_reach_the_same_pooled_plan_are_one_unit():
    plans = [solo("A"), pooled("P"), solo("B"), solo("C")]
    grouping = grouped(
        fleet(("x", "A"), ("y", "B"), ("z", "C")), plans, lists(x="AP", y="BP", z="C")
    )
    assert units_of(grouping) == {("x",): "U0001", ("y",): "U0001", ("z",): "U0002"}


def test_a_present_plan_outside_the_list_joins_units_as_well():
    plans = [solo("A"), solo("B"), pooled("P")]
    apart = grouped(fleet(("x", "A"), ("y", "B")), plans, lists(x="A", y="BP"))
    joined = grouped(fleet(("x", "P"), ("y", "B")), plans, lists(x="A", y="BP"))
    assert len(apart.unit_ids) == 2
    assert len(joined.unit_ids) == 1


def test_pools_connect_through_other_groups():
    plans = [pooled(code) for code in "PQRS"]
    grouping = grouped(
        fleet(("w", "P"), ("x", "R"), ("y", "Q"), ("z", "S")),
        plans,
        lists(w="PQ", x="R", y="QR", z="S"),
    )
    assert units_of(grouping) == {
        ("w",): "U0001",
        ("y",): "U0001",
        ("x",): "U0001",
        ("z",): "U0002",
    }


def test_a_fixed_group_touches_only_the_pools_it_is_in():
    plans = [pooled("P"), pooled("Q"), solo("A")]
    grouping = grouped(
        fleet(("x", "P"), ("y", "P"), ("z", "Q")),
        plans,
        lists(x="PQA", y="P", z="Q"),
        max_rate_plans=2,
    )
    units = units_of(grouping)
    assert units["x",] == units["y",] != units["z",]


def test_under_group_scope_every_group_is_its_own_unit():
    grouping = grouped(
        fleet(("x", "P"), ("y", "P")),
        [pooled("P"), pooled("Q")],
        lists(x="P", y="PQ"),
        pool_scope=PoolScope.COMM_GROUP,
    )
    assert units_of(grouping) == {("x",): "U0001", ("y",): "U0002"}


def test_without_pooling_nothing_is_shared():
    grouping = grouped(
        fleet(("x", "P"), ("y", "P")),
        [pooled("P"), pooled("Q")],
        lists(x="P", y="PQ"),
        pooling_enabled=False,
    )
    assert len(grouping.unit_ids) == 2
    assert build_problem(grouping, "U0001").pool_of.tolist() == [[INDIVIDUAL]] * 2


def test_plans_of_one_pool_group_join_units_under_that_scope_only():
    plans = [pooled("P", pool_group="g"), pooled("Q", pool_group="g"), pooled("R", pool_group="")]
    frame = fleet(("x", "P"), ("y", "Q"), ("z", "R"))
    by_group = grouped(frame, plans, lists(x="P", y="Q", z="R"), pool_scope=PoolScope.POOL_GROUP)
    by_plan = grouped(frame, plans, lists(x="P", y="Q", z="R"))
    assert len(by_group.unit_ids) == 2
    assert len(by_plan.unit_ids) == 3
    problem = build_problem(by_group, "U0001")
    assert problem.pool_of.tolist() == [[0, 0], [0, 0], [1, 1]]
    assert problem.pool_tier_rate_micros[:, 0].tolist() == [7, 7]
    assert problem.pool_block_bytes.tolist() == [10, 10]


@pytest.mark.parametrize(
    "change",
    [{"overage_rate_micros": 8}, {"overage_block_bytes": 11}, {"overage_tiers": RISING[:1]}],
)
def test_a_pool_group_with_two_prices_is_refused_under_its_scope_only(change):
    plans = [
        pooled("P", pool_group="g"),
        solo("S", pool_group="g", **change),
        pooled("Q", pool_group="g", **change),
    ]
    with pytest.raises(DataError, match="'P' and 'Q' share the pool group 'g'"):
        grouped(fleet(("x", "P")), plans, None, pool_scope=PoolScope.POOL_GROUP)
    assert grouped(fleet(("x", "P")), plans, None).groups


def test_many_groups_on_many_pools_are_numbered_with_wide_enough_ids():
    """10,001 groups; a quadratic search for common pools would take minutes."""
    codes = [f"P{k:05d}" for k in range(10_001)]
    grouping = grouped(
        fleet(*[(f"x{k:05d}", code) for k, code in enumerate(codes)]),
        [pooled(code) for code in codes],
        [
            CommunicationPlan(name=f"x{k:05d}", rate_plan_codes=(code,))
            for k, code in enumerate(codes)
        ],
    )
    assert grouping.unit_ids[0] == "U0001"
    assert grouping.unit_ids[-2:] == ("U10000", "U10001")
    assert grouping.groups[-1].group_id == "G10001"
    (problem,) = iter_problems(grouping, unit_ids=["U10001"])
    assert problem.tariff.codes[problem.current[0]] == "P10000"
    assert [unit_id for unit_id, _ in unit_fleets(grouping)] == list(grouping.unit_ids)


# --- problems


def two_groups(**policy):
    """SIMs of two groups of one unit, interleaved with a third group and an unpriced SIM."""
    return grouped(
        fleet(
            ("y", "B"), ("x", "P"), ("z", "B"), ("w", "P"), ("x", "GONE"), ("y", "P"),
            usage=[10, 20, 30, 40, 50, 60],
            sms_count=[1, 2, 3, 4, 5, 6],
            voice_seconds=[7, 8, 9, 10, 11, 12],
            activated_date=[None, date(2024, 3, 30), None, date(2024, 1, 1), None, None],
        ),
        [solo("A"), pooled("P"), solo("B")],
        lists(w="AP", x="AP", y="PB", z="B"),
        **policy,
    )  # fmt: skip


def test_a_problem_holds_its_units_sims_in_iccid_order():
    cycle = BillingCycle(start_date=date(2024, 3, 1), end_date=date(2024, 3, 31))
    grouping = two_groups(cycle=cycle, charge_type=ChargeType.OVERAGE)
    problem = build_problem(grouping, "U0001")
    assert problem.unit_id == "U0001"
    assert [group.group_id for group in problem.groups] == ["G0001", "G0003"]
    assert [group.eligible for group in problem.groups] == [(0, 2), (1, 2)]
    assert problem.usage_bytes.tolist() == [10, 20, 40, 60]
    assert problem.sms_count.tolist() == [1, 2, 4, 6]
    assert problem.voice_seconds.tolist() == [7, 8, 10, 12]
    assert problem.day_class.tolist() == [31, 2, 31, 31]
    assert problem.group.tolist() == [1, 0, 0, 1]
    assert problem.comm_plan.tolist() == [2, 1, 0, 2]
    assert problem.current.tolist() == [1, 2, 2, 2]
    assert problem.pool_of.tolist() == [[-1, -1], [-1, -1], [0, 0]]
    assert problem.charge_type is ChargeType.OVERAGE
    assert {problem.group.dtype.name, problem.comm_plan.dtype.name} == {"int32"}
    assert {problem.current.dtype.name, problem.pool_of.dtype.name} == {"int32"}


def test_rows_of_a_unit_are_those_of_its_problem():
    grouping = two_groups()
    rows = dict(unit_fleets(grouping))
    assert rows["U0001"]["iccid"].to_list() == ["1", "2", "4", "6"]
    assert rows["U0002"]["iccid"].to_list() == ["3"]
    for problem in iter_problems(grouping):
        assert rows[problem.unit_id]["usage_bytes"].to_list() == problem.usage_bytes.tolist()
    assert [unit_id for unit_id, _ in unit_fleets(grouping, ["U0002"])] == ["U0002"]
    assert list(unit_fleets(grouping, [])) == []


def test_communication_plans_are_ranked_within_their_unit():
    """The first and last of forty names are ranks 0 and 1 of their unit."""
    names = [f"x{k:02d}" for k in range(40)]
    codes = {name: "P" if name in {"x00", "x39"} else "A" for name in names}
    grouping = grouped(
        fleet(*codes.items()),
        [solo("A"), pooled("P"), solo("B")],
        lists(**{name: code + "B" * (name == "x39") for name, code in codes.items()}),
    )
    unit_id = units_of(grouping)["x00",]
    problem = build_problem(grouping, unit_id)
    assert problem.comm_plan.tolist() == [0, 1]
    assert problem.group.tolist() == [1, 0]  # "B", "P" comes before "P"
    others = build_problem(grouping, next(u for u in grouping.unit_ids if u != unit_id))
    assert sorted(others.comm_plan.tolist()) == list(range(38))


def test_rows_stay_in_iccid_order_in_large_units():
    n_sims = 20_000
    frame = fleet(*[(f"x{k * k % 7 % 3}", "A") for k in range(n_sims)]).sort("iccid")
    grouping = grouped(frame, [solo("A"), solo("B"), solo("C")], lists(x0="A", x1="AB", x2="ABC"))
    for _, rows in unit_fleets(grouping):
        assert rows["iccid"].is_sorted()


def test_an_unknown_unit_is_refused():
    with pytest.raises(KeyError, match="no solve unit 'U0009'"):
        build_problem(two_groups(), "U0009")


def test_sequences_go_to_their_group_as_plan_numbers_in_their_order():
    grouping = two_groups()
    problem = build_problem(grouping, "U0001", {"G0001": [("P", "A"), ("A",)], "G0002": [("B",)]})
    assert problem.groups[0].sequences == ((2, 0), (0,))
    assert problem.groups[1].sequences == ()


@pytest.mark.parametrize(
    ("sequence", "words"),
    [
        (("P", "B"), "sequence P;B of group G0001 names 'B', which its list lacks"),
        (("P", "P"), "sequence P;P of group G0001 names a plan twice"),
    ],
)
def test_a_sequence_outside_the_list_is_refused(sequence, words):
    with pytest.raises(DataError, match=words):
        build_problem(two_groups(), "U0001", {"G0001": [sequence]})


@settings(max_examples=60, deadline=None)
@given(
    sims=st.lists(
        st.tuples(st.sampled_from("vwxyz"), st.sampled_from("APQRB"), st.integers(0, 300)),
        max_size=12,
    ),
    order=st.randoms(use_true_random=False),
)
def test_row_and_plan_order_change_nothing(sims, order):
    plans = [solo("A"), solo("B"), pooled("P"), pooled("Q"), pooled("R")]
    plan_lists = lists(v="AP", w="PQ", x="R", y="BR", z="AB")
    frame = fleet(*[sim[:2] for sim in sims], usage=pl.Series([s[2] for s in sims], dtype=pl.Int64))
    expected = grouped(frame, plans, plan_lists)
    for items in (plans, plan_lists):
        order.shuffle(items)
    rows = list(range(frame.height))
    order.shuffle(rows)
    again = grouped(normalise_fleet(frame[rows]), plans, plan_lists)
    assert again.groups == expected.groups
    assert again.fleet.equals(expected.fleet)
    costs = [total_cost(problem, problem.current) for problem in iter_problems(expected)]
    assert [total_cost(problem, problem.current) for problem in iter_problems(again)] == costs


# --- B1: ranges


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("usage", MAX_USAGE_BYTES + 1),
        ("usage", -1),
        ("sms_count", -1),
        ("sms_count", (1 << 31) + 1),
        ("voice_seconds", -1),
    ],
)
def test_a_sim_out_of_range_is_named(column, value):
    frame = fleet(("x", "A"), ("x", "A"), **{column: [0, value]})
    with pytest.raises(DataError, match=f"of SIM 2 is {value}: allowed are 0 to"):
        grouped(frame, [solo("A")], None)


def test_a_cost_that_may_leave_64_bits_is_refused():
    dear = solo("DEAR", overage_rate_micros=MAX_PRICE_MICROS, overage_block_bytes=1)
    frame = fleet(("x", "A"), ("y", "A"), usage=[1 << 26, 5])
    with pytest.raises(DataError, match=r"the cost of this fleet .* group G0002 .* 'DEAR'"):
        grouped(frame, [solo("A"), dear], lists(x=["A", "DEAR"], y=["A"]))
    assert grouped(frame, [solo("A"), dear], lists(x=["A"], y=["A", "DEAR"])).groups


@pytest.mark.parametrize(
    ("price", "count"),
    [("sms_rate_micros", "sms_count"), ("voice_rate_micros", "voice_seconds")],
)
def test_messages_count_towards_the_largest_cost(price, count):
    frame = fleet(*[("x", "A")] * 2, **{count: [1 << 31] * 2})
    with pytest.raises(DataError, match="the cost of this fleet may reach"):
        grouped(frame, [solo("A", **{price: MAX_PRICE_MICROS})], None)
    assert grouped(frame, [solo("A", **{price: 1})], None).groups


def test_usage_that_does_not_add_up_within_64_bits_is_refused():
    """The sum of 8,192 largest usages is 2**63, which int64 would show as negative."""
    cheap = solo("A", overage_rate_micros=1, overage_block_bytes=MAX_USAGE_BYTES)
    frame = fleet(*[("x", "A")] * 8192, usage=[MAX_USAGE_BYTES] * 8192).sort("iccid")
    with pytest.raises(DataError, match=f"the usage of this fleet may reach {1 << 63} bytes"):
        grouped(frame, [cheap], None)


def test_pooled_allowance_that_does_not_add_up_within_64_bits_is_refused():
    frame = fleet(*[("x", "A")] * 4096).sort("iccid")
    vast = {"included_bytes": MAX_USAGE_BYTES}
    with pytest.raises(DataError, match=r"pooled allowance .* with rate plan 'P'"):
        grouped(frame, [solo("A"), pooled("P", **vast)], None)
    assert grouped(frame, [solo("A"), solo("P", **vast)], None).groups


def test_plans_of_a_pool_group_share_their_tiers_and_are_told_where_they_differ():
    """Tiers from 21 and 25 both begin with the block at 30, and so are the same (B8)."""
    same = (RISING[0], OverageTier(from_bytes=21, rate_micros=20))
    plans = [pooled("P", pool_group="g", overage_tiers=RISING)]
    frame = fleet(("x", "P"), ("x", "P"), usage=[240, 0])
    scope = {"pool_scope": PoolScope.POOL_GROUP}
    twin = pooled("Q", pool_group="g", overage_tiers=same)
    (problem,) = iter_problems(grouped(frame, [*plans, twin], None, **scope))
    assert problem.pool_tier_from_block.tolist() == [[0, 1, 3]]
    assert total_cost(problem, problem.current) == 2_000 + 7 + 9 + 9 + 20
    with pytest.raises(
        DataError,
        match=r"rate, block and tiers: 7 micro-units for 10 bytes, 9 from block 2 on, 20 from "
        r"block 4 on, and 7 micro-units for 10 bytes; correct one",
    ):
        grouped(frame, [*plans, pooled("Q", pool_group="g")], None, **scope)


def test_the_dearest_tier_counts_towards_the_largest_cost():
    """At the first rate 2**49 bytes cost 2**49, at the tier's 2**62."""
    tiers = (OverageTier(from_bytes=1, rate_micros=1 << 13),)
    plan = solo("A", monthly_rate_micros=0, overage_rate_micros=1, overage_block_bytes=1)
    frame = fleet(("x", "A"), usage=[1 << 49])
    assert grouped(frame, [plan], None).groups
    with pytest.raises(DataError, match="the cost of this fleet may reach"):
        grouped(frame, [replace(plan, overage_tiers=tiers)], None)


@settings(max_examples=200, deadline=None)
@given(
    usages=st.lists(st.integers(0, 99), min_size=1, max_size=5),
    first=st.integers(1, 9),
    block=st.integers(1, 12),
    rising=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=3),
    is_pooled=st.booleans(),
)
def test_no_bill_is_above_the_bound_that_ranges_are_checked_with(
    usages, first, block, rising, is_pooled
):
    rates = {volume: first + sum(step for v, step in rising if v <= volume) for volume, _ in rising}
    tiers = tuple(OverageTier(from_bytes=v, rate_micros=rates[v]) for v in sorted(rates))
    plan = solo(
        "A", included_bytes=0, overage_rate_micros=first, overage_block_bytes=block,
        overage_tiers=tiers, is_pooled=is_pooled,
    )  # fmt: skip
    frame = fleet(*[("x", "A")] * len(usages), usage=usages)
    grouping = grouped(frame, [plan], None)
    (problem,) = iter_problems(grouping)
    use = GroupUse(
        group_id="G0001", devices=len(usages), usage_bytes=sum(usages), sms_count=0,
        voice_minutes=0, current=(0,), eligible=(0,),
    )  # fmt: skip
    bound, _ = _dearest(grouping.tariff, use)
    assert total_cost(problem, problem.current) <= bound


# --- O8, O11: locks and limits


def constrained(frame, plans, communication_plans, constraints=None, **policy):
    return group_fleet(
        frame, plans, communication_plans, BillingPolicy(**policy),
        max_rate_plans=3, constraints=constraints,
    )  # fmt: skip


def test_sims_are_locked_by_the_fleet_and_by_the_constraints():
    frame = fleet(("x", "A"), ("x", "A"), ("x", "GONE"), is_locked=[True, False, False])
    asked = Constraints(locked=frozenset({"2", "3", "9"}))
    grouping = constrained(frame, [solo("A"), solo("B")], None, asked)
    assert grouping.fleet["is_locked"].to_list() == [True] * 3
    assert build_problem(grouping, "U0001").is_locked.tolist() == [True, True]
    again = constrained(frame, [solo("A"), solo("B")], None)
    assert build_problem(again, "U0001").is_locked.tolist() == [True, False]


def test_groups_with_a_way_to_a_limited_plan_are_one_unit():
    """x may get L, y has a SIM on it, z has it listed but is skipped, and w has it nowhere."""
    plans = [solo(code) for code in "ABCD"] + [solo("L", max_devices=2)]
    grouping = constrained(
        fleet(("x", "A"), ("y", "L"), ("z", "A"), ("w", "B")),
        plans,
        lists(x="AL", y="B", z="ABCL", w="BC"),
    )
    assert [group.is_fixed for group in grouping.groups] == [True, False, False, False]
    units = units_of(grouping)
    assert units["x",] == units["y",]
    assert len(set(units.values())) == 3
    alone = constrained(
        fleet(("x", "A"), ("y", "B")), [*plans[:-1], solo("L")], lists(x="AL", y="BL")
    )
    assert len(set(units_of(alone).values())) == 2


def test_a_skipped_group_counts_where_its_sims_are_on_the_limited_plan():
    plans = [solo(code) for code in "ABC"] + [solo("L", min_devices=1)]
    grouping = constrained(
        fleet(("x", "A"), ("z", "L"), ("w", "L")), plans, lists(x="AL", z="ABCL", w="A")
    )
    assert set(units_of(grouping).values()) == {"U0001"}
    problem = build_problem(grouping, "U0001")
    assert problem.min_sims.tolist() == [0, 0, 0, 1]
    assert problem.max_sims.tolist() == [NO_LIMIT] * 4


def test_limits_of_the_constraints_replace_those_of_the_catalogue():
    plans = [
        solo("A", max_devices=1),
        solo("B", min_devices=1, max_devices=9),
        solo("C", min_devices=0),
    ]
    limits = {"B": PlanLimit(max_devices=5), "C": PlanLimit(min_devices=0)}
    asked = Constraints(plans=limits, min_saving_per_change_micros=7, min_saving_micros=8)
    grouping = constrained(fleet(("x", "A")), plans, None, asked)
    assert grouping.constraints.plans == {
        "A": PlanLimit(max_devices=1),
        "B": PlanLimit(max_devices=5),
    }
    problem = build_problem(grouping, "U0001")
    assert problem.min_sims.tolist() == [0, 0, 0]
    assert problem.max_sims.tolist() == [1, 5, NO_LIMIT]
    assert problem.min_saving_per_change_micros == 7
    assert problem.max_changes is None


def test_a_limit_of_changes_joins_all_groups():
    frame = fleet(("x", "A"), ("y", "B"), ("z", "A"))
    plan_lists = lists(x="A", y="B", z="AB")
    asked = Constraints(max_changes=0)
    grouping = constrained(frame, [solo("A"), solo("B")], plan_lists, asked)
    assert grouping.unit_ids == ("U0001",)
    assert build_problem(grouping, "U0001").max_changes == 0
    assert len(constrained(frame, [solo("A"), solo("B")], plan_lists).unit_ids) == 3


def test_another_units_plan_is_not_limited_in_this_one():
    plans = [solo("A"), solo("B", min_devices=1)]
    grouping = constrained(fleet(("x", "A"), ("y", "B")), plans, lists(x="A", y="B"))
    first, second = iter_problems(grouping)
    assert [first.min_sims.tolist(), second.min_sims.tolist()] == [[0, 0], [0, 1]]


def test_limits_join_groups_without_joining_their_pools():
    """Two groups of one plan: under the scope of groups each has 100 bytes and 5 of overage."""
    frame = fleet(("x", "P"), ("y", "P"), usage=[140, 60])
    plan_lists = lists(x="P", y="PQ")
    scope = {"pool_scope": PoolScope.COMM_GROUP}
    joined = constrained(
        frame, [pooled("P"), pooled("Q")], plan_lists, Constraints(max_changes=1), **scope
    )
    problem = build_problem(joined, "U0001")
    assert problem.pool_of.tolist() == [[0, 2], [1, 3]]
    assert len(problem.pool_block_bytes) == len(problem.pool_tier_from_block) == 4
    apart = constrained(frame, [pooled("P"), pooled("Q")], plan_lists, **scope)
    assert total_cost(problem, problem.current) == 2_000 + 4 * 7
    assert sum(total_cost(part, part.current) for part in iter_problems(apart)) == 2_028


def test_a_plan_that_needs_sims_and_that_nobody_may_get_is_named():
    plans = [solo("A"), solo("OFF", is_active=False, min_devices=1)]
    with pytest.raises(InfeasibleError, match="'OFF': min is 1, but no SIM has this plan or may"):
        constrained(fleet(("x", "A")), plans, None)
    assert constrained(fleet(("x", "OFF")), plans, None).groups
    with pytest.raises(InfeasibleError, match="'A': min is 1, but no SIM"):
        constrained(fleet(), [solo("A", min_devices=1)], None)


def test_a_limit_for_a_plan_outside_the_catalogue_is_refused():
    asked = Constraints(plans={"Z": PlanLimit(max_devices=1)})
    with pytest.raises(DataError, match="a limit for rate plan 'Z', which is not in the catalogue"):
        constrained(fleet(("x", "A")), [solo("A")], None, asked)
