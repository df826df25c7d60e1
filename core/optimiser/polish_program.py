"""The integer program of the polish, in HiGHS: its columns, rows, start and answer (O6).

Columns are the numbers of equal rows on each of their options, and the started blocks of each pool in
each price tier; where a pool may need millions of blocks, they are not held to whole numbers. Money is in
whole units of currency there, since HiGHS works with absolute tolerances. What it returns is priced again
in whole micro-units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.domain import ChargeType
from core.optimiser.highs import quiet_solver
from core.optimiser.multipliers import FloatArray
from core.optimiser.rows import CHEAPEST_INDIVIDUAL, Rows, limited_plans
from core.optimiser.state import State
from core.problem import Int64Array, Problem

_MICROS = 1e-6
_TOLERANCE = 1e-9
_SAFETY_SECONDS = 600.0
_MOST_BLOCKS = 1e6
"""Pools that may need more blocks count them in larger units, as a continuous number: HiGHS loses its way
among larger coefficients, and whether such a block is a whole one matters little."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Merged:
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


class Program:
    """The integer program over the open rows, in HiGHS."""

    def __init__(
        self,
        problem: Problem,
        rows: Rows,
        state: State,
        merged: Merged,
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
        self._unit: dict[int, float] = {}

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
        coarse = [
            column for s, unit in self._unit.items() if unit > 1 for column in self._blocks[s]
        ]
        integer[coarse] = highspy.HighsVarType.kContinuous
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
            at = np.flatnonzero(merged.pool[chosen] == s)
            most = float(fixed[s]) + float(
                np.maximum(merged.net[chosen[at]] * merged.count[merged.row[chosen[at]]], 0).sum()
            )
            block = float(prices.block[s])
            unit = self._unit[s] = max(1.0, most / block / _MOST_BLOCKS)
            index, value = at.tolist(), (merged.net[chosen[at]] / (block * unit)).tolist()
            starts = [f for f in prices.from_block[s].tolist() if f * block <= max(most, 0.0)]
            self._blocks[s] = []
            for t, start in enumerate(starts):
                width = starts[t + 1] - start if t + 1 < len(starts) else np.ceil(most / block) + 1
                self._blocks[s].append(len(self._columns))
                index.append(len(self._columns))
                value.append(-1.0)
                rate = int(prices.rate[s, t]) * unit
                self._columns.append((rate * _MICROS, 0.0, max(0.0, float(width) / unit)))
            self._entries.append((index, value, -np.inf, -float(fixed[s]) / (block * unit)))
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
            left = blocks / self._unit[s]
            for column in columns:
                values[column] = min(left, self._columns[column][2])
                left -= values[column]
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
