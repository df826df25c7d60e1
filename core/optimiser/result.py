"""What a solve returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from core.domain import SolveStatus, Strategy
from core.optimiser.certificate import Certificate
from core.problem import BoolArray, Int32Array, Int64Array

NOT_WALKED = (1 << 63) - 1
"""Cost of a walk that was not made, since its sequence was pruned (O5)."""


_RUN_PAIRS = 40_000_000
_RUN_KICKS = 3_000
_RUN_NODES = 2_000
_LEAST_PAIRS = 20_000
_LEAST_NODES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveParams:
    """Knobs of the optimiser; the defaults are the production values.

    Attributes
    ----------
    strategies
        Walks to run, a subset of :data:`core.domain.WALK_STRATEGIES`; None means all four.
    first_instance_limit
        Sequences per group that are always walked, from the front of ``Group.sequences``, at least 1
        (O5).
    sequence_batch_size
        Later sequences that are bounded, and walked or pruned, at a time, at least 1 (O5). The
        result does not depend on it.
    skip_lower_cost_check
        Accept the best changed assignment even if it saves nothing (O7).
    is_certified
        Whether the certified solver's assignment competes; its bound is derived in any case.
    repair_pairs, repair_kicks
        Pairs of transfers that the local search prices in a unit, and how often it begins again in
        a small one (O6).
    polish_nodes
        Nodes of the integer program of a small unit (O6).
    seed
        For randomised parts; the same seed gives the same answer.
    """

    strategies: tuple[Strategy, ...] | None = None
    first_instance_limit: int = 64
    sequence_batch_size: int = 256
    skip_lower_cost_check: bool = False
    is_certified: bool = True
    repair_pairs: int = 4_000_000
    repair_kicks: int = 100
    polish_nodes: int = 2_000
    seed: int = 0

    def for_run(self, n_units: int) -> SolveParams:
        """Share the budgets of a run among its units, so that many units get little each.

        A share of fewer than 20 nodes is worth no integer program: it becomes 0.

        Parameters
        ----------
        n_units
            All units of the run, however they are split into batches (O10).
        """
        share = max(1, n_units)
        nodes = min(self.polish_nodes, _RUN_NODES // share)
        return replace(
            self,
            repair_pairs=min(self.repair_pairs, max(_LEAST_PAIRS, _RUN_PAIRS // share)),
            repair_kicks=min(self.repair_kicks, _RUN_KICKS // share),
            polish_nodes=nodes if nodes >= _LEAST_NODES else 0,
        )

    def __post_init__(self) -> None:
        if self.first_instance_limit < 1:
            msg = "first_instance_limit is at least 1"
            raise ValueError(msg)
        if self.sequence_batch_size < 1:
            msg = "sequence_batch_size is at least 1"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupWalks:
    """Costs of every walk of one group, with the group's private pools (O4).

    Attributes
    ----------
    strategies
        Columns of ``cost_micros``.
    cost_micros
        Shape ``(n_sequences, n_strategies)``; ``NOT_WALKED`` for the sequences that were pruned.
    best_sequence, best_strategy
        Index of the group's cheapest walk, ties by fewer changes, then strategy, then sequence;
        -1 where the group has no walk.
    first_sequence, first_strategy
        The same among the sequences that are always walked (O5).
    """

    group_id: str
    strategies: tuple[Strategy, ...]
    cost_micros: Int64Array
    best_sequence: int
    best_strategy: int
    first_sequence: int
    first_strategy: int

    @property
    def is_pruned(self) -> BoolArray:
        """Whether each sequence was left out, since none of its walks can be the cheapest."""
        return np.asarray((self.cost_micros == NOT_WALKED).any(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """The answer for one unit.

    Attributes
    ----------
    status
        ``OPTIMAL`` only where it is proven that no feasible assignment costs less.
    assignment
        Shape ``(n,)``: recommended plan number per SIM, rows as in the problem.
    cost_micros
        The objective (B7) of ``assignment`` at true pool scope.
    baseline_cost_micros
        The same objective of today's assignment.
    lower_bound_micros
        No feasible assignment costs less than this; None without a bound.
    strategy
        The winning candidate; for the legacy candidate the strategy of its largest group.
    group_strategy
        Winning strategy per group, in the order of ``Problem.groups``.
    group_sequence
        Where a walk won: its sequence per group, an index into ``Group.sequences``, -1 for a group
        without one. Empty where no walk won.
    legacy_best_cost_micros
        Cost of the legacy candidate at true scope, over the sequences that are always walked; None
        where no walk is feasible.
    walks
        Per group that was walked, what each candidate would cost.
    certificate
        Multipliers that prove ``lower_bound_micros`` (O3); None without a bound.
    was_stopped
        The safety clock of the integer program ended it before its budget of nodes did, so that
        another run may find another answer (O6, O10).
    """

    unit_id: str
    status: SolveStatus
    assignment: Int32Array
    cost_micros: int
    baseline_cost_micros: int
    lower_bound_micros: int | None
    strategy: Strategy
    group_strategy: tuple[Strategy, ...]
    legacy_best_cost_micros: int | None
    walks: tuple[GroupWalks, ...] = field(default=())
    group_sequence: tuple[int, ...] = ()
    certificate: Certificate | None = None
    was_stopped: bool = False

    @property
    def gap(self) -> float | None:
        """``(cost - bound) / bound``; 0 where both are 0, None without a bound."""
        if self.lower_bound_micros is None:
            return None
        if self.cost_micros == self.lower_bound_micros:
            return 0.0
        if self.lower_bound_micros <= 0:
            return None
        return (self.cost_micros - self.lower_bound_micros) / self.lower_bound_micros
