"""The catalogue as flows read it: providers, billing periods, rate plans, communication plans.

Whoever asks for something that is not there is told what is. Changes are made by
:mod:`core.storage.catalogue_changes`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import sqlalchemy as sa

from core.domain import CommunicationPlan, PoolScope, Portal, ProrationBasis, RatePlan
from core.errors import InputError, StorageError
from core.storage.engine import reading
from core.storage.rate_plan_rows import rate_plan_of
from core.storage.records import PeriodRecord, ProviderRecord
from core.storage.retry import retried
from core.storage.schema import (
    billing_period,
    carrier_rate_plan,
    communication_plan,
    service_provider,
    tenant,
)

LOG = logging.getLogger(__name__)

PROVIDER_COLUMNS = {
    "Name": "name",
    "Integration": "integration",
    "Portal": "portal",
    "BaseUrl": "base_url",
    "CredentialRef": "credential_ref",
    "TimeZone": "time_zone",
    "OptimizationStartHour": "start_hour",
    "UsesProration": "uses_proration",
    "ProrationBasis": "proration_basis",
    "PoolScope": "pool_scope",
    "PoolingEnabled": "pooling_enabled",
    "MbBytes": "mb_bytes",
    "Currency": "currency",
    "PageSize": "page_size",
    "RequestsPerSecond": "requests_per_second",
}
"""Column of ServiceProvider to field of ProviderSettings, where the value is stored as it is."""


@retried
def list_providers(engine: sa.Engine) -> list[ProviderRecord]:
    """Read all providers by id."""
    with reading(engine) as connection:
        rows = connection.execute(providers().order_by(service_provider.c.Id)).mappings().all()
    return [provider_record(row) for row in rows]


def load_provider(engine: sa.Engine, provider_id: int) -> ProviderRecord:
    """Read a provider.

    Raises
    ------
    InputError
        If there is none with that id; the message lists the known ones.
    """
    return find_provider(engine, str(provider_id))


def find_provider(engine: sa.Engine, name_or_id: str) -> ProviderRecord:
    """Read a provider by its id or its name.

    Raises
    ------
    InputError
        If there is none, or several tenants have one of that name; the message lists what there is.
    """
    known = list_providers(engine)
    found = [p for p in known if name_or_id in (str(p.id), p.name)]
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(f"{p.id} (tenant {p.tenant!r})" for p in found)
        raise InputError(f"several providers are named {name_or_id!r}: give one of the ids {which}")
    listed = ", ".join(f"{p.id} {p.name!r}" for p in known)
    remedy = f"known: {listed}" if known else "there are none; see `carrier-opt providers add`"
    raise InputError(f"provider {name_or_id!r} is unknown; {remedy}")


@retried
def list_periods(engine: sa.Engine, provider_id: int) -> list[PeriodRecord]:
    """Read a provider's billing periods, oldest first."""
    with reading(engine) as connection:
        return periods_of(connection, provider_id)


@retried
def load_period(engine: sa.Engine, period_id: int) -> PeriodRecord:
    """Read a billing period.

    Raises
    ------
    InputError
        If there is none with that id.
    """
    table = billing_period.c
    with reading(engine) as connection:
        row = (
            connection.execute(
                sa.select(billing_period).where(
                    table.Id == period_id, table.IsDeleted == sa.false()
                )
            )
            .mappings()
            .one_or_none()
        )
    if row is None:
        msg = f"billing period {period_id} is unknown; see `carrier-opt periods list`"
        raise InputError(msg)
    return _period_record(row)


def current_period(engine: sa.Engine, provider_id: int, local_date: date) -> PeriodRecord:
    """Read the billing period that holds a date of the provider's time zone.

    Raises
    ------
    InputError
        If no period of the provider holds it; the message lists those there are.
    """
    provider = load_provider(engine, provider_id)
    periods = list_periods(engine, provider_id)
    for period in periods:
        if period.start_date <= local_date <= period.end_date:
            return period
    known = ", ".join(f"{p.start_date} to {p.end_date}" for p in periods[-3:])
    msg = (
        f"provider {provider.name!r} has no billing period that holds {local_date}"
        f"{f' (newest: {known})' if known else ''}; add one with `carrier-opt periods add "
        f"--provider {provider_id} --start D --end D`"
    )
    raise InputError(msg)


@retried
def load_rate_plans(engine: sa.Engine, provider_id: int) -> list[RatePlan]:
    """Read a provider's rate plans by code; inactive ones too, as ``is_active`` says."""
    with reading(engine) as connection:
        rows = connection.execute(of_provider(carrier_rate_plan, provider_id)).mappings().all()
    return sorted((rate_plan_of(row) for row in rows), key=lambda plan: plan.code)


@retried
def load_communication_plans(engine: sa.Engine, provider_id: int) -> list[CommunicationPlan]:
    """Read a provider's active communication plans by name, with the codes of their plan lists.

    Ids of rate plans that are deleted, or that the provider never had, are left out of the lists,
    as unknown codes are (G1); a warning names them.

    Raises
    ------
    StorageError
        If a list holds anything but ids.
    """
    with reading(engine) as connection:
        codes = {code_id: code for code, code_id in rate_plan_ids(connection, provider_id).items()}
        rows = connection.execute(of_provider(communication_plan, provider_id)).mappings().all()
    plans = (
        CommunicationPlan(
            name=row["Name"],
            rate_plan_codes=tuple(_listed_codes(row["Name"], row["RatePlanIds"], codes)),
        )
        for row in rows
        if row["IsActive"]
    )
    return sorted(plans, key=lambda plan: plan.name)


def providers() -> sa.Select[Any]:
    """Select providers with the name of their tenant (``TenantName``)."""
    return (
        sa.select(service_provider, tenant.c.Name.label("TenantName"))
        .join(tenant, tenant.c.Id == service_provider.c.TenantId)
        .where(service_provider.c.IsDeleted == sa.false())
    )


def rate_plan_ids(connection: sa.Connection, provider_id: int) -> dict[str, int]:
    """Read ``CarrierRatePlan.Id`` by plan code within a transaction."""
    rows = connection.execute(of_provider(carrier_rate_plan, provider_id)).mappings().all()
    return {row["RatePlanCode"]: row["Id"] for row in rows}


def periods_of(connection: sa.Connection, provider_id: int) -> list[PeriodRecord]:
    """Read a provider's billing periods within a transaction, oldest first."""
    table = billing_period.c
    rows = (
        connection.execute(
            sa.select(billing_period)
            .where(table.ServiceProviderId == provider_id, table.IsDeleted == sa.false())
            .order_by(table.BillingPeriodStart)
        )
        .mappings()
        .all()
    )
    return [_period_record(row) for row in rows]


def of_provider(table: sa.Table, provider_id: int) -> sa.Select[Any]:
    """Select a provider's rows of a catalogue table."""
    return sa.select(table).where(
        table.c.ServiceProviderId == provider_id, table.c.IsDeleted == sa.false()
    )


def provider_record(row: sa.RowMapping) -> ProviderRecord:
    """Make the record of a row of :func:`providers`."""
    values = {name: row[column] for column, name in PROVIDER_COLUMNS.items()}
    values["portal"] = Portal(row["Portal"])
    values["proration_basis"] = ProrationBasis(row["ProrationBasis"])
    values["pool_scope"] = PoolScope(row["PoolScope"])
    return ProviderRecord(
        **values,
        id=row["Id"],
        tenant_id=row["TenantId"],
        tenant=row["TenantName"],
        billable_statuses=tuple(row["BillableStatuses"].split(";")),
        is_active=row["IsActive"],
    )


def _listed_codes(name: str, id_list: str, codes: Mapping[int, str]) -> Iterator[str]:
    for part in filter(None, map(str.strip, id_list.split(","))):
        if not (part.isascii() and part.isdecimal()):
            raise StorageError(
                f"communication plan {name!r}: RatePlanIds {id_list!r} holds {part!r}, which is no "
                "id: separate ids of rate plans by commas, such as 1,2"
            )
        if int(part) in codes:
            yield codes[int(part)]
        else:
            LOG.warning(
                "communication plan %r lists rate plan id %s, which is deleted or unknown: left out",
                name,
                part,
            )


def _period_record(row: sa.RowMapping) -> PeriodRecord:
    return PeriodRecord(
        id=row["Id"],
        service_provider_id=row["ServiceProviderId"],
        start_date=row["BillingPeriodStart"],
        end_date=row["BillingPeriodEnd"],
    )
