"""Stage FINALISING as a task: winners, totals, reports (R1, R2)."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from core import bootstrap
from core.settings import load_settings
from core.stages.finalising import FinalSummary, discard_session, finalise_session
from core.stages.session import load_context
from tasks.session import utc_now

LOG = logging.getLogger(__name__)


@task(name="finalize-session", cache_policy=NO_CACHE)
def finalize_session_task(session_id: int, attempt: int) -> FinalSummary:
    """Publish the winners, remove what lost, write the reports."""
    engine = bootstrap.open_database()
    summary = finalise_session(
        engine,
        load_context(engine, session_id, attempt),
        report_dir=report_dir(session_id),
        max_rate_plans=load_settings().max_rate_plans,
        now=utc_now(),
    )
    LOG.info("session %d finalised: %s", session_id, summary)
    return summary


@task(name="discard-session", cache_policy=NO_CACHE)
def discard_session_task(session_id: int, attempt: int) -> FinalSummary:
    """Remove what a failed or cancelled session had not published; it has no totals."""
    engine = bootstrap.open_database()
    return discard_session(engine, load_context(engine, session_id, attempt), now=utc_now())


def report_dir(session_id: int) -> Path:
    """Folder of a session's reports."""
    return load_settings().output_dir / f"session-{session_id}"
