"""Imports of plans: a provider's rate plans and communication plans, replaced as a whole.

Plans are matched by code or name. What is no longer in the list is set inactive and never deleted,
since results refer to it. Every import is one transaction and leaves an audit event (D5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from core.domain import CommunicationPlan, RatePlan
from core.errors import InputError
from core.storage import audit
from core.storage.audit import AuditEvent, Author
from core.storage.catalogue import of_provider, rate_plan_ids
from core.storage.catalogue_changes import ImportCounts
from core.storage.engine import writing
from core.storage.rate_plan_rows import rate_plan_values
from core.storage.retry import retried
from core.storage.schema import carrier_rate_plan, communication_plan, service_provider


@retried
def replace_rate_plans(
    engine: sa.Engine,
    provider_id: int,
    plans: Sequence[RatePlan],
    *,
    now: datetime,
    author: Author,
) -> ImportCounts:
    """Make these the active rate plans of a provider, in one transaction.

    Raises
    ------
    InputError
        If a code stands there twice, or the provider is unknown.
    """
    _refuse_repeats("rate plan", [plan.code for plan in plans])
    wanted = {plan.code: rate_plan_values(plan) for plan in plans}
    with writing(engine) as connection:
        return _replace(
            connection, carrier_rate_plan, "RatePlanCode", provider_id, wanted, now, author
        )


@retried
def replace_catalogue(
    engine: sa.Engine,
    provider_id: int,
    rate_plans: Sequence[RatePlan],
    communication_plans: Sequence[CommunicationPlan],
    *,
    now: datetime,
    author: Author,
) -> tuple[ImportCounts, ImportCounts]:
    """Make these the active rate plans and communication plans of a provider, in one transaction.

    Codes in plan lists that are not among the active rate plans are dropped (G1).

    Returns
    -------
    tuple of ImportCounts
        Of the rate plans, and of the communication plans.

    Raises
    ------
    InputError
        If a code or name stands there twice, or the provider is unknown.
    """
    _refuse_repeats("rate plan", [plan.code for plan in rate_plans])
    _refuse_repeats("communication plan", [plan.name for plan in communication_plans])
    wanted = {plan.code: rate_plan_values(plan) for plan in rate_plans}
    with writing(engine) as connection:
        counts = _replace(
            connection, carrier_rate_plan, "RatePlanCode", provider_id, wanted, now, author
        )
        ids = {
            code: code_id
            for code, code_id in rate_plan_ids(connection, provider_id).items()
            if code in wanted
        }
        lists = {
            plan.name: {"RatePlanIds": _id_list(plan.rate_plan_codes, ids), "IsActive": True}
            for plan in communication_plans
        }
        return counts, _replace(
            connection, communication_plan, "Name", provider_id, lists, now, author
        )


def _replace(
    connection: sa.Connection,
    table: sa.Table,
    key: str,
    provider_id: int,
    wanted: Mapping[str, Mapping[str, Any]],
    now: datetime,
    author: Author,
) -> ImportCounts:
    """Upsert ``wanted`` by natural key and set all other rows of the provider inactive."""
    tenant_id = connection.execute(
        sa.select(service_provider.c.TenantId).where(service_provider.c.Id == provider_id)
    ).scalar()
    if tenant_id is None:
        raise InputError(f"provider {provider_id} is unknown; see `carrier-opt providers list`")
    stored = {
        row[key]: row for row in connection.execute(of_provider(table, provider_id)).mappings()
    }
    new = [name for name in wanted if name not in stored]
    if new:
        common = {"ServiceProviderId": provider_id, "CreatedBy": author.actor, "CreatedDate": now}
        connection.execute(
            sa.insert(table), [{key: name, **wanted[name], **common} for name in new]
        )
    changed = [
        name
        for name, values in wanted.items()
        if name in stored and any(stored[name][column] != value for column, value in values.items())
    ]
    for name in changed:
        _update(connection, table, stored[name]["Id"], {**wanted[name], "ModifiedDate": now})
    gone = [name for name, row in stored.items() if name not in wanted and row["IsActive"]]
    for name in gone:
        _update(connection, table, stored[name]["Id"], {"IsActive": False, "ModifiedDate": now})
    counts = ImportCounts(
        added=len(new),
        changed=len(changed),
        unchanged=len(wanted) - len(new) - len(changed),
        deactivated=len(gone),
    )
    event = AuditEvent(
        occurred_at=now,
        actor=author.actor,
        source=author.source,
        run_id=author.run_id,
        action=f"{'rate_plans' if table is carrier_rate_plan else 'communication_plans'}.imported",
        subject=f"provider {provider_id}",
        tenant_id=tenant_id,
        service_provider_id=provider_id,
        details={"added": new, "changed": changed, "deactivated": gone},
    )
    audit.append(connection, event)
    return counts


def _update(
    connection: sa.Connection, table: sa.Table, row_id: int, values: Mapping[str, Any]
) -> None:
    connection.execute(sa.update(table).where(table.c.Id == row_id).values(**values))


def _refuse_repeats(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{what} {name!r} stands there twice")
        seen.add(name)


def _id_list(codes: Iterable[str], ids: Mapping[str, int]) -> str:
    return ",".join(str(ids[code]) for code in dict.fromkeys(codes) if code in ids)
