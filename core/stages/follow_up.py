"""What follows a synchronisation: an export, or proposals of plan changes (C7)."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from core.changes.proposals import propose_changes, require_recommendations
from core.domain import NextStep
from core.stages.exporting import export_provider_devices
from core.storage.audit import Author
from core.storage.records import PeriodRecord, ProviderRecord
from core.sync.export import require_target


def require_follow_up(
    engine: sa.Engine,
    provider: ProviderRecord,
    period: PeriodRecord,
    next_step: NextStep,
    *,
    export_url: str,
) -> None:
    """Refuse a next step that could not be done, before hours of calls are made for it.

    Raises
    ------
    InputError, ExportError
        As :func:`follow_up`.
    """
    match next_step:
        case NextStep.DEVICE_USAGE_EXPORT:
            require_target(export_url)
        case NextStep.UPDATE_DEVICE_RATE_PLAN:
            require_recommendations(engine, provider.id, period.id)
        case NextStep.DEVICE_USAGE_BY_RATE_PLAN:
            pass


def follow_up(
    engine: sa.Engine,
    provider: ProviderRecord,
    period: PeriodRecord,
    next_step: NextStep,
    *,
    export_url: str,
    author: Author,
    now: datetime,
) -> dict[str, Any]:
    """Do the next step, and tell what it left: files, or numbers of proposals.

    Raises
    ------
    InputError
        If there is no session whose changes could be proposed, or the export's address is no address.
    ExportError
        If the files cannot be written.
    """
    match next_step:
        case NextStep.DEVICE_USAGE_EXPORT:
            return asdict(export_provider_devices(engine, provider, period, export_url))
        case NextStep.UPDATE_DEVICE_RATE_PLAN:
            return asdict(propose_changes(engine, provider.id, period.id, author=author, now=now))
        case NextStep.DEVICE_USAGE_BY_RATE_PLAN:
            return {}
