"""The columns that say why a SIM gets its plan, and which plan comes second (O9)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl

from core.optimiser.explain import NO_OTHER_PLAN, Explanation
from core.outcome import (
    REASON_CHANGED,
    REASON_CHANGED_FOR_UNIT,
    REASON_KEPT,
    REASON_LOCKED,
    REASON_TOO_MANY_PLANS,
)


def reason(fixed_group_ids: Collection[str]) -> pl.Expr:
    """Reason of each priced SIM, from the columns of ``ASSIGNMENT_SCHEMA``.

    Parameters
    ----------
    fixed_group_ids
        Groups that were skipped (V3).
    """
    is_changed = pl.col("recommended_rate_plan") != pl.col("current_rate_plan")
    saves = pl.col("recommended_cost_micros") < pl.col("current_cost_micros")
    return (
        pl.when(pl.col("group_id").is_in(list(fixed_group_ids)))
        .then(pl.lit(REASON_TOO_MANY_PLANS))
        .when(pl.col("locked"))
        .then(pl.lit(REASON_LOCKED))
        .when(is_changed & saves)
        .then(pl.lit(REASON_CHANGED))
        .when(is_changed)
        .then(pl.lit(REASON_CHANGED_FOR_UNIT))
        .otherwise(pl.lit(REASON_KEPT))
    )


def next_best(
    plan_codes: Sequence[str], explanations: Sequence[Explanation]
) -> tuple[pl.Series, pl.Series]:
    """Columns ``next_best_rate_plan`` and ``next_best_reduced_cost_micros``.

    Parameters
    ----------
    plan_codes
        Codes by plan number.
    explanations
        At least one; their SIMs follow each other.

    Returns
    -------
    tuple
        Both null where a SIM may have no other plan.
    """
    plans = pl.Series(np.concatenate([each.next_plan for each in explanations]))
    reduced = pl.Series(np.concatenate([each.reduced_cost_micros for each in explanations]))
    is_absent = plans == NO_OTHER_PLAN
    codes = pl.Series("next_best_rate_plan", plan_codes, dtype=pl.String)
    return (
        codes.gather(plans.set(is_absent, None)),
        reduced.set(is_absent, None).alias("next_best_reduced_cost_micros"),
    )
