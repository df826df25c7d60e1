"""``summary.json``: the totals of a run for programs (R1)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl

from core.files.rejects import count_by_reason
from core.outcome import GroupOutcome, Outcome, TaxOutcome, UnitOutcome
from core.reports.meta import ReportMeta
from core.units import micros_to_text

PERCENT_PLACES = 4
"""Decimals of ``savings_percent``."""

STORED_GAP_PLACES = 6
"""Decimals of ``gap_percent`` in files: a gap of interest is a few hundredths of a percent."""

SHOWN_GAP_PLACES = 4
"""Decimals of a gap that is shown, in percent and rounded up."""

SKIPPED = "skipped"
"""Status of a group that keeps its plans because it has too many of them (V3)."""


def summary(outcome: Outcome, rejects: pl.DataFrame, meta: ReportMeta) -> dict[str, Any]:
    """Totals, units, groups and rejects as JSON types.

    Money is a decimal string with six places: the objective (B7, before taxes), allocated to SIMs
    and so to groups by B10. Taxes are in no cost (B6). Numbers that do not exist, such as a bound, are None.

    Parameters
    ----------
    rejects
        Columns of :data:`core.files.rejects.REJECT_SCHEMA`.
    """
    return {
        "devices": outcome.devices,
        "unpriced": outcome.unpriced,
        "baseline_cost": micros_to_text(outcome.baseline.objective_micros),
        "baseline_rate_cost": micros_to_text(outcome.baseline.rate_micros),
        "baseline_overage_cost": micros_to_text(outcome.baseline.overage_micros),
        "optimized_cost": micros_to_text(outcome.optimized.objective_micros),
        "optimized_rate_cost": micros_to_text(outcome.optimized.rate_micros),
        "optimized_overage_cost": micros_to_text(outcome.optimized.overage_micros),
        "savings": micros_to_text(outcome.savings_micros),
        "savings_percent": savings_percent(
            outcome.baseline.objective_micros, outcome.optimized.objective_micros
        ),
        "lower_bound": _text_or_none(outcome.lower_bound_micros),
        "gap_percent": gap_percent(outcome.optimized.objective_micros, outcome.lower_bound_micros),
        "plan_changes": outcome.plan_changes,
        "legacy_best_cost": _text_or_none(outcome.legacy_best_cost_micros),
        "elapsed_seconds": round(meta.elapsed_seconds, 3),
        "units": [_unit(unit) for unit in outcome.units],
        "groups": [_group(group) for group in outcome.groups],
        "rejects": count_by_reason(rejects),
        "listed": {} if meta.listed is None else count_by_reason(meta.listed),
        "warnings": meta.warnings.count,
        "usage_basis": meta.usage_basis.value,
        "charge_type": meta.charge_type.value,
        "pool_scope": meta.pool_scope.value,
        "dry_run": meta.is_dry_run,
        "baseline_tax": _text_or_none(outcome.baseline_tax_micros),
        "optimized_tax": _text_or_none(outcome.optimized_tax_micros),
        "taxes": [_tax(entry) for entry in outcome.taxes or ()],
        "dropped_savings": _text_or_none(outcome.dropped_savings_micros),
        "constraints": _constraints(outcome),
    }


def savings_percent(baseline_micros: int, optimized_micros: int) -> float:
    """Return savings in percent of the baseline, rounded half-even to ``PERCENT_PLACES``; 0 of nothing."""
    return _percent(baseline_micros - optimized_micros, baseline_micros, PERCENT_PLACES) or 0.0


def gap_percent(cost_micros: int, lower_bound_micros: int | None) -> float | None:
    """``100 (cost - bound) / bound``; 0 where both are 0, None without a bound above 0."""
    if lower_bound_micros is None:
        return None
    if cost_micros == lower_bound_micros:
        return 0.0
    return _percent(cost_micros - lower_bound_micros, lower_bound_micros, STORED_GAP_PLACES)


def shown_gap_percent(cost_micros: int, lower_bound_micros: int | None) -> Decimal | None:
    """Give the gap for people, with ``SHOWN_GAP_PLACES`` decimals; as :func:`gap_percent`.

    It is rounded up, so that "at most" stays true.
    """
    if lower_bound_micros is None:
        return None
    if cost_micros == lower_bound_micros:
        return Decimal(0)
    if lower_bound_micros <= 0:
        return None
    parts = -(
        -100 * 10**SHOWN_GAP_PLACES * (cost_micros - lower_bound_micros) // lower_bound_micros
    )
    return Decimal(parts).scaleb(-SHOWN_GAP_PLACES)


def _percent(part: int, whole: int, places: int) -> float | None:
    if whole <= 0:
        return None
    return float(round(Decimal(100 * part) / Decimal(whole), places))


def _text_or_none(micros: int | None) -> str | None:
    return None if micros is None else micros_to_text(micros)


def _constraints(outcome: Outcome) -> dict[str, Any] | None:
    """Tell what was asked for (O8), with the limits of the catalogue; ``locked`` counts SIMs of the run."""
    if outcome.grouping is None:
        return None
    asked = outcome.grouping.constraints
    return {
        "locked": int(outcome.assignments["locked"].sum()),
        "plans": {
            code: {"min": limit.min_devices, "max": limit.max_devices}
            for code, limit in sorted(asked.plans.items())
        },
        "max_changes": asked.max_changes,
        "min_saving_per_change": _text_or_none(asked.min_saving_per_change_micros or None),
        "min_saving": _text_or_none(asked.min_saving_micros or None),
    }


def _tax(entry: TaxOutcome) -> dict[str, Any]:
    return {
        "jurisdiction": entry.tax.jurisdiction,
        "name": entry.tax.name,
        "base": entry.tax.base.value,
        "percent": micros_to_text(entry.tax.percent_millionths),
        "devices": entry.devices,
        "baseline": micros_to_text(entry.baseline_micros),
        "optimized": micros_to_text(entry.optimized_micros),
    }


def _unit(unit: UnitOutcome) -> dict[str, Any]:
    return {
        "unit_id": unit.unit_id,
        "group_ids": list(unit.group_ids),
        "devices": unit.devices,
        "status": unit.status.value,
        "strategy": unit.strategy.value,
        "optimized_cost": micros_to_text(unit.optimized.objective_micros),
        "lower_bound": _text_or_none(unit.lower_bound_micros),
        "gap_percent": gap_percent(unit.optimized.objective_micros, unit.lower_bound_micros),
        "baseline_cost": micros_to_text(unit.baseline.objective_micros),
        "legacy_best_cost": _text_or_none(unit.legacy_best_cost_micros),
    }


def _group(group: GroupOutcome) -> dict[str, Any]:
    return {
        "group_id": group.group_id,
        "unit_id": group.unit_id,
        "communication_plans": list(group.communication_plans),
        "devices": group.devices,
        "rate_plans": list(group.rate_plans),
        "status": group.status,
        "strategy": None if group.status == SKIPPED else group.strategy.value,
        "baseline_cost": micros_to_text(group.baseline.objective_micros),
        "optimized_cost": micros_to_text(group.optimized.objective_micros),
        "plan_changes": group.plan_changes,
    }
