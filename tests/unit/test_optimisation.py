from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from core import optimisation
from core.assembly import assemble, assignments_of, unit_assignments
from core.billing.bill import bill
from core.domain import (
    BillingCycle,
    BillingPolicy,
    ChargeType,
    CommunicationPlan,
    PoolScope,
    RatePlan,
    SolveStatus,
    Strategy,
)
from core.errors import CarrierOptError, CheckFailedError
from core.fleet import normalise_fleet
from core.grouping import build_problem, group_fleet, iter_problems
from core.optimisation import fleet_sequences, optimise_fleet, solve_unit
from core.optimiser.result import SolveParams
from core.outcome import ASSIGNMENT_SCHEMA

FEBRUARY = BillingCycle(start_date=date(2026, 2, 1), end_date=date(2026, 2, 28))


def plan(code, fee, included, *, is_pooled):
    return RatePlan(
        code=code,
        monthly_rate_micros=fee,
        included_bytes=included,
        overage_rate_micros=3,
        overage_block_bytes=2,
        is_pooled=is_pooled,
        is_prorated=True,
    )


CATALOGUE = [
    plan("I1", 100, 10, is_pooled=False),
    plan("I2", 200, 90, is_pooled=False),
    plan("P1", 100, 10, is_pooled=True),
    plan("P2", 180, 60, is_pooled=True),
    plan("P3", 250, 99, is_pooled=True),
    plan("Q1", 120, 20, is_pooled=True),
]
COMM_PLANS = [
    CommunicationPlan(name="alarm", rate_plan_codes=("I1", "I2")),
    CommunicationPlan(name="meter", rate_plan_codes=("P1", "P2")),
    CommunicationPlan(name="pump", rate_plan_codes=("P2", "P1")),
    CommunicationPlan(name="truck", rate_plan_codes=("P2", "P3")),
    CommunicationPlan(name="ship", rate_plan_codes=("I1", "I2", "P1", "P2", "P3", "Q1")),
    CommunicationPlan(name="valve", rate_plan_codes=("Q1",)),
]


def make_fleet(n=240, seed=5):
    rng = np.random.default_rng(seed)
    names = [plan.name for plan in COMM_PLANS]
    codes = [plan.code for plan in CATALOGUE]
    usage = np.where(rng.random(n) < 0.3, 0, rng.lognormal(3, 1.5, n)).astype(np.int64)
    activated = [None if k % 4 else date(2026, 2, 1 + k % 28) for k in range(n)]
    return normalise_fleet(
        pl.DataFrame(
            {
                "iccid": [f"{k:05d}" for k in rng.permutation(n)],
                "communication_plan": rng.choice(names, n),
                "rate_plan": ["GONE" if k % 50 == 7 else codes[k % len(codes)] for k in range(n)],
                "usage_bytes": usage,
                "activated_date": activated,
            },
            schema_overrides={"activated_date": pl.Date},
        )
    )


POLICY = BillingPolicy(cycle=FEBRUARY, pool_scope=PoolScope.COMM_GROUP)


def optimise(fleet, policy=POLICY, *, workers=1, max_rate_plans=5, on_progress=None):
    return optimise_fleet(
        fleet, CATALOGUE, COMM_PLANS, policy, SolveParams(),
        max_rate_plans=max_rate_plans, max_sequences=64, workers=workers, on_progress=on_progress,
    )  # fmt: skip


def grouped(fleet, policy=POLICY):
    grouping = group_fleet(fleet, CATALOGUE, COMM_PLANS, policy, max_rate_plans=5)
    problems = list(iter_problems(grouping, fleet_sequences(grouping, 64)))
    return grouping, problems, [solve_unit(problem, SolveParams()) for problem in problems]


@pytest.mark.parametrize("scope", list(PoolScope))
@pytest.mark.parametrize("charge_type", list(ChargeType))
def test_sims_add_up_to_groups_groups_to_units_and_units_to_totals(scope, charge_type):
    policy = BillingPolicy(cycle=FEBRUARY, pool_scope=scope, charge_type=charge_type)
    outcome = optimise(make_fleet(), policy)
    rows = outcome.assignments
    for side, cost in (("current", "baseline"), ("recommended", "optimized")):
        for part, column in (("objective", "cost"), ("rate", "rate"), ("overage", "overage")):
            name = f"{side}_{column}_micros"

            def total(entry, cost=cost, part=part):
                return getattr(getattr(entry, cost), f"{part}_micros")

            assert sum(total(group) for group in outcome.groups) == total(outcome)
            assert sum(total(unit) for unit in outcome.units) == total(outcome)
            assert rows[name].sum() == total(outcome)
            for group in outcome.groups:
                assert rows.filter(group_id=group.group_id)[name].sum() == total(group)
            for unit in outcome.units:
                assert rows.filter(unit_id=unit.unit_id)[name].sum() == total(unit)
    assert rows["savings_micros"].sum() == outcome.savings_micros >= 0
    assert outcome.optimized.objective_micros <= outcome.legacy_best_cost_micros


def test_every_sim_has_one_row_in_the_columns_of_the_schema():
    fleet = make_fleet()
    outcome = optimise(fleet)
    assert dict(outcome.assignments.schema) == ASSIGNMENT_SCHEMA
    assert outcome.assignments["iccid"].equals(fleet["iccid"])
    assert outcome.devices == fleet.height
    assert sum(group.devices for group in outcome.groups) == fleet.height - outcome.unpriced


def test_a_sim_whose_plan_is_unknown_keeps_it_and_costs_nothing_known():
    outcome = optimise(make_fleet())
    rows = outcome.assignments.filter(pl.col("current_rate_plan") == "GONE")
    assert outcome.unpriced == rows.height > 0
    assert set(rows["reason"]) == {"unpriced"}
    assert (rows["recommended_rate_plan"] == "GONE").all()
    empty = [name for name in ASSIGNMENT_SCHEMA if name.endswith("_micros")] + [
        "group_id",
        "unit_id",
        "next_best_rate_plan",
    ]
    assert rows.select(empty).null_count().row(0) == (rows.height,) * len(empty)
    assert rows["active_days"].null_count() == 0


def test_a_group_with_too_many_plans_is_skipped_and_reported_as_constant():
    outcome = optimise(make_fleet())
    (group,) = (g for g in outcome.groups if "ship" in g.communication_plans)
    assert group.status == "skipped"
    assert group.strategy is Strategy.CURRENT_ASSIGNMENT
    assert group.baseline == group.optimized
    rows = outcome.assignments.filter(group_id=group.group_id)
    assert set(rows["reason"]) == {"too_many_rate_plans"}
    assert rows["next_best_rate_plan"].null_count() == rows.height
    assert rows["next_best_reduced_cost_micros"].null_count() == rows.height
    assert (rows["recommended_rate_plan"] == rows["current_rate_plan"]).all()


def test_reasons_and_changes_agree():
    outcome = optimise(make_fleet())
    rows = outcome.assignments
    changed = rows.filter(pl.col("reason").is_in(["changed", "changed_for_unit"]))
    assert (changed["recommended_rate_plan"] != changed["current_rate_plan"]).all()
    kept = rows.filter(pl.col("reason") == "kept")
    assert (kept["recommended_rate_plan"] == kept["current_rate_plan"]).all()
    assert changed.height == outcome.plan_changes == sum(g.plan_changes for g in outcome.groups)
    assert {g.status for g in outcome.groups if g.plan_changes} == {"optimised"}
    saves = changed["savings_micros"] > 0
    assert saves.any()
    assert not saves.all()  # pools
    assert (saves == (changed["reason"] == "changed")).all()


def test_a_group_that_changes_nothing_is_unchanged():
    fleet = normalise_fleet(
        pl.DataFrame(
            {
                "iccid": ["1"],
                "communication_plan": ["alarm"],
                "rate_plan": ["I1"],
                "usage_bytes": [1],
            }
        )
    )
    outcome = optimise(fleet)
    assert [group.status for group in outcome.groups] == ["unchanged"]
    assert outcome.units[0].status is SolveStatus.OPTIMAL


def test_active_days_are_empty_without_cycle_dates():
    outcome = optimise(make_fleet(), BillingPolicy())
    assert outcome.assignments["active_days"].null_count() == outcome.devices
    days = optimise(make_fleet()).assignments["active_days"]
    assert (days.min(), days.max(), days.null_count()) == (4, 28, 0)  # activated on the 25th


def test_communication_plans_with_the_same_plans_are_one_group():
    outcome = optimise(make_fleet())
    assert ("meter", "pump") in [group.communication_plans for group in outcome.groups]


def test_processes_give_the_same_outcome_as_one():
    fleet = make_fleet()
    seen = []
    alone = optimise(fleet)
    parallel = optimise(
        fleet, workers=2, on_progress=lambda done, total: seen.append((done, total))
    )
    assert_frame_equal(alone.assignments, parallel.assignments)
    nothing = pl.DataFrame()
    assert (
        replace(alone, assignments=nothing).groups == replace(parallel, assignments=nothing).groups
    )
    assert alone.units == parallel.units
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (len(alone.units), len(alone.units))


def test_progress_is_told_unit_by_unit():
    seen = []
    outcome = optimise(make_fleet(), on_progress=lambda done, total: seen.append((done, total)))
    n = len(outcome.units)
    assert seen == [(k, n) for k in range(1, n + 1)]


def test_an_empty_fleet_has_an_empty_outcome():
    outcome = optimise(make_fleet().head(0), workers=2)
    assert (outcome.devices, outcome.units, outcome.groups) == (0, (), ())
    assert dict(outcome.assignments.schema) == ASSIGNMENT_SCHEMA
    assert outcome.lower_bound_micros is outcome.legacy_best_cost_micros is None


def test_the_bound_of_the_fleet_is_that_of_its_units_together():
    outcome = optimise(make_fleet())
    bounds = [unit.lower_bound_micros for unit in outcome.units]
    assert len(bounds) > 1
    assert outcome.lower_bound_micros == sum(bounds) <= outcome.optimized.objective_micros
    for unit in outcome.units:
        assert 0 < unit.lower_bound_micros <= unit.optimized.objective_micros


def test_the_bound_of_the_fleet_is_unknown_while_a_unit_has_none():
    grouping, _, (first, *others) = grouped(make_fleet())
    unknown = replace(first.result, lower_bound_micros=None, certificate=None)
    solutions = [replace(first, result=unknown), *others]
    outcome = assemble(grouping, solutions, assignments_of(grouping, solutions))
    assert outcome.lower_bound_micros is None
    assert [unit.lower_bound_micros is None for unit in outcome.units].count(True) == 1


def test_groups_without_pooled_plans_and_fixed_groups_get_no_sequences():
    grouping, _, _ = grouped(make_fleet())
    sequences = fleet_sequences(grouping, 3)
    with_sequences = {g.communication_plans for g in grouping.groups if g.group_id in sequences}
    assert with_sequences == {("meter", "pump"), ("truck",), ("valve",)}
    assert {len(found) for found in sequences.values()} == {1, 3}


def test_one_unit_gives_the_rows_that_all_units_together_give():
    grouping, problems, solutions = grouped(make_fleet())
    rows = assignments_of(grouping, solutions[::-1])
    one = unit_assignments(grouping, problems[1], solutions[1])
    assert_frame_equal(one, rows.filter(unit_id=problems[1].unit_id))
    with pytest.raises(ValueError, match="is none of"):
        unit_assignments(grouping, problems[0], solutions[1])


def test_an_outcome_needs_every_unit_and_row():
    grouping, _, solutions = grouped(make_fleet())
    rows = assignments_of(grouping, solutions)
    with pytest.raises(ValueError, match="needs all"):
        assemble(grouping, solutions[1:], rows)
    with pytest.raises(ValueError, match="needs all"):
        assemble(grouping, solutions, rows.head(-1))


def test_a_solution_survives_the_way_between_processes():
    _, problems, solutions = grouped(make_fleet())
    problem = pickle.loads(pickle.dumps(problems[0]))  # noqa: S301 (our own bytes)
    again = pickle.loads(pickle.dumps(solve_unit(problem, SolveParams())))  # noqa: S301
    assert (again.result.assignment == solutions[0].result.assignment).all()
    assert (again.baseline.rate_micros == solutions[0].baseline.rate_micros).all()


def test_bills_that_do_not_add_up_to_the_cost_are_an_error(monkeypatch):
    grouping, _, _ = grouped(make_fleet())
    problem = build_problem(grouping, "U0001", fleet_sequences(grouping, 64))
    today = bill(problem, problem.current)
    monkeypatch.setattr(optimisation, "bill", lambda problem, assignment: today)
    with pytest.raises(CarrierOptError, match="add up to"):
        solve_unit(problem, SolveParams())


def test_an_answer_whose_certificate_does_not_prove_it_is_an_error(monkeypatch):
    grouping, _, _ = grouped(make_fleet())
    problem = build_problem(grouping, "U0001", fleet_sequences(grouping, 64))
    wrong = replace(solve_unit(problem, SolveParams()).result, cost_micros=1)
    monkeypatch.setattr(optimisation, "solve", lambda problem, params: wrong)
    with pytest.raises(CheckFailedError, match="cost is 1 micro-units"):
        solve_unit(problem, SolveParams())
