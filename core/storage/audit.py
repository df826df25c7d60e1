"""The audit log: who did what, when, from which run (D5). Rows are added and never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from core.storage.engine import reading
from core.storage.schema import audit_event


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One thing that somebody did.

    Attributes
    ----------
    occurred_at
        Aware moment.
    actor
        Who: a user's name, or the part of the system that acted by itself.
    source
        Where from: ``ui``, ``api``, ``cron``, ``cli`` or ``system``.
    action
        What, as ``thing.verb``, such as ``provider.added``.
    subject
        On which thing, in words.
    details
        More about it; goes through JSON and holds no secret.
    """

    occurred_at: datetime
    actor: str
    source: str
    action: str
    subject: str
    tenant_id: int | None = None
    service_provider_id: int | None = None
    session_id: int | None = None
    run_id: str | None = None
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who changes something, for ``CreatedBy`` and the audit log."""

    actor: str
    source: str = "cli"
    run_id: str | None = None


def append(connection: sa.Connection, event: AuditEvent) -> None:
    """Add an event, in the transaction of what it tells of.

    Raises
    ------
    sqlalchemy.exc.IntegrityError
        If ``source`` is none of the known ones.
    """
    details = None if event.details is None else json.dumps(dict(event.details), sort_keys=True)
    connection.execute(
        sa.insert(audit_event).values(
            OccurredAt=event.occurred_at,
            Actor=event.actor,
            Source=event.source,
            Action=event.action,
            Subject=event.subject,
            TenantId=event.tenant_id,
            ServiceProviderId=event.service_provider_id,
            SessionId=event.session_id,
            RunId=event.run_id,
            Details=details,
        )
    )


def load_events(engine: sa.Engine, session_id: int | None = None) -> list[AuditEvent]:
    """Read the log, oldest first: of one session, or all of it."""
    statement = sa.select(audit_event).order_by(audit_event.c.Id)
    if session_id is not None:
        statement = statement.where(audit_event.c.SessionId == session_id)
    with reading(engine) as connection:
        rows = connection.execute(statement).all()
    return [
        AuditEvent(
            occurred_at=row.OccurredAt,
            actor=row.Actor,
            source=row.Source,
            action=row.Action,
            subject=row.Subject,
            tenant_id=row.TenantId,
            service_provider_id=row.ServiceProviderId,
            session_id=row.SessionId,
            run_id=row.RunId,
            details=None if row.Details is None else json.loads(row.Details),
        )
        for row in rows
    ]


def has_events(engine: sa.Engine, run_id: str) -> bool:
    """Whether anything was noted of a flow run."""
    query = sa.select(audit_event.c.Id).where(audit_event.c.RunId == run_id).limit(1)
    with reading(engine) as connection:
        return connection.execute(query).first() is not None
