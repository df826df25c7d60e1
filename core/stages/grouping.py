"""Stage GROUPING: who is optimised, in which groups, with which plans (E1, G1-G3, V1-V3)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import polars as pl
import sqlalchemy as sa

from core.domain import BillingPolicy, CommunicationPlan, RatePlan
from core.eligibility import groupable, invalid_rate_plans, pricing_problem, split_eligible
from core.errors import DataError, InvalidRatePlansError
from core.fleet import FLEET_SCHEMA
from core.grouping import Grouping, group_fleet
from core.stages.accuracy import check_accuracy
from core.stages.session import SessionContext
from core.storage.catalogue import load_communication_plans, load_rate_plans
from core.storage.devices import load_devices
from core.storage.instances import create_instance
from core.storage.snapshot import load_snapshot, save_grouping

LOG = logging.getLogger(__name__)

REASON_ACTIVATED_AFTER_CYCLE = "activated_after_cycle_end"
"""The SIM was not active in the billing period that is optimised."""

NO_COMMUNICATION_PLAN = "No communication plan"
NO_RATE_PLAN = "No rate plan"
NO_GROUP = "No communication group with SIMs"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderPlans:
    """A provider's catalogue.

    Attributes
    ----------
    billable
        Rate plans that can be priced; an inactive one still prices the SIMs that have it.
    communication_plans
        With the codes of their lists that are in ``rate_plans``.
    """

    rate_plans: tuple[RatePlan, ...]
    billable: tuple[RatePlan, ...]
    communication_plans: tuple[CommunicationPlan, ...]

    def hash_with(self, policy: BillingPolicy) -> str:
        """Hash everything that prices and groups depend on, 64 hexadecimal digits."""
        parts = [
            *sorted((asdict(plan) for plan in self.rate_plans), key=lambda plan: plan["code"]),
            *sorted(
                (asdict(plan) for plan in self.communication_plans), key=lambda plan: plan["name"]
            ),
            asdict(policy),
        ]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


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


def load_plans(engine: sa.Engine, context: SessionContext) -> ProviderPlans:
    """Read the catalogue of a session's provider."""
    rate_plans = load_rate_plans(engine, context.provider.id)
    is_pooling = context.policy.pooling_enabled
    return ProviderPlans(
        rate_plans=tuple(rate_plans),
        billable=tuple(
            plan for plan in rate_plans if pricing_problem(plan, pooling_enabled=is_pooling) is None
        ),
        communication_plans=tuple(load_communication_plans(engine, context.provider.id)),
    )


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
    plans = load_plans(engine, context)
    _require_something(devices, plans)
    accuracy = check_accuracy(engine, context.provider.id, devices.height)
    fleet, listed = select_fleet(context, devices, plans)
    grouping = group_fleet(
        fleet,
        plans.billable,
        plans.communication_plans,
        context.policy,
        max_rate_plans=max_rate_plans,
    )
    if not grouping.groups:
        msg = (
            f"{NO_GROUP}: none of the {devices.height:,} SIMs of provider "
            f"{context.provider.name!r} can be optimised: {fleet.height:,} have a plan that is not "
            f"in the catalogue, {listed.height:,} are listed with another reason"
        )
        raise DataError(msg)
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
    save_grouping(
        engine,
        instance_id,
        grouping,
        listed,
        now=now,
        catalogue_hash=plans.hash_with(context.policy),
        fence=context.fence,
    )
    return GroupingSummary(
        devices=devices.height,
        groups=len(grouping.groups),
        units=len(grouping.unit_ids),
        listed=listed.height,
        accuracy_percent=accuracy,
        skipped_groups=skipped,
    )


def is_grouped(engine: sa.Engine, context: SessionContext) -> bool:
    """Whether the session has a grouping, made with the plans that the provider has now.

    A session that was taken over is grouped again if its plans were changed meanwhile.
    """
    instance = context.instance
    if instance is None or instance.grouped_at is None:
        return False
    if instance.published_at is not None:
        return True
    return instance.catalogue_hash == load_plans(engine, context).hash_with(context.policy)


def load_grouping(engine: sa.Engine, context: SessionContext, *, max_rate_plans: int) -> Grouping:
    """Group the session's snapshot again: the same SIMs and catalogue give the same groups.

    Raises
    ------
    DataError
        If plans or policy were changed since: prices of before and after must not be mixed.
    """
    stored, _ = load_snapshot(engine, context.instance_id)
    plans = load_plans(engine, context)
    if context.instance is None or (
        context.instance.catalogue_hash != plans.hash_with(context.policy)
    ):
        msg = (
            f"the plans of provider {context.provider.name!r} were changed since session "
            f"{context.session_id} grouped its SIMs: start a new run"
        )
        raise DataError(msg)
    return group_fleet(
        stored.select(list(FLEET_SCHEMA)),
        plans.billable,
        plans.communication_plans,
        context.policy,
        max_rate_plans=max_rate_plans,
    )


def select_fleet(
    context: SessionContext, devices: pl.DataFrame, plans: ProviderPlans
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part the SIMs that are optimised from those that are listed, and check their plans (E1, V1, V2).

    SIMs whose plan is not in the catalogue stay in the fleet, to be reported as unpriced (B9).

    Returns
    -------
    tuple
        The fleet, and the listed SIMs with columns ``iccid`` and ``reason``.

    Raises
    ------
    InvalidRatePlansError
        If a communication plan with billable SIMs lists an invalid plan.
    """
    statuses = list(context.provider.billable_statuses)
    in_use = devices.filter(pl.col("status").is_in(statuses))["communication_plan"].unique()
    used = _used_codes(plans.communication_plans, set(in_use.drop_nulls()))
    invalid = invalid_rate_plans(
        plans.rate_plans, context.portal, pooling_enabled=context.policy.pooling_enabled
    )
    stopping = {code: why for code, why in invalid.items() if code in used}
    if stopping:
        raise InvalidRatePlansError(stopping)
    is_too_late = pl.col("activated_date") > context.period.end_date
    in_cycle = devices.filter(is_too_late.fill_null(value=False).not_())
    fleet, listed = split_eligible(
        in_cycle.with_columns(pl.col("usage_bytes", "sms_count", "voice_seconds").fill_null(0)),
        plans.communication_plans,
        billable_statuses=statuses,
    )
    too_late = devices.filter(is_too_late).select(
        "iccid", pl.lit(REASON_ACTIVATED_AFTER_CYCLE).alias("reason")
    )
    return fleet, pl.concat([listed, too_late]).sort("iccid")


def _used_codes(
    communication_plans: Sequence[CommunicationPlan], in_use: Collection[str]
) -> set[str]:
    return {
        code for plan in communication_plans if plan.name in in_use for code in plan.rate_plan_codes
    }


def _require_something(devices: pl.DataFrame, plans: ProviderPlans) -> None:
    """Refuse what cannot have a group with SIMs (G2)."""
    remedy = "import them with `carrier-opt plans import`"
    if not plans.rate_plans:
        raise DataError(f"{NO_RATE_PLAN}: the provider's catalogue is empty; {remedy}")
    if not groupable(plans.communication_plans):
        raise DataError(f"{NO_COMMUNICATION_PLAN} has a list of rate plans; {remedy}")
    if devices.is_empty():
        raise DataError(f"{NO_GROUP}: the provider has no SIMs; synchronise it first")
