"""Rate plans as Control Center publishes them, each as a plan that can be billed or as a refusal.

What the list says is taken exactly; what it leaves open is never guessed: a plan whose type, unit,
rounding or prices are not understood is refused with the reason, and a person can enter it by hand.
SMS, voice, proration and fees are not read from the list.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

from core.billing.tariff import billing_problem
from core.carriers.json_values import flag, text
from core.domain import RatePlan
from core.errors import DataError
from core.units import MEBIBYTE, parse_decimal, to_bytes, to_micros

IS_POOLED_BY_TYPE = {"Monthly - Pooled Subscriber": True, "Monthly - Individual Subscriber": False}
"""Plan types that are understood."""

PUBLISHED = "PUBLISHED"

MAX_NAME_LENGTH = 128

_EXACT = Context(prec=100)
"""Holds every product of a number that :func:`_number` lets pass and a unit."""

_UNIT = re.compile(r"(?:([0-9]+(?:\.[0-9]+)?) ?)?(bytes|Bytes|KB|MB|GB|TB)")
_FORMULA_STARTS = ("=", "+", "-", "@")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedOffer:
    """A plan of the carrier's list that cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOffers:
    """The carrier's list: usable plans and refused ones, both by name."""

    plans: tuple[RatePlan, ...]
    refused: tuple[RefusedOffer, ...]


class _RefusalError(Exception):
    """A plan cannot be used; the message says why."""


def read_plan_offers(
    entries: Iterable[Mapping[str, Any]], *, mb_bytes: int, currency: str
) -> PlanOffers:
    """Read the plans of ``GET /rateplans``.

    Of several versions of a name those that are published count, and they have to say the same.

    Parameters
    ----------
    mb_bytes
        Bytes of the provider's MB, 1,048,576 or 1,000,000; other units follow from it.
    currency
        Of the account, such as ``USD``.
    """
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        by_name.setdefault(_name(entry), []).append(entry)
    plans, refused = [], []
    for name in sorted(by_name):
        versions = by_name[name]
        published = [entry for entry in versions if entry.get("status") == PUBLISHED] or versions
        found = [plan_of(entry, mb_bytes=mb_bytes, currency=currency) for entry in published]
        if any(other != found[0] for other in found):
            reason = f"{len(found)} published versions have this name and do not say the same"
            refused.append(RefusedOffer(name=name, reason=reason))
        elif isinstance(found[0], RatePlan):
            plans.append(found[0])
        else:
            refused.append(found[0])
    return PlanOffers(plans=tuple(plans), refused=tuple(refused))


def plan_of(entry: Mapping[str, Any], *, mb_bytes: int, currency: str) -> RatePlan | RefusedOffer:
    """Read one plan of ``GET /rateplans``; the parameters are those of :func:`read_plan_offers`."""
    name = _name(entry)
    try:
        _check_name(entry)
        plan = _plan(entry, name, mb_bytes, currency)
        problem = billing_problem(plan)
    except (_RefusalError, DataError) as error:
        return RefusedOffer(name=name, reason=str(error))
    return plan if problem is None else RefusedOffer(name=name, reason=problem)


def _name(entry: Mapping[str, Any]) -> str:
    return text(entry.get("name")) or f"(no name, id {text(entry.get('id'))})"


def _check_name(entry: Mapping[str, Any]) -> None:
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        raise _RefusalError("it has no name")
    if name != name.strip() or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise _RefusalError(
            f"its name has blanks at an end, unprintable characters or more than {MAX_NAME_LENGTH}"
        )
    if name.startswith(_FORMULA_STARTS):
        raise _RefusalError(
            f"a spreadsheet would run a name that begins with {name[0]} as a formula"
        )
    if entry.get("status") != PUBLISHED:
        raise _RefusalError(f"its status is {entry.get('status')!r}, not {PUBLISHED}")


def _plan(entry: Mapping[str, Any], name: str, mb_bytes: int, currency: str) -> RatePlan:
    is_pooled = IS_POOLED_BY_TYPE.get(str(entry.get("type")))
    if is_pooled is None:
        known = ", ".join(repr(known) for known in IS_POOLED_BY_TYPE)
        raise _RefusalError(f"its type {entry.get('type')!r} is not known; known are {known}")
    included, rate, block = _data_terms(entry.get("dataUsage"), mb_bytes)
    return RatePlan(
        code=name,
        plan_type=str(entry.get("type")),
        monthly_rate_micros=_monthly_rate(entry, currency),
        included_bytes=included,
        overage_rate_micros=rate,
        overage_block_bytes=block,
        is_pooled=is_pooled,
    )


def _monthly_rate(entry: Mapping[str, Any], currency: str) -> int:
    charge = to_micros(_number(entry, "subscriptionCharge"))
    if entry.get("subscriptionChargeUnit") != currency:
        raise _RefusalError(
            f"its subscriptionChargeUnit is {entry.get('subscriptionChargeUnit')!r}, the account's "
            f"currency is {currency}"
        )
    tiers = entry.get("tiers") or []
    n_tiers = entry.get("numberOfTiers")
    if not isinstance(tiers, list) or len(tiers) > 1 or n_tiers not in (None, 0, 1, "0", "1"):
        raise _RefusalError("its charge depends on the number of subscribers (several tiers)")
    for tier in tiers:
        if not isinstance(tier, dict):
            raise _RefusalError("its tier of subscribers cannot be read")
        if to_micros(_number(tier, "perSubscriberCharge")) != charge:
            raise _RefusalError("subscriptionCharge and perSubscriberCharge of its tier differ")
    return charge


def _data_terms(usage: object, mb_bytes: int) -> tuple[int, int, int]:
    """Included bytes, micro-units per block and bytes per block, the same in all zones."""
    if not isinstance(usage, dict):
        raise _RefusalError("it has no prices of data (dataUsage)")
    if "useDefaultRating" in usage and flag(usage["useDefaultRating"]) is not False:
        raise _RefusalError("data is charged by a default that the list does not tell")
    zones = usage.get("zones")
    if not isinstance(zones, dict) or not zones:
        raise _RefusalError("it has no zone with prices of data")
    terms = {_zone_terms(zone, mb_bytes) for zone in zones.values()}
    if len(terms) > 1:
        raise _RefusalError(f"its zones differ in price or allowance: {', '.join(sorted(zones))}")
    found = terms.pop()
    if len(zones) > 1 and found[0]:
        raise _RefusalError(f"{len(zones)} of its zones have an allowance of their own")
    return found


def _zone_terms(zone: object, mb_bytes: int) -> tuple[int, int, int]:
    if not isinstance(zone, dict):
        raise _RefusalError("a zone cannot be read")
    included_unit = _unit_bytes(zone.get("includedDataUnit"), "includedDataUnit", mb_bytes)
    included = to_bytes(_EXACT.multiply(_number(zone, "includedData"), Decimal(included_unit)), 1)
    tiers = zone.get("tiers")
    if not isinstance(tiers, list) or not tiers or not isinstance(tiers[0], dict):
        raise _RefusalError("it has no charge of overage (tiers of a zone)")
    if len(tiers) > 1:
        raise _RefusalError("its overage depends on the number of subscribers (several tiers)")
    price = _number(tiers[0], "dataOverage")
    unit = _unit_bytes(tiers[0].get("dataOverageUnit"), "dataOverageUnit", mb_bytes)
    rate, block = _block(zone, price, unit, included, mb_bytes)
    return included, rate, block


def _block(
    zone: Mapping[str, Any], price: Decimal, unit: int, included: int, mb_bytes: int
) -> tuple[int, int]:
    """Price and size of what overage is sold in (B3).

    Usage is rounded up to the rounding unit, once a cycle. Overage is then sold in whole units where
    the zone says *bulk*, else in parts of a unit as small as the rounding unit.
    """
    step = _unit_bytes(zone.get("dataRoundingUnit"), "dataRoundingUnit", mb_bytes)
    how_often = zone.get("dataRoundingFrequency")
    if how_often != "Billing Cycle":
        raise _RefusalError(f"data is rounded by {how_often!r}, understood is 'Billing Cycle'")
    if step == unit:
        return to_micros(price), unit
    if unit % step or included % step:
        raise _RefusalError(
            f"data is rounded to {step} bytes, of which the overage unit ({unit} bytes) or the "
            f"allowance ({included} bytes) is no multiple"
        )
    is_bulk = flag(zone.get("bulkOverageEnabled"))
    if is_bulk is None:
        raise _RefusalError("it does not say whether overage is sold in whole units (bulk)")
    if is_bulk:
        return to_micros(price), unit
    total = _EXACT.multiply(price, Decimal(1_000_000 * step))
    micros, rest = _EXACT.divmod(total, Decimal(unit))
    if rest:
        raise _RefusalError(
            f"the price of {step} bytes of overage is no whole number of millionths: {price} for "
            f"{unit} bytes"
        )
    return to_micros(micros.scaleb(-6)), step


def _number(entry: Mapping[str, Any], key: str) -> Decimal:
    """Read a number exactly: a JSON float as its shortest decimal."""
    value = entry.get(key)
    if value is None:
        raise _RefusalError(f"its {key} is missing")
    found = _decimal_or_none(value)
    if found is None:
        raise _RefusalError(f"its {key} is {value!r}, which is no number")
    if len(found.as_tuple().digits) > 40 or not -40 <= found.adjusted() <= 20:
        raise _RefusalError(f"its {key} is out of every range")
    return found


def _decimal_or_none(value: object) -> Decimal | None:
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    try:
        return parse_decimal(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _unit_bytes(value: object, key: str, mb_bytes: int) -> int:
    """Bytes of a unit such as ``MB``, ``100 KB`` or ``102400 bytes``; a bare number is bytes."""
    thousand = 1024 if mb_bytes == MEBIBYTE else 1000
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _UNIT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _RefusalError(
            f"its {key} {value!r} is not known; known are bytes, KB, MB, GB and TB, also with a "
            "number before them"
        )
    power = {"bytes": 0, "KB": 1, "MB": 2, "GB": 3, "TB": 4}[match[2].replace("Bytes", "bytes")]
    size = Decimal(match[1] or 1) * thousand**power
    if not size or size != size.to_integral_value():
        raise _RefusalError(f"its {key} {value!r} is no whole number of bytes")
    return int(size)
