"""Reads the rate plans file: one row per plan, each a :class:`~core.domain.RatePlan` or a reject."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from core.billing.tariff import billing_problem
from core.domain import MAX_COUNT, OverageTier, RatePlan
from core.errors import DataError, InputError
from core.files.rejects import RejectReason, why_nothing_usable
from core.files.tables import read_table
from core.files.values import boolean_or_none
from core.units import parse_decimal, refusal_reason, to_bytes, to_micros

REQUIRED = (
    "code", "monthly_rate", "included_mb", "overage_rate", "overage_block_mb", "is_pooled",
)  # fmt: skip
"""Columns that a rate plans file must have."""

OPTIONAL = (
    "name", "is_prorated", "plan_type", "included_sms", "sms_rate", "included_voice_minutes",
    "voice_rate", "regulatory_fee", "min_devices", "max_devices", "pool_group", "overage_cap",
    "overage_tiers",
)  # fmt: skip
"""Columns that a rate plans file may have."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RatePlanFile:
    """What a rate plans file holds.

    Attributes
    ----------
    plans
        Usable plans, sorted by code.
    refused_codes
        Codes of which every row was rejected; SIMs on them cannot be priced and are rejected too.
    rejects
        Columns of ``REJECT_SCHEMA``.
    notes
        What the user should know about how the file was read.
    row_of
        Row of the file by code of a usable plan.
    """

    plans: tuple[RatePlan, ...]
    refused_codes: frozenset[str]
    rejects: pl.DataFrame
    notes: tuple[str, ...]
    row_of: Mapping[str, int]


class _CellError(Exception):
    """A cell of a plan cannot be used."""

    def __init__(self, column: str, reason: RejectReason) -> None:
        self.column = column
        self.reason = reason
        super().__init__(f"{column}: {reason}")


def read_rate_plans(path: Path, *, mb_bytes: int) -> RatePlanFile:
    """Read a rate plans file.

    The first valid row of a code counts; further ones are rejected. A plan that cannot be billed
    (V2, B8) is rejected as ``invalid_rate_plan``; whether a pooled plan may have its tiers and cap
    depends on the provider, and is not asked here.

    Parameters
    ----------
    mb_bytes
        Bytes of one MB in ``included_mb``, ``overage_block_mb`` and ``overage_tiers``.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or holds no usable plan.
    """
    table = read_table(path, required=REQUIRED, optional=OPTIONAL)
    columns = {name: table.text(name).to_list() for name in (*REQUIRED, *OPTIONAL)}
    plans: dict[str, RatePlan] = {}
    row_of: dict[str, int] = {}
    problems: list[_CellError | None] = []
    for place in range(len(table.rows)):
        cells = {name: texts[place] for name, texts in columns.items()}
        problem = None
        try:
            plan = _rate_plan(cells, mb_bytes)
        except _CellError as error:
            problem = error
        else:
            if plan.code in plans:
                problem = _CellError("code", RejectReason.DUPLICATE_RATE_PLAN)
            plans.setdefault(plan.code, plan)
            row_of.setdefault(plan.code, int(table.rows[place]))
        problems.append(problem)
    rejects = pl.concat(
        [
            table.rejects,
            table.rejected(
                pl.Series([p and p.reason.value for p in problems], dtype=pl.String),
                pl.Series([p and p.column for p in problems], dtype=pl.String),
            ),
        ]
    )
    if not plans:
        raise InputError(f"{path}: nothing usable: {why_nothing_usable(rejects)}")
    return RatePlanFile(
        plans=tuple(plans[code] for code in sorted(plans)),
        refused_codes=frozenset(code for code in columns["code"] if code and code not in plans),
        rejects=rejects,
        notes=table.notes,
        row_of=row_of,
    )


def _rate_plan(cells: Mapping[str, str | None], mb_bytes: int) -> RatePlan:
    code = cells["code"]
    if code is None:
        raise _CellError("code", RejectReason.MISSING_VALUE)

    def volume(column: str) -> int:
        return _number(cells, column, _volume(mb_bytes))

    def money(column: str) -> int:
        return _number(cells, column, _money)

    plan = RatePlan(
        code=code,
        name=cells["name"] or "",
        plan_type=cells["plan_type"],
        monthly_rate_micros=money("monthly_rate"),
        included_bytes=volume("included_mb"),
        overage_rate_micros=money("overage_rate"),
        overage_block_bytes=volume("overage_block_mb"),
        is_pooled=_boolean(cells, "is_pooled"),
        is_prorated=_boolean(cells, "is_prorated"),
        included_sms=_count(cells, "included_sms"),
        sms_rate_micros=money("sms_rate"),
        included_voice_minutes=_count(cells, "included_voice_minutes"),
        voice_rate_micros=money("voice_rate"),
        regulatory_fee_micros=money("regulatory_fee"),
        pool_group=cells["pool_group"],
        overage_tiers=_tiers(cells["overage_tiers"], mb_bytes),
        overage_cap_micros=None if cells["overage_cap"] is None else money("overage_cap"),
        min_devices=_count_or_none(cells, "min_devices"),
        max_devices=_count_or_none(cells, "max_devices"),
    )
    _check(plan)
    return plan


def _check(plan: RatePlan) -> None:
    """Refuse values that are numbers within their range and yet make no plan."""
    least, most = plan.min_devices, plan.max_devices
    is_crossed = least is not None and most is not None and least > most
    is_wrong = {
        "overage_rate": plan.overage_rate_micros <= 0,
        "overage_block_mb": plan.overage_block_bytes <= 0,
        "overage_tiers": billing_problem(plan) is not None,  # all else is within range as read
        "min_devices": is_crossed,
    }
    column = next((name for name, wrong in is_wrong.items() if wrong), None)
    if column:
        raise _CellError(column, RejectReason.INVALID_RATE_PLAN)


def _tiers(text: str | None, mb_bytes: int) -> tuple[OverageTier, ...]:
    """Read ``from_mb=rate;from_mb=rate``; order and rates above 0 are checked with the plan (B8)."""
    column, tiers = "overage_tiers", []
    for part in () if text is None else text.split(";"):
        values = [value.strip() for value in part.split("=")]
        if len(values) != 2 or not all(values):
            raise _CellError(column, RejectReason.INVALID_RATE_PLAN)
        from_mb, rate = values
        tiers.append(
            OverageTier(
                from_bytes=_converted(from_mb, column, _volume(mb_bytes)),
                rate_micros=_converted(rate, column, _money),
            )
        )
    return tuple(tiers)


def _number(cells: Mapping[str, str | None], column: str, convert: Callable[[str], int]) -> int:
    """Convert a cell; an empty one is 0 unless the column is required."""
    text = cells[column]
    if text is None and column not in REQUIRED:
        return 0
    return _converted(text, column, convert)


def _converted(text: str | None, column: str, convert: Callable[[str], int]) -> int:
    try:
        return convert(text or "")
    except (DataError, ValueError) as error:
        raise _CellError(column, RejectReason(refusal_reason(text))) from error


def _volume(mb_bytes: int) -> Callable[[str], int]:
    return lambda text: to_bytes(parse_decimal(text), mb_bytes)


def _money(text: str) -> int:
    return to_micros(parse_decimal(text))


def _count(cells: Mapping[str, str | None], column: str) -> int:
    def convert(text: str) -> int:
        value = parse_decimal(text)
        if 0 <= value <= MAX_COUNT and value != value.to_integral_value():
            raise _CellError(column, RejectReason.NOT_A_WHOLE_NUMBER)
        if not 0 <= value <= MAX_COUNT:
            raise ValueError(text)
        return int(value)

    return _number(cells, column, convert)


def _count_or_none(cells: Mapping[str, str | None], column: str) -> int | None:
    return None if cells[column] is None else _count(cells, column)


def _boolean(cells: Mapping[str, str | None], column: str) -> bool:
    text = cells[column]
    if text is None:
        if column in REQUIRED:
            raise _CellError(column, RejectReason.MISSING_VALUE)
        return False
    value = boolean_or_none(text)
    if value is None:
        raise _CellError(column, RejectReason.NOT_A_BOOLEAN)
    return value
