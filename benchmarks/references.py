"""What a unit's answer is compared with; built from the arrays of the unit, not by the optimiser.

* :func:`price`: the objective of an assignment in whole numbers, by formulas of its own.
* :func:`lp_relaxation`: HiGHS on the linear relaxation, one column per SIM and plan. The overage
  of a pool is linear in its total there, that of an individual plan stays exact.
* :func:`milp_optimum`: HiGHS on the exact integer program, for small units.

The relaxation merges nothing; the integer program counts SIMs that are equal in everything as one
line with a number. Both know one price per pool and no caps, limits or locked SIMs, and refuse a
unit that has any.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import highspy
import numpy as np

from core.billing.tariff import NO_CAP
from core.domain import ChargeType
from core.problem import INDIVIDUAL, NO_LIMIT, BoolArray, Int32Array, Int64Array, Problem

UNIT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LpValue:
    """Value of the relaxation in micro-units, as a float, and the seconds of build and solve."""

    value_micros: float
    build_s: float
    solve_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MilpOptimum:
    """The best assignment that HiGHS found, priced again in whole numbers.

    Attributes
    ----------
    is_proven
        HiGHS closed the gap; otherwise the limit of seconds stopped it.
    """

    cost_micros: int
    is_proven: bool
    solve_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Columns:
    """One entry per line of the model and plan that its SIMs may have."""

    line: Int64Array
    plan: Int64Array
    pool: Int32Array
    own_micros: Int64Array
    net_bytes: Int64Array


def price(problem: Problem, assignment: Int32Array) -> int:
    """Objective of an assignment (B7), micro-units.

    Raises
    ------
    ValueError
        If the unit has tiers, caps, limits or locked SIMs.
    """
    _check_known(problem)
    sims = np.arange(problem.n_sims)
    columns = _costs(problem, sims, sims, assignment.astype(np.int64))
    total: int = sum(columns.own_micros.tolist())
    if problem.charge_type is ChargeType.RATE:
        return total
    for pool, block in enumerate(problem.pool_block_bytes.tolist()):
        net = sum(columns.net_bytes[columns.pool == pool].tolist())
        total += -(-max(0, net) // block) * int(problem.pool_tier_rate_micros[pool, 0])
    return total


def lp_relaxation(problem: Problem) -> LpValue:
    """Solve the relaxation with one thread.

    Raises
    ------
    RuntimeError
        If HiGHS does not end with an optimum.
    """
    started = time.perf_counter()
    columns = _columns(problem, np.arange(problem.n_sims))
    highs = _model(problem, columns, np.ones(problem.n_sims, dtype=np.int64), is_integer=False)
    built = time.perf_counter()
    highs.run()
    status = highs.getModelStatus()
    if status != highspy.HighsModelStatus.kOptimal:
        msg = f"HiGHS ended the relaxation of {problem.n_sims} SIMs with {status}"
        raise RuntimeError(msg)
    return LpValue(
        value_micros=highs.getInfo().objective_function_value * UNIT,
        build_s=built - started,
        solve_s=time.perf_counter() - built,
    )


def milp_optimum(problem: Problem, *, limit_s: float) -> MilpOptimum:
    """Solve the integer program with one thread and a relative gap of 0.

    Parameters
    ----------
    limit_s
        Seconds after which the best assignment so far is taken, unproven.

    Raises
    ------
    RuntimeError
        If HiGHS finds no assignment at all.
    """
    first, line, count = _equal_sims(problem)
    columns = _columns(problem, first)
    highs = _model(problem, columns, count, is_integer=True)
    for option in ("mip_rel_gap", "mip_abs_gap"):
        highs.setOptionValue(option, 0.0)
    highs.setOptionValue("mip_feasibility_tolerance", 1e-9)
    highs.setOptionValue("time_limit", limit_s)
    started = time.perf_counter()
    highs.run()
    solve_s = time.perf_counter() - started
    values = np.rint(highs.getSolution().col_value[: len(columns.line)]).astype(np.int64)
    if values.sum() != problem.n_sims:
        msg = f"HiGHS found no assignment of {problem.n_sims} SIMs: {highs.getModelStatus()}"
        raise RuntimeError(msg)
    assignment = np.empty(problem.n_sims, dtype=np.int32)
    assignment[np.argsort(line, kind="stable")] = np.repeat(columns.plan, values)
    return MilpOptimum(
        cost_micros=price(problem, assignment),
        is_proven=highs.getModelStatus() == highspy.HighsModelStatus.kOptimal,
        solve_s=solve_s,
    )


def _check_known(problem: Problem) -> None:
    is_plain = (
        problem.tariff.tier_from_block.shape[1] == 1
        and (problem.tariff.overage_cap_micros == NO_CAP).all()
        and not problem.is_locked.any()
        and not any(group.is_fixed for group in problem.groups)
        and not problem.min_sims.any()
        and (problem.max_sims >= NO_LIMIT).all()
        and problem.max_changes is None
    )
    if not is_plain:
        msg = "the reference models know no tiers, caps, limits, locked SIMs or fixed groups"
        raise ValueError(msg)


def _equal_sims(problem: Problem) -> tuple[Int64Array, Int64Array, Int64Array]:
    """First SIM of each line, the line of each SIM, and the SIMs of each line."""
    facts = (
        problem.group, problem.usage_bytes, problem.day_class, problem.sms_count,
        problem.voice_seconds, _may_have(problem, np.arange(problem.n_sims)),
    )  # fmt: skip
    table = np.column_stack([fact.astype(np.int64) for fact in facts])
    _, first, line, count = np.unique(
        table, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    return first, line.ravel(), count


def _costs(problem: Problem, line: Int64Array, sim: Int64Array, plan: Int64Array) -> _Columns:
    """Find what SIM ``sim[k]`` costs by itself on ``plan[k]``, and what it brings to its pool."""
    tariff, days = problem.tariff, problem.day_class[sim]
    pool = problem.pool_of[plan, problem.group[sim]]
    net = problem.usage_bytes[sim] - tariff.included_bytes[plan, days]
    own = np.zeros(len(sim), dtype=np.int64)
    if problem.charge_type is not ChargeType.OVERAGE:
        own += tariff.fee_micros[plan, days]
    if problem.charge_type is not ChargeType.RATE:
        sms = np.maximum(problem.sms_count[sim] - tariff.included_sms[plan], 0)
        minutes = (problem.voice_seconds[sim] + 59) // 60 - tariff.included_voice_minutes[plan]
        block = tariff.overage_block_bytes[plan]
        blocks = (np.maximum(net, 0) + block - 1) // block
        own += sms * tariff.sms_rate_micros[plan]
        own += np.maximum(minutes, 0) * tariff.voice_rate_micros[plan]
        own += np.where(pool == INDIVIDUAL, blocks * tariff.overage_rate_micros[plan], 0)
    return _Columns(line=line, plan=plan, pool=pool, own_micros=own, net_bytes=net)


def _may_have(problem: Problem, sims: Int64Array) -> BoolArray:
    """Shape ``(n_sims, n_plans)``: the plans of the group's list, and the one that the SIM has."""
    may_have = np.zeros((len(sims), len(problem.tariff.codes)), dtype=bool)
    for g, group in enumerate(problem.groups):
        of_list = np.zeros(may_have.shape[1], dtype=bool)
        of_list[list(group.eligible)] = True
        may_have[problem.group[sims] == g] = of_list
    may_have[np.arange(len(sims)), problem.current[sims]] = True
    return may_have


def _columns(problem: Problem, sims: Int64Array) -> _Columns:
    """Make a line for each of these SIMs, with a column for each plan that it may have."""
    line, plan = np.nonzero(_may_have(problem, sims))
    return _costs(problem, line, sims[line], plan)


def _model(
    problem: Problem, columns: _Columns, count: Int64Array, *, is_integer: bool
) -> highspy.Highs:
    """Fill a model: a row per line and per pool; money in currency units, pools in blocks.

    ``sum_p x_ip = count_i`` for every line, and ``sum x_ip (u_i - included_ip) / block_s - y_s <= 0`` for
    every pool, where ``y_s`` is the number of its overage blocks.
    """
    _check_known(problem)
    n_lines, n_x, n_pools = len(count), len(columns.line), len(problem.pool_block_bytes)
    in_pool = (columns.pool != INDIVIDUAL) & (columns.net_bytes != 0)
    start = np.concatenate([[0], np.cumsum(1 + in_pool)])
    index = np.empty(int(start[-1]), dtype=np.int32)
    value = np.empty(len(index))
    index[start[:-1]], value[start[:-1]] = columns.line, 1.0
    second = start[:-1][in_pool] + 1
    pool = columns.pool[in_pool]
    index[second] = n_lines + pool
    value[second] = columns.net_bytes[in_pool] / problem.pool_block_bytes[pool]

    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = n_x + n_pools, n_lines + n_pools
    is_overage_free = problem.charge_type is ChargeType.RATE
    block_price = problem.pool_tier_rate_micros[:, 0] * (not is_overage_free)
    lp.col_cost_ = np.concatenate([columns.own_micros, block_price]) / UNIT
    lp.col_lower_ = np.zeros(lp.num_col_)
    lp.col_upper_ = np.concatenate([count[columns.line], np.full(n_pools, highspy.kHighsInf)])
    lp.row_lower_ = np.concatenate([count, np.full(n_pools, -highspy.kHighsInf)])
    lp.row_upper_ = np.concatenate([count, np.zeros(n_pools)])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = np.concatenate([start, start[-1] + np.arange(1, n_pools + 1)])
    lp.a_matrix_.index_ = np.concatenate([index, n_lines + np.arange(n_pools)])
    lp.a_matrix_.value_ = np.concatenate([value, np.full(n_pools, -1.0)])
    if is_integer:
        lp.integrality_ = [highspy.HighsVarType.kInteger] * lp.num_col_
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)  # noqa: FBT003 - HiGHS takes it by position
    highs.setOptionValue("threads", 1)
    highs.passModel(lp)
    return highs
