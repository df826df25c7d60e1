"""A deployment that flow tests run in: a database with one provider, and a receiver of messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from core.amop.receiver import AmopReceiver
from core.storage.engine import reading
from core.storage.schema import amop_outbox, optimization_session

NOW = datetime.now(tz=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A database with one provider, and somebody who receives the messages."""

    engine: sa.Engine
    receiver: AmopReceiver
    provider_id: int
    period_id: int
    tenant_id: int

    def sessions(self) -> list[Any]:
        with reading(self.engine) as connection:
            return list(connection.execute(sa.select(optimization_session)))

    def unsent(self) -> int:
        with reading(self.engine) as connection:
            query = sa.select(sa.func.count()).where(amop_outbox.c.SentAt.is_(None))
            return int(connection.execute(query).scalar_one())
