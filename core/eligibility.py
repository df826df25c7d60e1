"""Who is optimised, and which plans may be assigned: what callers ask before they group (E1, V1, V2)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import polars as pl

from core.billing.tariff import billing_problem, pooling_problem
from core.domain import CommunicationPlan, Portal, RatePlan
from core.fleet import normalise_fleet

REASON_NOT_BILLABLE = "not_billable"
REASON_NO_COMMUNICATION_PLAN = "no_communication_plan"
REASON_NO_PLAN_LIST = "communication_plan_without_rate_plans"
REASON_NO_RATE_PLAN = "no_rate_plan"
REASON_UNKNOWN_RATE_PLAN = "unknown_rate_plan"


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


def _is_one_of(column: str, values: Collection[str]) -> pl.Expr:
    return pl.col(column).is_in(list(values)).fill_null(value=False)
