"""The purge of old results as a task (R5)."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from core import bootstrap
from core.sessions.lifecycle import Author
from core.settings import load_settings
from core.stages.purging import preview_purge, purge_old_results
from tasks.session import utc_now

LOG = logging.getLogger(__name__)


@task(name="purge-old-results", cache_policy=NO_CACHE)
def purge_old_results_task(
    older_than_days: int | None, author: Author, *, dry_run: bool
) -> dict[str, Any]:
    """Purge, or count what would be purged; what was done before a failure stays done."""
    settings = load_settings()
    engine = bootstrap.open_database(settings)
    days = settings.retention_days if older_than_days is None else older_than_days
    if dry_run:
        found = preview_purge(engine, retention_days=days, now=utc_now())
    else:
        found = purge_old_results(engine, retention_days=days, now=utc_now(), author=author)
    LOG.info("%d sessions, %d rows", found.sessions, sum(found.rows.values()))
    return asdict(found)
