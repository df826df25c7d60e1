"""What a report says about the constraints that were in force (O8)."""

from __future__ import annotations

from collections.abc import Sequence

from core.domain import Constraints, PlanLimit, RatePlan
from core.outcome import Outcome
from core.solve_units import effective_constraints
from core.units import micros_to_text

MAX_NAMED_LIMITS = 20
"""Plans whose limits are listed; the others are counted."""


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
        amount = micros_to_text(asked.min_saving_per_change_micros)
        texts.append(f"A change had to save at least {amount}.")
    if outcome.dropped_savings_micros is not None:
        texts.append(
            f"Nothing is changed: the changes found would save "
            f"{micros_to_text(outcome.dropped_savings_micros)}, less than the least saving of "
            f"{micros_to_text(asked.min_saving_micros)}."
        )
    elif asked.min_saving_micros:
        texts.append(f"The run had to save at least {micros_to_text(asked.min_saving_micros)}.")
    return tuple(texts)


def _limits(constraints: Constraints) -> str:
    named = [f"{code} {_range(limit)}" for code, limit in sorted(constraints.plans.items())]
    more = len(named) - MAX_NAMED_LIMITS
    return ", ".join(named[:MAX_NAMED_LIMITS]) + (f" and {more:,} more plans" if more > 0 else "")


def _range(limit: PlanLimit) -> str:
    least = f"at least {limit.min_devices:,}" if limit.min_devices else ""
    most = "" if limit.max_devices is None else f"at most {limit.max_devices:,}"
    return " and ".join(filter(None, (least, most)))
