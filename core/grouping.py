"""From a fleet to solve units: eligibility, plan checks, groups, units, problems (E1, G1, V1-V3, O11).

* :func:`pricing_problem`, :func:`invalid_rate_plans`, :func:`groupable`, :func:`split_eligible`:
  what callers ask before.
* :func:`group_fleet`: every SIM with a priced plan gets a group and a solve unit.
* :func:`build_problem`, :func:`iter_problems`: a unit, or all of them, as integer arrays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from core.billing.limits import GroupUse, check_limits, check_sim_ranges
from core.billing.pools import connected, plan_pools
from core.billing.tariff import (
    Int32Array,
    Tariff,
    billing_problem,
    build_tariff,
    day_classes,
    pooling_problem,
)
from core.domain import BillingPolicy, CommunicationPlan, PoolScope, Portal, RatePlan
from core.errors import DataError
from core.fleet import normalise_fleet
from core.group_rows import group_uses, names_by_list, plan_lists, with_ids, with_numbers
from core.problem import INDIVIDUAL, NO_LIMIT, Group, Problem
from core.unit_rows import SimNumbers, sort_by_unit, unit_slices

REASON_NOT_BILLABLE = "not_billable"
REASON_NO_COMMUNICATION_PLAN = "no_communication_plan"
REASON_NO_PLAN_LIST = "communication_plan_without_rate_plans"
REASON_NO_RATE_PLAN = "no_rate_plan"
REASON_UNKNOWN_RATE_PLAN = "unknown_rate_plan"

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
    """

    rate_plans: tuple[RatePlan, ...]
    tariff: Tariff
    policy: BillingPolicy
    fleet: pl.DataFrame
    groups: tuple[GroupPlan, ...]
    unit_ids: tuple[str, ...]
    plan_pool: Int32Array


def pricing_problem(plan: RatePlan, *, pooling_enabled: bool) -> str | None:
    """Say why a plan cannot be priced, or None (V2, B8).

    Parameters
    ----------
    pooling_enabled
        Whether the provider pools the plans that say so (B4).
    """
    problem = billing_problem(plan)
    if problem is None and plan.is_pooled and pooling_enabled:
        problem = pooling_problem(plan)
    return problem


def invalid_rate_plans(
    plans: Iterable[RatePlan], portal: Portal = Portal.M2M, *, pooling_enabled: bool = True
) -> dict[str, str]:
    """Rate plans that may not be assigned, with the reason (V1, V2).

    Parameters
    ----------
    pooling_enabled
        As for :func:`pricing_problem`.

    Returns
    -------
    dict
        Reason by plan code: inactive, of another portal type, or not to be priced.
    """
    problems = {}
    for plan in plans:
        if not plan.is_active:
            problem: str | None = "the plan is not active"
        elif plan.portal is not portal:
            problem = f"the plan is for {plan.portal.value}, not for {portal.value}"
        else:
            problem = pricing_problem(plan, pooling_enabled=pooling_enabled)
        if problem:
            problems[plan.code] = problem
    return problems


def groupable(
    communication_plans: Iterable[CommunicationPlan], rate_plan_codes: Collection[str] | None = None
) -> frozenset[str]:
    """Names of the communication plans that are in a group: those with a known plan listed (G1).

    Parameters
    ----------
    rate_plan_codes
        Codes of the active plans of the catalogue; None takes every listed code as known.
    """
    known = None if rate_plan_codes is None else frozenset(rate_plan_codes)
    return frozenset(
        plan.name
        for plan in communication_plans
        if any(known is None or code in known for code in plan.rate_plan_codes)
    )


def split_eligible(
    devices: pl.DataFrame,
    communication_plans: Sequence[CommunicationPlan],
    *,
    billable_statuses: Collection[str],
    rate_plan_codes: Collection[str] | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part the SIMs that are optimised from those that are only listed (E1).

    Parameters
    ----------
    devices
        Columns of ``FLEET_SCHEMA`` and ``status``, optional ones where known; communication plan,
        rate plan and status may be null or empty.
    billable_statuses
        Statuses that the carrier bills, as they stand in ``status``.
    rate_plan_codes
        Codes of the catalogue. With it, SIMs on other plans are listed too, and so are those whose
        communication plan lists none of these codes; without it they go on, to be unpriced (B9).

    Returns
    -------
    tuple of pl.DataFrame
        The fleet, as ``FLEET_SCHEMA`` says, and the listed SIMs with columns ``iccid`` and
        ``reason``, sorted by ICCID. Each SIM is in exactly one of the two.
    """
    names = [plan.name for plan in communication_plans]
    in_group = sorted(groupable(communication_plans, rate_plan_codes))
    reasons = [
        (~_is_one_of("status", billable_statuses), REASON_NOT_BILLABLE),
        (~_is_one_of("communication_plan", names), REASON_NO_COMMUNICATION_PLAN),
        (~_is_one_of("communication_plan", in_group), REASON_NO_PLAN_LIST),
        (pl.col("rate_plan").fill_null("") == "", REASON_NO_RATE_PLAN),
    ]
    if rate_plan_codes is not None:
        reasons.append((~_is_one_of("rate_plan", rate_plan_codes), REASON_UNKNOWN_RATE_PLAN))
    reason = pl.coalesce(pl.when(test).then(pl.lit(text)) for test, text in reasons)
    marked = devices.with_columns(reason.alias("reason"))
    fleet = marked.filter(pl.col("reason").is_null())
    listed = marked.filter(pl.col("reason").is_not_null()).select("iccid", "reason").sort("iccid")
    return normalise_fleet(fleet), listed


def group_fleet(
    fleet: pl.DataFrame,
    rate_plans: Sequence[RatePlan],
    communication_plans: Sequence[CommunicationPlan] | None,
    policy: BillingPolicy,
    *,
    max_rate_plans: int,
) -> Grouping:
    """Give every SIM whose plan is in the catalogue its group and its solve unit (G1, V3, O11).

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

    Raises
    ------
    DataError
        If a communication plan of the fleet is in no group, plans cannot be billed, a value or a
        possible sum is out of range, or a name stands somewhere twice.
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
    offered = {plan.code for plan in rate_plans if plan.is_active}
    lists = plan_lists(fleet, communication_plans, offered)
    keys = sorted(set(lists.values()))
    numbered = with_numbers(fleet, lists, keys, tariff)
    uses = group_uses(numbered, keys, tariff)
    check_limits(tariff, list(uses.values()))
    is_shared = policy.pool_scope is not PoolScope.COMM_GROUP
    unit_of = _units(list(uses.values()), plan_pool, max_rate_plans, is_shared=is_shared)
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
    tariff, plan_pool = grouping.tariff, grouping.plan_pool
    pooled = np.flatnonzero(plan_pool != INDIVIDUAL)
    first_plan = pooled[np.unique(plan_pool[pooled], return_index=True)[1]]
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
        # Under PoolScope.COMM_GROUP a unit is one group, so that its pools are its own as well.
        pool_of=np.repeat(plan_pool[:, np.newaxis], len(groups), axis=1),
        pool_block_bytes=tariff.overage_block_bytes[first_plan],
        pool_tier_from_block=tariff.tier_from_block[first_plan],
        pool_tier_rate_micros=tariff.tier_rate_micros[first_plan],
        is_locked=np.zeros(len(sims.plan), dtype=bool),
        min_sims=np.zeros(len(tariff.codes), dtype=np.int64),
        max_sims=np.full(len(tariff.codes), NO_LIMIT, dtype=np.int64),
        charge_type=grouping.policy.charge_type,
    )


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


def _is_one_of(column: str, values: Collection[str]) -> pl.Expr:
    return pl.col(column).is_in(list(values)).fill_null(value=False)


def _units(
    uses: Sequence[GroupUse], plan_pool: Int32Array, max_rate_plans: int, *, is_shared: bool
) -> list[int]:
    """Solve unit of each group: what pools connect, directly or through others (O11)."""
    if not is_shared:
        return list(range(len(uses)))
    touched = []
    for use in uses:
        is_fixed = len(use.eligible) > max_rate_plans
        pools = {int(plan_pool[plan]) for plan in (use.current if is_fixed else use.reachable)}
        touched.append(sorted(pools - {INDIVIDUAL}))
    return connected(touched, len(plan_pool))
