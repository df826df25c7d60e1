"""Prices an assignment of SIMs to plans at true pool scope (B2-B5, B7, B9, B10).

:func:`total_cost` is the objective of the optimiser, :func:`bill` the same cost shared out to SIMs.
Baseline and recommendation are priced by the same functions (B9).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.billing.allocation import allocate
from core.billing.individual import data_overage, message_overage, started, tiered
from core.billing.tariff import Int32Array, Int64Array
from core.domain import ChargeType
from core.problem import INDIVIDUAL, Problem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bill:
    """What each SIM of a unit pays; sums are exact (B10).

    Attributes
    ----------
    rate_micros
        Shape ``(n,)``: prorated monthly fee plus regulatory fee.
    overage_micros
        Shape ``(n,)``: data overage, for a pooled SIM its share of the pool's, plus SMS and voice.
    """

    rate_micros: Int64Array
    overage_micros: Int64Array

    def __post_init__(self) -> None:
        self.rate_micros.setflags(write=False)
        self.overage_micros.setflags(write=False)

    def objective(self, charge_type: ChargeType) -> Int64Array:
        """Each SIM's part of the objective, shape ``(n,)``, micro-units (B7)."""
        if charge_type is ChargeType.RATE:
            return self.rate_micros
        if charge_type is ChargeType.OVERAGE:
            return self.overage_micros
        return self.rate_micros + self.overage_micros


def bill(problem: Problem, assignment: Int32Array) -> Bill:
    """Price an assignment and share every pool's overage out to its SIMs.

    Parameters
    ----------
    assignment
        Shape ``(n,)``: plan number of each SIM, rows as in the problem.

    Returns
    -------
    Bill
        With ``objective(problem.charge_type)`` adding up to :func:`total_cost`.

    Raises
    ------
    ValueError
        If the shape differs or a plan number is none of the tariff's.
    """
    _check(problem, assignment)
    tariff = problem.tariff
    pool, net_bytes = _net_bytes(problem, assignment)
    overage = _own_overage(problem, assignment, pool, net_bytes)
    charge = _pool_charges(problem, pool, net_bytes)
    overage += allocate(charge, np.maximum(net_bytes, 0), pool)
    return Bill(
        rate_micros=tariff.fee_micros[assignment, problem.day_class], overage_micros=overage
    )


def total_cost(problem: Problem, assignment: Int32Array) -> int:
    """Objective of an assignment (B7), micro-units; the sum that :func:`bill` shares out.

    Raises
    ------
    ValueError
        If the shape differs or a plan number is none of the tariff's.
    """
    _check(problem, assignment)
    total = 0
    if problem.charge_type is not ChargeType.OVERAGE:
        total += int(problem.tariff.fee_micros[assignment, problem.day_class].sum())
    if problem.charge_type is not ChargeType.RATE:
        pool, net_bytes = _net_bytes(problem, assignment)
        total += int(_own_overage(problem, assignment, pool, net_bytes).sum())
        total += int(_pool_charges(problem, pool, net_bytes).sum())
    return total


def _check(problem: Problem, assignment: Int32Array) -> None:
    if assignment.shape != (problem.n_sims,):
        msg = f"an assignment has one plan per SIM: {problem.n_sims}, not {assignment.shape}"
        raise ValueError(msg)
    n_plans = len(problem.tariff.codes)
    if assignment.size and not 0 <= assignment.min() <= assignment.max() < n_plans:
        msg = f"an assignment holds plan numbers 0 to {n_plans - 1}"
        raise ValueError(msg)


def _net_bytes(problem: Problem, assignment: Int32Array) -> tuple[Int32Array, Int64Array]:
    """Pool of each SIM, and its usage less its own allowance, both of shape ``(n,)``."""
    included = problem.tariff.included_bytes[assignment, problem.day_class]
    return problem.pool_of[assignment, problem.group], problem.usage_bytes - included


def _own_overage(
    problem: Problem, assignment: Int32Array, pool: Int32Array, net_bytes: Int64Array
) -> Int64Array:
    """Charge of each SIM by itself: SMS, voice and, outside pools, data."""
    overage = message_overage(problem.tariff, assignment, problem.sms_count, problem.voice_seconds)
    alone = np.flatnonzero((pool == INDIVIDUAL) & (net_bytes > 0))
    if len(alone):
        overage[alone] += data_overage(
            problem.tariff,
            assignment[alone],
            problem.usage_bytes[alone],
            problem.day_class[alone],
        )
    return overage


def _pool_charges(problem: Problem, pool: Int32Array, net_bytes: Int64Array) -> Int64Array:
    """Overage of each pool, in whole blocks on the pool's total; shape ``(n_pools,)`` (B4)."""
    pooled = np.flatnonzero(pool != INDIVIDUAL)
    over_bytes = np.zeros(len(problem.pool_block_bytes), dtype=np.int64)
    np.add.at(over_bytes, pool[pooled], net_bytes[pooled])  # bincount would go through float64
    blocks = started(np.maximum(over_bytes, 0), problem.pool_block_bytes)
    return tiered(blocks, problem.pool_tier_from_block, problem.pool_tier_rate_micros)
