"""Reads the communication plans file: which rate plans the SIMs of each plan may have (G1)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from core.domain import CommunicationPlan
from core.errors import InputError
from core.files.rejects import RejectReason, why_nothing_usable
from core.files.tables import read_table
from core.files.warnings import Warnings, warn_each

REQUIRED = ("name", "rate_plan_codes")
"""Columns that a communication plans file must have."""

SEPARATOR = ";"
"""What stands between the codes of a list."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CommunicationPlanFile:
    """What a communication plans file holds.

    Attributes
    ----------
    plans
        Sorted by name, with the codes as listed, also those that no rate plan has.
    rejects
        Columns of ``REJECT_SCHEMA``.
    warnings
        Plans without a usable list, and codes that no usable rate plan has.
    """

    plans: tuple[CommunicationPlan, ...]
    rejects: pl.DataFrame
    warnings: Warnings
    notes: tuple[str, ...]


def read_communication_plans(
    path: Path, *, rate_plan_codes: Collection[str], refused_codes: Collection[str]
) -> CommunicationPlanFile:
    """Read a communication plans file.

    Parameters
    ----------
    rate_plan_codes
        Codes of the usable rate plans.
    refused_codes
        Codes that are in the rate plans file, in rejected rows only.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, or holds no usable row.
    """
    table = read_table(path, required=REQUIRED, optional=())
    names = table.text("name")
    lists = table.text("rate_plan_codes").fill_null("").to_list()
    plans: dict[str, CommunicationPlan] = {}
    reasons: list[str | None] = []
    for name, codes in zip(names.to_list(), lists, strict=True):
        if name is None:
            reasons.append(RejectReason.MISSING_VALUE.value)
        elif name in plans:
            reasons.append(RejectReason.DUPLICATE_COMMUNICATION_PLAN.value)
        else:
            plans[name] = CommunicationPlan(name=name, rate_plan_codes=_codes(codes))
            reasons.append(None)
    rejects = pl.concat(
        [
            table.rejects,
            table.rejected(
                pl.Series(reasons, dtype=pl.String),
                pl.Series([reason and "name" for reason in reasons], dtype=pl.String),
            ),
        ]
    )
    if not plans:
        raise InputError(f"{path}: nothing usable: {why_nothing_usable(rejects)}")
    ordered = tuple(plans[name] for name in sorted(plans))
    return CommunicationPlanFile(
        plans=ordered,
        rejects=rejects,
        warnings=_list_warnings(path.name, ordered, rate_plan_codes, refused_codes),
        notes=table.notes,
    )


def _codes(text: str) -> tuple[str, ...]:
    """Codes in the file's order, each once."""
    codes = (code.strip() for code in text.split(SEPARATOR))
    return tuple(dict.fromkeys(code for code in codes if code))


def _list_warnings(
    file: str,
    plans: Collection[CommunicationPlan],
    usable: Collection[str],
    refused: Collection[str],
) -> Warnings:
    texts = []
    for plan in plans:
        where = f"{file}: communication plan {plan.name!r}"
        for code in plan.rate_plan_codes:
            if code in refused:
                texts.append(f"{where} lists rate plan {code!r}, whose row is rejected")
            elif code not in usable:
                hint = f"; codes are separated by {SEPARATOR!r}" if "," in code else ""
                texts.append(f"{where} lists {code!r}, which is not in the rate plans{hint}")
        if not any(code in usable for code in plan.rate_plan_codes):
            texts.append(f"{where} lists no usable rate plan: its SIMs are rejected")
    return warn_each(texts)
