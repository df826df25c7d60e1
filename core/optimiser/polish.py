"""Polishes the answer of a small unit by an integer program with a budget of nodes (O6).

The program (:mod:`core.optimiser.polish_program`) is that of :mod:`core.optimiser.solve` with two
reductions. Rows of one class and equal usage are one line with a number. And a line is left out for a
row on which it costs more, at the multipliers, than the whole gap between cost and bound: no better
assignment uses it. Where the rows that are left are few, all of them take part and the answer may be
proven optimal; else those take part for which lines differ least, and the others stay where they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.optimiser.multipliers import LinePrices, Multipliers
from core.optimiser.polish_program import Merged, Polished, Program
from core.optimiser.rows import CHEAPEST_INDIVIDUAL, NO_INDIVIDUAL, Rows
from core.optimiser.state import State
from core.problem import Int64Array, Problem

MAX_ROWS = 500
"""Units with more distinct rows are not polished: their gap is small without."""

_TINY_ROWS = 50
_TINY_SHARE = 10
_TINY_SEARCHES = 3
"""Units of so few distinct rows get ten times the nodes, and where that proves nothing two more
searches with other random numbers: their optimum is within reach."""
_EXACT_ROWS = 90
_NEAR_ROWS = 400
_MAX_OPTIONS = 2_000
"""Most columns of a program, so that even its first node stays short."""
_NEAR_SHARE = 40
"""A node of the larger program costs so many times a node of a small one."""
_LEAST_NEAR_NODES = 25


def polish(
    problem: Problem,
    rows: Rows,
    state: State,
    multipliers: Multipliers,
    dual_value: float,
    *,
    nodes: int,
) -> tuple[State, Polished]:
    """Look for a cheaper assignment of rows near the present one.

    Parameters
    ----------
    nodes
        Most nodes of the search tree; a count, so that results do not depend on the machine's speed.
        A unit of at most ``_TINY_ROWS`` distinct rows has ten times as many, up to three times; one
        of which only a part takes part a fortieth.

    Returns
    -------
    tuple
        The better state, or the given one, and what is known of it.
    """
    first, count = _distinct_rows(rows)
    polished = Polished(is_optimal=False)
    if len(first) > MAX_ROWS or nodes < 1:
        return state, polished
    is_tiny = len(first) <= _TINY_ROWS
    was_stopped = False
    for seed in range(_TINY_SEARCHES if is_tiny else 1):
        gap = state.cost_micros - dual_value
        merged = _options(problem, rows, multipliers, first, count, gap + 1.0)
        state, polished = _searched(
            problem, rows, state, merged, nodes=nodes * _TINY_SHARE if is_tiny else nodes, seed=seed
        )
        was_stopped |= polished.was_stopped
        if polished.is_optimal or was_stopped:
            break
    return state, replace(polished, was_stopped=was_stopped)


def _searched(
    problem: Problem, rows: Rows, state: State, merged: Merged, *, nodes: int, seed: int
) -> tuple[State, Polished]:
    """Solve the program of all rows that have options, or of those for which they differ least."""
    n_options = np.bincount(merged.row, minlength=len(merged.first))
    open_rows = np.flatnonzero(n_options > 1)
    is_whole = len(open_rows) <= _EXACT_ROWS and n_options[open_rows].sum() <= _MAX_OPTIONS
    if not is_whole:
        nodes //= _NEAR_SHARE
        if nodes < _LEAST_NEAR_NODES:
            return state, Polished(is_optimal=False)
        second = np.full(len(merged.first), np.inf)
        for r in open_rows.tolist():
            second[r] = np.partition(merged.loss[merged.row == r], 1)[1]
        nearest = np.argsort(second, kind="stable")[: min(_NEAR_ROWS, len(open_rows))]
        fits = np.cumsum(n_options[nearest]) <= _MAX_OPTIONS
        open_rows = np.sort(nearest[fits])
    return Program(problem, rows, state, merged, open_rows, is_whole=is_whole).solve(nodes, seed)


def _distinct_rows(rows: Rows) -> tuple[Int64Array, Int64Array]:
    """First row and size of every run of equal rows; rows of general classes stand alone."""
    is_first = np.ones(rows.n_rows, dtype=bool)
    is_first[1:] = rows.usage_bytes[1:] != rows.usage_bytes[:-1]
    is_first[rows.class_start[:-1]] = True
    for k in np.flatnonzero(rows.own_row >= 0).tolist():
        is_first[int(rows.class_start[k]) : int(rows.class_start[k + 1])] = True
    first = np.flatnonzero(is_first)
    return first, np.diff(first, append=rows.n_rows)


def _options(
    problem: Problem,
    rows: Rows,
    multipliers: Multipliers,
    first: Int64Array,
    count: Int64Array,
    most_loss: float,
) -> Merged:
    intercept, slope = LinePrices(problem, rows).at(multipliers)
    lines = rows.lines
    of_class = np.searchsorted(rows.class_start, first, side="right") - 1
    table: list[tuple[int, ...]] = []
    losses: list[float] = []
    for r, (i, k) in enumerate(zip(first.tolist(), of_class.tolist(), strict=True)):
        usage = int(rows.usage_bytes[i])
        found: list[tuple[tuple[int, ...], float]] = []
        if rows.has_individual[k] and rows.individual_micros[i] < NO_INDIVIDUAL:
            alone = int(rows.individual_micros[i])
            plan = int(rows.individual_plan[i])
            found.append(((r, CHEAPEST_INDIVIDUAL, plan, -1, 0, alone, 0), float(alone)))
        start = int(lines.start[k])
        for j in range(start, int(lines.start[k + 1])):
            own, fee = int(lines.fee_micros[j]), 0.0
            if rows.own_row[k] >= 0:
                at = int(rows.own_row[k]) + i - int(rows.class_start[k])
                own = int(rows.own_micros[at, j - start])
                fee = float(own)
            pool = int(lines.pool[j])
            net = usage - int(lines.included_bytes[j]) if pool >= 0 else 0
            entry = (r, j, int(lines.plan[j]), pool, net, own, int(lines.is_change[j]))
            found.append((entry, fee + float(intercept[j]) + float(slope[j]) * usage))
        least = min(cost for _, cost in found)
        for option, cost in found:
            if cost - least <= most_loss:
                table.append(option)
                losses.append(cost - least)
    columns = np.array(table, dtype=np.int64).reshape(-1, 7).T
    row, choice, plan_of, pool_of, net_of, own_of, change = columns
    return Merged(
        first=first, count=count, row=row, choice=choice, plan=plan_of, pool=pool_of, net=net_of,
        own=own_of, change=change, loss=np.array(losses),
    )  # fmt: skip
