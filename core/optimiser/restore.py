"""Brings an assignment within the limits of plans and changes, at least loss (O8).

The mixture that the dual ends with keeps the limits; rounding misses them by a few SIMs. These are
moved one violated limit after the other, those first that lose least at the multipliers. Where that
gets stuck the caller starts from an assignment that is known to be within the limits.
"""

from __future__ import annotations

import numpy as np

from core.optimiser.multipliers import FloatArray
from core.optimiser.rows import Rows
from core.optimiser.state import State, plans_of
from core.problem import Int32Array, Int64Array, Problem

_MAX_PASSES = 200


def choices_on(rows: Rows, plan: Int32Array) -> Int32Array:
    """Line of each row on a plan, shape ``(n,)``; only where every plan of a class has a line.

    Raises
    ------
    ValueError
        If a row has no line on its plan.
    """
    lines = rows.lines
    choice = np.full(rows.n_rows, -1, dtype=np.int32)
    for k in range(len(rows.class_start) - 1):
        start, end = int(rows.class_start[k]), int(rows.class_start[k + 1])
        for j in range(int(lines.start[k]), int(lines.start[k + 1])):
            choice[start:end][plan[start:end] == lines.plan[j]] = j
    if (choice < 0).any():
        msg = "a row has no line on the plan that it is given"
        raise ValueError(msg)
    return choice


def restore_limits(
    problem: Problem, rows: Rows, state: State, prices: tuple[FloatArray, FloatArray]
) -> State | None:
    """Move rows until all limits hold; every plan of a class must have a line.

    Returns
    -------
    State or None
        None where single moves lead no further.
    """
    table = _Options(rows, *prices)
    choice = state.choice.copy()
    for _ in range(_MAX_PASSES):
        sims = rows.fixed_sims + np.bincount(
            plans_of(rows, choice), minlength=len(rows.fixed_sims)
        ).astype(np.int64)
        is_stuck = False
        for step in (_leave_full_plans, _fill_plans, _undo_changes):
            moved = step(problem, table, choice, sims)
            if moved:
                break
            is_stuck |= moved is False
        else:
            return None if is_stuck else State(problem, rows, choice)
    return None


class _Options:
    """What rows would lose on other lines."""

    def __init__(self, rows: Rows, intercept: FloatArray, slope: FloatArray) -> None:
        self.rows = rows
        self._intercept, self._slope = intercept, slope
        sizes = np.diff(rows.class_start)
        self.of_class = np.repeat(np.arange(len(sizes)), sizes)

    def cost(self, row: Int64Array, line: Int64Array) -> FloatArray:
        """Cost of rows on lines of their classes, at the multipliers."""
        rows = self.rows
        cost = self._intercept[line] + self._slope[line] * rows.usage_bytes[row]
        k = self.of_class[row]
        general = np.flatnonzero(rows.own_row[k] >= 0)
        at = rows.own_row[k[general]] + row[general] - rows.class_start[k[general]]
        cost[general] += rows.own_micros[at, line[general] - rows.lines.start[k[general]]]
        return cost

    def moves(
        self, choice: Int32Array, is_from: Int64Array, to_plan: int | None = None
    ) -> tuple[Int64Array, Int64Array]:
        """List moves of the rows ``is_from`` to other lines, those that lose least first."""
        lines = self.rows.lines
        longest = int(np.diff(lines.start).max(initial=0))
        found: list[tuple[Int64Array, Int64Array, FloatArray]] = []
        here = self.cost(is_from, choice[is_from].astype(np.int64))
        k = self.of_class[is_from]
        for place in range(longest):
            line = lines.start[k] + place
            usable = line < lines.start[k + 1]
            usable &= line != choice[is_from]
            line = np.where(usable, line, lines.start[k])
            if to_plan is not None:
                usable &= lines.plan[line] == to_plan
            row, to = is_from[usable], line[usable]
            found.append((row, to, self.cost(row, to) - here[usable]))
        row = np.concatenate([part[0] for part in found])
        to = np.concatenate([part[1] for part in found])
        order = np.lexsort((to, row, np.concatenate([part[2] for part in found])))
        return row[order], to[order]


def _leave_full_plans(
    problem: Problem, table: _Options, choice: Int32Array, sims: Int64Array
) -> bool | None:
    """Move rows off the first plan that has too many; None where none has."""
    over = np.flatnonzero(sims > problem.max_sims)
    if not len(over):
        return None
    p = int(over[0])
    plans = plans_of(table.rows, choice)
    row, line = table.moves(choice, np.flatnonzero(plans == p))
    return _take(problem, table, choice, sims, row, line, int(sims[p] - problem.max_sims[p]))


def _fill_plans(
    problem: Problem, table: _Options, choice: Int32Array, sims: Int64Array
) -> bool | None:
    """Move rows to the first plan that has too few; None where none has."""
    under = np.flatnonzero(sims < problem.min_sims)
    if not len(under):
        return None
    p = int(under[0])
    plans = plans_of(table.rows, choice)
    row, line = table.moves(choice, np.flatnonzero(plans != p), to_plan=p)
    return _take(problem, table, choice, sims, row, line, int(problem.min_sims[p] - sims[p]))


def _undo_changes(
    problem: Problem, table: _Options, choice: Int32Array, sims: Int64Array
) -> bool | None:
    """Let rows keep their plans until no more than allowed change; None where that holds."""
    if problem.max_changes is None:
        return None
    is_change = table.rows.lines.is_change
    excess = int(is_change[choice].sum()) - problem.max_changes
    if excess <= 0:
        return None
    row, line = table.moves(choice, np.flatnonzero(is_change[choice]))
    back = ~is_change[line]
    return _take(problem, table, choice, sims, row[back], line[back], excess)


def _take(
    problem: Problem,
    table: _Options,
    choice: Int32Array,
    sims: Int64Array,
    row: Int64Array,
    line: Int64Array,
    wanted: int,
) -> bool:
    """Make the first ``wanted`` of the moves that break no limit; whether there was one."""
    plan = table.rows.lines.plan
    done: set[int] = set()
    for i, j in zip(row.tolist(), line.tolist(), strict=True):
        if len(done) == wanted:
            break
        before, after = int(plan[choice[i]]), int(plan[j])
        has_room = sims[after] < problem.max_sims[after]
        can_leave = sims[before] > problem.min_sims[before]
        if i in done or not (has_room and can_leave):
            continue
        choice[i] = j
        sims[before] -= 1
        sims[after] += 1
        done.add(i)
    return bool(done)
