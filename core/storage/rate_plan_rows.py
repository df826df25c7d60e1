"""A rate plan as a row of CarrierRatePlan, in both directions and without loss (B8)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from core.domain import OverageTier, Portal, RatePlan
from core.errors import StorageError

RATE_PLAN_COLUMNS = {
    "RatePlanName": "name",
    "PlanType": "plan_type",
    "MonthlyRateMicros": "monthly_rate_micros",
    "IncludedBytes": "included_bytes",
    "OverageRateMicros": "overage_rate_micros",
    "OverageBlockBytes": "overage_block_bytes",
    "IsPooled": "is_pooled",
    "IsProrated": "is_prorated",
    "PoolGroup": "pool_group",
    "IncludedSms": "included_sms",
    "SmsRateMicros": "sms_rate_micros",
    "IncludedVoiceMinutes": "included_voice_minutes",
    "VoiceRateMicros": "voice_rate_micros",
    "RegulatoryFeeMicros": "regulatory_fee_micros",
    "OverageCapMicros": "overage_cap_micros",
    "MinDevices": "min_devices",
    "MaxDevices": "max_devices",
    "IsActive": "is_active",
}
"""Column of CarrierRatePlan to field of RatePlan, where the value is stored as it is."""

_TIER = re.compile(r"(-?[0-9]{1,19})=(-?[0-9]{1,19})")


def rate_plan_of(row: sa.RowMapping) -> RatePlan:
    """Make the rate plan of a row.

    Raises
    ------
    StorageError
        If ``OverageTiers`` holds anything but tiers.
    """
    values = {name: row[column] for column, name in RATE_PLAN_COLUMNS.items()}
    return RatePlan(
        code=row["RatePlanCode"],
        portal=Portal(row["Portal"]),
        overage_tiers=_tiers_of(row["RatePlanCode"], row["OverageTiers"]),
        **values,
    )


def rate_plan_values(plan: RatePlan) -> dict[str, Any]:
    """Make the values of a plan's row by column, without its key."""
    values = {column: getattr(plan, name) for column, name in RATE_PLAN_COLUMNS.items()}
    tiers = tier_text(plan.overage_tiers)
    return {**values, "Portal": plan.portal.value, "OverageTiers": tiers}


def tier_text(tiers: Sequence[OverageTier]) -> str | None:
    """Write tiers as ``bytes=micros;bytes=micros``, in their order; None where there are none."""
    return ";".join(f"{tier.from_bytes}={tier.rate_micros}" for tier in tiers) or None


def _tiers_of(code: str, text: str | None) -> tuple[OverageTier, ...]:
    tiers = []
    for part in text.split(";") if text else ():
        match = _TIER.fullmatch(part)
        if match is None:
            raise StorageError(
                f"rate plan {code!r}: OverageTiers {text!r} holds {part!r}: write each tier as "
                "bytes=micro-units, such as 0=250000;1048576=100000, or import the plans again"
            )
        tiers.append(OverageTier(from_bytes=int(match[1]), rate_micros=int(match[2])))
    return tuple(tiers)
