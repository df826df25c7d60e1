"""Units of some hundred SIMs under limits that bind: kept, checked, and near the bound (O2, O3, O8)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.instances import InstanceSpec, build
from core.optimisation import solve_unit
from core.optimiser.check import check
from core.optimiser.result import SolveParams
from core.problem import NO_LIMIT

N_PLANS = 6
QUICK = SolveParams(repair_kicks=2, polish_nodes=50)
LARGEST_GAP = 0.05

UNITS = [("pooled", 200, 1), ("mixed", 300, 2), ("sms", 400, 3), ("classes", 700, 4), ("pooled", 2_000, 3)]  # fmt: skip


def limits_around(problem, assignment, *, by):
    """At least ``by`` SIMs more than now on the plan with the fewest, at most as many less on the first."""
    sims = np.bincount(assignment, minlength=N_PLANS)
    most, least = np.full(N_PLANS, NO_LIMIT), np.zeros(N_PLANS, dtype=np.int64)
    most[sims.argmax()] = sims.max() - by
    least[sims.argmin()] = sims.min() + by
    return replace(problem, min_sims=least, max_sims=most)


def solved(problem):
    """The answer, after the limits are counted anew; solving has checked the certificate."""
    result = solve_unit(problem, QUICK).result
    check(problem, result)
    count = Counter(result.assignment.tolist())
    for plan in range(N_PLANS):
        assert problem.min_sims[plan] <= count[plan] <= problem.max_sims[plan]
    changes = sum(
        p != q for p, q in zip(result.assignment.tolist(), problem.current.tolist(), strict=True)
    )
    assert changes <= (problem.n_sims if problem.max_changes is None else problem.max_changes)
    assert result.lower_bound_micros <= result.cost_micros
    assert result.gap <= LARGEST_GAP
    return result


@pytest.mark.parametrize(("kind", "n", "seed"), UNITS)
def test_limits_that_bind_are_kept_near_the_bound(kind, n, seed):
    free = build(InstanceSpec(kind=kind, n_sims=n, seed=seed, n_plans=N_PLANS))
    without = solved(free)

    of_plans = limits_around(free, without.assignment, by=n // 20)
    result = solved(of_plans)
    assert result.cost_micros >= without.lower_bound_micros
    assert not np.array_equal(result.assignment, without.assignment)

    of_changes = replace(free, max_changes=n // 10)
    result = solved(of_changes)
    assert without.lower_bound_micros <= result.cost_micros < result.baseline_cost_micros

    both = replace(limits_around(free, free.current, by=n // 40), max_changes=n // 10)
    assert solved(both).cost_micros >= result.lower_bound_micros


def test_a_wider_limit_of_changes_never_has_a_higher_bound():
    free = build(InstanceSpec(kind="pooled", n_sims=300, seed=7, n_plans=N_PLANS))
    results = [
        solve_unit(replace(free, max_changes=most), QUICK).result for most in (0, 15, 60, 300)
    ]
    bounds = [result.lower_bound_micros for result in results]
    assert bounds == sorted(bounds, reverse=True)
    assert results[0].cost_micros == results[0].baseline_cost_micros
    assert results[-1].cost_micros <= solve_unit(free, QUICK).result.cost_micros * (1 + LARGEST_GAP)
