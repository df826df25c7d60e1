"""Full or incremental: what a synchronisation has to read (C6)."""

from __future__ import annotations

from datetime import datetime, timedelta

from core.sync.store import RunHistory

LIST_OVERLAP = timedelta(hours=1)
"""How much earlier than the last list an incremental one begins: clocks differ, entries come late."""


def modified_since(
    history: RunHistory,
    *,
    account: str,
    full_sync: bool | None,
    max_age: timedelta,
    now: datetime,
) -> datetime | None:
    """Tell from when on an incremental run lists; None: a full run.

    Parameters
    ----------
    account
        The account at the carrier: what an earlier run listed of another one says nothing of it.
    full_sync
        True: full. False: incremental wherever an earlier run allows it. None: full if no full run
        succeeded within ``max_age``, or the last run failed; else incremental.
    """
    last, full = history.last, history.last_full
    if full_sync or last is None or full is None or last.listed_from is None:
        return None
    if any(run.account not in ("", account) for run in (last, full)):
        return None
    is_due = history.has_failed_since or now - full.started_at > max_age
    if is_due and full_sync is None:
        return None
    return last.listed_from - LIST_OVERLAP
