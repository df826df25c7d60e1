"""The walks of O4: fill the plans of a sequence, one line after the other, by average usage.

A *line* is a SIM, or in the grouped strategies a whole communication plan. A walk takes a group's
lines by usage and gives each to the first plan of the sequence whose average usage, with it inside,
stays within that plan's max average usage (:func:`core.sequences.max_average_usage`).

What O4 leaves open is read as follows.

* A pooled plan counts its own SIMs: plans that share one pool (B4) are filled one by one, and share
  allowance and overage in the walk's cost.
* An individual plan is a pool of one: what is compared is the line's own (average) usage. A line
  that stops at an individual plan takes its cheapest individual plan of the sequence instead, ties
  by the sequence's order; a communication plan takes the one that is cheapest for all its SIMs.
* Pools are private to the group, as in the legacy system, whatever their true scope.

The first sequences are always walked. A later one is pruned if not one of its walks can cost as
little as the cheapest of those (O5); that figure stays as it is, so that neither the cheapest walk
nor the set of pruned sequences depends on how later sequences are split into batches.

The method that this stands for is known from descriptions only; this is a generous reconstruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from core.billing.individual import started, tiered
from core.domain import MAX_USAGE_BYTES, WALK_STRATEGIES, Strategy
from core.errors import DataError
from core.optimiser.kernels import MAX_SIMS, walk
from core.optimiser.lines import WalkLines, comm_plan_lines, sim_lines
from core.optimiser.result import NOT_WALKED, GroupWalks, SolveParams
from core.optimiser.sequence_bounds import sequence_bounds
from core.problem import INDIVIDUAL, Int32Array, Int64Array, Problem
from core.sequences import max_average_usage

_CHUNK = 64
"""Sequences that one pass over the lines walks together."""

_GROUPED = (
    Strategy.GROUP_BY_COMM_PLAN_LARGEST_TO_SMALLEST,
    Strategy.GROUP_BY_COMM_PLAN_SMALLEST_TO_LARGEST,
)
_DESCENDING = (
    Strategy.NO_GROUPING_LARGEST_TO_SMALLEST,
    Strategy.GROUP_BY_COMM_PLAN_LARGEST_TO_SMALLEST,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walked:
    """All walks of one group.

    Attributes
    ----------
    best
        Shape ``(n_sims of the group,)``: plan numbers of the cheapest walk, rows as given; None
        where the group has no sequence.
    first
        The same of the cheapest walk among the sequences that are always walked.
    """

    walks: GroupWalks
    best: Int32Array | None
    first: Int32Array | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Chunk:
    """Some sequences as arrays of shape ``(n_sequences, longest)``; plans are columns of the list.

    ``whole + rest / scale`` is the max average usage of each plan of a sequence but its last.
    """

    columns: Int64Array
    length: Int64Array
    whole: Int64Array
    rest: Int64Array
    scale: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pools:
    """Private pools of a group: pool of each column or -1, tiers and size of a pool's blocks."""

    of_column: Int64Array
    block: Int64Array
    tier_from_block: Int64Array
    tier_rate: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Walker:
    """What all walks of a group need."""

    problem: Problem
    g: int
    strategies: tuple[Strategy, ...]
    sims: WalkLines
    by_comm_plan: WalkLines
    pools: _Pools

    def lines(self, strategy: Strategy) -> WalkLines:
        """Lines that a strategy moves."""
        return self.by_comm_plan if strategy in _GROUPED else self.sims

    def walk(self, sequences: Sequence[tuple[int, ...]]) -> tuple[Int64Array, Int64Array]:
        """Costs and plan changes, each of shape ``(n_sequences, n_strategies)``."""
        costs = np.zeros((len(sequences), len(self.strategies)), dtype=np.int64)
        changes = np.zeros_like(costs)
        chunks = _pack(self.problem, self.g, sequences)
        nowhere = np.empty(0, dtype=np.int64)
        for k, strategy in enumerate(self.strategies):
            lines = self.lines(strategy)
            found = [_walk(lines, strategy, chunk, self.pools, nowhere) for chunk in chunks]
            if found:
                costs[:, k] = np.concatenate([cost for cost, _ in found])
                changes[:, k] = np.concatenate([changed for _, changed in found])
        return costs, changes

    def plans(self, sequence: tuple[int, ...], strategy: Strategy) -> Int32Array:
        """Plan number of each SIM of the group after one walk."""
        lines = self.lines(strategy)
        columns = np.empty(len(lines.n_sims), dtype=np.int64)
        _walk(lines, strategy, _pack(self.problem, self.g, [sequence])[0], self.pools, columns)
        eligible = np.array(self.problem.groups[self.g].eligible, dtype=np.int32)
        plans = np.empty(len(lines.sim_line), dtype=np.int32)
        plans[lines.sim_position] = eligible[columns[lines.sim_line]]
        return plans


def walk_group(problem: Problem, g: int, rows: Int64Array, params: SolveParams) -> Walked:
    """Walk the sequences of a group with every strategy, and keep the cheapest (O4, O5).

    Parameters
    ----------
    g
        Index into ``problem.groups``.
    rows
        The group's SIMs, ascending.

    Returns
    -------
    Walked
        Ties of the cheapest by fewer changes, then strategy name, then sequence.

    Raises
    ------
    DataError
        If the group has more than ``MAX_SIMS`` SIMs.
    """
    group = problem.groups[g]
    strategies = WALK_STRATEGIES if params.strategies is None else params.strategies
    if len(rows) > MAX_SIMS:
        msg = f"group {group.group_id} has {len(rows)} SIMs: at most {MAX_SIMS} can be walked"
        raise DataError(msg)
    if not group.sequences or not strategies:
        nothing = np.zeros((len(group.sequences), len(strategies)), dtype=np.int64)
        walks = _group_walks(group.group_id, strategies, nothing, (-1, -1), (-1, -1))
        return Walked(walks=walks, best=None, first=None)
    sims = sim_lines(problem, g, rows)
    walker = _Walker(
        problem=problem,
        g=g,
        strategies=strategies,
        sims=sims,
        by_comm_plan=comm_plan_lines(problem, rows, sims),
        pools=_private_pools(problem, g),
    )
    costs, changes = _walk_or_prune(walker, params)
    best = _cheapest(costs, changes, strategies)
    limit = params.first_instance_limit
    first = _cheapest(costs[:limit], changes[:limit], strategies)
    plans = walker.plans(group.sequences[best[0]], strategies[best[1]])
    return Walked(
        walks=_group_walks(group.group_id, strategies, costs, best, first),
        best=plans,
        first=plans
        if first == best
        else walker.plans(group.sequences[first[0]], strategies[first[1]]),
    )


def _walk_or_prune(walker: _Walker, params: SolveParams) -> tuple[Int64Array, Int64Array]:
    """Walk the first sequences, and of the later ones those that may be as cheap (O5)."""
    sequences = walker.problem.groups[walker.g].sequences
    costs = np.full((len(sequences), len(walker.strategies)), NOT_WALKED, dtype=np.int64)
    changes = np.zeros_like(costs)
    limit = params.first_instance_limit
    costs[:limit], changes[:limit] = walker.walk(sequences[:limit])
    if len(sequences) <= limit:
        return costs, changes
    figure = costs[:limit].min()
    bounds = sequence_bounds(walker.problem, walker.g, walker.sims)
    for start in range(limit, len(sequences), params.sequence_batch_size):
        batch = sequences[start : start + params.sequence_batch_size]
        kept = start + np.flatnonzero(bounds.of(batch) <= figure)
        costs[kept], changes[kept] = walker.walk([sequences[s] for s in kept])
    return costs, changes


def _group_walks(
    group_id: str,
    strategies: tuple[Strategy, ...],
    costs: Int64Array,
    best: tuple[int, int],
    first: tuple[int, int],
) -> GroupWalks:
    return GroupWalks(
        group_id=group_id,
        strategies=strategies,
        cost_micros=costs,
        best_sequence=best[0],
        best_strategy=best[1],
        first_sequence=first[0],
        first_strategy=first[1],
    )


def _cheapest(
    costs: Int64Array, changes: Int64Array, strategies: tuple[Strategy, ...]
) -> tuple[int, int]:
    """Sequence and strategy of the cheapest walk; ties by changes, strategy name, sequence."""
    names = [strategy.value for strategy in strategies]
    name_rank = np.array([sorted(names).index(name) for name in names])
    sequence, k = (index.ravel() for index in np.indices(costs.shape))
    best = np.lexsort((sequence, name_rank[k], changes.ravel(), costs.ravel()))[0]
    return int(sequence[best]), int(k[best])


def _private_pools(problem: Problem, g: int) -> _Pools:
    plans = np.array(problem.groups[g].eligible, dtype=np.int64)
    pool = problem.pool_of[plans, g]
    is_pooled = pool != INDIVIDUAL
    used, local = np.unique(pool[is_pooled], return_inverse=True)
    of_column = np.full(len(plans), INDIVIDUAL, dtype=np.int64)
    of_column[is_pooled] = local
    return _Pools(
        of_column=of_column,
        block=problem.pool_block_bytes[used],
        tier_from_block=problem.pool_tier_from_block[used],
        tier_rate=problem.pool_tier_rate_micros[used],
    )


def _pack(problem: Problem, g: int, sequences: Sequence[tuple[int, ...]]) -> list[_Chunk]:
    """Sequences as arrays, ``_CHUNK`` at a time."""
    column_of = {plan: column for column, plan in enumerate(problem.groups[g].eligible)}
    limits: dict[tuple[int, int], tuple[int, int, int]] = {}

    def limit(plan: int, next_plan: int) -> tuple[int, int, int]:
        if (plan, next_plan) not in limits:
            value = max_average_usage(problem.tariff, plan, next_plan, problem.charge_type)
            whole, rest = divmod(value.numerator, value.denominator)
            limits[plan, next_plan] = min(whole, MAX_USAGE_BYTES), rest, value.denominator
        return limits[plan, next_plan]

    chunks = []
    for first in range(0, len(sequences), _CHUNK):
        chosen = sequences[first : first + _CHUNK]
        length = np.array([len(sequence) for sequence in chosen], dtype=np.int64)
        columns = np.zeros((len(chosen), length.max()), dtype=np.int64)
        triple = np.zeros((3, *columns.shape), dtype=np.int64)
        for s, sequence in enumerate(chosen):
            columns[s, : len(sequence)] = [column_of[plan] for plan in sequence]
            pairs = [limit(*pair) for pair in pairwise(sequence)]
            triple[:, s, : len(pairs)] = np.array(pairs, dtype=np.int64).reshape(-1, 3).T
        whole, rest, scale = triple
        chunks.append(_Chunk(columns=columns, length=length, whole=whole, rest=rest, scale=scale))
    return chunks


def _walk(
    lines: WalkLines, strategy: Strategy, chunk: _Chunk, pools: _Pools, found: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """Cost with private pools, and plan changes, of every sequence of a chunk.

    ``found`` gets the column of every line in the last sequence, unless it is empty.
    """
    costs, changes, net_bytes = walk(
        lines.descending if strategy in _DESCENDING else lines.ascending,
        lines.n_sims, lines.usage_bytes, lines.own_micros,
        lines.included_bytes, lines.included_row, lines.kept, lines.kept_row,
        chunk.columns, chunk.length, chunk.whole, chunk.rest, chunk.scale,
        pools.of_column, len(pools.block), found,
    )  # fmt: skip
    blocks = started(np.maximum(net_bytes, 0), pools.block)
    return costs + tiered(blocks, pools.tier_from_block, pools.tier_rate).sum(axis=1), changes
