"""Stage SEQUENCING as a task: candidate sequences become queues (O5)."""

from __future__ import annotations

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE

from core import bootstrap
from core.settings import load_settings
from core.stages.sequencing import sequence_session
from core.stages.session import load_context
from tasks.session import utc_now

LOG = logging.getLogger(__name__)


@task(name="generate-sequences", cache_policy=NO_CACHE)
def generate_sequences_task(session_id: int, attempt: int) -> int:
    """Store the sequences of every group; returns their number."""
    settings = load_settings()
    engine = bootstrap.open_database(settings)
    count = sequence_session(
        engine,
        load_context(engine, session_id, attempt),
        max_rate_plans=settings.max_rate_plans,
        max_sequences=settings.max_sequences,
        now=utc_now(),
    )
    LOG.info("session %d has %d sequences", session_id, count)
    return count
