"""Which plan comes second for a SIM, and by how much (O9).

At the multipliers of the unit's certificate every plan that a SIM may have has a *line*, the price of
the SIM on that plan with what it takes from pools and limits
(:mod:`core.optimiser.certificate`). The next best plan is the cheapest line other than that of the
recommended plan, and its *reduced cost* is what it lies above that line. Compiled and exact, one pass
over the SIMs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.domain import ChargeType
from core.optimiser.certificate import Certificate
from core.optimiser.check import frozen, unit_columns
from core.problem import Int32Array, Int64Array, Problem

NO_OTHER_PLAN = -1
"""Next best plan of a SIM that may have no other plan than the recommended one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """The next best plan of every SIM of a unit; arrays are read-only.

    Attributes
    ----------
    next_plan
        Shape ``(n,)``: plan number, or ``NO_OTHER_PLAN``.
    reduced_cost_micros
        Shape ``(n,)``: the line of ``next_plan`` less that of the recommended plan, in micro-units,
        rounded half-even; beyond 64 bits the largest number of that sign. Below 0 where the
        recommended plan is not the SIM's cheapest line: because pools are paid in whole blocks,
        because a limit binds, or because the change would save less than the least saving per change.
        Without meaning, and 0, where there is no other plan.
    """

    next_plan: Int32Array
    reduced_cost_micros: Int64Array

    def __post_init__(self) -> None:
        self.next_plan.setflags(write=False)
        self.reduced_cost_micros.setflags(write=False)


def explain(
    problem: Problem, assignment: Int32Array, certificate: Certificate | None
) -> Explanation:
    """Find each SIM's next best plan among its eligible ones, ties by plan number (O9).

    Eligible are the present plan and the plans of the group's list; a locked SIM, and one of a group
    that is not optimised, may have no other plan (O8, V3).

    Parameters
    ----------
    assignment
        Shape ``(n,)``: recommended plan number per SIM, one of its eligible plans.
    certificate
        Of this unit, checked (:func:`core.optimiser.check.check`); without one no SIM has a next
        best plan.
    """
    if certificate is None:
        return Explanation(
            next_plan=np.full(problem.n_sims, NO_OTHER_PLAN, dtype=np.int32),
            reduced_cost_micros=np.zeros(problem.n_sims, dtype=np.int64),
        )
    from core.optimiser.explain_kernel import next_best_pass  # compiled code, as in the check

    arguments: list[Any] = [
        *unit_columns(problem),
        frozen(assignment.astype(np.int32, copy=False)),
        frozen(np.array(certificate.pool_multipliers, dtype=np.uint64)),
        frozen(np.array(certificate.plan_multipliers, dtype=np.int64)),
        certificate.change_multiplier,
        np.uint64(certificate.scale_bits),
        problem.charge_type is not ChargeType.OVERAGE,
        problem.charge_type is not ChargeType.RATE,
    ]
    next_plan, reduced_cost_micros = next_best_pass(*arguments)
    return Explanation(next_plan=next_plan, reduced_cost_micros=reduced_cost_micros)
