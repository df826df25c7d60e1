"""Stage SYNCING: the carrier's SIMs and usage into the device tables, and what follows (C2 - C7)."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from core.carriers.base import MIN_PAGE_LIMIT, CarrierClient
from core.domain import NextStep
from core.errors import CarrierError
from core.storage.catalogue import load_communication_plans, load_rate_plans
from core.storage.device_store import SqlDeviceStore
from core.storage.records import PeriodRecord, ProviderRecord
from core.sync.kind import modified_since
from core.sync.run import SyncRequest, SyncResult, sync_devices
from core.sync.store import OnProgress, RunHistory

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions:
    """How to synchronise.

    Attributes
    ----------
    full_sync
        True: the whole account. False: what was modified, wherever possible. None: as needed (C6).
    full_sync_max_age
        A full run is due that long after the last one.
    accept_lower_usage
        Take usage below what was known of the same period, as a correction by the carrier (C4).
    """

    full_sync: bool | None = None
    full_sync_max_age: timedelta = timedelta(days=30)
    accept_lower_usage: bool = False
    next_step: NextStep = NextStep.DEVICE_USAGE_BY_RATE_PLAN


def sync_provider(
    engine: sa.Engine,
    provider: ProviderRecord,
    period: PeriodRecord,
    client: CarrierClient,
    *,
    options: SyncOptions,
    session_id: int | None = None,
    now: Callable[[], datetime],
    on_progress: OnProgress | None = None,
) -> SyncResult:
    """Synchronise a provider: the whole account, or what was modified since the last time (C6).

    A run that broke off is continued; until it is published the tables hold what the last one
    published.

    Raises
    ------
    CarrierError
        If the carrier's data cannot be had completely; the device tables are then unchanged.
    SyncBusyError
        If another process synchronises the provider.
    """
    store = SqlDeviceStore(engine)
    history = store.history(provider.id)
    plans = load_rate_plans(engine, provider.id)
    prorated = {plan.code for plan in plans if plan.is_prorated}
    since = modified_since(
        history,
        account=_account_key(provider),
        full_sync=options.full_sync,
        max_age=options.full_sync_max_age,
        now=now(),
    )
    is_full_unfinished = history.unfinished_kind == "full" and options.full_sync is None
    if is_full_unfinished or not client.capabilities.lists_modified_since:
        since = None
    request = SyncRequest(
        service_provider_id=provider.id,
        period_id=period.id,
        cycle=period.cycle,
        account=_account_key(provider),
        session_id=session_id,
        time_zone=provider.time_zone,
        since=since,
        reads_usage=options.next_step is not NextStep.UPDATE_DEVICE_RATE_PLAN,
        accepts_lower_usage=options.accept_lower_usage,
        reads_history=True,
        known_rate_plans={plan.code for plan in plans},
        prorated_rate_plans=prorated if provider.uses_proration else (),
        prorated_communication_plans={
            plan.name
            for plan in load_communication_plans(engine, provider.id)
            if provider.uses_proration and prorated.intersection(plan.rate_plan_codes)
        },
        max_pages=_max_pages(history, client),
    )
    try:
        return sync_devices(client, store, request, clock=now, on_progress=on_progress)
    except CarrierError as error:
        LOG.error(  # noqa: TRY400 - the message says it, and whoever catches it says it again
            "synchronisation of provider %d failed, its devices are unchanged: %s",
            provider.id,
            error,
        )
        raise


def _account_key(provider: ProviderRecord) -> str:
    """Name the account at the carrier, without its address or user standing anywhere."""
    account = f"{provider.integration} {provider.base_url} {provider.credential_ref}"
    return hashlib.sha256(account.encode()).hexdigest()


def _max_pages(history: RunHistory, client: CarrierClient) -> int:
    """Twice the pages that the fleet needs, and never few (C2)."""
    n_devices = history.last_full.device_count if history.last_full is not None else 0
    return max(MIN_PAGE_LIMIT, 2 * -(-n_devices // client.capabilities.page_size))
