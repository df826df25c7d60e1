"""Stage SYNCING: the carrier's SIMs and usage into the device tables (C2, C4, C5)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from core.carriers.base import MIN_PAGE_LIMIT, CarrierClient
from core.stages.session import SessionContext
from core.storage.catalogue import load_communication_plans, load_rate_plans
from core.storage.devices import SqlDeviceStore
from core.sync.run import SyncRequest, SyncResult, sync_devices
from core.sync.store import PublishedRun


def sync_session(
    engine: sa.Engine,
    context: SessionContext,
    client: CarrierClient,
    *,
    now: Callable[[], datetime],
) -> SyncResult:
    """Synchronise the provider of a session, the whole account.

    Doing it again is a new run; until it is published the tables hold what the last one published.

    Raises
    ------
    CarrierError
        If the carrier's data cannot be had completely; the device tables are then unchanged.
    """
    store = SqlDeviceStore(engine)
    plans = load_rate_plans(engine, context.provider.id)
    prorated = {plan.code for plan in plans if plan.is_prorated}
    request = SyncRequest(
        service_provider_id=context.provider.id,
        period_id=context.period.id,
        cycle=context.period.cycle,
        session_id=context.session_id,
        time_zone=context.provider.time_zone,
        known_rate_plans={plan.code for plan in plans},
        prorated_rate_plans=prorated if context.provider.uses_proration else (),
        prorated_communication_plans={
            plan.name
            for plan in load_communication_plans(engine, context.provider.id)
            if context.provider.uses_proration and prorated.intersection(plan.rate_plan_codes)
        },
        max_pages=_max_pages(store.last_published(context.provider.id), client),
    )
    return sync_devices(client, store, request, clock=now)


def _max_pages(before: PublishedRun | None, client: CarrierClient) -> int:
    """Twice the pages that the fleet needs, and never few (C2)."""
    n_devices = before.device_count if before is not None else 0
    return max(MIN_PAGE_LIMIT, 2 * -(-n_devices // client.capabilities.page_size))
