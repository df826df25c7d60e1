"""Stage GROUPING: who is optimised, in which groups, with which plans (E1, G1-G3, V1-V3)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl
import sqlalchemy as sa

from core.billing.tariff import billing_problem
from core.domain import CommunicationPlan, RatePlan
from core.errors import DataError, InvalidRatePlansError
from core.fleet import FLEET_SCHEMA
from core.grouping import Grouping, group_fleet, groupable, invalid_rate_plans, split_eligible
from core.stages.accuracy import check_accuracy
from core.stages.session import SessionContext
from core.storage.catalogue import load_communication_plans, load_rate_plans
from core.storage.devices import load_devices
from core.storage.instances import create_instance
from core.storage.snapshot import load_snapshot, save_grouping

LOG = logging.getLogger(__name__)

NO_COMMUNICATION_PLAN = "No communication plan"
NO_RATE_PLAN = "No rate plan"
NO_GROUP = "No communication group with SIMs"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupingSummary:
    """Counts of one grouping.

    Attributes
    ----------
    devices
        Every synchronised SIM: optimised, fixed and listed ones.
    listed
        SIMs that are not optimised, with their reason in the snapshot (E1).
    accuracy_percent
        SIMs at hand over SIMs at the carrier (G3); None before the first sync.
    skipped_groups
        Groups with more plans than allowed (V3).
    """

    devices: int
    groups: int
    units: int
    listed: int
    accuracy_percent: float | None
    skipped_groups: tuple[str, ...]


def group_session(
    engine: sa.Engine, context: SessionContext, *, max_rate_plans: int, now: datetime
) -> GroupingSummary:
    """Group the provider's SIMs and keep the snapshot that the session works on.

    Doing it again replaces the snapshot.

    Raises
    ------
    DataError
        If there is nothing to group (G2).
    InvalidRatePlansError
        If a plan that a group would use cannot be assigned or billed (V1, V2).
    """
    devices = load_devices(engine, context.provider.id, context.period.id)
    rate_plans = load_rate_plans(engine, context.provider.id)
    communication_plans = load_communication_plans(engine, context.provider.id)
    _require_something(devices, rate_plans, communication_plans)
    accuracy = check_accuracy(engine, context.provider.id, devices.height)
    fleet, listed, catalogue = select_fleet(context, devices, rate_plans, communication_plans)
    if fleet.is_empty():
        msg = (
            f"{NO_GROUP}: none of the {devices.height:,} SIMs of provider "
            f"{context.provider.name!r} can be optimised; the reasons are in the reject list"
        )
        raise DataError(msg)
    grouping = group_fleet(
        fleet, catalogue, communication_plans, context.policy, max_rate_plans=max_rate_plans
    )
    skipped = tuple(group.group_id for group in grouping.groups if group.is_fixed)
    for group_id in skipped:
        LOG.warning("group %s has more than %d rate plans and is skipped", group_id, max_rate_plans)
    instance_id = create_instance(
        engine,
        session_id=context.session_id,
        provider=context.provider,
        period=context.period,
        now=now,
        created_by=context.triggered_by,
        fence=context.fence,
    )
    save_grouping(engine, instance_id, grouping, listed, now=now, fence=context.fence)
    return GroupingSummary(
        devices=devices.height,
        groups=len(grouping.groups),
        units=len(grouping.unit_ids),
        listed=listed.height,
        accuracy_percent=accuracy,
        skipped_groups=skipped,
    )


def load_grouping(engine: sa.Engine, context: SessionContext, *, max_rate_plans: int) -> Grouping:
    """Group the session's snapshot again: the same SIMs and catalogue give the same groups.

    Raises
    ------
    DataError
        If the catalogue was changed since, so that the groups are not those that were stored.
    """
    stored, _ = load_snapshot(engine, context.instance_id)
    rate_plans = load_rate_plans(engine, context.provider.id)
    communication_plans = load_communication_plans(engine, context.provider.id)
    grouping = group_fleet(
        stored.select(list(FLEET_SCHEMA)),
        billable_catalogue(rate_plans),
        communication_plans,
        context.policy,
        max_rate_plans=max_rate_plans,
    )
    ids = ["iccid", "group_id", "unit_id"]
    if not grouping.fleet.select(ids).equals(stored.select(ids)):
        msg = (
            f"the plans of provider {context.provider.name!r} were changed since session "
            f"{context.session_id} grouped its SIMs: start a new run"
        )
        raise DataError(msg)
    return grouping


def select_fleet(
    context: SessionContext,
    devices: pl.DataFrame,
    rate_plans: Sequence[RatePlan],
    communication_plans: Sequence[CommunicationPlan],
) -> tuple[pl.DataFrame, pl.DataFrame, list[RatePlan]]:
    """Part the SIMs that are optimised from those that are listed, and check their plans (E1, V1, V2).

    Returns
    -------
    tuple
        The fleet, the listed SIMs (``iccid``, ``reason``), and the plans that can be billed.

    Raises
    ------
    InvalidRatePlansError
        If a group with SIMs has an invalid plan in its list.
    """
    catalogue = billable_catalogue(rate_plans)
    known = {plan.code for plan in catalogue}
    fleet, listed = split_eligible(
        devices.with_columns(pl.col("usage_bytes", "sms_count", "voice_seconds").fill_null(0)),
        [_with_known_codes(plan, known) for plan in communication_plans],
        billable_statuses=context.provider.billable_statuses,
    )
    invalid = invalid_rate_plans(rate_plans, context.portal)
    used = _used_codes(communication_plans, set(fleet["communication_plan"].unique()))
    stopping = {code: why for code, why in invalid.items() if code in used}
    if stopping:
        raise InvalidRatePlansError(stopping)
    return fleet, listed, catalogue


def billable_catalogue(rate_plans: Sequence[RatePlan]) -> list[RatePlan]:
    """Plans whose numbers can be billed; an inactive one still prices the SIMs that have it."""
    return [plan for plan in rate_plans if billing_problem(plan) is None]


def _with_known_codes(plan: CommunicationPlan, known: Collection[str]) -> CommunicationPlan:
    codes = tuple(code for code in plan.rate_plan_codes if code in known)
    return replace(plan, rate_plan_codes=codes)


def _used_codes(
    communication_plans: Sequence[CommunicationPlan], in_use: Collection[str]
) -> set[str]:
    return {
        code for plan in communication_plans if plan.name in in_use for code in plan.rate_plan_codes
    }


def _require_something(
    devices: pl.DataFrame,
    rate_plans: Sequence[RatePlan],
    communication_plans: Sequence[CommunicationPlan],
) -> None:
    remedy = "import them with `carrier-opt plans import`"
    if not rate_plans:
        raise DataError(f"{NO_RATE_PLAN}: the provider's catalogue is empty; {remedy}")
    if not groupable(communication_plans):
        raise DataError(f"{NO_COMMUNICATION_PLAN} has a list of rate plans; {remedy}")
    if devices.is_empty():
        raise DataError(f"{NO_GROUP}: the provider has no SIMs; synchronise it first")
