"""What the walks move: the SIMs of a group, or its communication plans, as lines of a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from core.billing.individual import individual_costs
from core.problem import INDIVIDUAL, Int64Array, Problem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WalkLines:
    """One line per SIM or per communication plan; columns are the plans of the group's list.

    Attributes
    ----------
    n_sims, usage_bytes
        Shape ``(m,)``: SIMs of the line and their total usage.
    own_micros
        Shape ``(m, n_columns)``: the line's cost on each plan, without the overage of a pool.
    included_bytes, included_row
        ``included_bytes[included_row[j], c]`` is the allowance that line ``j`` brings to column
        ``c``.
    kept, kept_row
        ``kept[kept_row[j], c]`` SIMs of line ``j`` have the plan of column ``c`` today.
    ascending, descending
        Shape ``(m,)``: the lines by usage, ties by ICCID or name in both orders.
    sim_position, sim_line
        Shape ``(n,)``: the SIM at ``sim_position[i]`` of the group belongs to line ``sim_line[i]``.
    """

    n_sims: Int64Array
    usage_bytes: Int64Array
    own_micros: Int64Array
    included_bytes: Int64Array
    included_row: Int64Array
    kept: Int64Array
    kept_row: Int64Array
    ascending: Int64Array
    descending: Int64Array
    sim_position: Int64Array
    sim_line: Int64Array


def sim_lines(problem: Problem, g: int, rows: Int64Array) -> WalkLines:
    """One line per SIM of a group, stored by usage so that walks read memory in order.

    Parameters
    ----------
    g
        Index into ``problem.groups``.
    rows
        The group's SIMs, ascending.
    """
    plans = np.array(problem.groups[g].eligible, dtype=np.int64)
    position = np.argsort(problem.usage_bytes[rows], kind="stable")
    rows = rows[position]
    usage = problem.usage_bytes[rows]
    n, n_columns = len(rows), len(plans)
    column_of = np.full(len(problem.tariff.codes), n_columns, dtype=np.int64)
    column_of[plans] = np.arange(n_columns)
    return WalkLines(
        n_sims=np.ones(n, dtype=np.int64),
        usage_bytes=usage,
        own_micros=_own_micros(problem, g, rows, usage),
        included_bytes=np.ascontiguousarray(problem.tariff.included_bytes[plans].T),
        included_row=problem.day_class[rows].astype(np.int64),
        kept=np.eye(n_columns + 1, n_columns, dtype=np.int64),  # last row: a plan off the list
        kept_row=column_of[problem.current[rows]],
        ascending=np.arange(n, dtype=np.int64),
        descending=np.argsort(-usage, kind="stable"),
        sim_position=position,
        sim_line=np.arange(n, dtype=np.int64),
    )


def comm_plan_lines(problem: Problem, rows: Int64Array, sims: WalkLines) -> WalkLines:
    """One line per communication plan of the group, in the order of their names.

    Parameters
    ----------
    rows
        The group's SIMs, ascending.
    sims
        Lines of the same SIMs.
    """
    names, line = np.unique(problem.comm_plan[rows[sims.sim_position]], return_inverse=True)
    line = line.astype(np.int64)
    m = len(names)
    usage = np.zeros(m, dtype=np.int64)
    np.add.at(usage, line, sims.usage_bytes)
    each = np.arange(m, dtype=np.int64)
    return WalkLines(
        n_sims=np.bincount(line, minlength=m).astype(np.int64),
        usage_bytes=usage,
        own_micros=_sum_by_line(line, m, sims.own_micros, sims.sim_line),
        included_bytes=_sum_by_line(line, m, sims.included_bytes, sims.included_row),
        included_row=each,
        kept=_sum_by_line(line, m, sims.kept, sims.kept_row),
        kept_row=each,
        ascending=np.argsort(usage, kind="stable"),
        descending=np.argsort(-usage, kind="stable"),
        sim_position=sims.sim_position,
        sim_line=line,
    )


def _own_micros(problem: Problem, g: int, rows: Int64Array, usage: Int64Array) -> Int64Array:
    """Cost of each SIM alone, in a pool without its data; shape ``(n, n_columns)``."""
    plans = problem.groups[g].eligible
    own = np.empty((len(rows), len(plans)), dtype=np.int64)
    nothing = np.zeros_like(usage)
    sms, voice = problem.sms_count[rows], problem.voice_seconds[rows]
    day_class = problem.day_class[rows]
    for column, plan in enumerate(plans):
        is_pooled = problem.pool_of[plan, g] != INDIVIDUAL
        own[:, column] = individual_costs(
            problem.tariff, plan, nothing if is_pooled else usage, sms, voice, day_class,
            problem.charge_type,
        )  # fmt: skip
    return own


@njit(cache=True)
def _sum_by_line(line: Int64Array, m: int, table: Int64Array, row: Int64Array) -> Int64Array:
    """Sum ``table[row[i]]`` over the SIMs ``i`` of each line."""
    total = np.zeros((m, table.shape[1]), dtype=np.int64)
    for i in range(len(line)):
        for c in range(table.shape[1]):
            total[line[i], c] += table[row[i], c]
    return total
