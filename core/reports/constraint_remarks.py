"""What a report says about the constraints that were in force (O8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import ROUND_FLOOR

from core.domain import Constraints, PlanLimit, RatePlan, Strategy
from core.outcome import SKIPPED, Outcome
from core.solve_units import effective_constraints
from core.units import exact_money_text, money_text

MAX_NAMED_LIMITS = 20
"""Plans whose limits are listed; the others are counted."""


_SAVING_OF_A_CHANGE = (
    "Measured is what the SIM costs less by itself, its data in a pool priced at the pool's price per "
    "byte (the one used for the lower bound). Its share of the bill, which the sheet shows, may differ, "
    "and even rise."
)


def constraint_remarks(
    outcome: Outcome, rate_plans: Sequence[RatePlan], constraints: Constraints
) -> tuple[str, ...]:
    """Sentences on the constraints of a run; none where nothing was constrained.

    Parameters
    ----------
    rate_plans
        The catalogue, whose limits count as well.
    """
    asked = effective_constraints(rate_plans, constraints)
    texts = []
    n_locked = int(outcome.assignments["locked"].sum())
    if n_locked:
        texts.append(f"Locked SIMs, which keep their plans: {n_locked:,}.")
    if asked.plans:
        texts.append(f"SIMs per rate plan were limited: {_limits(asked)}.")
    if asked.max_changes is not None:
        texts.append(f"At most {asked.max_changes:,} SIMs might get another plan.")
    if asked.min_saving_per_change_micros:
        amount = exact_money_text(asked.min_saving_per_change_micros)
        texts.append(f"A change had to save at least {amount}. {_SAVING_OF_A_CHANGE}")
    if asked.min_saving_micros:
        texts.append(f"The run had to save at least {exact_money_text(asked.min_saving_micros)}.")
    return tuple(texts)


def why_unchanged(outcome: Outcome, walk: Strategy | None = None) -> str | None:
    """Say why no SIM gets another plan; None where one does, or where all groups are skipped (V3).

    Parameters
    ----------
    walk
        The walk of the legacy method that ran alone, if one did.
    """
    if outcome.plan_changes or all(group.status == SKIPPED for group in outcome.groups):
        return None
    asked = Constraints() if outcome.grouping is None else outcome.grouping.constraints
    if outcome.dropped_savings_micros is not None:
        return (
            "Nothing is changed: the changes found would save "
            f"{money_text(outcome.dropped_savings_micros, ROUND_FLOOR)}, less than the least saving "
            f"of {exact_money_text(asked.min_saving_micros)}."
        )
    if (
        replace(asked, locked=frozenset()) == Constraints()
        and not outcome.assignments["locked"].any()
    ):
        return "Nothing is changed: no change was found that lowers the cost."
    if walk is None or outcome.legacy_best_cost_micros is not None:
        return "Nothing is changed: no change was found that lowers the cost and keeps the constraints."
    if asked.min_saving_per_change_micros:
        return (
            "Nothing is changed: what a walk saves by each change is not known, so that under a least "
            "saving per change its answer does not compete; that of the strategy certified does."
        )
    return (
        "Nothing is changed: walks know no constraints, and the answer of this one does not keep them; "
        "the strategy certified keeps them."
    )


def _limits(constraints: Constraints) -> str:
    named = [f"{code} {_range(limit)}" for code, limit in sorted(constraints.plans.items())]
    more = len(named) - MAX_NAMED_LIMITS
    return ", ".join(named[:MAX_NAMED_LIMITS]) + (f" and {more:,} more plans" if more > 0 else "")


def _range(limit: PlanLimit) -> str:
    least = f"at least {limit.min_devices:,}" if limit.min_devices else ""
    most = "" if limit.max_devices is None else f"at most {limit.max_devices:,}"
    return " and ".join(filter(None, (least, most)))
