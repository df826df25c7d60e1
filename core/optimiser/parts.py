"""A unit without the limits that count over its SIMs, in the parts that then share nothing (O8, O11).

A limit joins groups that share no pool. Where it does not bind, an answer of the parts keeps it, and
their multipliers with a price of 0 for each limit prove the sum of their bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from core.billing.pools import connected
from core.optimiser.certificate import Certificate
from core.problem import INDIVIDUAL, NO_LIMIT, Int64Array, Problem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Groups that no pool connects with others, as a unit of its own.

    Attributes
    ----------
    rows
        Its SIMs, rows of the whole unit, ascending.
    problem
        With all pools of the whole unit, of which other parts' have no SIMs.
    """

    rows: Int64Array
    problem: Problem


def parts_without_limits(problem: Problem) -> list[Part]:
    """Take a unit apart, in the order of the parts' first groups; its locked SIMs stay locked."""
    n_groups, n_plans = len(problem.groups), len(problem.tariff.codes)
    in_use = np.zeros((n_plans, n_groups), dtype=bool)
    in_use[problem.current, problem.group] = True
    for g, group in enumerate(problem.groups):
        in_use[list(group.eligible), g] = True
    touched = [
        set(problem.pool_of[in_use[:, g], g].tolist()) - {INDIVIDUAL} for g in range(n_groups)
    ]
    part_of = np.array(connected(touched, len(problem.pool_block_bytes)), dtype=np.int64)
    return [
        _part(problem, np.flatnonzero(part_of == k)) for k in range(part_of.max(initial=-1) + 1)
    ]


def _part(problem: Problem, groups: Int64Array) -> Part:
    number = np.full(len(problem.groups), -1, dtype=np.int32)
    number[groups] = np.arange(len(groups), dtype=np.int32)
    rows = np.flatnonzero(number[problem.group] >= 0)
    per_sim = (
        "usage_bytes", "sms_count", "voice_seconds", "day_class", "comm_plan", "current",
        "is_locked",
    )  # fmt: skip
    part = replace(
        problem,
        groups=tuple(problem.groups[g] for g in groups.tolist()),
        group=number[problem.group[rows]],
        pool_of=problem.pool_of[:, groups],
        min_sims=np.zeros_like(problem.min_sims),
        max_sims=np.full_like(problem.max_sims, NO_LIMIT),
        max_changes=None,
        **{name: getattr(problem, name)[rows] for name in per_sim},
    )
    return Part(rows=rows, problem=part)


def pool_multipliers(certificates: Iterable[Certificate]) -> tuple[int, ...]:
    """Put together those of the parts: each pool has a price in one of them at most.

    All have the same scale, since all know the prices of all pools and none has other multipliers.
    """
    by_pool = zip(*(one.pool_multipliers for one in certificates), strict=True)
    return tuple(map(sum, by_pool))
