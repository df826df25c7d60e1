"""The independent check of a unit's answer and of the bound that is claimed for it (O3).

Everything is derived again from the problem, the assignment and the multipliers: plans that SIMs may
have, limits, cost, and the bound of :mod:`core.optimiser.certificate`. Nothing here is shared with
the solver or with the pricing of bills. One compiled pass over the SIMs
(:mod:`core.optimiser.check_kernel`), then integers of any size per pool and plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.domain import ChargeType
from core.optimiser.certificate import Certificate
from core.optimiser.check_terms import check_multipliers, conjugate, failed, pool_micros
from core.optimiser.input_hash import input_hash
from core.optimiser.result import Result
from core.problem import Int32Array, Problem
from core.units import exact_money_text

__all__ = ["Derived", "certify", "check", "derive", "input_hash"]


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
    check_multipliers(problem, scale_bits, pool_multipliers, plan_multipliers, change_multiplier)
    _check_plan_numbers(problem, assignment)
    cost, lines, sims_per_plan, net_bytes, changes = _pass(
        problem, assignment, scale_bits, pool_multipliers, plan_multipliers, change_multiplier
    )
    _check_limits(problem, sims_per_plan, changes)
    if problem.charge_type is not ChargeType.RATE:
        cost += sum(pool_micros(problem, s, over) for s, over in enumerate(net_bytes))
    scaled = lines
    for s, multiplier in enumerate(pool_multipliers):
        scaled -= conjugate(problem, s, multiplier, scale_bits)
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
        raise failed(problem, "it has no certificate")
    if result.unit_id != problem.unit_id:
        raise failed(problem, f"the result is that of unit {result.unit_id}")
    if result.cost_micros != certificate.cost_micros:
        raise failed(
            problem,
            f"the result's cost is {result.cost_micros} micro-units, its certificate's "
            f"{certificate.cost_micros}",
        )
    if result.lower_bound_micros != certificate.bound_micros:
        raise failed(
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
        raise failed(
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
        raise failed(
            problem,
            f"the assignment costs {derived.cost_micros} micro-units, not the claimed "
            f"{claimed.cost_micros}",
        )
    if derived.bound_micros != claimed.bound_micros:
        raise failed(
            problem,
            f"the multipliers prove a bound of {derived.bound_micros} micro-units, not the claimed "
            f"{claimed.bound_micros}",
        )
    if derived.bound_micros > derived.cost_micros:
        raise failed(
            problem,
            f"the bound {derived.bound_micros} is above the cost {derived.cost_micros} micro-units",
        )


def unit_columns(problem: Problem) -> list[npt.NDArray[Any]]:
    """Give what the compiled passes take of a unit: the first arguments of ``one_pass``, read-only."""
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
    )  # fmt: skip
    return [frozen(column) for column in columns]


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give the array the one layout for which the passes are compiled: C order and read-only."""
    view = np.ascontiguousarray(array).view()
    view.setflags(write=False)
    return view


def _check_plan_numbers(problem: Problem, assignment: Int32Array) -> None:
    if assignment.shape != (problem.n_sims,):
        raise failed(
            problem,
            f"the assignment has the shape {assignment.shape}, it has {problem.n_sims} SIMs",
        )
    n_plans = len(problem.tariff.codes)
    if assignment.size and not 0 <= assignment.min() <= assignment.max() < n_plans:
        raise failed(problem, f"the assignment holds plan numbers outside 0 to {n_plans - 1}")


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

    arguments: list[Any] = unit_columns(problem)
    arguments += [
        frozen(assignment.astype(np.int32, copy=False)),
        frozen(np.array(pool_multipliers, dtype=np.uint64)),
        frozen(np.array(plan_multipliers, dtype=np.int64)),
    ]
    arguments += [change_multiplier, np.uint64(scale_bits), problem.min_saving_per_change_micros]
    arguments += [problem.charge_type is not ChargeType.OVERAGE]
    arguments += [problem.charge_type is not ChargeType.RATE]
    cost, high, low, sims_per_plan, net_bytes, changes, ineligible, too_little = one_pass(
        *arguments
    )
    if ineligible >= 0:
        code = problem.tariff.codes[assignment[ineligible]]
        what = f"the SIM of row {ineligible + 1} may not have rate plan {code!r}"
        raise failed(problem, what, row=int(ineligible))
    if too_little >= 0:
        raise failed(
            problem,
            f"the change of the SIM of row {too_little + 1} saves less than the least saving per "
            f"change, {exact_money_text(problem.min_saving_per_change_micros)}",
            row=int(too_little),
        )
    lines = (int(high) << 64) + int(low)
    if lines >> 127:
        lines -= 1 << 128
    return int(cost), lines, tuple(sims_per_plan.tolist()), net_bytes.tolist(), int(changes)


def _check_limits(problem: Problem, sims_per_plan: Sequence[int], changes: int) -> None:
    for p, count in enumerate(sims_per_plan):
        least, most = int(problem.min_sims[p]), int(problem.max_sims[p])
        if not least <= count <= most:
            raise failed(
                problem,
                f"rate plan {problem.tariff.codes[p]!r} has {count} SIMs: allowed are {least} to "
                f"{most}",
            )
    if problem.max_changes is not None and changes > problem.max_changes:
        raise failed(problem, f"{changes} SIMs change: allowed are {problem.max_changes}")
