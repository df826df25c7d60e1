"""Candidate sequences of every group of a fleet: generated, or given with the run (O5, S4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from core.billing.tariff import Tariff
from core.domain import RatePlan
from core.errors import InputError
from core.grouping import Grouping, GroupPlan
from core.sequences import generate_sequences


def fleet_sequences(
    grouping: Grouping,
    max_sequences: int,
    *,
    plan_types: Mapping[str, str] | None = None,
    group_ids: Collection[str] | None = None,
) -> dict[str, list[tuple[str, ...]]]:
    """Make the candidate sequences of every group that walks can change (O5).

    Parameters
    ----------
    max_sequences
        Sequences per group, at least 1.
    plan_types
        Type by plan code (:func:`plan_types`), for the variant ``by_rate_plan_types``: every sequence
        has a plan of each type that the group's SIMs have now, as far as its list has such a plan.
        None: types do not count.
    group_ids
        Only these groups; None means all.

    Returns
    -------
    dict
        By group id, as plan codes; no entry for a fixed group, nor for a group without a pooled
        plan, whose SIMs each take their cheapest plan.
    """
    tariff, policy = grouping.tariff, grouping.policy
    plan_number = tariff.plan_number()
    types = plan_types or {}
    present = _present_types(grouping, types) if types else {}
    sequences = {}
    for group in _walked_groups(grouping):
        if group_ids is not None and group.group_id not in group_ids:
            continue
        required = [
            [plan_number[code] for code in group.rate_plans if types[code] == kind]
            for kind in present.get(group.group_id, ())
        ]
        found = generate_sequences(
            tariff,
            [plan_number[code] for code in group.rate_plans],
            policy.charge_type,
            max_sequences=max_sequences,
            pool_scope=policy.pool_scope,
            required=[plans for plans in required if plans],
        )
        sequences[group.group_id] = _as_codes(tariff, found)
    return sequences


def given_sequences(
    grouping: Grouping, given: Sequence[tuple[str, ...]]
) -> dict[str, list[tuple[str, ...]]]:
    """Hand sequences that the run was started with to the groups whose lists have all their plans.

    Parameters
    ----------
    given
        Sequences of plan codes, each without a plan twice; their order is kept.

    Returns
    -------
    dict
        By group id, as :func:`fleet_sequences`; no entry for a group that no sequence fits.

    Raises
    ------
    InputError
        If a sequence fits no group that is walked.
    """
    groups = _walked_groups(grouping)
    listed = {group.group_id: set(group.rate_plans) for group in groups}
    sequences: dict[str, list[tuple[str, ...]]] = {}
    for number, codes in enumerate(given, start=1):
        fitting = [group_id for group_id, plans in listed.items() if plans.issuperset(codes)]
        if not fitting:
            raise InputError(_fits_nowhere(grouping, groups, number, codes))
        for group_id in fitting:
            sequences.setdefault(group_id, []).append(codes)
    return {group_id: sequences[group_id] for group_id in listed if group_id in sequences}


def plan_types(rate_plans: Sequence[RatePlan]) -> dict[str, str]:
    """Type of each plan by its code, from the catalogue or derived where that has none (O5).

    The derived type is the plan's kind and the order of magnitude of its allowance:
    ``pooled-e9`` is a pooled plan of 10**9 up to 10**10 - 1 bytes, ``individual-none`` an individual
    one without an allowance. A blank type counts as none.
    """
    return {plan.code: (plan.plan_type or "").strip() or _derived_type(plan) for plan in rate_plans}


def _derived_type(plan: RatePlan) -> str:
    kind = "pooled" if plan.is_pooled else "individual"
    size = f"e{len(str(plan.included_bytes)) - 1}" if plan.included_bytes > 0 else "none"
    return f"{kind}-{size}"


def _walked_groups(grouping: Grouping) -> list[GroupPlan]:
    """List the groups that are optimised and whose list has a pooled plan."""
    plan_number, is_pooled = grouping.tariff.plan_number(), grouping.tariff.is_pooled
    return [
        group
        for group in grouping.groups
        if not group.is_fixed and is_pooled[[plan_number[code] for code in group.rate_plans]].any()
    ]


def _present_types(grouping: Grouping, types: Mapping[str, str]) -> dict[str, list[str]]:
    """Types of the plans that each group's SIMs have now, by group id, ascending."""
    present: dict[str, set[str]] = {}
    pairs = grouping.fleet.select("group_id", "rate_plan").drop_nulls().unique().sort("group_id")
    for group_id, code in pairs.iter_rows():
        present.setdefault(group_id, set()).add(types[code])
    return {group_id: sorted(found) for group_id, found in present.items()}


def _as_codes(tariff: Tariff, sequences: Sequence[tuple[int, ...]]) -> list[tuple[str, ...]]:
    return [tuple(tariff.codes[plan] for plan in plans) for plans in sequences]


def _fits_nowhere(
    grouping: Grouping, groups: Sequence[GroupPlan], number: int, codes: tuple[str, ...]
) -> str:
    unknown = [code for code in codes if code not in grouping.tariff.plan_number()]
    shown = ", ".join(map(repr, codes))
    if unknown:
        why = f"the catalogue has no plan {unknown[0]!r}"
    else:
        lists = "; ".join(f"{g.group_id}: {', '.join(g.rate_plans)}" for g in groups[:5]) or "none"
        more = f" and {len(groups) - 5} more" if len(groups) > 5 else ""
        why = (
            "it fits no group: all its plans must be in the list of one group that is optimised "
            f"and has a pooled plan ({lists}{more})"
        )
    return (
        f"rate_plan_sequences: sequence {number} ({shown}) cannot be used: {why}; correct it or "
        "leave it out"
    )
