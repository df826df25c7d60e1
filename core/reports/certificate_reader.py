"""Reads ``certificate.json``, and refuses what this version would not have written (O3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from core.domain import (
    BillingCycle,
    BillingPolicy,
    ChargeType,
    OverageTier,
    PoolScope,
    Portal,
    ProrationBasis,
    RatePlan,
    TaxBase,
    TaxRate,
)
from core.errors import InputError
from core.grouping import GroupPlan
from core.optimiser.certificate import Certificate
from core.problem import NO_LIMIT

FORMAT = 2
"""Version of the file's form."""

_NUMBERS = ("_rate_micros", "_fee_micros", "_bytes", "_sms", "_minutes")
_NUMBERS_OR_NONE = ("overage_cap_micros", "min_devices", "max_devices")
_TEXTS, _TEXTS_OR_NONE = ("code", "name"), ("plan_type", "pool_group")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitClaim:
    """What the file says of one solve unit.

    Attributes
    ----------
    limits
        Least and most SIMs by plan code, where either is limited (O8); None: no limit.
    max_changes, min_saving_per_change_micros
        As in :class:`core.problem.Problem`.
    baseline_micros, cost_micros
        Objective of today's plans and of the recommended ones (B7).
    certificate
        None for a unit without a bound.
    """

    unit_id: str
    limits: Mapping[str, tuple[int, int | None]]
    max_changes: int | None
    min_saving_per_change_micros: int
    baseline_micros: int
    cost_micros: int
    certificate: Certificate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFile:
    """``certificate.json`` as read.

    Attributes
    ----------
    pools
        Plan codes that share a pool, in the order of the pools' numbers.
    min_saving_micros
        What the run has to save if it changes anything; 0 without such a limit (O8).
    taxes
        By jurisdiction and name; None if none were computed (B6).
    devices, unpriced
        SIMs of ``assignments.parquet``, and those of them without a priced plan (B9).
    input_hash
        :func:`core.reports.certificate_file.fleet_hash` of the rows.
    """

    policy: BillingPolicy
    rate_plans: tuple[RatePlan, ...]
    pools: tuple[tuple[str, ...], ...]
    min_saving_micros: int
    taxes: tuple[TaxRate, ...] | None
    groups: tuple[GroupPlan, ...]
    units: tuple[UnitClaim, ...]
    devices: int
    unpriced: int
    input_hash: str


def read_certificates(path: Path) -> CertificateFile:
    """Read the file.

    Raises
    ------
    InputError
        If it is not there, cannot be read, or is not as this version writes it.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_float=_no_float)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON text of whole numbers: {error}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise InputError(f"{path} has the format {found!r}: this version reads {FORMAT}")
    try:
        return _parsed(document)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"{path} is not as this version writes it ({type(error).__name__}: {error}): make it again "
            "with `carrier-opt optimize`"
        ) from error


def _no_float(text: str) -> float:
    msg = f"{text} is no whole number"
    raise ValueError(msg)


def _number(value: object) -> int:
    """Return a JSON integer within the range in which sums are exact."""
    if type(value) is not int or not 0 <= value <= NO_LIMIT:  # bool is an int, too
        msg = f"{value!r} is no whole number from 0 to {NO_LIMIT}"
        raise ValueError(msg)
    return value


def _number_or_none(value: object) -> int | None:
    return None if value is None else _number(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = f"{value!r} is no text"
        raise TypeError(msg)
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        msg = f"{value!r} is neither true nor false"
        raise TypeError(msg)
    return value


def _parsed(document: Mapping[str, Any]) -> CertificateFile:
    rate_plans = tuple(_parsed_plan(fields) for fields in document["rate_plans"])
    codes = sorted(plan.code for plan in rate_plans)
    taxes = document["taxes"]
    return CertificateFile(
        policy=_parsed_policy(document["policy"]),
        rate_plans=rate_plans,
        pools=tuple(tuple(pool) for pool in document["pools"]),
        min_saving_micros=_number(document["min_saving_micros"]),
        taxes=None if taxes is None else tuple(_parsed_tax(fields) for fields in taxes),
        groups=tuple(_parsed_group(fields, codes) for fields in document["groups"]),
        units=tuple(_parsed_unit(fields, codes) for fields in document["units"]),
        devices=int(document["devices"]),
        unpriced=int(document["unpriced"]),
        input_hash=str(document["input_hash"]),
    )


def _parsed_policy(fields: Mapping[str, Any]) -> BillingPolicy:
    start, end = fields["cycle_start"], fields["cycle_end"]
    return BillingPolicy(
        cycle=BillingCycle(start_date=date.fromisoformat(start), end_date=date.fromisoformat(end))
        if start
        else None,
        pool_scope=PoolScope(fields["pool_scope"]),
        charge_type=ChargeType(fields["charge_type"]),
        proration_basis=ProrationBasis(fields["proration_basis"]),
        uses_proration=_flag(fields["uses_proration"]),
        pooling_enabled=_flag(fields["pooling_enabled"]),
    )


def _parsed_plan(fields: Mapping[str, Any]) -> RatePlan:
    for name, value in fields.items():
        if name.endswith(_NUMBERS):
            _number(value)
        elif name.startswith("is_"):
            _flag(value)
        elif name in _NUMBERS_OR_NONE:
            _number_or_none(value)
        elif name in _TEXTS or (name in _TEXTS_OR_NONE and value is not None):
            _text(value)
    tiers = tuple(
        OverageTier(
            from_bytes=_number(tier["from_bytes"]), rate_micros=_number(tier["rate_micros"])
        )
        for tier in fields["overage_tiers"]
    )
    return RatePlan(**{**fields, "overage_tiers": tiers, "portal": Portal(fields["portal"])})


def _parsed_tax(fields: Mapping[str, Any]) -> TaxRate:
    return TaxRate(
        jurisdiction=_text(fields["jurisdiction"]),
        name=_text(fields["name"]),
        percent_millionths=_number(fields["percent_millionths"]),
        base=TaxBase(fields["base"]),
    )


def _parsed_group(fields: Mapping[str, Any], codes: list[str]) -> GroupPlan:
    return GroupPlan(
        group_id=_text(fields["group_id"]),
        unit_id=_text(fields["unit_id"]),
        communication_plans=tuple(_text(name) for name in fields["communication_plans"]),
        rate_plans=tuple(codes[codes.index(code)] for code in fields["rate_plans"]),
        devices=_number(fields["devices"]),
        is_fixed=_flag(fields["is_fixed"]),
    )


def _parsed_unit(fields: Mapping[str, Any], codes: list[str]) -> UnitClaim:
    constraints, certificate = fields["constraints"], fields["certificate"]
    return UnitClaim(
        unit_id=str(fields["unit_id"]),
        limits={
            codes[codes.index(code)]: (_number(limit["min"]), _number_or_none(limit["max"]))
            for code, limit in constraints["plans"].items()
        },
        max_changes=_number_or_none(constraints["max_changes"]),
        min_saving_per_change_micros=_number(constraints["min_saving_per_change_micros"]),
        baseline_micros=int(fields["baseline_micros"]),
        cost_micros=int(fields["cost_micros"]),
        certificate=None if certificate is None else _parsed_certificate(certificate, codes),
    )


def _parsed_certificate(fields: Mapping[str, Any], codes: list[str]) -> Certificate:
    of_plan = fields["plan_multipliers"]
    return Certificate(
        scale_bits=int(fields["scale_bits"]),
        pool_multipliers=tuple(int(value) for value in fields["pool_multipliers"]),
        plan_multipliers=tuple(int(of_plan.get(code, 0)) for code in codes),
        change_multiplier=int(fields["change_multiplier"]),
        bound_micros=int(fields["bound_micros"]),
        cost_micros=int(fields["cost_micros"]),
        input_hash=str(fields["input_hash"]),
    )
