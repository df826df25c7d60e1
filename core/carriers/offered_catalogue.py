"""The carrier's plans beside those that are stored: what is new, changed, the same or gone.

The carrier tells fee, allowance, overage and pooling. Everything else of a plan (SMS, voice,
proration, fees, limits, pool groups) is kept as it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from core.carriers.plan_offers import PlanOffers
from core.domain import RatePlan

TOLD_FIELDS = (
    "monthly_rate_micros", "included_bytes", "overage_rate_micros", "overage_block_bytes",
    "is_pooled",
)  # fmt: skip
"""Fields of a plan that the carrier's list tells."""


class OfferState(StrEnum):
    """How a plan of the carrier compares with the stored one."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedPlan:
    """A plan that the carrier offers.

    Attributes
    ----------
    plan
        As it would be imported: what the carrier tells, and all else as stored.
    changed
        Fields in which it differs from the stored plan; ``is_active`` where that is inactive.
    """

    plan: RatePlan
    state: OfferState
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedCatalogue:
    """The comparison as a whole.

    Attributes
    ----------
    offered
        Usable plans of the carrier, by code.
    kept
        Active stored plans of which the carrier's offer was refused: they stay as they are stored.
    gone
        Codes of active stored plans that the carrier does not offer any more.
    """

    offered: tuple[OfferedPlan, ...]
    kept: tuple[RatePlan, ...]
    gone: tuple[str, ...]

    @property
    def plans(self) -> tuple[RatePlan, ...]:
        """The catalogue to import, by code."""
        plans = [*(offer.plan for offer in self.offered), *self.kept]
        return tuple(sorted(plans, key=lambda plan: plan.code))


def compare_offers(offers: PlanOffers, stored: Iterable[RatePlan]) -> OfferedCatalogue:
    """Compare the carrier's plans with the stored ones, inactive ones among them."""
    known = {plan.code: plan for plan in stored}
    refused = {offer.name for offer in offers.refused}
    usable = {plan.code for plan in offers.plans}
    active = [known[code] for code in sorted(known) if known[code].is_active]
    return OfferedCatalogue(
        offered=tuple(_offered(plan, known.get(plan.code)) for plan in offers.plans),
        kept=tuple(plan for plan in active if plan.code in refused),
        gone=tuple(plan.code for plan in active if plan.code not in usable | refused),
    )


def _offered(plan: RatePlan, stored: RatePlan | None) -> OfferedPlan:
    if stored is None:
        return OfferedPlan(plan=plan, state=OfferState.NEW)
    told = {name: getattr(plan, name) for name in TOLD_FIELDS}
    changed = [name for name, value in told.items() if getattr(stored, name) != value]
    if not stored.is_active:
        changed.append("is_active")
    return OfferedPlan(
        plan=replace(stored, **told, is_active=True),
        state=OfferState.CHANGED if changed else OfferState.SAME,
        changed=tuple(changed),
    )
