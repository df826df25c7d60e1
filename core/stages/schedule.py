"""Before a session: which provider and period, and whether a scheduled run may start (S1, S3)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from core.errors import InputError, SessionBusyError
from core.sessions.parameters import RunRequest
from core.sessions.window import RunWindow, Slot, check_due, load_time_zone, local_now
from core.storage.catalogue import current_period, load_period, load_provider
from core.storage.records import PeriodRecord, ProviderRecord
from core.storage.slots import bind_slot, claim_slot, release_slot


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledStart:
    """Whether a run may start, and the slot that it has claimed.

    Attributes
    ----------
    slot
        None for a manual or API run, which needs none.
    """

    engine: sa.Engine
    run_id: str
    is_due: bool
    reason: str
    slot: Slot | None = None

    def bind(self, session_id: int) -> None:
        """Note which session came of the slot."""
        if self.slot is not None:
            bind_slot(self.engine, self.slot, claimed_by=self.run_id, session_id=session_id)


def find_target(engine: sa.Engine, request: RunRequest) -> tuple[ProviderRecord, PeriodRecord]:
    """Look up the provider and the billing period of a request; no period means today's.

    Raises
    ------
    InputError
        If one of them is unknown, inactive, or not the other's.
    """
    provider, period = find_period(engine, request.service_provider_id, request.billing_period_id)
    if request.tenant_id not in (None, provider.tenant_id):
        raise InputError(
            f"tenant_id is {request.tenant_id}, but service provider {provider.id} belongs to "
            f"tenant {provider.tenant_id}; correct one of the two"
        )
    return provider, period


def find_period(
    engine: sa.Engine, service_provider_id: int, billing_period_id: int | None
) -> tuple[ProviderRecord, PeriodRecord]:
    """Look up an active provider and its billing period; no period means today's.

    Raises
    ------
    InputError
        If one of them is unknown, inactive, or not the other's.
    """
    provider = load_provider(engine, service_provider_id)
    if not provider.is_active:
        raise InputError(f"service provider {provider.id} ({provider.name!r}) is not active")
    if billing_period_id is None:
        today = local_now(datetime.now(tz=UTC), load_time_zone(provider.time_zone)).date()
        return provider, current_period(engine, provider.id, today)
    period = load_period(engine, billing_period_id)
    if period.service_provider_id != provider.id:
        raise InputError(
            f"billing period {period.id} belongs to service provider {period.service_provider_id}, "
            f"not to {provider.id}; see `carrier-opt periods list`"
        )
    return provider, period


@contextmanager
def scheduled_start(
    engine: sa.Engine,
    provider: ProviderRecord,
    period: PeriodRecord,
    *,
    is_scheduled: bool,
    run_id: str,
    window_days: int,
) -> Iterator[ScheduledStart]:
    """Claim the slot of a scheduled run; a manual or API run needs none.

    A run that meets a busy tenant gives its slot back, so that it is due again at the next tick.
    """
    if not is_scheduled:
        yield ScheduledStart(engine=engine, run_id=run_id, is_due=True, reason="started on demand")
        return
    now = datetime.now(tz=UTC)
    window = RunWindow(
        cycle=period.cycle,
        time_zone=load_time_zone(provider.time_zone),
        start_hour=provider.start_hour,
        window_days=window_days,
    )
    due = check_due(window, provider.id, now)
    if due.slot is None:
        yield ScheduledStart(engine=engine, run_id=run_id, is_due=False, reason=due.reason)
        return
    claim = claim_slot(engine, due.slot, claimed_by=run_id, now=now)
    start = ScheduledStart(
        engine=engine,
        run_id=run_id,
        is_due=claim.is_mine,
        reason=due.reason if claim.is_mine else f"slot {due.slot} is taken by {claim.claimed_by}",
        slot=due.slot if claim.is_mine else None,
    )
    try:
        yield start
    except SessionBusyError:
        if start.slot is not None:
            release_slot(engine, start.slot, claimed_by=run_id)
        raise
