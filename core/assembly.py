"""Turns the solutions of solve units into the outcome: rows, groups, units, totals (B9, B10, O9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from core.billing.bill import Bill
from core.billing.tariff import day_classes
from core.billing.taxes import Taxes, tax_sims
from core.domain import ChargeType, Strategy, TaxRate
from core.explanations import next_best, reason
from core.grouping import Grouping, GroupPlan, unit_fleets
from core.optimiser.explain import Explanation
from core.optimiser.result import Result
from core.outcome import (
    ASSIGNMENT_SCHEMA,
    REASON_UNPRICED,
    Cost,
    GroupOutcome,
    Outcome,
    TaxOutcome,
    UnitOutcome,
    gather,
    total,
)
from core.problem import Problem

_SUMS = (
    "current_cost_micros", "current_rate_micros", "current_overage_micros",
    "recommended_cost_micros", "recommended_rate_micros", "recommended_overage_micros",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnitSolution:
    """A solved unit with its bills, today's and the recommended one, and each SIM's next best plan."""

    result: Result
    baseline: Bill
    recommended: Bill
    explanation: Explanation


def unit_assignments(grouping: Grouping, problem: Problem, solution: UnitSolution) -> pl.DataFrame:
    """One row per SIM of a unit, columns of ``ASSIGNMENT_SCHEMA``, sorted by ICCID.

    Raises
    ------
    ValueError
        If the solution is another unit's.
    """
    if problem.unit_id != solution.result.unit_id:
        msg = f"the solution of unit {solution.result.unit_id} is none of {problem.unit_id}"
        raise ValueError(msg)
    return assignments_of(grouping, [solution])


def assignments_of(grouping: Grouping, solutions: Sequence[UnitSolution]) -> pl.DataFrame:
    """One row per SIM of some units; many units at once are much faster than one by one.

    Parameters
    ----------
    solutions
        In any order.

    Returns
    -------
    pl.DataFrame
        Columns of ``ASSIGNMENT_SCHEMA``; unit after unit, within a unit sorted by ICCID.
    """
    by_unit = {solution.result.unit_id: solution for solution in solutions}
    if not by_unit:
        return pl.DataFrame(schema=ASSIGNMENT_SCHEMA)
    unit_ids, frames = zip(*unit_fleets(grouping, list(by_unit)), strict=True)
    ordered = [by_unit[unit_id] for unit_id in unit_ids]
    charge_type = grouping.policy.charge_type
    plans = np.concatenate([solution.result.assignment for solution in ordered])
    fixed = [group.group_id for group in grouping.groups if group.is_fixed]
    untaxed = pl.lit(None, dtype=pl.Int64)
    rows: pl.DataFrame = (
        _with_active_days(grouping, pl.concat(frames))
        .rename({"rate_plan": "current_rate_plan", "is_locked": "locked"})
        .with_columns(
            pl.Series("recommended_rate_plan", grouping.tariff.codes).gather(plans),
            *_costs("current", [solution.baseline for solution in ordered], charge_type),
            *_costs("recommended", [solution.recommended for solution in ordered], charge_type),
            *next_best(grouping.tariff.codes, [solution.explanation for solution in ordered]),
        )
        .with_columns(
            savings_micros=pl.col("current_cost_micros") - pl.col("recommended_cost_micros"),
            reason=reason(fixed),
            current_tax_micros=untaxed,
            recommended_tax_micros=untaxed,
        )
        .select(pl.col(name).cast(dtype) for name, dtype in ASSIGNMENT_SCHEMA.items())
    )
    return rows


def assemble(
    grouping: Grouping, solutions: Iterable[UnitSolution], assignments: pl.DataFrame
) -> Outcome:
    """Gather the solved units of a fleet.

    Parameters
    ----------
    solutions
        One per unit of the grouping, in any order.
    assignments
        Rows of all these units, in any order (:func:`assignments_of`); unpriced SIMs are added.

    Raises
    ------
    ValueError
        If a unit has no solution, or rows are missing.
    """
    results = {solution.result.unit_id: solution.result for solution in solutions}
    unpriced = _unpriced(grouping)
    everything = pl.concat([assignments, unpriced]).sort("iccid")
    if set(results) != set(grouping.unit_ids) or everything.height != grouping.fleet.height:
        msg = (
            f"an outcome needs all {len(grouping.unit_ids)} solve units and {grouping.fleet.height} "
            f"SIMs: got {len(results)} units and {everything.height} SIMs"
        )
        raise ValueError(msg)
    groups = _group_outcomes(grouping, results, assignments)
    units = tuple(
        _unit_outcome(results[unit], tuple(groups[unit].values())) for unit in grouping.unit_ids
    )
    ordered = [groups[group.unit_id][group.group_id] for group in grouping.groups]
    return replace(gather(everything, ordered, units), grouping=grouping)


def with_taxes(outcome: Outcome, taxes: Sequence[TaxRate]) -> Outcome:
    """Add the taxes of every SIM and their totals; costs and plans stay as they are (B6).

    Taxed are all fees and all overage, whatever the charge type.

    Parameters
    ----------
    taxes
        The whole table, in any order.

    Raises
    ------
    DataError
        If a percentage is out of range, or the taxes of the fleet leave the range of sums.
    """
    ordered = sorted(taxes, key=lambda tax: (tax.jurisdiction, tax.name))
    rows = outcome.assignments
    current, recommended = (_taxes(rows, side, ordered) for side in ("current", "recommended"))
    is_priced = pl.col("current_rate_micros").is_not_null()
    counted = rows.filter(is_priced).group_by("jurisdiction").len()
    devices: dict[str | None, int] = dict(counted.iter_rows())
    columns = {
        "current_tax_micros": current.sim_micros,
        "recommended_tax_micros": recommended.sim_micros,
    }
    return replace(
        outcome,
        assignments=rows.with_columns(
            pl.when(is_priced).then(pl.Series(values)).alias(name)
            for name, values in columns.items()
        ),
        taxes=tuple(
            TaxOutcome(
                tax=tax,
                devices=devices.get(tax.jurisdiction, 0),
                baseline_micros=current.tax_micros[number],
                optimized_micros=recommended.tax_micros[number],
            )
            for number, tax in enumerate(ordered)
        ),
    )


def _taxes(rows: pl.DataFrame, side: str, taxes: Sequence[TaxRate]) -> Taxes:
    """Taxes of today's or the recommended bill; an unpriced SIM has no charges, and so none."""
    rate, overage = (
        rows[f"{side}_{part}_micros"].fill_null(0).to_numpy() for part in ("rate", "overage")
    )
    return tax_sims(rate, overage, rows["jurisdiction"], taxes)


def _costs(prefix: str, bills: Sequence[Bill], charge_type: ChargeType) -> list[pl.Series]:
    columns = {
        "cost": [priced.objective(charge_type) for priced in bills],
        "rate": [priced.rate_micros for priced in bills],
        "overage": [priced.overage_micros for priced in bills],
    }
    return [
        pl.Series(f"{prefix}_{name}_micros", np.concatenate(parts))
        for name, parts in columns.items()
    ]


def _with_active_days(grouping: Grouping, rows: pl.DataFrame) -> pl.DataFrame:
    """Add ``active_days``, null without cycle dates (B2)."""
    if grouping.policy.cycle is None:
        return rows.with_columns(active_days=pl.lit(None, dtype=pl.Int32))
    days = day_classes(rows["activated_date"], grouping.policy)
    return rows.with_columns(pl.Series("active_days", days))


def _unpriced(grouping: Grouping) -> pl.DataFrame:
    """Rows of the SIMs whose plan is not in the catalogue (B9)."""
    rows = grouping.fleet.filter(pl.col("unit_id").is_null())
    names = {"rate_plan": "current_rate_plan", "is_locked": "locked"}
    rows = _with_active_days(grouping, rows).rename(names)
    rows = rows.with_columns(
        recommended_rate_plan=pl.col("current_rate_plan"), reason=pl.lit(REASON_UNPRICED)
    )
    absent = [pl.lit(None).alias(name) for name in ASSIGNMENT_SCHEMA if name not in rows.columns]
    return rows.with_columns(absent).select(
        pl.col(name).cast(dtype) for name, dtype in ASSIGNMENT_SCHEMA.items()
    )


def _group_outcomes(
    grouping: Grouping, results: Mapping[str, Result], assignments: pl.DataFrame
) -> dict[str, dict[str, GroupOutcome]]:
    """Outcome of every group by unit and group id, both in the order of the grouping."""
    is_changed = pl.col("recommended_rate_plan") != pl.col("current_rate_plan")
    sums = assignments.group_by("group_id").agg(
        *(pl.col(name).sum() for name in _SUMS), is_changed.sum().alias("plan_changes")
    )
    sums_of = {row["group_id"]: row for row in sums.iter_rows(named=True)}
    found: dict[str, dict[str, GroupOutcome]] = {unit_id: {} for unit_id in grouping.unit_ids}
    for group in grouping.groups:
        of_unit = found[group.unit_id]
        strategy = results[group.unit_id].group_strategy[len(of_unit)]
        of_unit[group.group_id] = _group_outcome(group, strategy, sums_of[group.group_id])
    return found


def _group_outcome(group: GroupPlan, strategy: Strategy, sums: Mapping[str, int]) -> GroupOutcome:
    status = "skipped" if group.is_fixed else "optimised" if sums["plan_changes"] else "unchanged"
    return GroupOutcome(
        group_id=group.group_id,
        unit_id=group.unit_id,
        communication_plans=group.communication_plans,
        rate_plans=group.rate_plans,
        devices=group.devices,
        status=status,
        strategy=strategy,
        baseline=_cost(sums, "current"),
        optimized=_cost(sums, "recommended"),
        plan_changes=sums["plan_changes"],
    )


def _unit_outcome(result: Result, groups: Sequence[GroupOutcome]) -> UnitOutcome:
    return UnitOutcome(
        unit_id=result.unit_id,
        group_ids=tuple(group.group_id for group in groups),
        devices=sum(group.devices for group in groups),
        status=result.status,
        strategy=result.strategy,
        baseline=total(group.baseline for group in groups),
        optimized=total(group.optimized for group in groups),
        lower_bound_micros=result.lower_bound_micros,
        legacy_best_cost_micros=result.legacy_best_cost_micros,
        certificate=result.certificate,
    )


def _cost(sums: Mapping[str, int], prefix: str) -> Cost:
    return Cost(
        objective_micros=sums[f"{prefix}_cost_micros"],
        rate_micros=sums[f"{prefix}_rate_micros"],
        overage_micros=sums[f"{prefix}_overage_micros"],
    )
