"""Reads the devices file into a fleet: whole columns at once, single rows only where refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from core.domain import BillingCycle, CommunicationPlan
from core.eligibility import groupable
from core.errors import InputError
from core.files.iccid import iccid_warnings
from core.files.rejects import RejectReason, why_nothing_usable
from core.files.tables import Table, read_table
from core.files.unavailable import refuse_filled
from core.files.values import (
    Converted,
    optional_boolean,
    optional_count,
    optional_date,
    optional_text,
    required_text,
    required_volume,
)
from core.files.warnings import Warnings, combine_warnings, warn_each
from core.fleet import normalise_fleet

REQUIRED = ("iccid", "communication_plan", "rate_plan", "usage_mb")
"""Columns that a devices file must have."""

NOT_AVAILABLE = ("projected_usage_mb", "customer", "optimization_group")
"""Columns that must be empty in this version."""

OPTIONAL = (
    "sms_count", "voice_seconds", "activated_date", "jurisdiction", "locked", *NOT_AVAILABLE,
)  # fmt: skip
"""Columns that a devices file may have."""

PLAN_REASONS = (
    RejectReason.INVALID_RATE_PLAN.value,
    RejectReason.NO_RATE_PLAN_LIST.value,
    RejectReason.UNKNOWN_COMMUNICATION_PLAN.value,
)
"""Why a device is rejected though the cause lies in another file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Catalogue:
    """What is known of plans when devices are read.

    Attributes
    ----------
    usable_codes, refused_codes
        Rate plan codes with a usable row, and those with rejected rows only.
    communication_plans
        None where every rate plan is open to every SIM.
    problems
        Lines about plans that were refused or are odd, told where they leave no SIM usable.
    """

    usable_codes: Collection[str]
    refused_codes: Collection[str]
    communication_plans: Sequence[CommunicationPlan] | None
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeviceFile:
    """What a devices file holds.

    Attributes
    ----------
    fleet
        Columns of :data:`core.fleet.FLEET_SCHEMA`, sorted by ICCID.
    rejects
        Columns of ``REJECT_SCHEMA``.
    warnings
        Odd ICCIDs, and rate plans that are not in the catalogue (B9).
    """

    fleet: pl.DataFrame
    rejects: pl.DataFrame
    warnings: Warnings
    notes: tuple[str, ...]


def read_devices(
    path: Path, *, catalogue: Catalogue, cycle: BillingCycle | None, mb_bytes: int
) -> DeviceFile:
    """Read a devices file.

    Of several rows with one ICCID the first that is valid counts; further ones are rejected.

    Parameters
    ----------
    cycle
        Without it, ``activated_date`` is ignored, which a note says.
    mb_bytes
        Bytes of one MB in ``usage_mb``.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, holds numbers as ICCIDs (Parquet), or no
        usable row.
    NotAvailableError
        If a column of ``NOT_AVAILABLE`` is filled.
    """
    table = read_table(path, required=REQUIRED, optional=OPTIONAL)
    _refuse_number_column(table)
    refuse_filled(table, NOT_AVAILABLE)
    converted = _converted(table, catalogue, cycle, mb_bytes)
    reasons, columns = _first_problems(converted)
    rejects = pl.concat([table.rejects, table.rejected(reasons, columns)])
    usable = _values(converted).filter(reasons.is_null())
    if usable.is_empty():
        why = f"{path}: nothing usable: {why_nothing_usable(rejects)}"
        is_about_plans = rejects["reason"].is_in(PLAN_REASONS).any()
        raise InputError("\n".join([why, *(catalogue.problems if is_about_plans else ())]))
    fleet = normalise_fleet(usable)
    unpriced = _unpriced_warnings(table.name, fleet, catalogue.usable_codes)
    return DeviceFile(
        fleet=fleet,
        rejects=rejects,
        warnings=combine_warnings([unpriced, iccid_warnings(table.name, fleet["iccid"])]),
        notes=(*table.notes, *_notes(table, cycle)),
    )


def _refuse_number_column(table: Table) -> None:
    dtype = table.cells.schema["iccid"]
    if dtype != pl.String and not isinstance(dtype, pl.Categorical | pl.Enum | pl.Null):
        raise InputError(
            f"{table.path}: column iccid holds {dtype} values, in which leading zeros and digits "
            "may be lost: write it as text"
        )


def _converted(
    table: Table, catalogue: Catalogue, cycle: BillingCycle | None, mb_bytes: int
) -> dict[str, Converted]:
    """Values and problems by column, in the order in which problems are reported."""
    columns = {
        "iccid": _iccids(table),
        "communication_plan": _communication_plans(table, catalogue),
        "rate_plan": _rate_plans(table, catalogue),
        "usage_mb": required_volume(table.text("usage_mb"), mb_bytes),
        "sms_count": optional_count(table.text("sms_count")),
        "voice_seconds": optional_count(table.text("voice_seconds")),
        "jurisdiction": optional_text(table.text("jurisdiction")),
    }
    if cycle is not None:
        columns["activated_date"] = _activated_dates(table, cycle)
    columns["locked"] = optional_boolean(table.text("locked"))
    return columns


def _iccids(table: Table) -> Converted:
    text = required_text(table.text("iccid"))
    is_number = table.number_cells.get("iccid")
    if is_number is None:
        return text
    numeric = pl.when(is_number).then(pl.lit(RejectReason.NUMERIC_ICCID.value))
    problems = pl.select(pl.coalesce(numeric, text.problems)).to_series()
    return Converted(values=text.values, problems=problems)


def _communication_plans(table: Table, catalogue: Catalogue) -> Converted:
    text = required_text(table.text("communication_plan"))
    plans = catalogue.communication_plans
    if plans is None:
        return text
    known = pl.Series([plan.name for plan in plans], dtype=pl.String)
    listed = pl.Series(sorted(groupable(plans, catalogue.usable_codes)), dtype=pl.String)
    unknown = RejectReason.UNKNOWN_COMMUNICATION_PLAN.value
    problems = pl.select(
        pl.when(~text.values.is_in(known.implode()))
        .then(pl.lit(unknown))
        .when(~text.values.is_in(listed.implode()))
        .then(pl.lit(RejectReason.NO_RATE_PLAN_LIST.value))
    ).to_series()
    return Converted(values=text.values, problems=_first(text.problems, problems))


def _rate_plans(table: Table, catalogue: Catalogue) -> Converted:
    text = required_text(table.text("rate_plan"))
    refused = pl.Series(sorted(catalogue.refused_codes), dtype=pl.String)
    is_refused = text.values.is_in(refused.implode())
    problems = pl.select(
        pl.when(is_refused).then(pl.lit(RejectReason.INVALID_RATE_PLAN.value))
    ).to_series()
    return Converted(values=text.values, problems=_first(text.problems, problems))


def _activated_dates(table: Table, cycle: BillingCycle) -> Converted:
    dates = optional_date(table.text("activated_date"))
    too_late = pl.when(dates.values > cycle.end_date).then(
        pl.lit(RejectReason.ACTIVATED_AFTER_CYCLE_END.value)
    )
    problems = pl.select(pl.coalesce(dates.problems, too_late)).to_series()
    return Converted(values=dates.values, problems=problems)


def _first(first: pl.Series, second: pl.Series) -> pl.Series:
    return pl.select(pl.coalesce(first, second)).to_series()


def _first_problems(converted: Mapping[str, Converted]) -> tuple[pl.Series, pl.Series]:
    """Reason and column of each row's first problem, shape ``(n,)``; null where it has none.

    A repeated ICCID is looked for last, among the rows that are valid otherwise.
    """
    problems = pl.DataFrame([column.problems.alias(name) for name, column in converted.items()])
    names = problems.columns
    first = problems.select(
        reason=pl.coalesce(names),
        column=pl.coalesce(
            pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in names
        ),
    )
    valid_iccid = pl.when(first["reason"].is_null()).then(converted["iccid"].values).alias("iccid")
    is_repeat = pl.col("iccid").is_not_null() & ~pl.col("iccid").is_first_distinct()
    repeats = pl.select(valid_iccid).select(is_repeat).to_series()
    return (
        _first(first["reason"], _where(repeats, RejectReason.DUPLICATE_ICCID.value)),
        _first(first["column"], _where(repeats, "iccid")),
    )


def _where(mask: pl.Series, text: str) -> pl.Series:
    return pl.select(pl.when(mask).then(pl.lit(text))).to_series()


def _values(converted: Mapping[str, Converted]) -> pl.DataFrame:
    """Fleet columns, with 0 where nothing was counted, and no lock where nothing is said."""
    names = {"usage_mb": "usage_bytes", "locked": "is_locked"}
    columns = [column.values.alias(names.get(name, name)) for name, column in converted.items()]
    return pl.DataFrame(columns).with_columns(
        pl.col("sms_count", "voice_seconds").fill_null(0),
        pl.col("is_locked").fill_null(value=False),
    )


def _unpriced_warnings(file: str, fleet: pl.DataFrame, codes: Collection[str]) -> Warnings:
    """One warning per rate plan that is not in the catalogue (B9)."""
    known = pl.Series(sorted(codes), dtype=pl.String)
    unknown = fleet.filter(~pl.col("rate_plan").is_in(known.implode()))
    counted = unknown.group_by("rate_plan").len().sort("rate_plan")
    return warn_each(
        f"{file}: rate plan {code!r} is not in the rate plans: its SIMs ({count}) keep it, unpriced"
        for code, count in counted.iter_rows()
    )


def _notes(table: Table, cycle: BillingCycle | None) -> tuple[str, ...]:
    if cycle is not None or table.text("activated_date").is_null().all():
        return ()
    reason = "without --cycle-start and --cycle-end every SIM is active for the whole cycle"
    return (f"{table.name}: activated_date is ignored: {reason}",)
