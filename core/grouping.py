"""From a fleet to solve units: groups, units, problems (G1, V3, O8, O11).

* :func:`group_fleet`: every SIM with a priced plan gets a group and a solve unit.
* :func:`build_problem`, :func:`iter_problems`: a unit, or all of them, as integer arrays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from core.billing.limits import check_limits, check_sim_ranges
from core.billing.pools import plan_pools
from core.billing.tariff import Int32Array, Int64Array, Tariff, build_tariff, day_classes
from core.domain import BillingPolicy, CommunicationPlan, Constraints, PoolScope, RatePlan
from core.errors import DataError
from core.group_rows import (
    group_uses,
    names_by_list,
    plan_lists,
    with_ids,
    with_locks,
    with_numbers,
)
from core.problem import INDIVIDUAL, BoolArray, Group, Problem
from core.solve_units import effective_constraints, limit_arrays, require_reachable, unit_numbers
from core.unit_rows import SimNumbers, sort_by_unit, unit_slices

Sequences = Mapping[str, Sequence[tuple[str, ...]]]
"""Candidate sequences by group id, each of rate plan codes (O5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """A group of communication plans with the same set of rate plans, and at least one SIM (G1).

    Attributes
    ----------
    communication_plans
        Names, ascending; also those that no SIM has at present.
    rate_plans
        Codes of the group's list that the catalogue offers, ascending.
    devices
        SIMs of the group whose present plan is in the catalogue.
    is_fixed
        More rate plans than allowed: the group's SIMs keep their plans and still share pools (V3).
    """

    group_id: str
    unit_id: str
    communication_plans: tuple[str, ...]
    rate_plans: tuple[str, ...]
    devices: int
    is_fixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grouping:
    """A fleet with its groups and solve units.

    Attributes
    ----------
    rate_plans
        The catalogue, in any order.
    fleet
        Columns of ``FLEET_SCHEMA``, then ``group_id`` and ``unit_id``, null for a SIM whose plan is
        not in the catalogue (B9); sorted by ICCID.
    groups, unit_ids
        In the order of their ids.
    plan_pool
        Shape ``(n_plans,)``: see :func:`core.billing.pools.plan_pools`.
    constraints
        With the limits of the catalogue in ``plans`` (O8); locked SIMs are marked in ``fleet``.
    """

    rate_plans: tuple[RatePlan, ...]
    tariff: Tariff
    policy: BillingPolicy
    fleet: pl.DataFrame
    groups: tuple[GroupPlan, ...]
    unit_ids: tuple[str, ...]
    plan_pool: Int32Array
    constraints: Constraints = field(default_factory=Constraints)


def group_fleet(
    fleet: pl.DataFrame,
    rate_plans: Sequence[RatePlan],
    communication_plans: Sequence[CommunicationPlan] | None,
    policy: BillingPolicy,
    *,
    max_rate_plans: int,
    constraints: Constraints | None = None,
) -> Grouping:
    """Give every SIM whose plan is in the catalogue its group and its solve unit (G1, V3, O8, O11).

    Parameters
    ----------
    fleet
        Columns of ``FLEET_SCHEMA``, sorted by ICCID.
    rate_plans
        The catalogue. An inactive plan is priced where a SIM has it, and assigned to nobody.
    communication_plans
        Plan lists; codes that the catalogue lacks are dropped. None: one group of all SIMs, with
        every plan eligible.
    max_rate_plans
        Longest plan list that is optimised (V3).
    constraints
        Beside the limits of the catalogue, which its own replace plan by plan (O8); ICCIDs that
        the fleet lacks lock nothing.

    Raises
    ------
    DataError
        If a communication plan of the fleet is in no group, plans cannot be billed, a value or a
        possible sum is out of range, or a name stands somewhere twice.
    InfeasibleError
        If a plan needs SIMs and no SIM has it or may get it.
    ValueError
        If the fleet is not sorted, or a SIM was activated after the cycle's end.
    """
    if not fleet["iccid"].is_sorted():
        msg = "a fleet is sorted by ICCID"
        raise ValueError(msg)
    check_sim_ranges(fleet)
    day_classes(fleet["activated_date"], policy)
    tariff = build_tariff(rate_plans, policy)
    plan_pool = plan_pools(rate_plans, tariff, policy.pool_scope)
    asked = effective_constraints(rate_plans, constraints)
    plan_number = tariff.plan_number()
    offered = {plan.code for plan in rate_plans if plan.is_active}
    lists = plan_lists(fleet, communication_plans, offered)
    keys = sorted(set(lists.values()))
    numbered = with_numbers(with_locks(fleet, asked.locked), lists, keys, tariff)
    uses = group_uses(numbered, keys, tariff)
    check_limits(tariff, list(uses.values()))
    require_reachable(uses.values(), asked.plans, tariff, max_rate_plans)
    unit_of = unit_numbers(
        list(uses.values()), plan_pool, {plan_number[code] for code in asked.plans},
        max_rate_plans=max_rate_plans,
        is_shared=policy.pool_scope is not PoolScope.COMM_GROUP,
        is_one=asked.max_changes is not None,
    )  # fmt: skip
    unit_ids = tuple(f"U{unit + 1:04d}" for unit in range(max(unit_of, default=-1) + 1))
    names = names_by_list(lists)
    groups = tuple(
        GroupPlan(
            group_id=use.group_id,
            unit_id=unit_ids[unit],
            communication_plans=names[keys[key]],
            rate_plans=keys[key],
            devices=use.devices,
            is_fixed=len(keys[key]) > max_rate_plans,
        )
        for (key, use), unit in zip(uses.items(), unit_of, strict=True)
    )
    ids = {key: (group.group_id, group.unit_id) for key, group in zip(uses, groups, strict=True)}
    return Grouping(
        rate_plans=tuple(rate_plans),
        tariff=tariff,
        policy=policy,
        fleet=with_ids(numbered, ids),
        groups=groups,
        unit_ids=unit_ids,
        plan_pool=plan_pool,
        constraints=asked,
    )


def unit_fleets(
    grouping: Grouping, unit_ids: Collection[str] | None = None
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Rows of the fleet by solve unit, in the order of the unit ids, each sorted by ICCID.

    The fleet is sorted by unit once, so that the work does not grow with units times SIMs.

    Parameters
    ----------
    unit_ids
        Only these units; None means all.

    Raises
    ------
    KeyError
        If there is no such unit.
    """
    rows = sort_by_unit(grouping.fleet, grouping.unit_ids, unit_ids)
    for unit_id, part in unit_slices(rows):
        yield unit_id, rows[part]


def build_problem(grouping: Grouping, unit_id: str, sequences: Sequences | None = None) -> Problem:
    """Make one solve unit's arrays; :func:`iter_problems` is the way to make many.

    Raises
    ------
    KeyError
        If there is no such unit.
    DataError
        If a sequence names a plan that its group's list lacks, or one twice.
    """
    return next(iter_problems(grouping, sequences, unit_ids=[unit_id]))


def iter_problems(
    grouping: Grouping,
    sequences: Sequences | None = None,
    *,
    unit_ids: Collection[str] | None = None,
) -> Iterator[Problem]:
    """Make the arrays of solve units, in the order of :func:`unit_fleets`.

    Parameters
    ----------
    sequences
        Candidate sequences by group id; groups without an entry, and fixed groups, have none.
    unit_ids
        Only these units; None means all.

    Raises
    ------
    KeyError
        If there is no such unit.
    DataError
        If a sequence names a plan that its group's list lacks, or one twice.
    """
    groups_of_unit: dict[str, list[GroupPlan]] = {}
    for group in grouping.groups:
        groups_of_unit.setdefault(group.unit_id, []).append(group)
    rows = sort_by_unit(grouping.fleet, grouping.unit_ids, unit_ids)
    group_ids = [group.group_id for group in grouping.groups]
    sims = SimNumbers.of(rows, group_ids=group_ids, plan_codes=grouping.tariff.codes)
    classes = day_classes(rows["activated_date"], grouping.policy)
    plan_number = grouping.tariff.plan_number()
    for unit_id, part in unit_slices(rows):
        groups = tuple(
            _problem_group(group, plan_number, (sequences or {}).get(group.group_id, ()))
            for group in groups_of_unit[unit_id]
        )
        yield _problem(grouping, unit_id, groups, sims.of_unit(part), classes[part])


def _problem(
    grouping: Grouping,
    unit_id: str,
    groups: tuple[Group, ...],
    sims: SimNumbers,
    classes: Int32Array,
) -> Problem:
    tariff, constraints = grouping.tariff, grouping.constraints
    pool_of, first_plan = _pools(grouping, len(groups))
    least, most = limit_arrays(tariff, constraints)
    # A plan that no SIM of the unit has or may get is limited in another unit.
    least[~_is_reachable(groups, sims.plan, len(tariff.codes))] = 0
    return Problem(
        unit_id=unit_id,
        tariff=tariff,
        groups=groups,
        usage_bytes=sims.usage_bytes,
        sms_count=sims.sms_count,
        voice_seconds=sims.voice_seconds,
        day_class=classes,
        group=sims.group,
        comm_plan=sims.comm_plan,
        current=sims.plan,
        pool_of=pool_of,
        pool_block_bytes=tariff.overage_block_bytes[first_plan],
        pool_tier_from_block=tariff.tier_from_block[first_plan],
        pool_tier_rate_micros=tariff.tier_rate_micros[first_plan],
        is_locked=sims.is_locked,
        min_sims=least,
        max_sims=most,
        charge_type=grouping.policy.charge_type,
        max_changes=constraints.max_changes,
        min_saving_per_change_micros=constraints.min_saving_per_change_micros,
    )


def _pools(grouping: Grouping, n_groups: int) -> tuple[Int32Array, Int64Array]:
    """``Problem.pool_of`` of a unit, and a plan of each of its pools (B4)."""
    plan_pool = grouping.plan_pool
    pooled = np.flatnonzero(plan_pool != INDIVIDUAL)
    first_plan = pooled[np.unique(plan_pool[pooled], return_index=True)[1]]
    pool_of = np.repeat(plan_pool[:, np.newaxis], n_groups, axis=1)
    if grouping.policy.pool_scope is PoolScope.COMM_GROUP:  # limits alone have joined these groups
        pool_of[pooled] += np.arange(n_groups, dtype=np.int32) * np.int32(len(first_plan))
        first_plan = np.tile(first_plan, n_groups)
    return pool_of, first_plan


def _is_reachable(groups: Sequence[Group], current: Int32Array, n_plans: int) -> BoolArray:
    """Whether any SIM of a unit has each plan or may get it, shape ``(n_plans,)``."""
    reachable = np.zeros(n_plans, dtype=bool)
    reachable[current] = True
    for group in groups:
        if not group.is_fixed:
            reachable[list(group.eligible)] = True
    return reachable


def _problem_group(
    group: GroupPlan, plan_number: Mapping[str, int], sequences: Sequence[tuple[str, ...]]
) -> Group:
    listed = set(group.rate_plans)
    for sequence in sequences:
        unknown = [code for code in sequence if code not in listed]
        if unknown or len(set(sequence)) != len(sequence):
            what = f"{unknown[0]!r}, which its list lacks" if unknown else "a plan twice"
            msg = f"the sequence {';'.join(sequence)} of group {group.group_id} names {what}"
            raise DataError(msg)
    kept = () if group.is_fixed else sequences
    return Group(
        group_id=group.group_id,
        eligible=tuple(plan_number[code] for code in group.rate_plans),
        is_fixed=group.is_fixed,
        sequences=tuple(tuple(plan_number[code] for code in sequence) for sequence in kept),
    )
