"""Removes the results of sessions that finished long ago, in small transactions (R5).

A session is purged as a whole for everybody who reads: the first transaction sets its
``ResultsPurgedDate`` and enters the audit event, and from then on nothing of it is shown. Only then its
rows go, children first, at most ``BATCH_ROWS`` in a transaction, which holds few locks for a short
time. A purge that is killed leaves a marked session with some rows; the next one takes them away.

The session's own row, the audit log, the outbox and the journal of plan changes stay. Rejects and
staging of synchronisation runs that ended as long ago go as well, but never those of a provider's last
published run, which a later session may still report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from core.storage import audit
from core.storage.audit import AuditEvent, Author
from core.storage.bulk import MAX_LIST
from core.storage.engine import reading, writing
from core.storage.legacy_ids import FINAL_STATES
from core.storage.purge_tables import PurgeTable, purge_tables
from core.storage.retry import retried
from core.storage.schema import device_sync_run, optimization_session

BATCH_ROWS = 4_000
"""Most rows of a transaction; SQL Server locks a whole table from 5,000 locks of a statement on."""

_SESSION, _RUN = optimization_session.c, device_sync_run.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What one transaction of a purge took away, or what is there to be taken away.

    Attributes
    ----------
    session_id, sync_run_id
        Whose rows; one of the two is None.
    table
        Name of the table; None for the transaction that marks a session.
    """

    session_id: int | None = None
    sync_run_id: int | None = None
    table: str | None = None
    rows: int = 0


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Rows of a table by owner, ascending by owner."""

    table: PurgeTable
    rows_by_owner: Sequence[tuple[int, int]]

    @property
    def total(self) -> int:
        return sum(rows for _, rows in self.rows_by_owner)


def purge(
    engine: sa.Engine,
    *,
    cutoff: datetime,
    now: datetime,
    author: Author,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[Purged]:
    """Purge what finished before a moment; every step is a transaction that is over when told.

    It may be left off after any step, and gone on with by another purge.

    Parameters
    ----------
    cutoff
        Sessions and synchronisation runs that ended before this aware moment are purged.
    batch_rows
        Most rows that one transaction deletes, at least 1.

    Raises
    ------
    StorageError
        If the database fails.
    """
    if batch_rows < 1:
        msg = f"batch_rows is {batch_rows}: at least 1"
        raise ValueError(msg)
    for session in _old_sessions(engine, cutoff):
        sizes = _sizes(engine, optimization_session, session.Id)
        if session.ResultsPurgedDate is None:
            if not _mark(engine, session, sizes, cutoff, now, author):
                continue  # it was resumed, or another purge has it in hand
            yield Purged(session_id=session.Id)
        for table, rows in _delete(engine, sizes, batch_rows):
            yield Purged(session_id=session.Id, table=table, rows=rows)
    for run_id in _old_runs(engine, cutoff):
        for table, rows in _delete(engine, _sizes(engine, device_sync_run, run_id), batch_rows):
            yield Purged(sync_run_id=run_id, table=table, rows=rows)


def purgeable(engine: sa.Engine, *, cutoff: datetime) -> Iterator[Purged]:
    """Tell what :func:`purge` would take away, in its order; changes nothing."""
    for session in _old_sessions(engine, cutoff):
        if session.ResultsPurgedDate is None:
            yield Purged(session_id=session.Id)
        for one in _sizes(engine, optimization_session, session.Id):
            yield Purged(session_id=session.Id, table=one.table.table.name, rows=one.total)
    for run_id in _old_runs(engine, cutoff):
        for one in _sizes(engine, device_sync_run, run_id):
            yield Purged(sync_run_id=run_id, table=one.table.table.name, rows=one.total)


@retried
def _old_sessions(engine: sa.Engine, cutoff: datetime) -> Sequence[sa.Row[*tuple[Any, ...]]]:
    """Read the finished sessions that have rows to purge, and those whose purge broke off."""
    statement = (
        sa.select(
            _SESSION.Id, _SESSION.TenantId, _SESSION.ServiceProviderId, _SESSION.ResultsPurgedDate
        )
        .where(
            sa.or_(_is_over(cutoff), _SESSION.ResultsPurgedDate.is_not(None)),
            _has_rows(optimization_session),
        )
        .order_by(_SESSION.Id)
    )
    with reading(engine) as connection:
        return connection.execute(statement).all()


def _is_over(cutoff: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(_SESSION.State.in_(FINAL_STATES), _SESSION.CompletedDate < cutoff)


@retried
def _old_runs(engine: sa.Engine, cutoff: datetime) -> Sequence[int]:
    """Read the ended runs that have rows to purge, but no provider's last published one."""
    later = device_sync_run.alias("later")
    is_replaced = (
        sa.select(sa.literal(1))
        .where(
            later.c.ServiceProviderId == _RUN.ServiceProviderId,
            later.c.Status == "published",
            later.c.StartedAt > _RUN.StartedAt,
        )
        .exists()
    )
    statement = (
        sa.select(_RUN.Id)
        .where(
            _RUN.Status != "running",
            _RUN.FinishedAt < cutoff,
            sa.or_(_RUN.Status != "published", is_replaced),
            _has_rows(device_sync_run),
        )
        .order_by(_RUN.Id)
    )
    with reading(engine) as connection:
        return connection.execute(statement).scalars().all()


def _has_rows(root: sa.Table) -> sa.ColumnElement[bool]:
    return sa.or_(
        *(
            sa.select(sa.literal(1)).where(one.owner == root.c.Id).exists()
            for one in purge_tables(root)
            if one.parent is None
        )
    )


@retried
def _sizes(engine: sa.Engine, root: sa.Table, root_id: int) -> list[_Sizes]:
    """Count the rows under a root, table by table in the order of the purge."""
    with reading(engine) as connection:
        return [
            _Sizes(
                one, [(owner, n) for owner, n in connection.execute(one.count_by_owner(root_id))]
            )
            for one in purge_tables(root)
        ]


@retried
def _mark(
    engine: sa.Engine,
    session: sa.Row[*tuple[Any, ...]],
    sizes: Iterable[_Sizes],
    cutoff: datetime,
    now: datetime,
    author: Author,
) -> bool:
    """Hide a session's results and enter the event; False if the session is no longer to be purged."""
    event = AuditEvent(
        occurred_at=now,
        actor=author.actor,
        source=author.source,
        run_id=author.run_id,
        action="session.purged",
        subject=f"session {session.Id}",
        tenant_id=session.TenantId,
        service_provider_id=session.ServiceProviderId,
        session_id=session.Id,
        details={"rows": {one.table.table.name: one.total for one in sizes}},
    )
    statement = (
        sa.update(optimization_session)
        .where(_SESSION.Id == session.Id, _is_over(cutoff), _SESSION.ResultsPurgedDate.is_(None))
        .values(ResultsPurgedDate=now)
    )
    with writing(engine) as connection:
        if connection.execute(statement).rowcount != 1:
            return False
        audit.append(connection, event)
    return True


def _delete(
    engine: sa.Engine, sizes: Iterable[_Sizes], batch_rows: int
) -> Iterator[tuple[str, int]]:
    """Delete the counted rows, a transaction a step; tells the table and how many."""
    for one in sizes:
        for owners, rows in _packed(one.rows_by_owner, batch_rows):
            left = rows
            while left > 0:
                n_deleted = _delete_batch(engine, one.table, owners, left, batch_rows)
                if not n_deleted:
                    break  # another purge was faster
                left -= n_deleted
                yield one.table.table.name, n_deleted


@retried
def _delete_batch(
    engine: sa.Engine, table: PurgeTable, owners: Sequence[int], left: int, batch_rows: int
) -> int:
    """Delete all rows of some owners, or the first ones of a single owner that has too many."""
    statements = [table.delete_owned(owners)]
    with writing(engine) as connection:
        if left > batch_rows:
            bound = connection.execute(table.bound(owners[0], batch_rows)).one_or_none()
            if bound is not None:
                statements = table.delete_up_to(owners[0], bound)
        return sum(connection.execute(statement).rowcount for statement in statements)


def _packed(
    rows_by_owner: Iterable[tuple[int, int]], batch_rows: int
) -> Iterator[tuple[list[int], int]]:
    """Put owners together whose rows fit into one transaction; one that has more stands alone."""
    owners: list[int] = []
    total = 0
    for owner, rows in rows_by_owner:
        if owners and (total + rows > batch_rows or len(owners) == MAX_LIST):
            yield owners, total
            owners, total = [], 0
        owners.append(owner)
        total += rows
    if owners:
        yield owners, total
