"""Sorts the SIMs of a unit into classes (:mod:`core.optimiser.rows`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.billing.individual import individual_costs, message_overage
from core.domain import ChargeType
from core.optimiser.individual import free_sims
from core.optimiser.rows import NO_INDIVIDUAL, Lines, Rows, limited_plans
from core.problem import INDIVIDUAL, BoolArray, Int32Array, Int64Array, Problem


def build_rows(problem: Problem) -> Rows:
    """Sort the SIMs of a unit into classes.

    Raises
    ------
    DataError
        If a SIM's charge leaves the range of 64-bit integers.
    """
    is_split = problem.max_changes is not None or problem.min_saving_per_change_micros > 0
    plans_of = _plan_table(problem)
    has_choice = _has_choice(problem, plans_of)
    varies = _message_cost_varies(problem, plans_of, has_choice)
    classes = _Classes.of(problem, plans_of, has_choice, varies, is_split=is_split)
    sim, class_start = classes.sorted_sims(problem)
    usage = problem.usage_bytes[sim]
    keeps_apart = is_split or bool(limited_plans(problem).any())
    lines, general = _lines(
        problem,
        classes,
        keeps_apart=keeps_apart,
        keeps_own=problem.min_saving_per_change_micros > 0,
    )
    has_individual = _has_individual(problem, classes, general)
    cheapest, plan = _cheapest_individual(problem, classes, has_individual, sim, class_start)
    own_row, own = _own_costs(problem, lines, general, sim, class_start)
    stays = np.flatnonzero(~has_choice)
    return Rows(
        sim=sim,
        usage_bytes=usage,
        prefix_usage=_prefix(usage),
        class_start=class_start,
        lines=lines,
        individual_micros=cheapest,
        individual_plan=plan,
        prefix_individual=_prefix(np.where(cheapest == NO_INDIVIDUAL, 0, cheapest)),
        run_end=_run_ends(cheapest, class_start),
        has_individual=has_individual,
        own_row=own_row,
        own_micros=own,
        fixed_pool_bytes=_fixed_pools(problem, stays),
        fixed_sims=np.bincount(problem.current[stays], minlength=len(problem.tariff.codes)).astype(
            np.int64
        ),
    )


def _plan_table(problem: Problem) -> BoolArray:
    """Whether a plan is in a group's list, shape ``(n_groups, n_plans)``."""
    table = np.zeros((len(problem.groups), len(problem.tariff.codes)), dtype=bool)
    for g, group in enumerate(problem.groups):
        table[g, list(group.eligible)] = True
    return table


def _has_choice(problem: Problem, plans_of: BoolArray) -> BoolArray:
    """SIMs that may move and have a plan to move to, shape ``(n,)``."""
    n_listed = plans_of.sum(axis=1)
    is_listed = plans_of[problem.group, problem.current]
    has_other = n_listed[problem.group] > is_listed
    has_choice: BoolArray = free_sims(problem) & has_other
    return has_choice


def _message_cost_varies(problem: Problem, plans_of: BoolArray, has_choice: BoolArray) -> BoolArray:
    """SIMs whose SMS and voice cost more on one of their plans than on another, shape ``(n,)``."""
    varies = np.zeros(problem.n_sims, dtype=bool)
    tariff = problem.tariff
    if problem.charge_type is ChargeType.RATE:
        return varies
    rows = np.flatnonzero(((problem.sms_count > 0) | (problem.voice_seconds > 0)) & has_choice)
    if not len(rows):
        return varies
    sms, voice = problem.sms_count[rows], problem.voice_seconds[rows]
    low = high = message_overage(tariff, problem.current[rows], sms, voice)
    for plan in np.flatnonzero(plans_of.any(axis=0)).tolist():
        plans = np.where(plans_of[problem.group[rows], plan], np.int32(plan), problem.current[rows])
        cost = message_overage(tariff, plans, sms, voice)
        low, high = np.minimum(low, cost), np.maximum(high, cost)
    varies[rows] = low < high
    return varies


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Classes:
    """Class of each SIM with a choice, and what the SIMs of a class have in common.

    ``extra`` is the present plan where it is not in the list, or where classes are split by it,
    else -1. ``present`` is any SIM's present plan.
    """

    sims: Int64Array
    number: Int64Array
    n_classes: int
    group: Int64Array
    day_class: Int64Array
    extra: Int64Array
    varies: BoolArray
    plans: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls,
        problem: Problem,
        plans_of: BoolArray,
        has_choice: BoolArray,
        varies: BoolArray,
        *,
        is_split: bool,
    ) -> _Classes:
        sims = np.flatnonzero(has_choice)
        n_plans = len(problem.tariff.codes)
        n_days = problem.tariff.fee_micros.shape[1]
        current = problem.current[sims].astype(np.int64)
        group = problem.group[sims].astype(np.int64)
        is_named = np.ones(len(sims), dtype=bool) if is_split else ~plans_of[group, current]
        extra = np.where(is_named, current, -1)
        days = problem.day_class[sims].astype(np.int64)
        key = ((group * n_days + days) * (n_plans + 1) + extra + 1) * 2 + varies[sims]
        keys, number = _numbered(key)
        keys, has_message = np.divmod(keys, 2)
        keys, named = np.divmod(keys, n_plans + 1)
        of_group, of_day = np.divmod(keys, n_days)
        plans = tuple(
            tuple(sorted({*problem.groups[g].eligible, *([p - 1] if p else [])}))
            for g, p in zip(of_group.tolist(), named.tolist(), strict=True)
        )
        return cls(
            sims=sims,
            number=number,
            n_classes=len(keys),
            group=of_group,
            day_class=of_day,
            extra=named - 1,
            varies=has_message.astype(bool),
            plans=plans,
        )

    def sorted_sims(self, problem: Problem) -> tuple[Int64Array, Int64Array]:
        """SIMs by class, usage and row, and where each class starts."""
        order = np.argsort(problem.usage_bytes[self.sims], kind="stable")
        if self.n_classes > 1:
            small = self.number[order].astype(np.min_scalar_type(self.n_classes))
            order = order[np.argsort(small, kind="stable")]
        sizes = np.bincount(self.number, minlength=self.n_classes)
        return self.sims[order], np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _numbered(key: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Distinct keys, ascending, and the position of each key among them."""
    if not len(key):
        return key, key
    width = int(key.max()) + 1
    if width > 4 * len(key) + 1024:
        keys, number = np.unique(key, return_inverse=True)
        return keys, number.astype(np.int64)
    occurs = np.zeros(width, dtype=np.int64)
    occurs[key] = 1
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[key]


def _lines(
    problem: Problem, classes: _Classes, *, keeps_apart: bool, keeps_own: bool
) -> tuple[Lines, BoolArray]:
    """Lines of all classes, and which classes are general."""
    tariff = problem.tariff
    plan: list[int] = []
    start = [0]
    general = np.zeros(classes.n_classes, dtype=bool)
    owner: list[int] = []
    for k, plans in enumerate(classes.plans):
        pools = problem.pool_of[list(plans), classes.group[k]]
        general[k] = (
            keeps_own or classes.varies[k] or (keeps_apart and bool((pools == INDIVIDUAL).any()))
        )
        kept = [p for p, s in zip(plans, pools, strict=True) if general[k] or s != INDIVIDUAL]
        plan += kept
        owner += [k] * len(kept)
        start.append(len(plan))
    plans_array, k_of = np.array(plan, dtype=np.int32), np.array(owner, dtype=np.int64)
    day = classes.day_class[k_of]
    fees = tariff.fee_micros[plans_array, day]
    return Lines(
        start=np.array(start, dtype=np.int64),
        plan=plans_array,
        pool=problem.pool_of[plans_array, classes.group[k_of]].astype(np.int32),
        fee_micros=np.zeros_like(fees) if problem.charge_type is ChargeType.OVERAGE else fees,
        included_bytes=tariff.included_bytes[plans_array, day],
        is_change=plans_array != classes.extra[k_of],
    ), general


def _cheapest_individual(
    problem: Problem,
    classes: _Classes,
    has_individual: BoolArray,
    sim: Int64Array,
    class_start: Int64Array,
) -> tuple[Int64Array, Int32Array]:
    """Cost and number of each row's cheapest individual plan, ties by plan number."""
    from core.optimiser.cheapest_kernel import cheapest_individual

    n = len(sim) if has_individual.any() else 0
    cheapest = np.full(n, NO_INDIVIDUAL, dtype=np.int64)
    chosen = np.full(n, -1, dtype=np.int32)
    tariff, charge_type = problem.tariff, problem.charge_type
    for k in np.flatnonzero(has_individual).tolist():
        pool = problem.pool_of[list(classes.plans[k]), classes.group[k]]
        plans = np.array(classes.plans[k], dtype=np.int64)[pool == INDIVIDUAL]
        rows = slice(int(class_start[k]), int(class_start[k + 1]))
        for plan in plans.tolist():  # the largest user's cost must be in range, then all are
            _costs(problem, plan, sim[rows][-1:], with_data=True, with_messages=False)
        fee = tariff.fee_micros[plans, classes.day_class[k]]
        cheapest_individual(
            problem.usage_bytes[sim[rows]], plans,
            np.zeros_like(fee) if charge_type is ChargeType.OVERAGE else fee,
            tariff.included_bytes[plans, classes.day_class[k]],
            charge_type is not ChargeType.RATE, tariff.overage_block_bytes[plans],
            tariff.tier_from_block[plans], tariff.tier_rate_micros[plans],
            tariff.overage_cap_micros[plans], cheapest[rows], chosen[rows],
        )  # fmt: skip
    return cheapest, chosen


def _own_costs(
    problem: Problem,
    lines: Lines,
    general: BoolArray,
    sim: Int64Array,
    class_start: Int64Array,
) -> tuple[Int64Array, Int64Array]:
    """First row of each general class in the table of own costs, and that table."""
    sizes = np.where(general, np.diff(class_start), 0)
    first = np.where(general, np.cumsum(sizes) - sizes, -1).astype(np.int64)
    longest = int(np.diff(lines.start)[general].max(initial=0))
    own = np.zeros((int(sizes.sum()), longest), dtype=np.int64)
    for k in np.flatnonzero(general).tolist():
        rows = sim[int(class_start[k]) : int(class_start[k + 1])]
        for column, line in enumerate(range(int(lines.start[k]), int(lines.start[k + 1]))):
            own[first[k] : first[k] + len(rows), column] = _costs(
                problem,
                int(lines.plan[line]),
                rows,
                with_data=bool(lines.pool[line] == INDIVIDUAL),
                with_messages=True,
            )
    return first, own


def _costs(
    problem: Problem, plan: int, sims: Int64Array, *, with_data: bool, with_messages: bool
) -> Int64Array:
    """Cost of SIMs alone on a plan; data of a pooled plan, and equal messages, are left out."""
    nothing = np.zeros(len(sims), dtype=np.int64)
    return individual_costs(
        problem.tariff,
        plan,
        problem.usage_bytes[sims] if with_data else nothing,
        problem.sms_count[sims] if with_messages else nothing,
        problem.voice_seconds[sims] if with_messages else nothing,
        problem.day_class[sims],
        problem.charge_type,
    )


def _fixed_pools(problem: Problem, stays: Int64Array) -> Int64Array:
    pool = problem.pool_of[problem.current[stays], problem.group[stays]]
    net = (
        problem.usage_bytes[stays]
        - problem.tariff.included_bytes[problem.current[stays], problem.day_class[stays]]
    )
    total = np.zeros(len(problem.pool_block_bytes), dtype=np.int64)
    pooled = pool != INDIVIDUAL
    np.add.at(total, pool[pooled], net[pooled])
    return total


def _prefix(values: Int64Array) -> Int64Array:
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _run_ends(values: Int64Array, class_start: Int64Array) -> Int64Array:
    """First later row with another value, or the end of the class."""
    if not len(values):
        return np.zeros(0, dtype=np.int64)
    is_last = np.ones(len(values), dtype=bool)
    is_last[:-1] = values[1:] != values[:-1]
    is_last[class_start[1:][np.diff(class_start) > 0] - 1] = True
    ends = np.flatnonzero(is_last) + 1
    return np.repeat(ends, np.diff(ends, prepend=0))


def _has_individual(problem: Problem, classes: _Classes, general: BoolArray) -> BoolArray:
    """Classes that are not general and have an individual plan."""
    return np.array(
        [
            not is_general and bool((problem.pool_of[list(plans), g] == INDIVIDUAL).any())
            for plans, g, is_general in zip(classes.plans, classes.group, general, strict=True)
        ],
        dtype=bool,
    )
