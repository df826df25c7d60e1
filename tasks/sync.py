"""Stage SYNCING as a task: from the carrier into the device tables (C2, C4, C5)."""

from __future__ import annotations

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE

from core import bootstrap
from core.settings import load_settings
from core.stages.session import load_context
from core.stages.syncing import sync_session
from core.sync.run import SyncResult
from tasks.session import utc_now

LOG = logging.getLogger(__name__)


@task(name="sync-devices", cache_policy=NO_CACHE)
def sync_devices_task(session_id: int, attempt: int) -> SyncResult:
    """Fetch, validate, stage and publish the provider's devices and usage."""
    settings = load_settings()
    engine = bootstrap.open_database(settings)
    context = load_context(engine, session_id, attempt)
    client = bootstrap.carrier_client(context.provider, settings)
    try:
        summary = sync_session(engine, context, client, now=utc_now)
    finally:
        client.close()
    LOG.info("session %d synchronised: %s", session_id, summary)
    return summary
