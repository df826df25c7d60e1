"""Polishes the answer of a small unit by an integer program with a budget of nodes (O6).

The program is that of :mod:`core.optimiser.solve` with two reductions. Rows of one class and equal
usage are one line with a number. And a line is left out for a row on which it costs more, at the
multipliers, than the whole gap between cost and bound: no better assignment uses it. Where the rows
that are left are few, all of them take part and the answer may be proven optimal; else those take part
for which lines differ least, and the others stay where they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.domain import ChargeType
from core.optimiser.highs import quiet_solver
from core.optimiser.multipliers import FloatArray, LinePrices, Multipliers
from core.optimiser.rows import CHEAPEST_INDIVIDUAL, NO_INDIVIDUAL, Rows, limited_plans
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
_MICROS = 1e-6
_TOLERANCE = 1e-9
_SAFETY_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Merged:
    """Distinct rows: their first row, how many there are, and the options that may be optimal.

    An option is a row of ``row``, ``choice``, ``plan``, ``pool``, ``net``, ``own``, ``change`` and
    ``loss``; ``row`` is the place in ``first``.
    """

    first: Int64Array
    count: Int64Array
    row: Int64Array
    choice: Int64Array
    plan: Int64Array
    pool: Int64Array
    net: Int64Array
    own: Int64Array
    change: Int64Array
    loss: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Polished:
    """Whether the state is proven optimal, and whether the clock stopped the search."""

    is_optimal: bool
    was_stopped: bool = False


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
        if polished.is_optimal:
            break
    return state, replace(polished, was_stopped=was_stopped)


def _searched(
    problem: Problem, rows: Rows, state: State, merged: _Merged, *, nodes: int, seed: int
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
    return _Program(problem, rows, state, merged, open_rows, is_whole=is_whole).solve(nodes, seed)


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
) -> _Merged:
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
    return _Merged(
        first=first, count=count, row=row, choice=choice, plan=plan_of, pool=pool_of, net=net_of,
        own=own_of, change=change, loss=np.array(losses),
    )  # fmt: skip


class _Program:
    """The integer program over the open rows, in HiGHS."""

    def __init__(
        self,
        problem: Problem,
        rows: Rows,
        state: State,
        merged: _Merged,
        open_rows: Int64Array,
        *,
        is_whole: bool,
    ) -> None:
        self._problem, self._rows, self._state, self._merged = problem, rows, state, merged
        self._is_whole = is_whole
        self._is_open = np.zeros(len(merged.first), dtype=bool)
        self._is_open[open_rows] = True
        self._present = self._present_counts()
        self._options = np.flatnonzero(self._is_open[merged.row])
        self._n = len(self._options)
        self._columns: list[tuple[float, float, float]] = []
        self._entries: list[tuple[list[int], list[float], float, float]] = []

    def _present_counts(self) -> dict[tuple[int, int], int]:
        """How many of the equal rows have each choice today."""
        owner = np.repeat(np.arange(len(self._merged.first)), self._merged.count)
        pairs, sizes = np.unique(
            np.stack([owner, self._state.choice.astype(np.int64)]), axis=1, return_counts=True
        )
        return {
            (r, c): size
            for r, c, size in zip(pairs[0].tolist(), pairs[1].tolist(), sizes.tolist(), strict=True)
        }

    def solve(self, nodes: int, seed: int) -> tuple[State, Polished]:
        """Build, solve, and take the answer if it costs less in whole numbers."""
        import highspy

        solver = self._build()
        solver.setOptionValue("random_seed", seed)
        solver.setOptionValue("mip_max_nodes", nodes)
        solver.setSolution(self._start())
        solver.run()
        status = solver.getModelStatus()
        info = solver.getInfo()
        if info.primal_solution_status != 2:  # kSolutionStatusFeasible
            return self._state, Polished(is_optimal=False)
        found = self._read(np.array(solver.getSolution().col_value))
        is_better = found.cost_micros < self._state.cost_micros and self._keeps_limits(found)
        best = found if is_better else self._state
        claimed = float(info.mip_dual_bound) / _MICROS + self._constant
        is_optimal = (
            self._is_whole
            and status == highspy.HighsModelStatus.kOptimal
            and best.cost_micros <= claimed + 1.0 + 1e-9 * abs(claimed)
        )
        return best, Polished(
            is_optimal=is_optimal, was_stopped=status == highspy.HighsModelStatus.kTimeLimit
        )

    def _keeps_limits(self, state: State) -> bool:
        problem = self._problem
        within = (state.sims >= problem.min_sims) & (state.sims <= problem.max_sims)
        most = problem.max_changes
        return bool(within.all()) and (most is None or state.changes <= most)

    def _build(self) -> Any:
        import highspy

        merged, chosen = self._merged, self._options
        count = merged.count[merged.row[chosen]]
        for own, most in zip(merged.own[chosen].tolist(), count.tolist(), strict=True):
            self._columns.append((own * _MICROS, 0.0, float(most)))
        for r in np.flatnonzero(self._is_open).tolist():
            at = np.flatnonzero(merged.row[chosen] == r).tolist()
            size = float(merged.count[r])
            self._entries.append((at, [1.0] * len(at), size, size))
        self._add_pools()
        self._add_limits()
        cost, low, high = np.array(self._columns).reshape(-1, 3).T
        solver = quiet_solver(
            mip_rel_gap=0.0,
            mip_abs_gap=0.4 * _MICROS,
            mip_feasibility_tolerance=_TOLERANCE,
            time_limit=_SAFETY_SECONDS,
        )
        none = np.zeros(0, dtype=np.int32)
        n = len(cost)
        solver.addCols(n, cost, low, high, 0, none, none, np.zeros(0))
        integer = np.full(n, highspy.HighsVarType.kInteger)
        solver.changeColsIntegrality(n, np.arange(n, dtype=np.int32), integer)
        for index, value, lower, upper in self._entries:
            solver.addRow(
                lower, upper, len(index), np.array(index, dtype=np.int32), np.array(value)
            )
        return solver

    def _add_pools(self) -> None:
        """Blocks of each pool in its tiers: they cover its usage beyond the allowances."""
        problem, merged, chosen = self._problem, self._merged, self._options
        state, prices = self._state, self._state.prices
        movable = np.zeros(len(state.pools), dtype=np.int64)
        own_present = 0
        place = {(int(merged.row[o]), int(merged.choice[o])): o for o in chosen.tolist()}
        for (r, choice), size in self._present.items():
            if self._is_open[r]:
                own, pool, net = self._cost_of(r, choice, place)
                own_present += own * size
                if pool >= 0:
                    movable[pool] += net * size
        fixed = state.pools - movable
        touched = np.unique(merged.pool[chosen][merged.pool[chosen] >= 0]).tolist()
        self._touched = touched
        untouched = [s for s in range(len(state.pools)) if s not in set(touched)]
        pools_now = int(state.charges.sum())
        rows_now = state.cost_micros - pools_now
        self._constant = float(rows_now - own_present + int(state.charges[untouched].sum()))
        self._blocks: dict[int, list[int]] = {}
        for s in touched:
            block = float(prices.block[s])
            at = np.flatnonzero(merged.pool[chosen] == s)
            most = float(fixed[s]) + float(
                np.maximum(merged.net[chosen[at]] * merged.count[merged.row[chosen[at]]], 0).sum()
            )
            index, value = at.tolist(), (merged.net[chosen[at]] / block).tolist()
            starts = [f for f in prices.from_block[s].tolist() if f * block <= max(most, 0.0)]
            self._blocks[s] = []
            for t, start in enumerate(starts):
                width = starts[t + 1] - start if t + 1 < len(starts) else np.ceil(most / block) + 1
                self._blocks[s].append(len(self._columns))
                index.append(len(self._columns))
                value.append(-1.0)
                rate = int(prices.rate[s, t])
                self._columns.append((rate * _MICROS, 0.0, max(0.0, float(width))))
            self._entries.append((index, value, -np.inf, -float(fixed[s]) / block))
        if problem.charge_type is ChargeType.RATE:
            self._blocks = {s: [] for s in touched}

    def _cost_of(
        self, r: int, choice: int, place: dict[tuple[int, int], int]
    ) -> tuple[int, int, int]:
        """Own cost, pool and net usage of a row's present choice."""
        merged, rows = self._merged, self._rows
        if (r, choice) in place:
            o = place[r, choice]
            return int(merged.own[o]), int(merged.pool[o]), int(merged.net[o])
        i = int(merged.first[r])
        if choice == CHEAPEST_INDIVIDUAL:
            return int(rows.individual_micros[i]), -1, 0
        pool = int(rows.lines.pool[choice])
        own = int(rows.lines.fee_micros[choice])
        k = int(np.searchsorted(rows.class_start, i, side="right")) - 1
        if rows.own_row[k] >= 0:
            at = int(rows.own_row[k]) + i - int(rows.class_start[k])
            own = int(rows.own_micros[at, choice - int(rows.lines.start[k])])
        net = int(rows.usage_bytes[i]) - int(rows.lines.included_bytes[choice])
        return own, pool, net if pool >= 0 else 0

    def _add_limits(self) -> None:
        """Least and most SIMs per plan, and most changes (O8)."""
        problem, merged, chosen, state = self._problem, self._merged, self._options, self._state
        movable = np.zeros(len(state.sims), dtype=np.int64)
        changed = 0
        for (r, choice), size in self._present.items():
            if not self._is_open[r]:
                continue
            on_line = choice != CHEAPEST_INDIVIDUAL
            i = int(merged.first[r])
            plan = self._rows.lines.plan[choice] if on_line else self._rows.individual_plan[i]
            movable[plan] += size
            changed += size * int(on_line and self._rows.lines.is_change[choice])
        for p in np.flatnonzero(limited_plans(problem)).tolist():
            at = np.flatnonzero(merged.plan[chosen] == p).tolist()
            fixed = int(state.sims[p] - movable[p])
            low, high = int(problem.min_sims[p]) - fixed, int(problem.max_sims[p]) - fixed
            self._entries.append((at, [1.0] * len(at), float(low), float(high)))
        if problem.max_changes is not None:
            at = np.flatnonzero(merged.change[chosen] > 0).tolist()
            left = problem.max_changes - (state.changes - changed)
            self._entries.append((at, [1.0] * len(at), -np.inf, float(left)))

    def _start(self) -> Any:
        """Express the present assignment as a solution of the program."""
        import highspy

        solution = highspy.HighsSolution()
        values = np.zeros(len(self._columns))
        merged, chosen = self._merged, self._options
        for place, o in enumerate(chosen.tolist()):
            values[place] = self._present.get((int(merged.row[o]), int(merged.choice[o])), 0)
        for s, columns in self._blocks.items():
            blocks = -(-max(0, int(self._state.pools[s])) // int(self._state.prices.block[s]))
            for column in columns:
                values[column] = min(float(blocks), self._columns[column][2])
                blocks -= int(values[column])
        solution.col_value = values.tolist()
        return solution

    def _read(self, values: FloatArray) -> State:
        """Make the state that a solution stands for; equal rows take their choices in row order."""
        choice = self._state.choice.copy()
        merged, chosen = self._merged, self._options
        counts = np.rint(values[: self._n]).astype(np.int64)
        for r in np.flatnonzero(self._is_open).tolist():
            at = np.flatnonzero(merged.row[chosen] == r)
            options = np.repeat(merged.choice[chosen[at]], counts[at])
            i, size = int(merged.first[r]), int(merged.count[r])
            if len(options) == size:
                choice[i : i + size] = options
        return State(self._problem, self._rows, choice)
