"""Old results go, and what went is told (R5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from core.storage.audit import Author
from core.storage.purge import BATCH_ROWS, Purged, purge, purgeable


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeSummary:
    """What was purged, or would be.

    Attributes
    ----------
    cutoff
        What ended before it is old.
    sessions, sync_runs
        Those that had rows; sessions also where an earlier purge had begun with them.
    rows
        Rows by table, without tables that had none, in the order in which they were emptied.
    is_complete
        False if it was told to stop before its end; another purge goes on with the rest.
    """

    cutoff: datetime
    sessions: int
    sync_runs: int
    rows: dict[str, int]
    is_complete: bool


def purge_old_results(
    engine: sa.Engine,
    *,
    retention_days: int,
    now: datetime,
    author: Author,
    batch_rows: int = BATCH_ROWS,
    on_step: Callable[[Purged], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> PurgeSummary:
    """Purge the results of sessions, and what synchronisations rejected, older than some days.

    Parameters
    ----------
    retention_days
        Age in days from which results are purged, at least 1; counted from the end of the session.
    on_step
        Told after every transaction.
    should_stop
        Asked after every transaction.

    Raises
    ------
    StorageError
        If the database fails; what was purged before stays so.
    """
    cutoff = now - timedelta(days=retention_days)
    done: list[Purged] = []
    is_complete = True
    for step in purge(engine, cutoff=cutoff, now=now, author=author, batch_rows=batch_rows):
        done.append(step)
        on_step(step)
        if should_stop():
            is_complete = False
            break
    return _summary(done, cutoff, is_complete=is_complete)


def preview_purge(engine: sa.Engine, *, retention_days: int, now: datetime) -> PurgeSummary:
    """Count what :func:`purge_old_results` would purge; changes nothing."""
    cutoff = now - timedelta(days=retention_days)
    return _summary(purgeable(engine, cutoff=cutoff), cutoff, is_complete=True)


def _summary(steps: Iterable[Purged], cutoff: datetime, *, is_complete: bool) -> PurgeSummary:
    rows: dict[str, int] = {}
    sessions, runs = set(), set()
    for step in steps:
        if step.session_id is not None:
            sessions.add(step.session_id)
        if step.sync_run_id is not None:
            runs.add(step.sync_run_id)
        if step.table is not None and step.rows:
            rows[step.table] = rows.get(step.table, 0) + step.rows
    return PurgeSummary(
        cutoff=cutoff,
        sessions=len(sessions),
        sync_runs=len(runs),
        rows=rows,
        is_complete=is_complete,
    )
