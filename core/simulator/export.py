"""The simulated account as the CSV files that ``carrier-opt optimize`` reads: the examples.

Only active SIMs are written, as an operator exports them; broken rows stay in. Megabytes have seven
decimals, which brings every byte back exactly.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl

from core.domain import CommunicationPlan, RatePlan
from core.simulator.tariffs import MB

_MICROS = Decimal(1_000_000)
_MB_DECIMALS = 7


def export_account(
    folder: Path,
    fleet: pl.DataFrame,
    rate_plans: Sequence[RatePlan],
    communication_plans: Sequence[CommunicationPlan],
) -> list[Path]:
    """Write ``devices.csv``, ``rate_plans.csv`` and ``communication_plans.csv``; same input, same bytes.

    Parameters
    ----------
    folder
        Made if it is missing; files of these names are replaced.
    fleet
        ``SIMULATED_FLEET_SCHEMA`` of :mod:`core.simulator.fleet`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    devices = folder / "devices.csv"
    device_rows(fleet).write_csv(devices)
    plans = folder / "rate_plans.csv"
    _write(plans, _PLAN_COLUMNS, map(_plan_row, rate_plans))
    lists = folder / "communication_plans.csv"
    _write(
        lists,
        ("name", "rate_plan_codes"),
        ((plan.name, ";".join(plan.rate_plan_codes)) for plan in communication_plans),
    )
    return [devices, plans, lists]


def device_rows(fleet: pl.DataFrame) -> pl.DataFrame:
    """Return the active SIMs with the columns of the device file, all text or whole numbers."""
    scaled = (pl.col("usage_bytes") * 10**_MB_DECIMALS + MB // 2) // MB
    usage_mb = pl.concat_str(
        (scaled // 10**_MB_DECIMALS).cast(pl.String),
        pl.lit("."),
        (scaled % 10**_MB_DECIMALS).cast(pl.String).str.zfill(_MB_DECIMALS),
    )
    return fleet.filter(pl.col("status") == "ACTIVATED").select(
        "iccid",
        "communication_plan",
        "rate_plan",
        usage_mb.str.strip_chars_end("0").str.strip_chars_end(".").alias("usage_mb"),
        (pl.col("sms_mo") + pl.col("sms_mt")).alias("sms_count"),
        (pl.col("voice_mo_seconds") + pl.col("voice_mt_seconds")).alias("voice_seconds"),
        pl.from_epoch("activated_ms", time_unit="ms").dt.date().alias("activated_date"),
    )


_PLAN_COLUMNS = (
    "code", "name", "monthly_rate", "included_mb", "overage_rate", "overage_block_mb", "is_pooled",
    "is_prorated", "included_sms", "sms_rate", "included_voice_minutes", "voice_rate",
)  # fmt: skip


def _plan_row(plan: RatePlan) -> tuple[str, ...]:
    return (
        plan.code,
        plan.name,
        _money(plan.monthly_rate_micros),
        _plain(Decimal(plan.included_bytes) / MB),
        _money(plan.overage_rate_micros),
        _plain(Decimal(plan.overage_block_bytes) / MB),
        str(plan.is_pooled).lower(),
        str(plan.is_prorated).lower(),
        str(plan.included_sms),
        _money(plan.sms_rate_micros),
        str(plan.included_voice_minutes),
        _money(plan.voice_rate_micros),
    )


def _money(micros: int) -> str:
    return _plain(Decimal(micros) / _MICROS)


def _plain(value: Decimal) -> str:
    """Write an exact decimal without exponent or trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
