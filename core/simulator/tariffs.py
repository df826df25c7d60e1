"""The price list of the simulated account: illustrative, and realistic for US machine-to-machine.

No carrier's price list is copied. Fees follow ``0.70 + 0.25 * MB ** 0.54`` dollars a month, rounded
to five cents: a concave ladder from about $0.95 for 1 MB to about $26 for 5 GB, the range in which
public IoT tariffs moved in recent years. Overage costs 2.5 times the plan's own price per included
MB, between 1.5 cents and one dollar per MB, sold in blocks that grow with the plan. A family
multiplies the fee: metered plans are a little cheaper than pooled ones, short-term plans dearer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from core.domain import CommunicationPlan, RatePlan

MB = 1 << 20
"""Bytes of one MB on the simulated account's invoice."""

UNPUBLISHED_PLAN = "RETAIL-300MB"
"""A plan that some SIMs have and that is in no catalogue: such SIMs stay unpriced (B9)."""

LEGACY_PLAN = "LEGACY-1GB"
"""A plan of earlier years that SIMs may keep but that no plan list offers."""

_MICROS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """Plans that differ in size only."""

    prefix: str
    title: str
    sizes_mb: tuple[int, ...]
    fee_factor: Decimal
    is_pooled: bool
    is_prorated: bool = False
    included_sms: int = 10
    included_voice_minutes: int = 0


_FLEX = _Family(
    prefix="FLEX",
    title="Flexible pool",
    sizes_mb=(1, 5, 10, 25, 50, 100, 250, 500, 1024, 2048, 5120),
    fee_factor=Decimal("1.00"),
    is_pooled=True,
)
_METERED = _Family(
    prefix="METER",
    title="Metered",
    sizes_mb=(1, 5, 10, 25, 50, 100, 250, 500, 1024),
    fee_factor=Decimal("0.92"),
    is_pooled=False,
    included_sms=25,
    included_voice_minutes=5,
)
_SHARED = _Family(
    prefix="SHARE",
    title="Shared pool",
    sizes_mb=(10, 100, 1024, 5120),
    fee_factor=Decimal("1.04"),
    is_pooled=True,
)
_SOLO = _Family(
    prefix="SOLO",
    title="Single line",
    sizes_mb=(1, 5, 25, 250),
    fee_factor=Decimal("0.95"),
    is_pooled=False,
)
_START = _Family(
    prefix="START",
    title="Starter, billed by the day",
    sizes_mb=(2, 20, 200),
    fee_factor=Decimal("1.10"),
    is_pooled=False,
    is_prorated=True,
)
_LEGACY = _Family(
    prefix="LEGACY",
    title="Legacy bundle",
    sizes_mb=(1024,),
    fee_factor=Decimal("1.50"),
    is_pooled=False,
)


def plan_code(prefix: str, size_mb: int) -> str:
    """Name of a plan, such as ``FLEX-10MB`` or ``FLEX-2GB``."""
    return f"{prefix}-{size_mb // 1024}GB" if size_mb % 1024 == 0 else f"{prefix}-{size_mb}MB"


def list_fee(size_mb: int, fee_factor: Decimal = Decimal(1)) -> Decimal:
    """Monthly fee in dollars of a plan with ``size_mb`` MB, a multiple of five cents."""
    base = Decimal("0.70") + Decimal("0.25") * Decimal(size_mb) ** Decimal("0.54")
    steps = (base * fee_factor / Decimal("0.05")).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    return steps * Decimal("0.05")


def overage_block_bytes(size_mb: int) -> int:
    """Size of one overage block: 100 KiB, 1 MB, 10 MB or 100 MB, growing with the plan."""
    if size_mb <= 5:
        return 100 << 10
    if size_mb <= 100:
        return MB
    return 10 * MB if size_mb <= 500 else 100 * MB


def _rate_plan(family: _Family, size_mb: int) -> RatePlan:
    fee = list_fee(size_mb, family.fee_factor)
    per_mb = min(max(Decimal("2.5") * fee / size_mb, Decimal("0.015")), Decimal(1))
    block = overage_block_bytes(size_mb)
    block_price = (per_mb * block / MB).quantize(Decimal("0.001"), rounding=ROUND_HALF_UP)
    size = f"{size_mb // 1024} GB" if size_mb % 1024 == 0 else f"{size_mb} MB"
    return RatePlan(
        code=plan_code(family.prefix, size_mb),
        name=f"{family.title} {size}",
        monthly_rate_micros=int(fee * _MICROS),
        included_bytes=size_mb * MB,
        overage_rate_micros=int(block_price * _MICROS),
        overage_block_bytes=block,
        is_pooled=family.is_pooled,
        is_prorated=family.is_prorated,
        included_sms=family.included_sms,
        sms_rate_micros=10_000,
        included_voice_minutes=family.included_voice_minutes,
        voice_rate_micros=40_000,
    )


def unknown_plans(names: Iterable[str]) -> list[str]:
    """Return those of some names that no SIM of a simulated account can have as its plan."""
    known = {UNPUBLISHED_PLAN, *(plan.code for plan in simulated_rate_plans())}
    return [name for name in names if name not in known]


def simulated_rate_plans() -> list[RatePlan]:
    """Return the account's catalogue, family by family, small plans first."""
    families = (_FLEX, _METERED, _SHARED, _SOLO, _START, _LEGACY)
    return [_rate_plan(family, size) for family in families for size in family.sizes_mb]


def _codes(*families: _Family) -> tuple[str, ...]:
    return tuple(plan_code(family.prefix, size) for family in families for size in family.sizes_mb)


def simulated_communication_plans() -> list[CommunicationPlan]:
    """Return the account's communication plans with their plan lists.

    Six communication plans have four different lists: a pooled ladder (twice, in opposite order),
    metered plans, a mixed list (twice) and a short one with prorated plans. The short list shares
    one pool with the mixed one, so that the four groups form three solve units (O11).
    """
    flex = _codes(_FLEX)
    mixed = _codes(_SOLO, _SHARED)
    lists = {
        "Telemetry East": flex,
        "Telemetry West": flex[::-1],
        "Point of Sale": _codes(_METERED),
        "Asset Tracking": mixed,
        "Video Gateway": mixed,
        "Trial Kits": (*_codes(_START), plan_code(_SHARED.prefix, 100)),
    }
    return [CommunicationPlan(name=name, rate_plan_codes=codes) for name, codes in lists.items()]
