"""Changes of providers and billing periods; those of plans are in :mod:`core.storage.plan_import`.

Every change is idempotent by natural key, one transaction, and leaves an audit event (D5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from enum import StrEnum

import sqlalchemy as sa

from core.errors import InputError
from core.storage import audit
from core.storage.audit import AuditEvent, Author
from core.storage.catalogue import (
    PROVIDER_COLUMNS,
    load_period,
    load_provider,
    periods_of,
    provider_record,
    providers,
)
from core.storage.engine import insert_row, writing
from core.storage.records import PeriodRecord, ProviderRecord, ProviderSettings
from core.storage.retry import retried
from core.storage.schema import (
    billing_period,
    optimization_session,
    service_provider,
    tenant,
)
from core.storage.sync_runs import end_broken_runs

MAX_PERIOD_DAYS = 366
"""Longest billing period; a longer one is a mistyped date."""


_WITHOUT_RESULTS = ("FAILED", "CANCELLED")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCounts:
    """What an import did, by natural key."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    deactivated: int = 0


@retried
def add_provider(
    engine: sa.Engine, settings: ProviderSettings, *, now: datetime, author: Author
) -> ProviderRecord:
    """Store a new provider, and its tenant if that is new too.

    Raises
    ------
    InputError
        If the tenant has a provider of that name.
    """
    with writing(engine) as connection:
        tenant_id = _tenant_id(connection, settings.tenant, now, author)
        row = _provider_row(connection, tenant_id, settings.name)
        if row is not None:
            msg = (
                f"provider {settings.name!r} of tenant {settings.tenant!r} is there already (id "
                f"{row['Id']}); change it with `carrier-opt providers import`"
            )
            raise InputError(msg)
        provider_id = _write_provider(connection, tenant_id, None, settings, now, author)
    return load_provider(engine, provider_id)


@retried
def import_providers(
    engine: sa.Engine, providers: Sequence[ProviderSettings], *, now: datetime, author: Author
) -> ImportCounts:
    """Add the providers that are new and change those that differ, all or none.

    Providers that are not in the list stay as they are.
    """
    added = changed = 0
    with writing(engine) as connection:
        for settings in providers:
            tenant_id = _tenant_id(connection, settings.tenant, now, author)
            row = _provider_row(connection, tenant_id, settings.name)
            if row is None:
                _write_provider(connection, tenant_id, None, settings, now, author)
                added += 1
            elif _settings_of(provider_record(row)) != settings:
                _write_provider(connection, tenant_id, row["Id"], settings, now, author)
                changed += 1
    return ImportCounts(added=added, changed=changed, unchanged=len(providers) - added - changed)


@retried
def add_period(
    engine: sa.Engine,
    provider_id: int,
    start_date: date,
    end_date: date,
    *,
    now: datetime,
    author: Author,
) -> PeriodRecord:
    """Store a billing period; one with the same dates is returned as it is.

    Raises
    ------
    InputError
        If the dates are in the wrong order, too far apart, or overlap another period.
    """
    _check_days(start_date, end_date)
    provider = load_provider(engine, provider_id)
    with writing(engine) as connection:
        for other in periods_of(connection, provider_id):
            if (other.start_date, other.end_date) == (start_date, end_date):
                return other
            _refuse_overlap(other, start_date, end_date, provider.name)
        period_id = _write_period(connection, provider_id, start_date, end_date, now, author)
        subject = f"billing period {start_date} to {end_date} of provider {provider.name}"
        _audit(connection, "period.added", subject, provider.tenant_id, provider_id, now, author)
    return PeriodRecord(
        id=period_id, service_provider_id=provider_id, start_date=start_date, end_date=end_date
    )


@retried
def change_period(
    engine: sa.Engine,
    period_id: int,
    start_date: date,
    end_date: date,
    *,
    now: datetime,
    author: Author,
) -> PeriodRecord:
    """Correct the dates of a billing period that no session has used.

    Usage is told by the cycle's first day: with another one the period is given up, with its usage, for
    a new one, whose usage the next synchronisation reads. Sessions that failed or were cancelled do not
    count: wrong dates may be why. Synchronisations that broke off are closed.

    Raises
    ------
    InputError
        If there is no such period, a session has used it, or the dates are refused as by
        :func:`add_period`.
    SyncBusyError
        If the provider is being synchronised.
    """
    _check_days(start_date, end_date)
    period = load_period(engine, period_id)
    if (period.start_date, period.end_date) == (start_date, end_date):
        return period
    provider = load_provider(engine, period.service_provider_id)
    session = optimization_session.c
    with writing(engine) as connection:
        end_broken_runs(connection, provider.id, f"billing period {period_id} was changed", now)
        used_by = connection.execute(
            sa.select(sa.func.min(session.Id)).where(
                session.BillingPeriodId == period_id, session.State.not_in(_WITHOUT_RESULTS)
            )
        ).scalar()
        if used_by is not None:
            msg = (
                f"billing period {period_id} was used by session {used_by}, whose results are about "
                f"{period.start_date} to {period.end_date}: it cannot be changed"
            )
            raise InputError(msg)
        for other in periods_of(connection, provider.id):
            if other.id != period_id:
                _refuse_overlap(other, start_date, end_date, provider.name)
        if start_date != period.start_date:
            _end_period(connection, period_id)
            period_id = _write_period(connection, provider.id, start_date, end_date, now, author)
        else:
            _update_period(connection, period_id, end_date)
        subject = f"billing period {start_date} to {end_date} of provider {provider.name}"
        _audit(connection, "period.changed", subject, provider.tenant_id, provider.id, now, author)
    return replace(period, id=period_id, start_date=start_date, end_date=end_date)


def _write_period(
    connection: sa.Connection,
    provider_id: int,
    start_date: date,
    end_date: date,
    now: datetime,
    author: Author,
) -> int:
    """Insert a period, or take back the one of the same first day that was given up."""
    period = billing_period.c
    given_up = connection.execute(
        sa.select(period.Id).where(
            period.ServiceProviderId == provider_id, period.BillingPeriodStart == start_date
        )
    ).scalar()
    if given_up is not None:
        _update_period(connection, given_up, end_date)
        return int(given_up)
    return insert_row(
        connection,
        billing_period,
        ServiceProviderId=provider_id,
        BillingPeriodStart=start_date,
        BillingPeriodEnd=end_date,
        CreatedBy=author.actor,
        CreatedDate=now,
    )


def _update_period(connection: sa.Connection, period_id: int, end_date: date) -> None:
    connection.execute(
        sa.update(billing_period)
        .where(billing_period.c.Id == period_id)
        .values(BillingPeriodEnd=end_date, IsActive=sa.true(), IsDeleted=sa.false())
    )


def _end_period(connection: sa.Connection, period_id: int) -> None:
    connection.execute(
        sa.update(billing_period)
        .where(billing_period.c.Id == period_id)
        .values(IsActive=sa.false(), IsDeleted=sa.true())
    )


def _check_days(start_date: date, end_date: date) -> None:
    if end_date < start_date:
        raise InputError(f"the period ends ({end_date}) before it starts ({start_date})")
    if (end_date - start_date).days >= MAX_PERIOD_DAYS:
        msg = f"the period {start_date} to {end_date} is longer than {MAX_PERIOD_DAYS} days"
        raise InputError(msg)


def _refuse_overlap(other: PeriodRecord, start_date: date, end_date: date, provider: str) -> None:
    if other.start_date <= end_date and start_date <= other.end_date:
        msg = (
            f"the period {start_date} to {end_date} overlaps {other.start_date} to {other.end_date} "
            f"(id {other.id}) of provider {provider!r}: if that one is wrong, correct it with "
            f"`carrier-opt periods change {other.id}`"
        )
        raise InputError(msg)


def _tenant_id(connection: sa.Connection, name: str, now: datetime, author: Author) -> int:
    found = connection.execute(sa.select(tenant.c.Id).where(tenant.c.Name == name)).scalar()
    if found is not None:
        return int(found)
    tenant_id = insert_row(connection, tenant, Name=name, CreatedBy=author.actor, CreatedDate=now)
    _audit(connection, "tenant.added", f"tenant {name}", tenant_id, None, now, author)
    return tenant_id


def _provider_row(connection: sa.Connection, tenant_id: int, name: str) -> sa.RowMapping | None:
    table = service_provider.c
    return (
        connection.execute(providers().where(table.TenantId == tenant_id, table.Name == name))
        .mappings()
        .one_or_none()
    )


def _write_provider(
    connection: sa.Connection,
    tenant_id: int,
    provider_id: int | None,
    settings: ProviderSettings,
    now: datetime,
    author: Author,
) -> int:
    """Insert a provider, or change the one with this id."""
    settings.require_grantable()
    values = {
        column: value.value if isinstance(value, StrEnum) else value
        for column, name in PROVIDER_COLUMNS.items()
        for value in [getattr(settings, name)]
    }
    values["BillableStatuses"] = ";".join(settings.billable_statuses)
    values["TenantId"] = tenant_id
    if provider_id is None:
        provider_id = insert_row(
            connection, service_provider, **values, CreatedBy=author.actor, CreatedDate=now
        )
        action = "provider.added"
    else:
        connection.execute(
            sa.update(service_provider)
            .where(service_provider.c.Id == provider_id)
            .values(**values, ModifiedDate=now)
        )
        action = "provider.changed"
    subject = f"provider {settings.name}"
    _audit(connection, action, subject, tenant_id, provider_id, now, author)
    return provider_id


def _settings_of(record: ProviderRecord) -> ProviderSettings:
    return ProviderSettings(
        **{field.name: getattr(record, field.name) for field in fields(ProviderSettings)}
    )


def _audit(
    connection: sa.Connection,
    action: str,
    subject: str,
    tenant_id: int,
    provider_id: int | None,
    now: datetime,
    author: Author,
) -> None:
    event = AuditEvent(
        occurred_at=now,
        actor=author.actor,
        source=author.source,
        run_id=author.run_id,
        action=action,
        subject=subject,
        tenant_id=tenant_id,
        service_provider_id=provider_id,
    )
    audit.append(connection, event)
