"""Synchronisation runs: opened, continued by another process, closed; and what came before (C5, C6)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from core.errors import FencedOffError, StorageError, SyncBusyError
from core.sessions.process import host_identity, host_name, is_process_alive
from core.storage.engine import insert_row
from core.storage.schema import (
    billing_period,
    device_sync_run,
    device_usage,
    jasper_device_staging,
    jasper_usage_staging,
)
from core.sync.progress import SyncProgress
from core.sync.store import Period, PublishedRun, RunHistory, RunRequest, SyncRun

CONTINUE_WITHIN = timedelta(hours=6)
"""A run that broke off is continued for so long; what it read would be stale later."""

AFTER_THE_END = timedelta(days=1)
"""A cycle that was read later than this after its last day was read as a whole, in any time zone."""

_RUNS_LOOKED_AT = 100

SILENCE = timedelta(minutes=30)
"""A run that has staged nothing for so long has lost its process: 50 SIMs read one by one at a sixteenth
of a call a second take half of it."""


def open_run(connection: sa.Connection, request: RunRequest, now: datetime) -> SyncRun:
    """Continue the run that broke off, if it was the same request, else fail it and open a new one.

    Raises
    ------
    SyncBusyError
        If the run of another process is at work.
    """
    continued: SyncRun | None = None
    for row in _locked_left(connection, request.service_provider_id):
        _refuse_busy(row, request.session_id)
        continued = continued or _continued(row, request, now)
        if continued is None or continued.id != row["Id"]:
            reason = "broken off: its process ended without closing it"
            close_failed(connection, row["Id"], reason, now)
    if continued is not None:
        update_run(
            connection,
            continued.id,
            Attempt=continued.attempt,
            OptimizationSessionId=request.session_id,
            **_owner(),
        )
        return continued
    run_id = insert_row(
        connection,
        device_sync_run,
        ServiceProviderId=request.service_provider_id,
        OptimizationSessionId=request.session_id,
        BillingPeriodId=request.period_id,
        Kind=request.kind,
        ModifiedSince=request.since,
        PageSize=request.page_size,
        AccountKey=request.account,
        Status="running",
        StartedAt=now,
        Progress=SyncProgress().to_json(),
        **_owner(),
    )
    return SyncRun(
        id=run_id, attempt=1, since=request.since, staged_rows=0, progress=SyncProgress()
    )


def lock_run(connection: sa.Connection, run_id: int) -> sa.RowMapping:
    """Read a run that this transaction goes on with; whoever else wants to waits until it ends.

    Raises
    ------
    StorageError
        If there is none of that number.
    """
    _lock(connection, device_sync_run.c.Id == run_id)
    return load_run(connection, run_id)


def load_run(connection: sa.Connection, run_id: int) -> sa.RowMapping:
    """Read a run.

    Raises
    ------
    StorageError
        If there is none of that number.
    """
    found = connection.execute(sa.select(device_sync_run).where(device_sync_run.c.Id == run_id))
    row = found.mappings().one_or_none()
    if row is None:
        raise StorageError(f"synchronisation run {run_id} is unknown")
    return row


def lists_whole_account(row: sa.RowMapping) -> bool:
    """Whether a run sees every SIM: a full one of an account that lists what is old, too."""
    return bool(row["Kind"] == "full" and row["ModifiedSince"] is None)


def end_broken_runs(
    connection: sa.Connection, provider_id: int, reason: str, now: datetime
) -> None:
    """Close the provider's runs that broke off as failed, so that nobody goes on with them.

    Raises
    ------
    SyncBusyError
        If one is at work in another process.
    """
    for row in _locked_left(connection, provider_id):
        _refuse_busy(row, None)
        close_failed(connection, row["Id"], reason, now)


def require_running(connection: sa.Connection, run: SyncRun) -> None:
    """Refuse to write for a run that has ended or was continued by another process.

    Raises
    ------
    StorageError
        If it has ended.
    FencedOffError
        If another process goes on with it.
    """
    row = lock_run(connection, run.id)
    if row["Status"] != "running":
        msg = f"synchronisation run {run.id} is {row['Status']}, not running: nothing can be staged in it"
        raise StorageError(msg)
    require_attempt(row, run)


def require_attempt(row: sa.RowMapping, run: SyncRun) -> None:
    """Refuse to go on with a run that another process continues.

    Raises
    ------
    FencedOffError
        If it does.
    """
    if row["Attempt"] != run.attempt:
        msg = (
            f"synchronisation run {run.id} is continued by another process (attempt "
            f"{row['Attempt']}): this one, attempt {run.attempt}, writes nothing any more"
        )
        raise FencedOffError(msg)


def update_run(
    connection: sa.Connection,
    run_id: int,
    parameters: Mapping[str, Any] | None = None,
    **values: Any,
) -> None:
    """Change columns of a run, to values or to expressions with parameters."""
    statement = sa.update(device_sync_run).where(device_sync_run.c.Id == run_id).values(**values)
    connection.execute(statement, dict(parameters or {}))


def close_failed(connection: sa.Connection, run_id: int, error: str, now: datetime) -> None:
    """Close a run as failed and clear its staging."""
    clear_staging(connection, run_id)
    update_run(connection, run_id, Status="failed", FinishedAt=now, ErrorMessage=error)


def clear_staging(connection: sa.Connection, run_id: int) -> None:
    """Delete what a run has staged."""
    for staging in (jasper_device_staging, jasper_usage_staging):
        connection.execute(sa.delete(staging).where(staging.c.DeviceSyncRunId == run_id))


def load_history(connection: sa.Connection, service_provider_id: int) -> RunHistory:
    """Read the newest complete runs of a provider, and whether the newest that has ended failed."""
    run = device_sync_run.c

    def newest(*conditions: sa.ColumnElement[bool]) -> PublishedRun | None:
        statement = (
            sa.select(device_sync_run)
            .where(
                run.ServiceProviderId == service_provider_id,
                run.Status == "published",
                *conditions,
            )
            .order_by(run.StartedAt.desc(), run.Id.desc())
            .limit(1)
        )
        row = connection.execute(statement).mappings().one_or_none()
        return None if row is None else _published(row)

    last = newest()
    n_failed = connection.execute(
        sa.select(sa.func.count())
        .select_from(device_sync_run)
        .where(
            run.ServiceProviderId == service_provider_id,
            run.Status == "failed",
            run.Id > (last.run_id if last is not None else 0),
        )
    ).scalar_one()
    unfinished = connection.execute(
        sa.select(run.Kind)
        .where(run.ServiceProviderId == service_provider_id, run.Status == "running")
        .order_by(run.Id.desc())
        .limit(1)
    ).scalar()
    return RunHistory(
        last=last,
        last_full=newest(run.Kind == "full"),
        has_failed_since=n_failed > 0,
        unfinished_kind=unfinished,
    )


def unsynced_periods(
    connection: sa.Connection, service_provider_id: int, before_period_id: int
) -> list[Period]:
    """Read the two billing periods before one, newest first, that were not read after their end.

    What was used between the last synchronisation of a cycle and its end is still missing there.
    """
    period, usage = billing_period.c, device_usage.c
    this_start = sa.select(period.BillingPeriodStart).where(period.Id == before_period_id)
    last_read = (
        sa.select(sa.func.max(usage.ReportedAt))
        .where(usage.ServiceProviderId == service_provider_id, usage.BillingPeriodId == period.Id)
        .scalar_subquery()
    )
    rows = connection.execute(
        sa.select(
            period.Id,
            period.BillingPeriodStart,
            period.BillingPeriodEnd,
            sa.type_coerce(last_read, usage.ReportedAt.type),
        )
        .where(
            period.ServiceProviderId == service_provider_id,
            period.BillingPeriodStart < this_start.scalar_subquery(),
            period.IsDeleted == sa.false(),
        )
        .order_by(period.BillingPeriodStart.desc())
        .limit(2)
    )
    return [
        Period(id=number, start=start)
        for number, start, end, read_at in rows
        if read_at is None or read_at.date() <= end + AFTER_THE_END
    ]


def last_published(connection: sa.Connection, service_provider_id: int) -> int:
    """Tell the newest complete run of a provider; 0 where there is none."""
    run = device_sync_run.c
    found = connection.execute(
        sa.select(run.Id)
        .where(run.ServiceProviderId == service_provider_id, run.Status == "published")
        .order_by(run.StartedAt.desc(), run.Id.desc())
        .limit(1)
    ).scalar()
    return found or 0


def plans_read(connection: sa.Connection, run: sa.RowMapping, period_id: int) -> set[str]:
    """Rate plans of a period that the account's newest run that read it has read, among the last 100.

    Each run reads the plans of the one before, too, so that the newest one knows them all.
    """
    other = device_sync_run.c
    found = connection.execute(
        sa.select(other.Progress)
        .where(
            other.ServiceProviderId == run["ServiceProviderId"],
            other.Status == "published",
            other.AccountKey == run["AccountKey"],
        )
        .order_by(other.StartedAt.desc(), other.Id.desc())
        .limit(_RUNS_LOOKED_AT)
    ).scalars()
    for text in found:
        done = (_progress(text) or SyncProgress()).usage_done
        if plans := {plan for period, plan in done if period == period_id}:
            return plans
    return set()


def previous_period(connection: sa.Connection, run: sa.RowMapping) -> int:
    """Tell the billing period before that of a run; 0 where there is none."""
    period, this = billing_period.c, billing_period.alias().c
    found = connection.execute(
        sa.select(period.Id)
        .where(
            period.ServiceProviderId == run["ServiceProviderId"],
            period.IsDeleted == sa.false(),
            period.BillingPeriodStart
            < sa.select(this.BillingPeriodStart)
            .where(this.Id == run["BillingPeriodId"])
            .scalar_subquery(),
        )
        .order_by(period.BillingPeriodStart.desc())
        .limit(1)
    ).scalar()
    return found or 0


def _lock(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> None:
    """Change runs to what they are, since on SQL Server a row that is only read is not locked."""
    same = device_sync_run.c.Attempt
    connection.execute(sa.update(device_sync_run).where(condition).values(Attempt=same))


def utc_now() -> datetime:
    """Tell the time, aware and in UTC: heartbeats are real times, also where a clock is simulated."""
    return datetime.now(tz=UTC)


def _published(row: sa.RowMapping) -> PublishedRun:
    return PublishedRun(
        run_id=row["Id"],
        kind=row["Kind"],
        started_at=row["StartedAt"],
        listed_from=row["ListedFrom"],
        device_count=row["DeviceCount"],
        account=row["AccountKey"] or "",
    )


def _owner() -> dict[str, Any]:
    return {"OwnerHost": host_identity(), "OwnerPid": os.getpid(), "HeartbeatAt": utc_now()}


def _locked_left(connection: sa.Connection, provider_id: int) -> Sequence[sa.RowMapping]:
    """Read the provider's runs that nobody has closed, newest first; whoever else wants to waits."""
    run = device_sync_run.c
    _lock(connection, run.ServiceProviderId == provider_id)
    statement = (
        sa.select(device_sync_run)
        .where(run.ServiceProviderId == provider_id, run.Status == "running")
        .order_by(run.Id.desc())
    )
    return connection.execute(statement).mappings().all()


def _refuse_busy(row: sa.RowMapping, for_session: int | None) -> None:
    """Refuse while the run's process may live; a session's own run went down with its owner."""
    session_id = row["OptimizationSessionId"]
    if session_id is not None and session_id == for_session:
        return
    pid, host = row["OwnerPid"], row["OwnerHost"]
    if pid is None or row["HeartbeatAt"] is None:
        return
    is_elsewhere = host != host_identity()
    may_live = is_elsewhere or (pid != os.getpid() and is_process_alive(pid))
    if may_live and utc_now() - row["HeartbeatAt"] < SILENCE:
        msg = (
            f"synchronisation run {row['Id']} of provider {row['ServiceProviderId']} is at work "
            f"(process {pid} on {host_name(host)}): wait until it has ended"
        )
        raise SyncBusyError(msg)


def _continued(row: sa.RowMapping, request: RunRequest, now: datetime) -> SyncRun | None:
    """Return the hold on a run that broke off; None where it cannot be continued."""
    if (
        row["Kind"] != request.kind
        or row["BillingPeriodId"] != request.period_id
        or row["PageSize"] != request.page_size
        or row["AccountKey"] != request.account
        or now - row["StartedAt"] > CONTINUE_WITHIN
    ):
        return None
    progress = _progress(row["Progress"])
    if progress is None:
        return None
    return SyncRun(
        id=row["Id"],
        attempt=row["Attempt"] + 1,
        since=row["ModifiedSince"] if row["Kind"] == "incremental" else None,
        staged_rows=row["StagedCount"],
        progress=progress,
    )


def _progress(text: str | None) -> SyncProgress | None:
    """Read a run's progress; None where another version of this software wrote it."""
    try:
        return SyncProgress.from_json(text or "")
    except (ValueError, KeyError, TypeError, json.JSONDecodeError):
        return None
