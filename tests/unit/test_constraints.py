"""Constraints from a fleet to its outcome (O8)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from core import optimisation
from core.domain import (
    BillingPolicy,
    CommunicationPlan,
    Constraints,
    PlanLimit,
    PoolScope,
    RatePlan,
    SolveStatus,
    Strategy,
)
from core.errors import CarrierOptError, InfeasibleError
from core.fleet import normalise_fleet
from core.grouping import build_problem, group_fleet
from core.optimisation import optimise_fleet, solve_unit
from core.optimiser import candidates
from core.optimiser.individual import is_separable
from core.optimiser.result import SolveParams
from core.reports.constraint_remarks import constraint_remarks, why_unchanged


def plan(code, fee, included, *, is_pooled=False, **limits):
    """Overage costs 1 micro-unit per byte."""
    return RatePlan(
        code=code, monthly_rate_micros=fee, included_bytes=included, overage_rate_micros=1,
        overage_block_bytes=1, is_pooled=is_pooled, **limits,
    )  # fmt: skip


PLANS = [plan("A", 10, 10), plan("B", 20, 40)]


def fleet(*sims):
    """SIMs 1, 2, ... as (plan, usage), or as (plan, usage, True) where locked."""
    return normalise_fleet(
        pl.DataFrame(
            {
                "iccid": [str(k + 1) for k in range(len(sims))],
                "communication_plan": ["x"] * len(sims),
                "rate_plan": [sim[0] for sim in sims],
                "usage_bytes": [sim[1] for sim in sims],
                "is_locked": [len(sim) > 2 for sim in sims],
            }
        )
    )


DEAR = fleet(("B", 0), ("B", 5), ("B", 6), ("A", 35))
"""Each of the first three saves 10 on A, the last saves 15 on B."""


def optimise(frame, constraints=None, plans=PLANS, *, workers=1):
    return optimise_fleet(
        frame, plans, None, BillingPolicy(), SolveParams(),
        max_rate_plans=9, max_sequences=9, workers=workers, constraints=constraints,
    )  # fmt: skip


def problem_of(frame, constraints=None, plans=PLANS):
    grouping = group_fleet(
        frame, plans, None, BillingPolicy(), max_rate_plans=9, constraints=constraints
    )
    return build_problem(grouping, "U0001")


def chosen(outcome):
    return outcome.assignments["recommended_rate_plan"].to_list()


@pytest.mark.parametrize("is_pooled", [False, True])
def test_locked_sims_keep_their_plan_with_that_as_the_reason(is_pooled):
    plans = [plan("A", 10, 10, is_pooled=is_pooled), plan("B", 20, 40, is_pooled=is_pooled)]
    frame = fleet(("B", 0, True), ("B", 5), ("B", 6))
    outcome = optimise(frame, Constraints(locked=frozenset({"3"})), plans)
    assert chosen(outcome) == ["B", "A", "B"]
    assert outcome.assignments["reason"].to_list() == ["locked", "changed", "locked"]
    assert outcome.assignments["locked"].to_list() == [True, False, True]
    assert outcome.assignments["next_best_rate_plan"].to_list() == [None, "B", None]
    assert outcome.legacy_best_cost_micros == 50
    assert chosen(optimise(frame, None, plans)) == ["B", "A", "A"]


def test_a_group_of_locked_sims_is_unchanged():
    outcome = optimise(fleet(("B", 0, True), ("B", 5, True)))
    assert outcome.groups[0].status == "unchanged"
    assert outcome.groups[0].strategy is Strategy.CURRENT_ASSIGNMENT


def test_a_sim_changes_only_for_the_least_saving_per_change():
    assert chosen(optimise(DEAR, Constraints(min_saving_per_change_micros=10))) == list("AAAB")
    assert chosen(optimise(DEAR, Constraints(min_saving_per_change_micros=11))) == list("BBBB")
    assert chosen(optimise(DEAR, Constraints(min_saving_per_change_micros=16))) == list("BBBA")


def next_best(outcome):
    return outcome.assignments.select("next_best_rate_plan", "next_best_reduced_cost_micros").rows()


def test_a_sim_that_may_change_for_too_little_shows_what_it_would_save():
    assert next_best(optimise(DEAR)) == [("B", 10), ("B", 10), ("B", 10), ("A", 15)]
    outcome = optimise(DEAR, Constraints(min_saving_per_change_micros=11))
    assert next_best(outcome) == [("A", -10), ("A", -10), ("A", -10), ("A", 15)]


def test_a_change_that_a_limit_asks_for_is_told_apart():
    limits = Constraints(plans={"A": PlanLimit(min_devices=2)})
    plans = [*PLANS, plan("POOL", 1000, 0, is_pooled=True)]
    outcome = optimise(fleet(("B", 20), ("B", 0), ("B", 35)), limits, plans)
    assert chosen(outcome) == ["A", "A", "B"]
    assert outcome.assignments["reason"].to_list() == ["changed_for_unit", "changed", "kept"]


def test_a_run_that_saves_too_little_changes_nothing():
    assert chosen(optimise(DEAR, Constraints(min_saving_micros=45))) == list("AAAB")
    outcome = optimise(DEAR, Constraints(min_saving_micros=46))
    assert chosen(outcome) == list("BBBA")
    assert outcome.dropped_savings_micros == 45
    assert next_best(outcome) == [("A", -10), ("A", -10), ("A", -10), ("B", -15)]
    assert outcome.savings_micros == outcome.plan_changes == 0
    assert outcome.groups[0].status == "unchanged"
    assert outcome.units[0].strategy is Strategy.CURRENT_ASSIGNMENT
    assert outcome.units[0].status is SolveStatus.FEASIBLE
    assert outcome.assignments["reason"].unique().to_list() == ["kept"]


def test_a_run_without_savings_to_drop_drops_none():
    outcome = optimise(fleet(("A", 0)), Constraints(min_saving_micros=1))
    assert outcome.dropped_savings_micros is None
    assert outcome.units[0].status is SolveStatus.OPTIMAL


def test_too_small_a_saving_is_refused_where_the_present_plans_violate_a_limit(monkeypatch):
    """One SIM must leave B, which saves 10."""
    monkeypatch.setattr(optimisation, "solve", _moving_the_first_sim)
    asked = Constraints(plans={"B": PlanLimit(max_devices=2)}, min_saving_micros=10)
    assert chosen(optimise(DEAR, asked)) == list("ABBA")
    with pytest.raises(
        InfeasibleError, match=r"min_saving is 0\.000011, the changes found save 0\.0"
    ):
        optimise(DEAR, replace(asked, min_saving_micros=11))


def _moving_the_first_sim(problem, params):
    """Its answer instead of a solver's, with the solver's bound."""
    assignment = problem.current.copy()
    assignment[0] = 0
    result = optimisation_solve(problem, params)
    cost = result.baseline_cost_micros - 10
    certificate = replace(result.certificate, cost_micros=cost)
    return replace(result, assignment=assignment, cost_micros=cost, certificate=certificate)


optimisation_solve = optimisation.solve


def test_an_answer_that_violates_a_constraint_is_never_used(monkeypatch):
    monkeypatch.setattr(optimisation, "solve", _moving_the_first_sim)
    problem = problem_of(DEAR, Constraints(locked=frozenset({"1"})))
    with pytest.raises(CarrierOptError, match=r"violates a constraint .* row 0 .* may not get"):
        solve_unit(problem, SolveParams())


@pytest.mark.parametrize("workers", [1, 2])
def test_constraints_that_cannot_be_kept_are_named(workers):
    asked = Constraints(plans={"A": PlanLimit(min_devices=5)})
    with pytest.raises(InfeasibleError, match="'A': min is 5, but only 4 SIMs have it or may"):
        optimise(DEAR, asked, workers=workers)


@pytest.mark.parametrize("is_pooled", [False, True])
@pytest.mark.parametrize("n", [4, 40])
def test_limits_that_ask_for_changes_without_the_least_saving_are_named(n, is_pooled):
    """All are on A, where none saves 50 by leaving."""
    plans = [plan("A", 10, 10, is_pooled=is_pooled), plan("B", 20, 40, is_pooled=is_pooled)]
    frame = fleet(*[("A", k % 50) for k in range(n)])
    asked = Constraints(plans={"A": PlanLimit(max_devices=1)}, min_saving_per_change_micros=50)
    words = r"min_saving_per_change is 0\.000050, .* 'A': max is 1, and \d+ SIMs are on it"
    with pytest.raises(InfeasibleError, match=words):
        optimise(frame, asked, plans)
    outcome = optimise(frame, replace(asked, plans={}), plans)
    assert outcome.plan_changes == 0


@pytest.mark.parametrize("is_pooled", [False, True])
@pytest.mark.parametrize("n", [2, 40, 700])
@pytest.mark.parametrize("saves", [500_000, 99_999_999_993])
def test_forced_changes_that_save_exactly_the_least_saving_are_made(n, is_pooled, saves):
    """One micro-unit more is refused, also where a float cannot tell the two apart."""
    plans = [
        plan("A", saves + 7, 10, is_pooled=is_pooled),
        plan("B", 7, 10, is_pooled=is_pooled),
    ]
    frame = fleet(*[("A", k % 3) for k in range(n)])
    limits = {"A": PlanLimit(max_devices=0)}
    outcome = optimise(frame, Constraints(plans=limits, min_saving_per_change_micros=saves), plans)
    assert chosen(outcome) == ["B"] * n
    assert outcome.savings_micros == n * saves
    free = Constraints(min_saving_per_change_micros=saves + 1)
    assert chosen(optimise(frame, free, plans)) == ["A"] * n


def test_limits_that_do_not_bind_change_nothing():
    """They join three groups to one unit, whose parts are solved as if there were none."""
    n = 360
    frame = normalise_fleet(
        pl.DataFrame(
            {
                "iccid": [str(k) for k in range(n)],
                "communication_plan": ["xyz"[k % 3] for k in range(n)],
                "rate_plan": ["ABC"[k % 7 % 3] for k in range(n)],
                "usage_bytes": [k * k * 7919 % 611 * (k % 5 + 1) for k in range(n)],
            }
        )
    )
    plans = [
        plan("A", 9_000, 100, is_pooled=True),
        plan("B", 21_000, 1_000, is_pooled=True),
        plan("C", 36_000, 2_500, is_pooled=True),
    ]
    plans = [replace(one, overage_rate_micros=9_000, overage_block_bytes=400) for one in plans]
    policy = BillingPolicy(pool_scope=PoolScope.COMM_GROUP)
    lists = [
        CommunicationPlan(name=name, rate_plan_codes=tuple(codes))
        for name, codes in (("x", "ABC"), ("y", "AB"), ("z", "AC"))
    ]

    def outcome(constraints=None):
        return optimise_fleet(
            frame, plans, lists, policy, SolveParams(), max_rate_plans=9, max_sequences=9, workers=1,
            constraints=constraints,
        )  # fmt: skip

    free = outcome()
    loose = {"A": PlanLimit(max_devices=n), "B": PlanLimit(min_devices=1)}
    limited = outcome(Constraints(max_changes=n - 1, plans=loose))
    assert (len(free.units), len(limited.units)) == (3, 1)
    assert chosen(limited) == chosen(free)
    assert limited.optimized == free.optimized
    assert 0 <= free.lower_bound_micros - limited.lower_bound_micros < 3  # each bound is rounded up
    tight = outcome(Constraints(max_changes=free.plan_changes - 1))
    assert tight.plan_changes < free.plan_changes
    assert tight.optimized.objective_micros >= tight.lower_bound_micros


def test_candidates_that_violate_a_limit_are_none():
    """All on B costs least: 15 of 80 are saved; with a limit of 3 on B none of that is allowed."""
    pooled = [plan("A", 10, 10, is_pooled=True), plan("B", 20, 40, is_pooled=True)]
    params = SolveParams()
    free = problem_of(DEAR, None, pooled)
    free = replace(free, groups=(replace(free.groups[0], sequences=((1,),)),))
    assert candidates.legacy(free, params).candidate.assignment.tolist() == [1] * 4
    limited = replace(free, max_sims=np.array([1 << 62, 3]))
    assert candidates.legacy(limited, params).candidate is None
    assert candidates.best_single_plan(limited).assignment.tolist() == [0] * 4
    assert candidates.best_single_plan(replace(limited, max_changes=2)) is None
    current = candidates.current_assignment(limited)
    assert candidates.cheapest_feasible(limited, [current]) is current
    too_few = replace(limited, min_sims=np.array([2, 0]))
    assert candidates.cheapest_feasible(too_few, [current]) is None
    saving = replace(free, min_saving_per_change_micros=1)
    assert candidates.legacy(saving, params).candidate is None
    assert candidates.best_single_plan(saving) is None


def test_present_plans_that_violate_a_limit_do_not_win():
    """Today's plans cost 40, B for everybody 60."""
    frame = fleet(("A", 0), ("A", 5), ("B", 40))
    assert chosen(optimise(frame)) == list("AAB")
    outcome = optimise(frame, Constraints(plans={"A": PlanLimit(max_devices=0)}))
    assert chosen(outcome) == list("BBB")
    assert outcome.units[0].status is SolveStatus.OPTIMAL
    assert outcome.lower_bound_micros == 3 * 20  # nothing else is allowed
    problem = problem_of(frame, Constraints(plans={"A": PlanLimit(max_devices=0)}))
    result = solve_unit(problem, SolveParams(is_certified=False)).result
    assert result.strategy is Strategy.BEST_SINGLE_PLAN
    assert result.assignment.tolist() == [1, 1, 1]


def test_sims_under_a_limit_are_not_separable():
    assert is_separable(problem_of(DEAR))
    assert is_separable(problem_of(DEAR, Constraints(locked=frozenset("1"), min_saving_micros=1)))
    assert not is_separable(problem_of(DEAR, Constraints(max_changes=9)))
    assert not is_separable(problem_of(DEAR, None, [PLANS[0], plan("B", 20, 40, min_devices=1)]))


def test_a_locked_sim_in_a_pool_leaves_the_others_separable():
    plans = [*PLANS, plan("P", 5, 5, is_pooled=True)]
    grouping = group_fleet(
        fleet(("P", 9, True), ("B", 1)), plans, None, BillingPolicy(), max_rate_plans=9
    )
    problem = build_problem(grouping, "U0001")
    assert not is_separable(problem)
    assert is_separable(replace(problem, groups=(replace(problem.groups[0], eligible=(0, 1)),)))


def test_the_report_says_which_constraints_were_in_force():
    plans = [PLANS[0], plan("B", 20, 40, min_devices=1, max_devices=2_000)]
    asked = Constraints(locked=frozenset("1"), min_saving_per_change_micros=5, max_changes=0)
    outcome = optimise(DEAR, asked, plans)
    assert constraint_remarks(outcome, plans, asked) == (
        "Locked SIMs, which keep their plans: 1.",
        "SIMs per rate plan were limited: B at least 1 and at most 2,000.",
        "At most 0 SIMs might get another plan.",
        (
            "A change had to save at least 0.000005. Measured is what the SIM costs less by itself, its "
            "data in a pool priced at the pool's price per byte (the one used for the lower bound). Its "
            "share of the bill, which the sheet shows, may differ, and even rise."
        ),
    )
    asked = Constraints(min_saving_micros=1_500_000)
    texts = constraint_remarks(optimise(DEAR, asked), PLANS, asked)
    assert texts == ("The run had to save at least 1.50.",)
    assert constraint_remarks(optimise(DEAR), PLANS, Constraints()) == ()


def test_the_report_says_why_nothing_is_changed():
    asked = Constraints(min_saving_micros=46)
    assert why_unchanged(optimise(DEAR, asked)) == (
        "Nothing is changed: the changes found would save 0.00, less than the least saving of 0.000046."
    )
    held = Constraints(max_changes=0)
    assert why_unchanged(optimise(DEAR, held)) == (
        "Nothing is changed: no change was found that lowers the cost and keeps the constraints."
    )
    assert why_unchanged(optimise(fleet(("A", 0), ("A", 5)))) == (
        "Nothing is changed: no change was found that lowers the cost."
    )
    assert why_unchanged(optimise(fleet(("B", 0, True)))) == (
        "Nothing is changed: no change was found that lowers the cost and keeps the constraints."
    )
    assert why_unchanged(optimise(DEAR)) is None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Constraints(max_changes=0), "the answer of this one does not keep them"),
        (Constraints(min_saving_per_change_micros=1), "its answer does not compete"),
    ],
)
def test_a_walk_that_changes_nothing_under_constraints_says_why(asked, words):
    walk = Strategy.NO_GROUPING_LARGEST_TO_SMALLEST
    params = SolveParams(strategies=(walk,), is_certified=False)
    outcome = optimise_fleet(
        DEAR, [*PLANS, plan("P", 5, 5, is_pooled=True)], None, BillingPolicy(), params,
        max_rate_plans=9, max_sequences=9, workers=1, constraints=asked,
    )  # fmt: skip
    assert outcome.plan_changes == 0
    assert words in (why_unchanged(outcome, walk) or "")
