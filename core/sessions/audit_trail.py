"""What the audit log says about sessions (D5); written with the change that it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from core.sessions.ownership import SessionHandle
from core.storage import audit
from core.storage.audit import Author
from core.storage.sessions import StoredSession


def record(
    connection: sa.Connection,
    action: str,
    session: SessionHandle | StoredSession,
    *,
    author: Author,
    now: datetime,
    details: Mapping[str, object] | None = None,
) -> None:
    """Record that ``author`` did something to a session, such as ``session.opened``."""
    event = audit.AuditEvent(
        occurred_at=now,
        actor=author.actor,
        source=author.source,
        action=action,
        subject=f"session {session.session_id}",
        tenant_id=session.tenant_id,
        service_provider_id=session.service_provider_id,
        session_id=session.session_id,
        run_id=author.run_id,
        details=details,
    )
    audit.append(connection, event)
