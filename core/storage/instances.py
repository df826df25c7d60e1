"""Instances: one kind of optimisation within a session, from its start to its end (K1).

:class:`Instance` is what the other repositories of results need to know about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from core.domain import Portal
from core.errors import StorageError, TransientStorageError
from core.storage.engine import insert_row, reading, writing
from core.storage.legacy_ids import INTEGRATION_ID, PORTAL_TYPE, RunStatus
from core.storage.records import PeriodRecord, ProviderRecord
from core.storage.retry import retried
from core.storage.schema import optimization_instance, optimization_session, service_provider

Fence = Callable[[sa.Connection], object]
"""Called first in every transaction that writes; raises where the caller may no longer write (S2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A stored instance.

    Attributes
    ----------
    catalogue_hash
        Of the plans and the policy that the SIMs were grouped with; None before.
    grouped_at, sequenced_at, published_at
        When that step was complete; None before.
    """

    id: int
    session_id: int
    service_provider_id: int
    tenant_id: int
    billing_period_id: int
    portal: Portal
    uses_proration: bool
    run_status: RunStatus
    created_by: str
    catalogue_hash: str | None
    grouped_at: datetime | None
    sequenced_at: datetime | None
    published_at: datetime | None


@retried
def create_instance(
    engine: sa.Engine,
    *,
    session_id: int,
    provider: ProviderRecord,
    period: PeriodRecord,
    now: datetime,
    created_by: str,
    fence: Fence | None = None,
) -> int:
    """Start the instance of a session; one that is there already is taken up again.

    Returns
    -------
    int
        Id of the instance.
    """
    table = optimization_instance.c
    with writing(engine) as connection:
        run_fence(connection, fence)
        found = connection.execute(
            sa.select(table.Id).where(
                table.OptimizationSessionId == session_id,
                table.ServiceProviderId == provider.id,
                table.PortalType == PORTAL_TYPE[provider.portal],
            )
        ).scalar()
        if found is not None:
            connection.execute(
                sa.update(optimization_instance)
                .where(table.Id == found, table.PublishedAt.is_(None))
                .values(RunStatusId=int(RunStatus.IN_PROGRESS), RunEndTime=None)
            )
            return int(found)
        return insert_row(
            connection,
            optimization_instance,
            OptimizationSessionId=session_id,
            ServiceProviderId=provider.id,
            TenantId=provider.tenant_id,
            BillingPeriodId=period.id,
            PortalType=PORTAL_TYPE[provider.portal],
            IntegrationId=INTEGRATION_ID[provider.integration],
            RunStatusId=int(RunStatus.IN_PROGRESS),
            RunStartTime=now,
            CreatedBy=created_by,
            CreatedDate=now,
        )


@retried
def end_instances(engine: sa.Engine, session_id: int, *, status: RunStatus, now: datetime) -> None:
    """Close what a session leaves unpublished, as failed or cancelled; published ones stay."""
    table = optimization_instance.c
    with writing(engine) as connection:
        connection.execute(
            sa.update(optimization_instance)
            .where(table.OptimizationSessionId == session_id, table.PublishedAt.is_(None))
            .values(RunStatusId=int(status), RunEndTime=now)
        )


@retried
def find_instances(engine: sa.Engine, session_id: int) -> list[Instance]:
    """Read the instances of a session, in the order in which they were started.

    None of a session whose results were purged, also while their rows are still going (R5).
    """
    condition = optimization_instance.c.OptimizationSessionId == session_id
    with reading(engine) as connection:
        return [found for found, purged_at in _read(connection, condition) if purged_at is None]


def load_instance(connection: sa.Connection, instance_id: int) -> Instance:
    """Read an instance within a transaction.

    Raises
    ------
    StorageError
        If there is none with that id, or its results were purged.
    """
    found = _read(connection, optimization_instance.c.Id == instance_id)
    if not found:
        raise StorageError(f"optimisation instance {instance_id} is unknown, or was purged")
    instance, purged_at = found[0]
    if purged_at is not None:
        raise StorageError(
            f"the results of session {instance.session_id}, and so of optimisation instance "
            f"{instance_id}, were purged on {purged_at:%Y-%m-%d}"
        )
    return instance


def require_unchanged(engine: sa.Engine, instance: Instance) -> None:
    """Refuse what was read of an instance while it was purged or grouped anew.

    Rows that are read in bulk may come from a later view than the instance did.

    Raises
    ------
    StorageError
        If it was purged.
    TransientStorageError
        If it was grouped anew: to be read again.
    """
    with reading(engine) as connection:
        found = load_instance(connection, instance.id)
    if found.grouped_at != instance.grouped_at:
        msg = f"optimisation instance {instance.id} was grouped anew while it was read"
        raise TransientStorageError(msg)


def load_unpublished(connection: sa.Connection, instance_id: int) -> Instance:
    """Read an instance that is going to be changed.

    Raises
    ------
    StorageError
        If there is none with that id, or its results are published, and so final, or purged.
    """
    instance = load_instance(connection, instance_id)
    if instance.published_at is not None:
        msg = f"the results of optimisation instance {instance_id} are published and final"
        raise StorageError(msg)
    return instance


def update_instance(connection: sa.Connection, instance_id: int, **values: object) -> None:
    """Set columns of an instance."""
    connection.execute(
        sa.update(optimization_instance)
        .where(optimization_instance.c.Id == instance_id)
        .values(**values)
    )


def run_fence(connection: sa.Connection, fence: Fence | None) -> None:
    """Let the fence, if there is one, stop this transaction."""
    if fence is not None:
        fence(connection)


_PORTAL_OF_TYPE = {number: portal for portal, number in PORTAL_TYPE.items()}


def _read(
    connection: sa.Connection, condition: sa.ColumnElement[bool]
) -> list[tuple[Instance, datetime | None]]:
    """Read instances, each with the moment since which its results are gone."""
    table, session = optimization_instance.c, optimization_session.c
    rows = connection.execute(
        sa.select(
            optimization_instance, service_provider.c.UsesProration, session.ResultsPurgedDate
        )
        .join(service_provider, service_provider.c.Id == table.ServiceProviderId)
        .join(optimization_session, session.Id == table.OptimizationSessionId)
        .where(condition)
        .order_by(table.Id)
    ).mappings()
    return [(_instance(row), row["ResultsPurgedDate"]) for row in rows]


def _instance(row: sa.RowMapping) -> Instance:
    return Instance(
        id=row["Id"],
        session_id=row["OptimizationSessionId"],
        service_provider_id=row["ServiceProviderId"],
        tenant_id=row["TenantId"],
        billing_period_id=row["BillingPeriodId"],
        portal=_PORTAL_OF_TYPE[row["PortalType"]],
        uses_proration=row["UsesProration"],
        run_status=RunStatus(row["RunStatusId"]),
        created_by=row["CreatedBy"],
        catalogue_hash=row["CatalogueHash"],
        grouped_at=row["GroupedAt"],
        sequenced_at=row["SequencedAt"],
        published_at=row["PublishedAt"],
    )
