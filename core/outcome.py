"""The outcome of one optimisation: what every report, table and message is made from.

Costs are the objective (B7, pre-tax) in micro-units; rate and overage parts are always given beside
it. SIM costs add up to groups, groups to units, units to totals, exactly (B10).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from core.domain import SolveStatus, Strategy, TaxRate
from core.grouping import Grouping
from core.optimiser.certificate import Certificate

ASSIGNMENT_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "communication_plan": pl.String(),
    "group_id": pl.String(),  # null for an unpriced SIM
    "unit_id": pl.String(),  # null for an unpriced SIM
    "current_rate_plan": pl.String(),
    "recommended_rate_plan": pl.String(),
    "usage_bytes": pl.Int64(),
    "current_cost_micros": pl.Int64(),  # null for an unpriced SIM, as all costs below
    "recommended_cost_micros": pl.Int64(),
    "savings_micros": pl.Int64(),
    "reason": pl.String(),
    "next_best_rate_plan": pl.String(),  # null where the SIM may have no other plan (O9)
    "next_best_reduced_cost_micros": pl.Int64(),
    "current_rate_micros": pl.Int64(),
    "current_overage_micros": pl.Int64(),
    "recommended_rate_micros": pl.Int64(),
    "recommended_overage_micros": pl.Int64(),
    "sms_count": pl.Int64(),
    "voice_seconds": pl.Int64(),
    "activated_date": pl.Date(),
    "active_days": pl.Int32(),  # null without cycle dates
    "is_usage_reported": pl.Boolean(),
    "jurisdiction": pl.String(),  # null where none is known
    "current_tax_micros": pl.Int64(),  # in no cost above (B6); null without a table of taxes
    "recommended_tax_micros": pl.Int64(),
    "locked": pl.Boolean(),
}
"""Columns of ``assignments.parquet``, one row per SIM, sorted by ICCID."""

REASON_CHANGED = "changed"
"""Another plan is recommended, and the SIM's own cost (B10) falls by it."""
REASON_CHANGED_FOR_UNIT = "changed_for_unit"
"""Another plan is recommended though the SIM's own cost (B10) does not fall by it: the change is part
of the answer of its solve unit, for the sake of a pool or of a limit (O8)."""
REASON_KEPT = "kept"
"""The SIM keeps its plan: no change lowers the unit's cost as far as the strategy sees."""
REASON_LOCKED = "locked"
"""The SIM keeps its plan because it is locked (O8)."""
REASON_TOO_MANY_PLANS = "too_many_rate_plans"
"""The SIM's group has more plans than allowed and was skipped (V3)."""
REASON_UNPRICED = "unpriced"
"""The SIM's plan is not in the catalogue (B9)."""


SKIPPED = "skipped"
"""Status of a group that keeps its plans because it has too many of them (V3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A bill in micro-units.

    Attributes
    ----------
    objective_micros
        What was minimised: rate + overage, or one of them (B7).
    rate_micros
        Fees: monthly rate after proration plus regulatory fee.
    overage_micros
        Data, SMS and voice beyond what is included.
    """

    objective_micros: int
    rate_micros: int
    overage_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOutcome:
    """One communication group; ``status`` is ``optimised``, ``unchanged`` or ``skipped``."""

    group_id: str
    unit_id: str
    communication_plans: tuple[str, ...]
    rate_plans: tuple[str, ...]
    devices: int
    status: str
    strategy: Strategy
    baseline: Cost
    optimized: Cost
    plan_changes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOutcome:
    """One solve unit."""

    unit_id: str
    group_ids: tuple[str, ...]
    devices: int
    status: SolveStatus
    strategy: Strategy
    baseline: Cost
    optimized: Cost
    lower_bound_micros: int | None
    legacy_best_cost_micros: int | None
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxOutcome:
    """What one tax comes to over all SIMs, in micro-units (B6).

    Attributes
    ----------
    devices
        Priced SIMs of the tax's jurisdiction.
    """

    tax: TaxRate
    devices: int
    baseline_micros: int
    optimized_micros: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Everything that is known after an optimisation.

    Attributes
    ----------
    assignments
        One row per SIM, columns of ``ASSIGNMENT_SCHEMA``.
    devices
        SIMs in ``assignments``, with the unpriced ones.
    unpriced
        SIMs whose plan is not in the catalogue: in no cost, pool or bound (B9).
    lower_bound_micros
        Sum of the units' bounds; None if any unit has none.
    legacy_best_cost_micros
        Sum over units; None if no walk is feasible in one of them.
    taxes
        One per tax of the table, by jurisdiction and name; None if there was no table. In no cost.
    dropped_savings_micros
        What the changes that were found would have saved, where they were dropped for saving less
        than the run has to (O8); None where nothing was dropped.
    grouping
        What was solved, for ``certificate.json`` (O3); None where that is not at hand.
    """

    assignments: pl.DataFrame
    groups: tuple[GroupOutcome, ...]
    units: tuple[UnitOutcome, ...]
    devices: int
    unpriced: int
    baseline: Cost
    optimized: Cost
    lower_bound_micros: int | None
    legacy_best_cost_micros: int | None
    plan_changes: int
    taxes: tuple[TaxOutcome, ...] | None = None
    dropped_savings_micros: int | None = None
    grouping: Grouping | None = None

    @property
    def savings_micros(self) -> int:
        """Baseline less optimised objective."""
        return self.baseline.objective_micros - self.optimized.objective_micros

    @property
    def baseline_tax_micros(self) -> int | None:
        """All taxes on today's plans; None if there was no table of taxes."""
        return None if self.taxes is None else sum(each.baseline_micros for each in self.taxes)

    @property
    def optimized_tax_micros(self) -> int | None:
        """All taxes on the recommended plans; None if there was no table of taxes."""
        return None if self.taxes is None else sum(each.optimized_micros for each in self.taxes)


def gather(
    assignments: pl.DataFrame, groups: Sequence[GroupOutcome], units: Sequence[UnitOutcome]
) -> Outcome:
    """Add up an outcome from its parts.

    Parameters
    ----------
    assignments
        Every SIM, columns of ``ASSIGNMENT_SCHEMA``, sorted by ICCID.
    groups, units
        All of them, in the order of their ids.

    Returns
    -------
    Outcome
        Without a bound or a legacy cost where a unit has none, and where there is nothing that
        they could be about: no unit, or only skipped groups (V3).
    """
    is_optimised = any(group.status != SKIPPED for group in groups)
    bounds = [unit.lower_bound_micros for unit in units]
    legacy_costs = [unit.legacy_best_cost_micros for unit in units]
    return Outcome(
        assignments=assignments,
        groups=tuple(groups),
        units=tuple(units),
        devices=assignments.height,
        unpriced=int((assignments["reason"] == REASON_UNPRICED).sum()),
        baseline=total(unit.baseline for unit in units),
        optimized=total(unit.optimized for unit in units),
        lower_bound_micros=_sum_or_none(bounds) if is_optimised else None,
        legacy_best_cost_micros=_sum_or_none(legacy_costs) if is_optimised else None,
        plan_changes=sum(group.plan_changes for group in groups),
    )


def total(costs: Iterable[Cost]) -> Cost:
    """Add up bills."""
    parts = tuple(costs)
    return Cost(
        objective_micros=sum(part.objective_micros for part in parts),
        rate_micros=sum(part.rate_micros for part in parts),
        overage_micros=sum(part.overage_micros for part in parts),
    )


def _sum_or_none(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
