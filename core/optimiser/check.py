"""The independent check of a unit's answer and of the bound that is claimed for it (O3).

Everything is derived again from the problem, the assignment and the multipliers: plans that SIMs may
have, limits, cost, and the bound of :mod:`core.optimiser.certificate`. Nothing here is shared with
the solver or with the pricing of bills. One compiled pass over the SIMs
(:mod:`core.optimiser.check_kernel`), then integers of any size per pool and plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from core.domain import ChargeType
from core.errors import CheckFailedError
from core.optimiser.certificate import Certificate
from core.optimiser.input_hash import input_hash
from core.optimiser.result import Result
from core.problem import Int32Array, Problem

__all__ = ["Derived", "certify", "check", "derive", "input_hash"]

MAX_SCALE_BITS = 62
"""Most scale bits of a certificate."""

MULTIPLIER_LIMIT = 1 << 62
"""Multipliers stay below this, and those of plans above its opposite."""

_NEVER = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What follows from a problem, an assignment and multipliers.

    Attributes
    ----------
    cost_micros
        Objective of the assignment (B7).
    bound_micros
        No feasible assignment costs less.
    changes
        SIMs that get another plan than they have.
    sims_per_plan
        One number per plan of the tariff.
    """

    cost_micros: int
    bound_micros: int
    changes: int
    sims_per_plan: tuple[int, ...]


def derive(
    problem: Problem,
    assignment: Int32Array,
    scale_bits: int,
    pool_multipliers: Sequence[int],
    plan_multipliers: Sequence[int],
    change_multiplier: int,
) -> Derived:
    """Derive cost and bound, and refuse an assignment that is not feasible.

    Parameters
    ----------
    assignment
        Shape ``(n,)``: plan number of each SIM.
    scale_bits, pool_multipliers, plan_multipliers, change_multiplier
        As in :class:`core.optimiser.certificate.Certificate`: ``0 .. MAX_SCALE_BITS``, and below
        ``MULTIPLIER_LIMIT`` in size.

    Raises
    ------
    CheckFailedError
        Naming the unit, what is wrong and both sides.
    """
    _check_multipliers(problem, scale_bits, pool_multipliers, plan_multipliers, change_multiplier)
    _check_plan_numbers(problem, assignment)
    cost, lines, sims_per_plan, net_bytes, changes = _pass(
        problem, assignment, scale_bits, pool_multipliers, plan_multipliers, change_multiplier
    )
    _check_limits(problem, sims_per_plan, changes)
    if problem.charge_type is not ChargeType.RATE:
        cost += sum(_pool_micros(problem, s, over) for s, over in enumerate(net_bytes))
    scaled = lines
    for s, multiplier in enumerate(pool_multipliers):
        scaled -= _conjugate(problem, s, multiplier, scale_bits)
    for p, multiplier in enumerate(plan_multipliers):
        limits = problem.max_sims if multiplier > 0 else problem.min_sims
        scaled -= multiplier * int(limits[p])
    scaled -= change_multiplier * (problem.max_changes or 0)
    return Derived(
        cost_micros=cost,
        bound_micros=-(-scaled >> scale_bits),
        changes=changes,
        sims_per_plan=sims_per_plan,
    )


def certify(
    problem: Problem,
    assignment: Int32Array,
    cost_micros: int,
    scale_bits: int,
    pool_multipliers: Sequence[int],
    plan_multipliers: Sequence[int],
    change_multiplier: int,
) -> Certificate:
    """Make the certificate of an assignment from a solver's multipliers.

    The bound does not depend on the assignment: another one of the same unit that passes
    :func:`derive` has the same certificate with its own ``cost_micros``.

    Raises
    ------
    CheckFailedError
        As :func:`derive`, and if the cost is another one or below the bound.
    """
    derived = derive(
        problem, assignment, scale_bits, pool_multipliers, plan_multipliers, change_multiplier
    )
    certificate = Certificate(
        scale_bits=scale_bits,
        pool_multipliers=tuple(pool_multipliers),
        plan_multipliers=tuple(plan_multipliers),
        change_multiplier=change_multiplier,
        bound_micros=derived.bound_micros,
        cost_micros=cost_micros,
        input_hash=input_hash(problem),
    )
    _compare(problem, certificate, derived)
    return certificate


def check(problem: Problem, result: Result) -> None:
    """Refuse a result that its certificate does not prove; a result without one is refused too.

    Raises
    ------
    CheckFailedError
        Naming the unit, the check that failed and both sides.
    """
    certificate = result.certificate
    if certificate is None:
        raise _failed(problem, "it has no certificate")
    if result.unit_id != problem.unit_id:
        raise _failed(problem, f"the result is that of unit {result.unit_id}")
    if result.cost_micros != certificate.cost_micros:
        raise _failed(
            problem,
            f"the result's cost is {result.cost_micros} micro-units, its certificate's "
            f"{certificate.cost_micros}",
        )
    if result.lower_bound_micros != certificate.bound_micros:
        raise _failed(
            problem,
            f"the result's bound is {result.lower_bound_micros} micro-units, its certificate's "
            f"{certificate.bound_micros}",
        )
    check_certificate(problem, result.assignment, certificate)


def check_certificate(
    problem: Problem, assignment: Int32Array, certificate: Certificate
) -> Derived:
    """Check an assignment and the certificate that is claimed for it.

    Raises
    ------
    CheckFailedError
        Naming the unit, the check that failed and both sides.
    """
    found = input_hash(problem)
    if found != certificate.input_hash:
        raise _failed(
            problem,
            f"its input has the hash {found}, the certificate says {certificate.input_hash}",
        )
    derived = derive(
        problem,
        assignment,
        certificate.scale_bits,
        certificate.pool_multipliers,
        certificate.plan_multipliers,
        certificate.change_multiplier,
    )
    _compare(problem, certificate, derived)
    return derived


def _compare(problem: Problem, claimed: Certificate, derived: Derived) -> None:
    if derived.cost_micros != claimed.cost_micros:
        raise _failed(
            problem,
            f"the assignment costs {derived.cost_micros} micro-units, not the claimed "
            f"{claimed.cost_micros}",
        )
    if derived.bound_micros != claimed.bound_micros:
        raise _failed(
            problem,
            f"the multipliers prove a bound of {derived.bound_micros} micro-units, not the claimed "
            f"{claimed.bound_micros}",
        )
    if derived.bound_micros > derived.cost_micros:
        raise _failed(
            problem,
            f"the bound {derived.bound_micros} is above the cost {derived.cost_micros} micro-units",
        )


def _check_multipliers(
    problem: Problem,
    scale_bits: int,
    pool_multipliers: Sequence[int],
    plan_multipliers: Sequence[int],
    change_multiplier: int,
) -> None:
    n_pools, n_plans = len(problem.pool_block_bytes), len(problem.tariff.codes)
    if (len(pool_multipliers), len(plan_multipliers)) != (n_pools, n_plans):
        raise _failed(
            problem,
            f"the certificate has {len(pool_multipliers)} pool and {len(plan_multipliers)} plan "
            f"multipliers, the unit {n_pools} pools and {n_plans} plans",
        )
    if not 0 <= scale_bits <= MAX_SCALE_BITS:
        raise _failed(problem, f"the scale is {scale_bits} bits: allowed are 0 to {MAX_SCALE_BITS}")
    for s, multiplier in enumerate(pool_multipliers):
        _check_box(problem, s, multiplier, scale_bits)
    for p, multiplier in enumerate(plan_multipliers):
        if abs(multiplier) >= MULTIPLIER_LIMIT:
            code = problem.tariff.codes[p]
            raise _failed(
                problem, f"the multiplier of rate plan {code!r} is {multiplier}, out of range"
            )
    most = 0 if problem.max_changes is None else MULTIPLIER_LIMIT - 1
    if not 0 <= change_multiplier <= most:
        raise _failed(
            problem,
            f"the multiplier of the limit of changes is {change_multiplier}: allowed are 0 to {most}",
        )


def _check_box(problem: Problem, s: int, multiplier: int, scale_bits: int) -> None:
    """Refuse a pool's multiplier outside its box, where it would prove nothing."""
    rates = problem.pool_tier_rate_micros[s].tolist()
    if any(later < earlier for earlier, later in pairwise(rates)):
        raise _failed(
            problem, f"the prices of pool {s}, {rates}, fall: that has no bound of this form"
        )
    rate = 0 if problem.charge_type is ChargeType.RATE else rates[-1]
    scaled = multiplier * int(problem.pool_block_bytes[s])
    if not 0 <= multiplier < MULTIPLIER_LIMIT or scaled > rate << scale_bits:
        raise _failed(
            problem,
            f"the multiplier of pool {s} is {multiplier}, outside its box: times the block it is "
            f"{scaled}, allowed are 0 to {rate << scale_bits}",
        )


def _check_plan_numbers(problem: Problem, assignment: Int32Array) -> None:
    if assignment.shape != (problem.n_sims,):
        raise _failed(
            problem,
            f"the assignment has the shape {assignment.shape}, it has {problem.n_sims} SIMs",
        )
    n_plans = len(problem.tariff.codes)
    if assignment.size and not 0 <= assignment.min() <= assignment.max() < n_plans:
        raise _failed(problem, f"the assignment holds plan numbers outside 0 to {n_plans - 1}")


def _pass(
    problem: Problem,
    assignment: Int32Array,
    scale_bits: int,
    pool_multipliers: Sequence[int],
    plan_multipliers: Sequence[int],
    change_multiplier: int,
) -> tuple[int, int, tuple[int, ...], list[int], int]:
    """Cost without pools, sum of least lines, SIMs per plan, net bytes per pool, and changes."""
    from core.optimiser.check_kernel import one_pass  # compiled code is loaded where it is needed

    tariff = problem.tariff
    lists = [group.eligible for group in problem.groups]
    list_start = np.cumsum([0, *(len(plans) for plans in lists)], dtype=np.int64)
    listed = np.array([plan for plans in lists for plan in plans], dtype=np.int64)
    is_fixed = np.array([group.is_fixed for group in problem.groups], dtype=bool)
    columns = (
        problem.usage_bytes, problem.sms_count, problem.voice_seconds, problem.day_class,
        problem.group, problem.current, is_fixed[problem.group] | problem.is_locked,
        listed, list_start, problem.pool_of,
        tariff.fee_micros, tariff.included_bytes, tariff.overage_block_bytes,
        tariff.tier_from_block, tariff.tier_rate_micros, tariff.overage_cap_micros,
        tariff.included_sms, tariff.sms_rate_micros,
        tariff.included_voice_minutes, tariff.voice_rate_micros,
        assignment.astype(np.int32, copy=False),
        np.array(pool_multipliers, dtype=np.uint64), np.array(plan_multipliers, dtype=np.int64),
    )  # fmt: skip
    arguments: list[Any] = [_frozen(column) for column in columns]
    arguments += [change_multiplier, np.uint64(scale_bits), problem.min_saving_per_change_micros]
    arguments += [problem.charge_type is not ChargeType.OVERAGE]
    arguments += [problem.charge_type is not ChargeType.RATE]
    cost, high, low, sims_per_plan, net_bytes, changes, ineligible, too_little = one_pass(
        *arguments
    )
    if ineligible >= 0:
        code = tariff.codes[assignment[ineligible]]
        raise _failed(problem, f"the SIM of row {ineligible + 1} may not have rate plan {code!r}")
    if too_little >= 0:
        raise _failed(
            problem,
            f"the change of the SIM of row {too_little + 1} saves less than the least saving per "
            f"change, {problem.min_saving_per_change_micros} micro-units",
        )
    lines = (int(high) << 64) + int(low)
    if lines >> 127:
        lines -= 1 << 128
    return int(cost), lines, tuple(sims_per_plan.tolist()), net_bytes.tolist(), int(changes)


def _check_limits(problem: Problem, sims_per_plan: Sequence[int], changes: int) -> None:
    for p, count in enumerate(sims_per_plan):
        least, most = int(problem.min_sims[p]), int(problem.max_sims[p])
        if not least <= count <= most:
            raise _failed(
                problem,
                f"rate plan {problem.tariff.codes[p]!r} has {count} SIMs: allowed are {least} to "
                f"{most}",
            )
    if problem.max_changes is not None and changes > problem.max_changes:
        raise _failed(problem, f"{changes} SIMs change: allowed are {problem.max_changes}")


def _tiers(problem: Problem, s: int) -> list[tuple[int, int]]:
    """First block and price of each tier that the pool has."""
    first, rate = problem.pool_tier_from_block[s], problem.pool_tier_rate_micros[s]
    return [(f, r) for f, r in zip(first.tolist(), rate.tolist(), strict=True) if f < _NEVER]


def _pool_micros(problem: Problem, s: int, over_bytes: int) -> int:
    """Price of a pool's started blocks, each at its tier's price (B4, B8)."""
    blocks = -(-max(over_bytes, 0) // int(problem.pool_block_bytes[s]))
    charge, end = 0, blocks
    for first, rate in reversed(_tiers(problem, s)):
        charge += max(end - first, 0) * rate
        end = min(end, first)
    return charge


def _conjugate(problem: Problem, s: int, multiplier: int, scale_bits: int) -> int:
    """Scaled conjugate of a pool's charge without rounding up, for a multiplier in its box."""
    per_block = multiplier * int(problem.pool_block_bytes[s])
    return sum(
        max(0, per_block - (rate << scale_bits)) * (until - first)
        for (first, rate), (until, _) in pairwise(_tiers(problem, s))
    )


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give the array the one layout for which the pass is compiled: C order and read-only."""
    view = np.ascontiguousarray(array).view()
    view.setflags(write=False)
    return view


def _failed(problem: Problem, what: str) -> CheckFailedError:
    return CheckFailedError(f"solve unit {problem.unit_id} fails its check: {what}")
