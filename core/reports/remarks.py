"""The sentences of a report: what was assumed, left out and not known."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR

from core.domain import ChargeType, PoolScope, SolveStatus, UsageBasis
from core.eligibility import (
    REASON_NO_COMMUNICATION_PLAN,
    REASON_NO_PLAN_LIST,
    REASON_NO_RATE_PLAN,
    REASON_NOT_BILLABLE,
    REASON_UNKNOWN_RATE_PLAN,
)
from core.files.rejects import REASON_SENTENCES
from core.outcome import (
    REASON_CHANGED,
    REASON_CHANGED_FOR_UNIT,
    REASON_KEPT,
    REASON_LOCKED,
    REASON_TOO_MANY_PLANS,
    REASON_UNPRICED,
    Outcome,
)
from core.reports.constraint_remarks import why_unchanged
from core.reports.meta import ReportMeta
from core.reports.summary import SHOWN_GAP_PLACES, SKIPPED, shown_gap_percent
from core.units import money_text

LISTED_SENTENCES = {
    REASON_NOT_BILLABLE: "The carrier does not bill SIMs in this state.",
    REASON_NO_COMMUNICATION_PLAN: "The SIM has no communication plan.",
    REASON_NO_PLAN_LIST: "The SIM's communication plan lists no usable rate plan.",
    REASON_NO_RATE_PLAN: "The SIM has no rate plan.",
    REASON_UNKNOWN_RATE_PLAN: "The SIM's rate plan is not in the catalogue.",
}
"""Why a SIM is listed instead of optimised, in words (E1)."""

PLAN_SENTENCES = {
    REASON_CHANGED: "Another plan is recommended, and the SIM itself costs less on it.",
    REASON_CHANGED_FOR_UNIT: (
        "Another plan is recommended on which the SIM itself costs no less: the change serves a "
        "pool or keeps a limit."
    ),
    REASON_KEPT: "The SIM keeps its plan: no allowed change was found that lowers the cost.",
    REASON_LOCKED: "The SIM keeps its plan because it is locked.",
    REASON_TOO_MANY_PLANS: "The SIM's group has more rate plans than allowed and was skipped.",
    REASON_UNPRICED: "The SIM's rate plan is not in the catalogue: it keeps it and is in no cost.",
}
"""Why a SIM gets the plan that is recommended for it, in words (O9)."""

MAX_NAMED_GROUPS = 20
"""Skipped groups that are named; the others are counted."""

_CHARGE_TYPES = {
    ChargeType.RATE_AND_OVERAGE: "fees and overage",
    ChargeType.RATE: "fees only",
    ChargeType.OVERAGE: "overage only",
}
_POOL_SCOPES = {
    PoolScope.PLAN: "all SIMs of the account on the same pooled plan share their allowance",
    PoolScope.COMM_GROUP: "SIMs on the same pooled plan share their allowance within their group",
    PoolScope.POOL_GROUP: "SIMs on pooled plans of the same pool group share their allowance",
}
_TAXES = (
    "Taxes are in no cost and no saving but those that say so. Plans are chosen before tax: where "
    "fees and overage of all SIMs bear the same percentage, that changes no decision; with "
    "different ones it may."
)
_NEXT_BEST = (
    "The next best rate plan of a SIM is the cheapest other one that it may have. Next best costs more "
    "by: what the SIM would cost more on that plan, its pool data priced at the pool's price per byte "
    "(the one used for the lower bound). Below 0, the recommended plan is dearer for the SIM alone, and "
    "serves a pool or keeps a constraint."
)
_RECONSTRUCTION = "a generous reconstruction of that method, whose source code is not available."
_NO_LEGACY = (
    "There is no cost by the legacy method: what it saves by each change is not known, so that under a "
    "least saving per change its answers do not compete where they change anything."
)
_MIDCYCLE = (
    "Assumed: a plan changed within the cycle is billed as if it had applied to the whole cycle. "
    "Confirm this with the carrier."
)


def meaning_of(reason: str) -> str:
    """Say what a reason of the workbook means; empty for a reason without a sentence."""
    sentences = {reject.value: text for reject, text in REASON_SENTENCES.items()}
    return (sentences | LISTED_SENTENCES | PLAN_SENTENCES).get(reason, "")


def remarks(outcome: Outcome, meta: ReportMeta) -> list[str]:
    """Return what a reader must know to trust the figures, most important first."""
    texts = []
    if meta.is_dry_run:
        texts.append("DRY RUN: nothing was or will be changed at the carrier.")
    unchanged = why_unchanged(outcome, meta.walk)
    texts += [unchanged] if unchanged else []
    texts += [*_left_out(outcome), _how_sure(outcome), _usage_basis(meta), *_assumptions(meta)]
    if outcome.taxes is not None:
        texts.append(_TAXES)
    if outcome.assignments["next_best_rate_plan"].count():
        texts.append(_NEXT_BEST)
    texts += _legacy_method(outcome, meta)
    texts += meta.remarks
    texts += meta.notes
    if meta.warnings.count:
        texts.append(f"Warnings about the input: {meta.warnings.count:,}. The first ones:")
        texts += meta.warnings.listed
    return texts


def skipped_groups_sentence(outcome: Outcome) -> str | None:
    """Count and name the groups that were skipped (V3); None where there is none."""
    skipped = [group for group in outcome.groups if group.status == SKIPPED]
    if not skipped:
        return None
    names = ", ".join(group.group_id for group in skipped[:MAX_NAMED_GROUPS])
    more = len(skipped) - MAX_NAMED_GROUPS
    return (
        f"Groups skipped because they have more rate plans than allowed: {len(skipped):,}, with "
        f"{sum(group.devices for group in skipped):,} SIMs that keep their plans: {names}"
        + (f" and {more:,} more." if more > 0 else ".")
    )


def is_all_optimal(outcome: Outcome) -> bool:
    """Whether every solve unit is, so that no allowed choice of plans costs less."""
    units = outcome.units
    return bool(units) and all(unit.status is SolveStatus.OPTIMAL for unit in units)


def is_legacy_compared(outcome: Outcome) -> bool:
    """Whether changed answers of the legacy method compete: not under a least saving per change (O8)."""
    grouping = outcome.grouping
    return grouping is None or not grouping.constraints.min_saving_per_change_micros


def _left_out(outcome: Outcome) -> list[str]:
    texts = []
    if outcome.unpriced:
        texts.append(
            f"SIMs on rate plans that are not in the catalogue: {outcome.unpriced:,}. They keep "
            "their plans and are in no cost."
        )
    skipped = skipped_groups_sentence(outcome)
    return [*texts, skipped] if skipped else texts


def _how_sure(outcome: Outcome) -> str:
    """Say how near the cost is to the lowest possible one (O2, O3)."""
    cost, bound = outcome.optimized.objective_micros, outcome.lower_bound_micros
    if bound is None:
        return "How sure is this? Not known: there is no lower bound for all of these SIMs."
    text = "How sure is this? No allowed choice of plans costs less"
    if cost == bound:
        text += " than this one."
    else:
        least = money_text(bound, ROUND_FLOOR)
        gap = shown_gap_percent(cost, bound)
        percent = "" if gap is None else f" ({gap:,.{SHOWN_GAP_PLACES}f} % of that amount)"
        text += (
            f" than {least}: at most {money_text(cost - bound, ROUND_CEILING)}{percent} more could be "
            "saved."
        )
        if is_all_optimal(outcome):
            text += " The solver of small units found that none of it can be."
    if outcome.grouping is not None:
        text += " The command carrier-opt verify checks the bound from the files."
    return text


def _usage_basis(meta: ReportMeta) -> str:
    if meta.usage_basis is UsageBasis.PROJECTED:
        return "Plans are chosen by the usage expected at the end of the cycle."
    return (
        "Plans are chosen by actual usage so far: projection to the end of the cycle is not part "
        "of this version."
    )


def _assumptions(meta: ReportMeta) -> list[str]:
    proration = (
        "No cycle dates: every SIM counts as active for the whole cycle."
        if meta.cycle is None
        else f"Billing cycle {meta.cycle.start_date} to {meta.cycle.end_date}, both days included."
    )
    return [
        f"Minimised were {_CHARGE_TYPES[meta.charge_type]}, before percentage taxes.",
        f"Pools: {_POOL_SCOPES[meta.pool_scope]}.",
        proration,
        _MIDCYCLE,
        f"1 MB is {meta.mb_bytes:,} bytes.",
    ]


def _legacy_method(outcome: Outcome, meta: ReportMeta) -> list[str]:
    if outcome.legacy_best_cost_micros is None:
        return [_NO_LEGACY] if not is_legacy_compared(outcome) else []
    if meta.walk is None:
        return [f"The best cost by the legacy method comes from {_RECONSTRUCTION}"]
    walk = f"the walk {meta.walk.value}"
    return [f"Of the legacy method only {walk} was run. It comes from {_RECONSTRUCTION}"]
