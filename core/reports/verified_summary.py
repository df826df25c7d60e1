"""Compares ``summary.json`` with the rows and certificates that were verified before (O3).

Compared is all that follows from them. Of what cannot be derived again, the proof by an integer program
behind ``optimal``, the strategies and the cost of the walks, only contradictions are found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from core.billing.taxes import Taxes
from core.domain import SolveStatus, Strategy
from core.errors import CheckFailedError, InputError
from core.grouping import GroupPlan
from core.reports.certificate_reader import CertificateFile, UnitClaim
from core.reports.comparison import same
from core.reports.summary import SKIPPED, gap_percent, savings_percent
from core.units import micros_to_text

_AMOUNT = re.compile(r"[0-9]{1,30}\.[0-9]{6}", re.ASCII)

_NO_SUMS: dict[str, int] = {"current": 0, "recommended": 0, "changes": 0}


def check_summary(
    path: Path,
    claimed: CertificateFile,
    rows: pl.DataFrame,
    taxes: tuple[Taxes, Taxes] | None,
) -> None:
    """Compare the totals, units and groups of the file.

    Parameters
    ----------
    claimed, rows
        Verified before.
    taxes
        Today's and recommended ones, of the priced SIMs.

    Raises
    ------
    InputError
        If the file cannot be read.
    CheckFailedError
        Naming what differs, and both sides.
    """
    summary = _read(path)
    totals = _totals(claimed, rows) | _taxes(claimed, rows, taxes)
    for name, value in totals.items():
        same(f"{name} in summary.json", summary.get(name), value)
    _check_constraints(summary, claimed, rows)
    sums = _sums_of_groups(rows)
    units = _entries(summary, "units", [unit.unit_id for unit in claimed.units])
    for entry, unit in zip(units, claimed.units, strict=True):
        groups = [group for group in claimed.groups if group.unit_id == unit.unit_id]
        _check_unit(entry, unit, groups, claimed.min_saving_micros)
        changes = sum(sums.get(group.group_id, _NO_SUMS)["changes"] for group in groups)
        _check_strategy(f"unit {unit.unit_id}", entry.get("strategy"), changes)
    groups_in_file = _entries(summary, "groups", [group.group_id for group in claimed.groups])
    for entry, group in zip(groups_in_file, claimed.groups, strict=True):
        _check_group(entry, group, sums.get(group.group_id, _NO_SUMS))
    legacy = [_legacy_micros(entry) for entry in units]
    known = [cost for cost in legacy if cost is not None]
    total = sum(known) if _is_optimised(claimed) and len(known) == len(legacy) else None
    same("legacy_best_cost in summary.json", summary.get("legacy_best_cost"), _text(total))


def _read(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(summary, dict):
        raise InputError(f"{path} cannot be read: it holds no JSON object")
    return summary


def _totals(claimed: CertificateFile, rows: pl.DataFrame) -> dict[str, Any]:
    """Figures of the run as a whole; its bound is the sum of the units' bounds (O2)."""
    bounds = [unit.certificate.bound_micros for unit in claimed.units if unit.certificate]
    is_bounded = len(bounds) == len(claimed.units) and _is_optimised(claimed)
    bound = sum(bounds) if is_bounded else None
    changed = rows["recommended_rate_plan"].ne_missing(rows["current_rate_plan"])
    optimized = sum(unit.cost_micros for unit in claimed.units)
    baseline = sum(unit.baseline_micros for unit in claimed.units)
    totals: dict[str, Any] = {
        "devices": claimed.devices,
        "unpriced": claimed.unpriced,
        "baseline_cost": micros_to_text(baseline),
        "optimized_cost": micros_to_text(optimized),
        "savings": micros_to_text(baseline - optimized),
        "savings_percent": savings_percent(baseline, optimized),
        "lower_bound": _text(bound),
        "gap_percent": gap_percent(optimized, bound),
        "plan_changes": int(changed.sum()),
        "charge_type": claimed.policy.charge_type.value,
        "pool_scope": claimed.policy.pool_scope.value,
    }
    for prefix, column in (("baseline", "current"), ("optimized", "recommended")):
        for part in ("rate", "overage"):
            parts = int(rows[f"{column}_{part}_micros"].sum())
            totals[f"{prefix}_{part}_cost"] = micros_to_text(parts)
    return totals


def _check_constraints(
    summary: Mapping[str, Any], claimed: CertificateFile, rows: pl.DataFrame
) -> None:
    """Compare what was asked for (O8), where the file says it, but for the limits of plans."""
    asked = summary.get("constraints")
    if isinstance(asked, dict):
        expected: dict[str, Any] = {
            "locked": int(rows["locked"].sum()),
            "min_saving": _text(claimed.min_saving_micros or None),
        }
        for unit in claimed.units:
            expected["max_changes"] = unit.max_changes
            expected["min_saving_per_change"] = _text(unit.min_saving_per_change_micros or None)
        for name, value in expected.items():
            same(f"{name} of the constraints in summary.json", asked.get(name), value)
    if summary.get("dropped_savings") is not None and summary.get("plan_changes"):
        raise CheckFailedError(
            "summary.json has dropped_savings, of changes that were not made, and SIMs that change"
        )


def _taxes(
    claimed: CertificateFile, rows: pl.DataFrame, taxes: tuple[Taxes, Taxes] | None
) -> dict[str, Any]:
    """Say what each tax comes to (B6)."""
    if taxes is None:
        return {"baseline_tax": None, "optimized_tax": None, "taxes": []}
    today, recommended = (side.tax_micros for side in taxes)
    jurisdictions = rows.filter(pl.col("unit_id").is_not_null())["jurisdiction"]
    entries = [
        {
            "jurisdiction": tax.jurisdiction,
            "name": tax.name,
            "base": tax.base.value,
            "percent": micros_to_text(tax.percent_millionths),
            "devices": int((jurisdictions == tax.jurisdiction).sum()),
            "baseline": micros_to_text(today[number]),
            "optimized": micros_to_text(recommended[number]),
        }
        for number, tax in enumerate(claimed.taxes or ())
    ]
    return {
        "baseline_tax": micros_to_text(sum(today)),
        "optimized_tax": micros_to_text(sum(recommended)),
        "taxes": entries,
    }


def _sums_of_groups(rows: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Costs and changes of each group by its id (B10)."""
    sums = rows.group_by("group_id").agg(
        pl.col("current_cost_micros").sum().alias("current"),
        pl.col("recommended_cost_micros").sum().alias("recommended"),
        pl.col("recommended_rate_plan")
        .ne_missing(pl.col("current_rate_plan"))
        .sum()
        .alias("changes"),
    )
    return {row.pop("group_id"): row for row in sums.iter_rows(named=True)}


def _entries(summary: Mapping[str, Any], name: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Entries of a list, one object per id in their order."""
    found = summary.get(name)
    entries = found if isinstance(found, list) else []
    key = f"{name.removesuffix('s')}_id"
    named = [entry.get(key) if isinstance(entry, dict) else entry for entry in entries]
    same(f"the list of {name} in summary.json", named, list(ids))
    return entries


def _check_unit(
    entry: Mapping[str, Any], unit: UnitClaim, groups: Sequence[GroupPlan], min_saving_micros: int
) -> None:
    bound = None if unit.certificate is None else unit.certificate.bound_micros
    expected = {
        "group_ids": [group.group_id for group in groups],
        "devices": sum(group.devices for group in groups),
        "baseline_cost": micros_to_text(unit.baseline_micros),
        "optimized_cost": micros_to_text(unit.cost_micros),
        "lower_bound": _text(bound),
        "gap_percent": gap_percent(unit.cost_micros, bound),
    }
    for name, value in expected.items():
        same(f"{name} of unit {unit.unit_id} in summary.json", entry.get(name), value)
    has_skipped = any(group.is_fixed for group in groups)
    _check_status(
        entry,
        unit,
        may_be_optimal=not has_skipped,
        is_proven=unit.cost_micros == bound and not has_skipped and not min_saving_micros,
    )
    _check_legacy(entry, unit, bound)


def _check_status(
    entry: Mapping[str, Any], unit: UnitClaim, *, may_be_optimal: bool, is_proven: bool
) -> None:
    """Refuse a status that no run gives; a cost above the bound may be optimal or not."""
    what, status = f"unit {unit.unit_id} in summary.json", entry.get("status")
    if status not in list(SolveStatus):
        raise CheckFailedError(f"{what} has the status {status!r}: none that a run gives")
    if status == SolveStatus.OPTIMAL and not may_be_optimal:
        raise CheckFailedError(f"{what} is called optimal, and has a group that was skipped")
    if status != SolveStatus.OPTIMAL and is_proven:
        raise CheckFailedError(f"{what} is called {status}, and its cost equals its bound")


def _check_legacy(entry: Mapping[str, Any], unit: UnitClaim, bound: int | None) -> None:
    """Refuse a cost of the walks below what is proven.

    Their answer keeps all constraints but the least saving per change, and nothing that does costs
    less than the bound, or than an optimum.
    """
    what, legacy = f"unit {unit.unit_id} in summary.json", _legacy_micros(entry)
    if legacy is None or unit.min_saving_per_change_micros:
        return
    least = unit.cost_micros if entry.get("status") == SolveStatus.OPTIMAL else bound
    if least is not None and legacy < least:
        raise CheckFailedError(
            f"the legacy_best_cost of {what} is {micros_to_text(legacy)}, and the unit cannot cost "
            f"less than {micros_to_text(least)}"
        )


def _check_group(entry: Mapping[str, Any], group: GroupPlan, sums: Mapping[str, int]) -> None:
    status = SKIPPED if group.is_fixed else "optimised" if sums["changes"] else "unchanged"
    expected = {
        "unit_id": group.unit_id,
        "communication_plans": list(group.communication_plans),
        "devices": group.devices,
        "rate_plans": list(group.rate_plans),
        "status": status,
        "baseline_cost": micros_to_text(sums["current"]),
        "optimized_cost": micros_to_text(sums["recommended"]),
        "plan_changes": sums["changes"],
    }
    for name, value in expected.items():
        same(f"{name} of group {group.group_id} in summary.json", entry.get(name), value)
    if group.is_fixed:
        what = f"strategy of the skipped group {group.group_id} in summary.json"
        same(what, entry.get("strategy"), None)
        return
    _check_strategy(f"group {group.group_id}", entry.get("strategy"), sums["changes"])


def _check_strategy(what: str, strategy: object, changes: int) -> None:
    if strategy not in list(Strategy):
        raise CheckFailedError(f"{what} in summary.json has no strategy of a run: {strategy!r}")
    if strategy == Strategy.CURRENT_ASSIGNMENT and changes:
        raise CheckFailedError(
            f"{what} in summary.json has the strategy {strategy!r}, and {changes} of its SIMs change"
        )


def _legacy_micros(entry: Mapping[str, Any]) -> int | None:
    text = entry.get("legacy_best_cost")
    if text is None:
        return None
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
        msg = f"legacy_best_cost of unit {entry['unit_id']} in summary.json is no amount: {text!r}"
        raise CheckFailedError(msg)
    return int(text.replace(".", ""))


def _is_optimised(claimed: CertificateFile) -> bool:
    """Whether there is anything that a bound could be about (V3)."""
    return any(not group.is_fixed for group in claimed.groups)


def _text(micros: int | None) -> str | None:
    return None if micros is None else micros_to_text(micros)
