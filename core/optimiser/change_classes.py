"""SIMs in classes that the limits of O8 cannot tell apart, so that they can be counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.optimiser.individual import free_sims
from core.problem import NO_LIMIT, Int32Array, Int64Array, Problem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChangeClasses:
    """The SIMs that may change their plan, by what the limits see of them.

    Attributes
    ----------
    limited
        Plans with a limit, ascending. A *target* is a position in it; the position after the last
        stands for every plan without a limit.
    immovable
        Per plan of the tariff, SIMs that keep it in any case.
    sizes
        Per class, its number of SIMs.
    targets
        Per class, where its SIMs may be: first where they are today, then the others, ascending.
    class_of
        Shape ``(n,)``: class of each SIM, -1 where the SIM keeps its plan in any case.
    """

    limited: tuple[int, ...]
    immovable: tuple[int, ...]
    sizes: tuple[int, ...]
    targets: tuple[tuple[int, ...], ...]
    class_of: Int32Array

    def spread(self, problem: Problem, flows: list[list[int]]) -> Int32Array:
        """Give the SIMs of each class its targets, in the order of rows and targets.

        Parameters
        ----------
        flows
            Per class, how many SIMs go to each of its targets; they add up to its size.
        """
        assignment = problem.current.copy()
        unlimited = _first_unlimited(problem, self.limited)
        by_class = np.argsort(self.class_of, kind="stable")[np.count_nonzero(self.class_of < 0) :]
        start = 0
        for targets, counts in zip(self.targets, flows, strict=True):
            start += counts[0]
            for target, count in zip(targets[1:], counts[1:], strict=True):
                rows = by_class[start : start + count]
                if target < len(self.limited):
                    assignment[rows] = self.limited[target]
                else:
                    assignment[rows] = unlimited[problem.group[rows]]
                start += count
        return assignment


def change_classes(problem: Problem) -> ChangeClasses:
    """Count the SIMs of a unit by their present plan and their plans with limits."""
    n_plans = len(problem.tariff.codes)
    has_limit = (problem.min_sims > 0) | (problem.max_sims < NO_LIMIT)
    limited = tuple(np.flatnonzero(has_limit).tolist())
    is_free = free_sims(problem)
    immovable = np.bincount(problem.current[~is_free], minlength=n_plans)
    rows = np.flatnonzero(is_free)
    pairs, pair_of_row = np.unique(
        problem.group[rows].astype(np.int64) * n_plans + problem.current[rows], return_inverse=True
    )
    number_of: dict[tuple[int, ...], int] = {}
    class_of_pair = [
        number_of.setdefault(_targets(problem, limited, *divmod(pair, n_plans)), len(number_of))
        for pair in pairs.tolist()
    ]
    class_of = np.full(problem.n_sims, -1, dtype=np.int32)
    class_of[rows] = np.array(class_of_pair, dtype=np.int32)[pair_of_row]
    return ChangeClasses(
        limited=limited,
        immovable=tuple(immovable.tolist()),
        sizes=tuple(np.bincount(class_of[rows], minlength=len(number_of)).tolist()),
        targets=tuple(number_of),
        class_of=class_of,
    )


def _targets(
    problem: Problem, limited: tuple[int, ...], group: int, current: int
) -> tuple[int, ...]:
    place = {plan: number for number, plan in enumerate(limited)}
    today = place.get(current, len(limited))
    listed = {place.get(plan, len(limited)) for plan in problem.groups[group].eligible}
    return today, *sorted(listed - {today})


def _first_unlimited(problem: Problem, limited: tuple[int, ...]) -> Int64Array:
    """First plan without a limit on each group's list, -1 where there is none."""
    return np.array(
        [
            next((plan for plan in group.eligible if plan not in limited), -1)
            for group in problem.groups
        ],
        dtype=np.int64,
    )
