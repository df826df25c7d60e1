"""Writes rate plans as the table that :mod:`core.files.rate_plans` reads, without loss."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from core.domain import OverageTier, RatePlan
from core.files.rate_plans import OPTIONAL, REQUIRED
from core.units import micros_to_text, volume_texts


def rate_plan_table(plans: Sequence[RatePlan], mb_bytes: int) -> pl.DataFrame:
    """Make the rows of a rate plans file, all columns as text, in the order given.

    Parameters
    ----------
    mb_bytes
        Bytes of one MB, 1,048,576 or 1,000,000.
    """
    rows = [_cells(plan, mb_bytes) for plan in plans]
    return pl.DataFrame(rows, schema=dict.fromkeys((*REQUIRED, *OPTIONAL), pl.String))


def write_rate_plans(path: Path, plans: Sequence[RatePlan], mb_bytes: int) -> None:
    """Write a rate plans file as CSV; it is complete or not there.

    Raises
    ------
    OSError
        If it cannot be written; a file of that name then stays as it was.
    """
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as folder:
        unfinished = Path(folder) / "rate_plans.csv"
        rate_plan_table(plans, mb_bytes).write_csv(unfinished)
        unfinished.replace(path)


def _cells(plan: RatePlan, mb_bytes: int) -> dict[str, str | None]:
    return {
        "code": plan.code,
        "name": plan.name or None,
        "plan_type": plan.plan_type,
        "monthly_rate": micros_to_text(plan.monthly_rate_micros),
        "included_mb": _mb(plan.included_bytes, mb_bytes),
        "overage_rate": micros_to_text(plan.overage_rate_micros),
        "overage_block_mb": _mb(plan.overage_block_bytes, mb_bytes),
        "is_pooled": _yes(is_so=plan.is_pooled),
        "is_prorated": _yes(is_so=plan.is_prorated),
        "included_sms": str(plan.included_sms),
        "sms_rate": micros_to_text(plan.sms_rate_micros),
        "included_voice_minutes": str(plan.included_voice_minutes),
        "voice_rate": micros_to_text(plan.voice_rate_micros),
        "regulatory_fee": micros_to_text(plan.regulatory_fee_micros),
        "min_devices": _count(plan.min_devices),
        "max_devices": _count(plan.max_devices),
        "pool_group": plan.pool_group,
        "overage_cap": None
        if plan.overage_cap_micros is None
        else micros_to_text(plan.overage_cap_micros),
        "overage_tiers": _tiers(plan.overage_tiers, mb_bytes),
    }


def _tiers(tiers: Sequence[OverageTier], mb_bytes: int) -> str | None:
    parts = (
        f"{_mb(tier.from_bytes, mb_bytes)}={micros_to_text(tier.rate_micros)}" for tier in tiers
    )
    return ";".join(parts) or None


def _mb(volume_bytes: int, mb_bytes: int) -> str:
    text: str = volume_texts(pl.Series([volume_bytes], dtype=pl.Int64), mb_bytes)[0]
    return text


def _count(value: int | None) -> str | None:
    return None if value is None else str(value)


def _yes(*, is_so: bool) -> str:
    return "true" if is_so else "false"
