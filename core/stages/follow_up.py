"""What follows a synchronisation: an export, or proposals of plan changes (C7)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from core.errors import NotAvailableError
from core.domain import NextStep
from core.storage.records import PeriodRecord, ProviderRecord


def follow_up(
    engine: sa.Engine,
    provider: ProviderRecord,
    period: PeriodRecord,
    next_step: NextStep,
    *,
    export_url: str,
    now: datetime,
) -> dict[str, Any]:
    """Do the next step, and tell what it left."""
    raise NotAvailableError(f"next_step={next_step.value!r}")
