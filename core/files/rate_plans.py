"""Reads the rate plans file: one row per plan, each a :class:`~core.domain.RatePlan` or a reject."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from core.billing.tariff import billing_problem
from core.domain import MAX_COUNT, RatePlan
from core.errors import DataError, InputError
from core.files.rejects import RejectReason, why_nothing_usable
from core.files.tables import read_table
from core.files.unavailable import refuse_filled
from core.files.values import boolean_or_none
from core.units import parse_decimal, refusal_reason, to_bytes, to_micros

REQUIRED = (
    "code", "monthly_rate", "included_mb", "overage_rate", "overage_block_mb", "is_pooled",
)  # fmt: skip
"""Columns that a rate plans file must have."""

NOT_AVAILABLE = ("overage_cap", "overage_tiers", "min_devices", "max_devices")
"""Columns that must be empty in this version."""

OPTIONAL = (
    "name", "is_prorated", "plan_type", "included_sms", "sms_rate", "included_voice_minutes",
    "voice_rate", "regulatory_fee", "pool_group", *NOT_AVAILABLE,
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
    """

    plans: tuple[RatePlan, ...]
    refused_codes: frozenset[str]
    rejects: pl.DataFrame
    notes: tuple[str, ...]


class _CellError(Exception):
    """A cell of a plan cannot be used."""

    def __init__(self, column: str, reason: RejectReason) -> None:
        self.column = column
        self.reason = reason
        super().__init__(f"{column}: {reason}")


def read_rate_plans(path: Path, *, mb_bytes: int) -> RatePlanFile:
    """Read a rate plans file.

    The first valid row of a code counts; further ones are rejected. A plan that cannot be billed
    (V2) is rejected as ``invalid_rate_plan``.

    Parameters
    ----------
    mb_bytes
        Bytes of one MB in ``included_mb`` and ``overage_block_mb``.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or holds no usable plan.
    NotAvailableError
        If a column of ``NOT_AVAILABLE`` is filled.
    """
    table = read_table(path, required=REQUIRED, optional=OPTIONAL)
    refuse_filled(table, NOT_AVAILABLE)
    columns = {name: table.text(name).to_list() for name in (*REQUIRED, *OPTIONAL)}
    plans: dict[str, RatePlan] = {}
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
    )


def _rate_plan(cells: Mapping[str, str | None], mb_bytes: int) -> RatePlan:
    code = cells["code"]
    if code is None:
        raise _CellError("code", RejectReason.MISSING_VALUE)

    def volume(column: str) -> int:
        return _number(cells, column, lambda text: to_bytes(parse_decimal(text), mb_bytes))

    def money(column: str) -> int:
        return _number(cells, column, lambda text: to_micros(parse_decimal(text)))

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
    )
    if billing_problem(plan):
        is_rate = plan.overage_rate_micros <= 0
        column = "overage_rate" if is_rate else "overage_block_mb"
        raise _CellError(column, RejectReason.INVALID_RATE_PLAN)
    return plan


def _number(cells: Mapping[str, str | None], column: str, convert: Callable[[str], int]) -> int:
    """Convert a cell; an empty one is 0 unless the column is required."""
    text = cells[column]
    if text is None and column not in REQUIRED:
        return 0
    try:
        return convert(text or "")
    except (DataError, ValueError) as error:
        raise _CellError(column, RejectReason(refusal_reason(text))) from error


def _count(cells: Mapping[str, str | None], column: str) -> int:
    def convert(text: str) -> int:
        value = parse_decimal(text)
        if 0 <= value <= MAX_COUNT and value != value.to_integral_value():
            raise _CellError(column, RejectReason.NOT_A_WHOLE_NUMBER)
        if not 0 <= value <= MAX_COUNT:
            raise ValueError(text)
        return int(value)

    return _number(cells, column, convert)


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
