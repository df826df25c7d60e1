"""Stage GROUPING as a task: eligibility, groups, plan validation (E1, G1-G3, V1-V3)."""

from __future__ import annotations

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE

from core import bootstrap
from core.settings import load_settings
from core.stages.grouping import GroupingSummary, group_session
from core.stages.session import load_context
from tasks.session import utc_now

LOG = logging.getLogger(__name__)


@task(name="group-devices", cache_policy=NO_CACHE)
def group_devices_task(session_id: int, attempt: int) -> GroupingSummary:
    """Group the provider's SIMs and keep the snapshot that the session works on."""
    settings = load_settings()
    engine = bootstrap.open_database(settings)
    summary = group_session(
        engine,
        load_context(engine, session_id, attempt),
        max_rate_plans=settings.max_rate_plans,
        now=utc_now(),
    )
    LOG.info("session %d grouped: %s", session_id, summary)
    return summary
