"""The tables of the workbook as frames: what stands in them, nothing about how it looks.

Money columns are in currency units as the nearest float to the exact micro-units, since a workbook
knows no other numbers; their names end in ``_cost``, ``_tax`` or ``_more_by``, or are ``savings``. Sums are made before, on
integers.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from core.outcome import Cost, GroupOutcome, Outcome, TaxOutcome
from core.reports.meta import ReportMeta
from core.reports.remarks import meaning_of
from core.reports.summary import SKIPPED, savings_percent
from core.units import MICROS

MAX_CHART_GROUPS = 12
"""Groups in the chart; more could not be read."""

MAX_NAMES = 20
"""Communication plans named per group; the others are counted."""

GROUP_COLUMNS: dict[str, pl.DataType] = {
    "group_id": pl.String(),
    "unit_id": pl.String(),
    "communication_plans": pl.String(),
    "rate_plans": pl.String(),
    "status": pl.String(),
    "unit_status": pl.String(),
    "strategy": pl.String(),
    "devices": pl.Int64(),
    "plan_changes": pl.Int64(),
    "baseline_rate_cost": pl.Float64(),
    "baseline_overage_cost": pl.Float64(),
    "baseline_cost": pl.Float64(),
    "optimized_rate_cost": pl.Float64(),
    "optimized_overage_cost": pl.Float64(),
    "optimized_cost": pl.Float64(),
    "savings": pl.Float64(),
    "savings_percent": pl.Float64(),
}
"""Columns of :func:`groups_table`."""

TAX_COLUMNS: dict[str, pl.DataType] = {
    "jurisdiction": pl.String(),
    "tax": pl.String(),
    "base": pl.String(),
    "percent": pl.Float64(),
    "devices": pl.Int64(),
    "baseline_tax": pl.Float64(),
    "optimized_tax": pl.Float64(),
    "savings": pl.Float64(),
}
"""Columns of :func:`taxes_table`."""

REJECT_COLUMNS: dict[str, pl.DataType] = {
    "kind": pl.String(),
    "file": pl.String(),
    "row": pl.Int64(),
    "column": pl.String(),
    "value": pl.String(),
    "reason": pl.String(),
    "meaning": pl.String(),
    "raw": pl.String(),
}
"""Columns of :func:`rejects_table`."""


def units_of(micros: int) -> float:
    """Return the float nearest to an amount in currency units."""
    return micros / MICROS


def groups_table(outcome: Outcome) -> pl.DataFrame:
    """One row per group, a row for unpriced SIMs if there are any, and the totals last.

    The totals are the outcome's own, and the rows above add up to them (B10).
    """
    status_of = {unit.unit_id: unit.status.value for unit in outcome.units}
    rows = [_group_row(group, status_of[group.unit_id]) for group in outcome.groups]
    if outcome.unpriced:
        unpriced: list[object] = ["Unpriced", *[None] * 3, "unpriced", None, None, outcome.unpriced]
        rows.append([*unpriced, *[None] * (len(GROUP_COLUMNS) - len(unpriced))])
    totals: list[object] = ["Total", *[None] * 6]
    rows.append(
        [
            *totals, outcome.devices, outcome.plan_changes,
            *_cost_cells(outcome.baseline, outcome.optimized),
        ]
    )  # fmt: skip
    return pl.DataFrame(rows, schema=GROUP_COLUMNS, orient="row")


def taxes_table(taxes: Sequence[TaxOutcome]) -> pl.DataFrame:
    """One row per tax by jurisdiction and name, and the totals last (B6)."""
    rows: list[list[object]] = [
        [
            entry.tax.jurisdiction,
            entry.tax.name,
            entry.tax.base.value,
            entry.tax.percent_millionths / MICROS,
            entry.devices,
            *_tax_cells([entry]),
        ]
        for entry in taxes
    ]
    rows.append(["Total", None, None, None, None, *_tax_cells(taxes)])
    return pl.DataFrame(rows, schema=TAX_COLUMNS, orient="row")


def chart_table(outcome: Outcome) -> pl.DataFrame:
    """Baseline and optimised cost of the groups with the largest bills, at most a dozen."""
    largest = sorted(outcome.groups, key=lambda g: (-g.baseline.objective_micros, g.group_id))
    rows = [
        (g.group_id, units_of(g.baseline.objective_micros), units_of(g.optimized.objective_micros))
        for g in largest[:MAX_CHART_GROUPS]
    ]
    schema = {"group_id": pl.String, "baseline_cost": pl.Float64, "optimized_cost": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def assignments_table(outcome: Outcome, meta: ReportMeta) -> pl.DataFrame:
    """One row per SIM in ICCID order; columns of inputs that no SIM has are left out."""
    rows = outcome.assignments
    costs = {
        "current_rate_cost": "current_rate_micros",
        "current_overage_cost": "current_overage_micros",
        "current_cost": "current_cost_micros",
        "recommended_rate_cost": "recommended_rate_micros",
        "recommended_overage_cost": "recommended_overage_micros",
        "recommended_cost": "recommended_cost_micros",
        "savings": "savings_micros",
        "next_best_costs_more_by": "next_best_reduced_cost_micros",
        "current_tax": "current_tax_micros",
        "recommended_tax": "recommended_tax_micros",
    }
    frame = rows.select(
        "iccid",
        "communication_plan",
        "group_id",
        "unit_id",
        "current_rate_plan",
        "recommended_rate_plan",
        "reason",
        "next_best_rate_plan",
        _quotients(rows["usage_bytes"], meta.mb_bytes).alias("usage_mb"),
        *(_quotients(rows[micros], MICROS).alias(name) for name, micros in costs.items()),
        "sms_count",
        "voice_seconds",
        "activated_date",
        "active_days",
        "jurisdiction",
    )
    counted = [name for name in ("sms_count", "voice_seconds") if not frame[name].sum()]
    optional = (
        "next_best_rate_plan", "next_best_costs_more_by", "activated_date", "active_days",
        "jurisdiction", "current_tax", "recommended_tax",
    )  # fmt: skip
    absent = [name for name in optional if frame[name].null_count() == frame.height]
    return frame.drop(counted + absent)


def rejects_table(rejects: pl.DataFrame, listed: pl.DataFrame | None) -> pl.DataFrame:
    """Rejected rows, then the SIMs that are listed instead of optimised (E1), with the reasons."""
    parts = [rejects.with_columns(pl.lit("rejected row").alias("kind"))]
    if listed is not None:
        parts.append(
            listed.select(
                pl.lit("SIM not optimised").alias("kind"),
                pl.lit("iccid").alias("column"),
                pl.col("iccid").alias("value"),
                pl.col("reason"),
            )
        )
    frame = pl.concat(parts, how="diagonal")
    meanings = {reason: meaning_of(reason) for reason in frame["reason"].unique().to_list()}
    return frame.with_columns(
        pl.col("reason")
        .replace_strict(meanings, default="", return_dtype=pl.String)
        .alias("meaning")
    ).select(pl.col(name).cast(dtype) for name, dtype in REJECT_COLUMNS.items())


def _quotients(column: pl.Series, divisor: int) -> pl.Series:
    """Floats nearest to the exact quotients; Polars itself would multiply with a reciprocal."""
    quotients = pl.Series(column.fill_null(0).to_numpy() / divisor)
    return pl.select(pl.when(column.is_not_null()).then(quotients)).to_series()


def _group_row(group: GroupOutcome, unit_status: str) -> list[object]:
    return [
        group.group_id,
        group.unit_id,
        _names(group.communication_plans),
        _names(group.rate_plans),
        group.status,
        unit_status,
        None if group.status == SKIPPED else group.strategy.value,
        group.devices,
        group.plan_changes,
        *_cost_cells(group.baseline, group.optimized),
    ]


def _cost_cells(baseline: Cost, optimized: Cost) -> list[float]:
    micros = [
        baseline.rate_micros,
        baseline.overage_micros,
        baseline.objective_micros,
        optimized.rate_micros,
        optimized.overage_micros,
        optimized.objective_micros,
        baseline.objective_micros - optimized.objective_micros,
    ]
    percent = savings_percent(baseline.objective_micros, optimized.objective_micros)
    return [*(units_of(value) for value in micros), percent]


def _tax_cells(taxes: Sequence[TaxOutcome]) -> list[float]:
    baseline = sum(entry.baseline_micros for entry in taxes)
    optimized = sum(entry.optimized_micros for entry in taxes)
    return [units_of(micros) for micros in (baseline, optimized, baseline - optimized)]


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:MAX_NAMES])
    return f"{shown} and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else shown
