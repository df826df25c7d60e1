"""Stage SYNCING as a task: from the carrier into the device tables (C2, C4, C5)."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from core import bootstrap
from core.domain import NextStep
from core.sessions.lifecycle import Author
from core.settings import load_settings
from core.stages.follow_up import follow_up, require_follow_up
from core.stages.syncing import SyncOptions, sync_provider
from core.storage.catalogue import load_period, load_provider
from core.sync.run import SyncResult
from core.sync.telling import each_minute
from tasks.session import utc_now

LOG = logging.getLogger(__name__)


@task(name="sync-devices", cache_policy=NO_CACHE)
def sync_devices_task(
    service_provider_id: int,
    billing_period_id: int,
    *,
    full_sync: bool | None,
    next_step: NextStep,
    session_id: int | None,
) -> SyncResult:
    """Fetch, validate, stage and publish the provider's devices and usage."""
    settings = load_settings()
    engine = bootstrap.open_database(settings)
    provider = load_provider(engine, service_provider_id)
    period = load_period(engine, billing_period_id)
    require_follow_up(engine, provider, period, next_step, export_url=settings.export_url)
    client = bootstrap.carrier_client(provider, settings, engine)
    try:
        result = sync_provider(
            engine,
            provider,
            period,
            client,
            options=SyncOptions(
                full_sync=full_sync,
                full_sync_max_age=timedelta(days=settings.full_sync_max_age_days),
                next_step=next_step,
            ),
            session_id=session_id,
            now=utc_now,
            on_progress=each_minute(lambda line: _tell(provider.id, line)),
        )
    finally:
        client.close()
    _tell(provider.id, result.summary())
    return result


def _tell(provider_id: int, line: str) -> None:
    """Log a line for the run's page in Prefect's UI, and for whoever follows our own logs."""
    for logger in (get_run_logger(), LOG):
        logger.info("provider %d: %s", provider_id, line)


@task(name="follow-up", cache_policy=NO_CACHE)
def follow_up_task(
    service_provider_id: int, billing_period_id: int, next_step: NextStep, author: Author
) -> dict[str, Any]:
    """Do what follows a synchronisation, and tell what it left (C7)."""
    settings = load_settings()
    engine = bootstrap.open_database(settings)
    provider = load_provider(engine, service_provider_id)
    period = load_period(engine, billing_period_id)
    return follow_up(
        engine,
        provider,
        period,
        next_step,
        export_url=settings.export_url,
        author=author,
        now=utc_now(),
    )
