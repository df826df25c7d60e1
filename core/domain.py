"""The field's nouns as frozen records: plans, cycles, policies.

Per-SIM data is never a list of objects: it is columns (:mod:`core.fleet`) or arrays
(:mod:`core.problem`). Data volumes are whole bytes, money is whole micro-units of the
account's currency (1 USD = 1,000,000 micros), voice is seconds, SMS are counts (B1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

MAX_USAGE_BYTES = 1 << 50
"""Largest usage of one SIM in one cycle: 1 PiB, far above any radio link."""

MAX_PRICE_MICROS = 100_000_000_000
"""Largest fee or price of one overage block: 100,000 currency units."""

MAX_COUNT = 1 << 31
"""Largest SMS count or number of voice seconds of one SIM in one cycle."""


MAX_TIERS = 32
"""Most overage tiers of one rate plan (B8)."""

MAX_TAX_PERCENT_MILLIONTHS = 100_000_000
"""Largest percentage of one tax: 100 %, the whole of what it is taken of."""


class NextStep(StrEnum):
    """Where a finished synchronisation leads (C7)."""

    DEVICE_USAGE_BY_RATE_PLAN = "device_usage_by_rate_plan"
    """Devices and usage are ready to be optimised."""
    DEVICE_USAGE_EXPORT = "device_usage_export"
    """Devices and usage are written to files."""
    UPDATE_DEVICE_RATE_PLAN = "update_device_rate_plan"
    """The plan changes of the last session become proposals; usage is not read."""


class ChargeType(StrEnum):
    """Which charges the optimiser minimises (B7); all are always reported."""

    RATE_AND_OVERAGE = "rate_and_overage"
    RATE = "rate"
    OVERAGE = "overage"


class PoolScope(StrEnum):
    """Which SIMs on pooled plans share their allowance (B4)."""

    PLAN = "plan"
    COMM_GROUP = "comm_group"
    POOL_GROUP = "pool_group"


class ProrationBasis(StrEnum):
    """How fee and allowance of a prorated plan shrink (B2)."""

    CYCLE = "cycle"
    THIRTY = "thirty"


class UsageBasis(StrEnum):
    """Whether plans are chosen by usage so far or by the usage expected at cycle end (U2)."""

    ACTUAL = "actual"
    PROJECTED = "projected"


class Portal(StrEnum):
    """Kind of optimisation (K1)."""

    M2M = "m2m"
    MOBILITY = "mobility"
    CUSTOMER = "customer"
    CROSS_PROVIDER = "cross_provider"


class Strategy(StrEnum):
    """How an assignment was found (O4, O6, O7)."""

    NO_GROUPING_LARGEST_TO_SMALLEST = "no_grouping_largest_to_smallest"
    NO_GROUPING_SMALLEST_TO_LARGEST = "no_grouping_smallest_to_largest"
    GROUP_BY_COMM_PLAN_LARGEST_TO_SMALLEST = "group_by_comm_plan_largest_to_smallest"
    GROUP_BY_COMM_PLAN_SMALLEST_TO_LARGEST = "group_by_comm_plan_smallest_to_largest"
    CERTIFIED = "certified"
    CHEAPEST_PLAN_PER_SIM = "cheapest_plan_per_sim"
    BEST_SINGLE_PLAN = "best_single_plan"
    CURRENT_ASSIGNMENT = "current_assignment"


WALK_STRATEGIES = (
    Strategy.NO_GROUPING_LARGEST_TO_SMALLEST,
    Strategy.NO_GROUPING_SMALLEST_TO_LARGEST,
    Strategy.GROUP_BY_COMM_PLAN_LARGEST_TO_SMALLEST,
    Strategy.GROUP_BY_COMM_PLAN_SMALLEST_TO_LARGEST,
)
"""The four strategies of the legacy system, in the order in which an M2M run tries them (O4)."""


def walk_strategies(portal: Portal) -> tuple[Strategy, ...]:
    """Strategies that walks of a portal type run: M2M all four, Mobility those without grouping (O4).

    Parameters
    ----------
    portal
        Portal type of the rate plans. Customer and cross-provider runs follow that of their plans.

    Raises
    ------
    ValueError
        If it is none of the two portal types.
    """
    if portal is Portal.M2M:
        return WALK_STRATEGIES
    if portal is Portal.MOBILITY:
        return WALK_STRATEGIES[:2]
    msg = f"{portal.value} is no portal type of rate plans: give m2m or mobility"
    raise ValueError(msg)


class SolveStatus(StrEnum):
    """What is known about a result."""

    OPTIMAL = "optimal"
    """No feasible assignment costs less."""
    FEASIBLE = "feasible"
    """Valid, and no claim about the optimum."""


class TaxBase(StrEnum):
    """Which charges a percentage tax or fee is taken of (B6)."""

    RATE = "rate"
    OVERAGE = "overage"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRate:
    """A percentage tax or fee of a jurisdiction (B6).

    Attributes
    ----------
    jurisdiction
        Whose SIMs it applies to, as written in their ``jurisdiction``.
    name
        Unique within the jurisdiction.
    percent_millionths
        Millionths of a percent: 8.25 % is 8,250,000; ``0 .. MAX_TAX_PERCENT_MILLIONTHS``.
    """

    jurisdiction: str
    name: str
    percent_millionths: int
    base: TaxBase


@dataclass(frozen=True, slots=True, kw_only=True)
class OverageTier:
    """Price of an overage block that starts at or beyond ``from_bytes`` of overage (B8)."""

    from_bytes: int
    rate_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePlan:
    """One rate plan of a carrier account, as billed.

    Values are as read, so that an invalid plan can be shown and refused
    (:func:`core.eligibility.invalid_rate_plans`) instead of failing to exist.

    Attributes
    ----------
    code
        The carrier's name of the plan; unique within a catalogue.
    monthly_rate_micros
        Fee per SIM and cycle, without the regulatory fee.
    included_bytes
        Data allowance per SIM and cycle.
    overage_rate_micros
        Price of one started overage block.
    overage_block_bytes
        Size of one overage block.
    is_pooled
        Whether the plan's SIMs share their allowances (B4).
    is_prorated
        Whether fee and allowance shrink with the SIM's active days (B2).
    included_sms, sms_rate_micros
        SMS per SIM without charge, and the price of each further one (B5).
    included_voice_minutes, voice_rate_micros
        Started voice minutes per SIM without charge, and the price of each further one (B5).
    regulatory_fee_micros
        Fixed fee per SIM, never prorated (B6).
    pool_group
        Plans with the same pool group share one pool under ``PoolScope.POOL_GROUP``.
    is_active, portal
        Whether the plan may be assigned, and for which kind of optimisation (V1).
    overage_tiers
        Prices that replace ``overage_rate_micros`` from a volume of overage on, ascending, at most
        ``MAX_TIERS``; the pool's overage where the plan is pooled (B8).
    overage_cap_micros
        Most that a SIM's data overage costs per cycle; None: no cap. Individual plans only (B8).
    min_devices, max_devices
        Least and most SIMs that the run may leave on the plan; None: no limit (O8).
    """

    code: str
    monthly_rate_micros: int
    included_bytes: int
    overage_rate_micros: int
    overage_block_bytes: int
    is_pooled: bool
    name: str = ""
    is_prorated: bool = False
    plan_type: str | None = None
    included_sms: int = 0
    sms_rate_micros: int = 0
    included_voice_minutes: int = 0
    voice_rate_micros: int = 0
    regulatory_fee_micros: int = 0
    pool_group: str | None = None
    is_active: bool = True
    portal: Portal = Portal.M2M
    overage_tiers: tuple[OverageTier, ...] = ()
    overage_cap_micros: int | None = None
    min_devices: int | None = None
    max_devices: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLimit:
    """Least and most SIMs on a rate plan after the run; None: no limit (O8)."""

    min_devices: int | None = None
    max_devices: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What no result may violate, beside the plan lists (O8); it holds for the run as a whole.

    Attributes
    ----------
    locked
        ICCIDs that keep their plan.
    plans
        Limits by plan code; they replace those of the catalogue.
    max_changes
        Most SIMs that may get another plan; None: no limit.
    min_saving_per_change_micros
        A SIM gets another plan only if that saves at least so much, as reduced cost at the
        certificate's multipliers.
    min_saving_micros
        The run changes nothing unless it saves at least so much.
    """

    locked: frozenset[str] = frozenset()
    plans: Mapping[str, PlanLimit] = field(default_factory=dict)
    max_changes: int | None = None
    min_saving_per_change_micros: int = 0
    min_saving_micros: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunicationPlan:
    """A communication plan and the rate plans that its SIMs may have.

    Attributes
    ----------
    rate_plan_codes
        Codes of the plan list, in the file's order; empty where the plan has no list (G1).
    """

    name: str
    rate_plan_codes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingCycle:
    """A billing cycle in the account's local dates, both inclusive."""

    start_date: date
    end_date: date

    def __post_init__(self) -> None:
        if self.end_date < self.start_date:
            msg = f"the cycle ends ({self.end_date}) before it starts ({self.start_date})"
            raise ValueError(msg)

    @property
    def days(self) -> int:
        """Number of days in the cycle, at least 1."""
        return (self.end_date - self.start_date).days + 1

    def dates(self) -> list[date]:
        """Every date of the cycle, in order."""
        return [self.start_date + timedelta(days=k) for k in range(self.days)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingPolicy:
    """How an account is billed, beside its plans.

    Attributes
    ----------
    cycle
        The billing cycle; None in file use without dates: then every SIM counts as active for the
        whole cycle (fraction 1).
    uses_proration
        Whether the provider prorates plans that say so (B2).
    pooling_enabled
        False turns every pooled plan into an individual one (B4, the legacy rule for M2M).
    """

    cycle: BillingCycle | None = None
    pool_scope: PoolScope = PoolScope.PLAN
    charge_type: ChargeType = ChargeType.RATE_AND_OVERAGE
    proration_basis: ProrationBasis = ProrationBasis.CYCLE
    uses_proration: bool = True
    pooling_enabled: bool = True

    def __post_init__(self) -> None:
        if self.proration_basis is ProrationBasis.THIRTY and self.cycle is None:
            msg = "proration by thirty days needs the dates of the billing cycle"
            raise ValueError(msg)
