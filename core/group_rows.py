"""Which plan list each SIM of a fleet goes by, and what the SIMs of one list use together (G1, B9).

The columns that these functions add to a fleet are ``key``, the number of the SIM's plan list, and
``plan``, the tariff's number of the plan it has today, null where the catalogue lacks that plan.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import polars as pl

from core.billing.limits import GroupUse
from core.billing.tariff import Tariff
from core.domain import CommunicationPlan
from core.errors import DataError

PlanList = tuple[str, ...]
"""Codes of the rate plans on offer to a group, ascending, each once."""

_LOW_BYTES = 1 << 25


def plan_lists(
    fleet: pl.DataFrame,
    communication_plans: Sequence[CommunicationPlan] | None,
    offered: Collection[str],
) -> dict[str, PlanList]:
    """Plan list of each communication plan that has one, less the codes not on offer (G1).

    Parameters
    ----------
    communication_plans
        None gives every communication plan of the fleet every code on offer.
    offered
        Codes that may be assigned.

    Raises
    ------
    DataError
        If a communication plan stands there twice.
    """
    if communication_plans is None:
        everything = tuple(sorted(offered))
        return dict.fromkeys(fleet["communication_plan"].unique().sort(), everything)
    known = frozenset(offered)
    lists: dict[str, PlanList] = {}
    for plan in communication_plans:
        if plan.name in lists:
            msg = f"the communication plan {plan.name!r} stands there twice: keep one"
            raise DataError(msg)
        lists[plan.name] = tuple(sorted({*plan.rate_plan_codes} & known))
    return {name: codes for name, codes in lists.items() if codes}


def names_by_list(lists: Mapping[str, PlanList]) -> dict[PlanList, tuple[str, ...]]:
    """Names of the communication plans with the same list, ascending."""
    names: dict[PlanList, list[str]] = {}
    for name in sorted(lists):
        names.setdefault(lists[name], []).append(name)
    return {codes: tuple(same) for codes, same in names.items()}


def with_locks(fleet: pl.DataFrame, locked: Collection[str]) -> pl.DataFrame:
    """Mark some ICCIDs as locked, beside those that the fleet locks (O8)."""
    if not locked:
        return fleet
    iccids = pl.Series(sorted(locked), dtype=pl.String)
    is_named = pl.col("iccid").is_in(iccids.implode())
    return fleet.with_columns(is_locked=pl.col("is_locked") | is_named)


def with_numbers(
    fleet: pl.DataFrame, lists: Mapping[str, PlanList], keys: Sequence[PlanList], tariff: Tariff
) -> pl.DataFrame:
    """Add ``key`` and ``plan`` to the fleet, in the fleet's order.

    Raises
    ------
    DataError
        If a SIM is on a communication plan without a list.
    """
    key_number = {key: number for number, key in enumerate(keys)}
    table = pl.DataFrame(
        {"communication_plan": list(lists), "key": [key_number[key] for key in lists.values()]},
        schema={"communication_plan": pl.String, "key": pl.Int32},
    )
    numbered = fleet.join(
        table, on="communication_plan", how="left", maintain_order="left"
    ).with_columns(plan=_numbers("rate_plan", tariff.codes))
    lost = numbered.filter(pl.col("key").is_null())["communication_plan"]
    if len(lost):
        listed = ", ".join(repr(name) for name in lost.unique().sort().head(10))
        msg = (
            f"{len(lost)} SIMs are on communication plans without any known rate plan: {listed}; "
            "give these a list of rate plans, or leave the SIMs out"
        )
        raise DataError(msg)
    return numbered


def group_uses(
    numbered: pl.DataFrame, keys: Sequence[PlanList], tariff: Tariff
) -> dict[int, GroupUse]:
    """Sum up the groups that have priced SIMs, by ``key``, ascending; group ids are given here."""
    minutes = (pl.col("voice_seconds") + 59) // 60
    totals = (
        numbered.lazy()
        .filter(pl.col("plan").is_not_null())
        .group_by("key")
        .agg(
            pl.len(),
            # In two parts, since the sum of a column may not fit into 64 bits.
            (pl.col("usage_bytes") // _LOW_BYTES).sum().alias("usage_high"),
            (pl.col("usage_bytes") % _LOW_BYTES).sum().alias("usage_low"),
            pl.col("sms_count").sum(),
            minutes.sum().alias("minutes"),
            pl.col("plan").unique().sort(),
        )
        .sort("key")
        .collect()
    )
    plan_number = tariff.plan_number()
    return {
        key: GroupUse(
            group_id=f"G{number:04d}",
            devices=devices,
            usage_bytes=high * _LOW_BYTES + low,
            sms_count=sms,
            voice_minutes=voice,
            current=tuple(plans),
            eligible=tuple(plan_number[code] for code in keys[key]),
        )
        for number, (key, devices, high, low, sms, voice, plans) in enumerate(
            totals.iter_rows(), start=1
        )
    }


def with_ids(numbered: pl.DataFrame, ids: Mapping[int, tuple[str, str]]) -> pl.DataFrame:
    """Replace ``key`` and ``plan`` by ``group_id`` and ``unit_id``, null for an unpriced SIM (B9).

    Parameters
    ----------
    ids
        Group id and unit id by ``key``.
    """
    table = pl.DataFrame(
        {
            "key": list(ids),
            "group_id": [group_id for group_id, _ in ids.values()],
            "unit_id": [unit_id for _, unit_id in ids.values()],
        },
        schema={"key": pl.Int32, "group_id": pl.String, "unit_id": pl.String},
    )
    is_priced = pl.col("plan").is_not_null()
    return (
        numbered.join(table, on="key", how="left", maintain_order="left")
        .with_columns(pl.when(is_priced).then(pl.col("group_id", "unit_id")))
        .drop("key", "plan")
    )


def _numbers(column: str, order: Sequence[str]) -> pl.Expr:
    """Position of each value in ``order``, or null."""
    return pl.col(column).cast(pl.Enum(order), strict=False).to_physical().cast(pl.Int32)
