"""Staging and publishing of devices and usage, a run at a time, in the database (C5).

Staged rows belong to a run and are invisible until :meth:`SqlDeviceStore.publish`, which is one
transaction. A run that fails leaves the device tables as they were; one whose process died goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from core.carriers.iccid import match_keys
from core.domain import MAX_COUNT, MAX_USAGE_BYTES
from core.errors import StorageError
from core.storage import sync_runs
from core.storage.bulk import Merge, merge_frame, read_frame, slices
from core.storage.device_publish import (
    adopt_device_forms,
    adopt_forms,
    keep_rejected,
    publish_devices,
    publish_usage,
    remove_unseen,
)
from core.storage.engine import reading, writing
from core.storage.schema import (
    device,
    device_sync_run,
    device_usage,
    jasper_device_staging,
    jasper_usage_staging,
)
from core.storage.staged_sims import iccids_to_ask, iccids_without_usage, used_rate_plans
from core.storage.sync_rejects import add_rejects, count_rejects
from core.sync.progress import SyncProgress
from core.sync.store import (
    USAGE_SUM_SCHEMA,
    Period,
    PublishCounts,
    RunCounts,
    RunHistory,
    RunRequest,
    SyncRun,
)

SPIKE_FACTOR, SPIKE_BYTES = 10, 1 << 30
"""Usage is unusual that is over 1 GiB and over 10 times that of the cycle before (C4)."""

UNUSUAL_ROWS = 50_000
"""Unusual SIMs that are handed out at once."""


class SqlDeviceStore:
    """The device store of :mod:`core.sync.store` in the database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def open_run(self, request: RunRequest, *, now: datetime) -> SyncRun:
        """Continue the provider's run that broke off, if it was the same request, or open one.

        Raises
        ------
        SyncBusyError
            If a run of the provider is at work in another process.
        """
        with writing(self._engine) as connection:
            return sync_runs.open_run(connection, request, now)

    def stage_devices(
        self, run: SyncRun, rows: pl.DataFrame, rejects: pl.DataFrame, progress: SyncProgress
    ) -> None:
        """Add devices; of a SIM the row with the largest position stays, ICCID and all.

        An activation date once told stays where a later row tells none. Adding the same rows again
        changes nothing but the number of duplicates.

        Raises
        ------
        StorageError
            If the run is not running.
        FencedOffError
            If another process continues it.
        """
        staged = rows.select(
            pl.lit(run.id, dtype=pl.Int64).alias("DeviceSyncRunId"),
            MatchKey=match_keys(rows["iccid"]),
            ICCID="iccid",
            Position="position",
            Status="status",
            RatePlan="rate_plan",
            CommunicationPlan="communication_plan",
            ActivatedDate="activated_date",
            AsksActivation="asks_activation",
        )
        replaced = (
            "ICCID", "Position", "Status", "RatePlan", "CommunicationPlan", "AsksActivation",
        )  # fmt: skip
        with writing(self._engine) as connection:
            sync_runs.require_running(connection, run)
            merge_frame(
                connection,
                jasper_device_staging,
                staged,
                keys=("DeviceSyncRunId", "MatchKey"),
                rules={
                    **dict.fromkeys(replaced, Merge.REPLACE),
                    "ActivatedDate": Merge.REPLACE_UNLESS_NULL,
                },
                newest_by="Position",
            )
            scan = progress.scan
            self._advance(
                connection,
                run,
                rejects,
                progress,
                StagedCount=device_sync_run.c.StagedCount + rows.height,
                PagesFetched=device_sync_run.c.PagesFetched + 1,
                LastPage=scan.page if scan is not None else None,
            )

    def stage_usage(
        self,
        run: SyncRun,
        rows: pl.DataFrame,
        rejects: pl.DataFrame,
        progress: SyncProgress,
        *,
        period_id: int,
    ) -> None:
        """Add usage; the same SIM, rate plan and zone again is replaced.

        Raises
        ------
        StorageError
            If the run is not running.
        FencedOffError
            If another process continues it.
        """
        staged = rows.select(
            pl.lit(run.id, dtype=pl.Int64).alias("DeviceSyncRunId"),
            pl.lit(period_id, dtype=pl.Int64).alias("BillingPeriodId"),
            MatchKey=match_keys(rows["iccid"]),
            RatePlan="rate_plan",
            Zone="zone",
            ICCID="iccid",
            UsageBytes="usage_bytes",
            SmsCount="sms_count",
            VoiceSeconds="voice_seconds",
        )
        replaced = ("ICCID", "UsageBytes", "SmsCount", "VoiceSeconds")
        with writing(self._engine) as connection:
            sync_runs.require_running(connection, run)
            merge_frame(
                connection,
                jasper_usage_staging,
                staged,
                keys=("DeviceSyncRunId", "BillingPeriodId", "MatchKey", "RatePlan", "Zone"),
                rules=dict.fromkeys(replaced, Merge.REPLACE),
            )
            pages = device_sync_run.c.PagesFetched + 1
            self._advance(connection, run, rejects, progress, PagesFetched=pages)

    def stage_activation(self, run: SyncRun, rows: pl.DataFrame, rejects: pl.DataFrame) -> None:
        """Note the activation dates of staged devices, null where none could be had.

        Raises
        ------
        StorageError
            If the run is not running.
        FencedOffError
            If another process continues it.
        """
        staged = jasper_device_staging.c
        told = sa.bindparam("activated_date", type_=sa.Date)
        statement = (
            sa.update(jasper_device_staging)
            .where(staged.DeviceSyncRunId == run.id, staged.MatchKey == sa.bindparam("match_key"))
            .values(
                ActivatedDate=sa.func.coalesce(told, staged.ActivatedDate),
                AsksActivation=sa.false(),
            )
        )
        known = rows.select(match_keys(rows["iccid"]).alias("match_key"), "activated_date")
        with writing(self._engine) as connection:
            sync_runs.require_running(connection, run)
            for part in slices(known):
                connection.execute(statement, part.to_dicts())
            self._advance(connection, run, rejects, None)

    def save_progress(self, run: SyncRun, progress: SyncProgress) -> None:
        """Note how far the run has come.

        Raises
        ------
        StorageError
            If the run is not running.
        FencedOffError
            If another process continues it.
        """
        with writing(self._engine) as connection:
            sync_runs.require_running(connection, run)
            self._advance(connection, run, None, progress)

    def used_rate_plans(self, run: SyncRun) -> list[str]:
        """Read the distinct rate plans of the staged and the published SIMs, ascending."""
        with reading(self._engine) as connection:
            return used_rate_plans(connection, sync_runs.load_run(connection, run.id))

    def iccids_without_usage(
        self, run: SyncRun, rate_plan: str, *, period_id: int
    ) -> Iterator[list[str]]:
        """Read the SIMs on a rate plan whose whole usage is not staged yet, in slices."""
        return iccids_without_usage(self._engine, run.id, rate_plan, period_id)

    def iccids_to_ask(self, run: SyncRun) -> Iterator[list[str]]:
        """Read the staged SIMs whose activation date is needed and not asked for yet, in slices."""
        return iccids_to_ask(self._engine, run.id)

    def unusual_usage(self, run: SyncRun) -> Iterator[pl.DataFrame]:
        """Read the SIMs whose staged usage is impossible or unusual, the impossible ones first.

        Unusual is usage that has fallen since it was known last, or that is far above that of the
        period before. After :meth:`drop_usage` of what is impossible or has fallen the next part
        follows; of usage that jumped, the first ``UNUSUAL_ROWS``.
        """
        with writing(self._engine) as connection:
            sync_runs.require_running(connection, run)
            adopt_device_forms(connection, sync_runs.load_run(connection, run.id))
        while True:
            with reading(self._engine) as connection:
                found = self._unusual(connection, sync_runs.load_run(connection, run.id))
            yield found
            n_lasting = (found["usage_bytes"] >= found["known_bytes"].fill_null(0)).sum()
            if found.height < UNUSUAL_ROWS or n_lasting == found.height:
                return

    def drop_period(self, run: SyncRun, period_id: int) -> None:
        """Take back all the staged usage of one billing period.

        Raises
        ------
        StorageError
            If the run is not running.
        FencedOffError
            If another process continues it.
        """
        staged = jasper_usage_staging.c
        with writing(self._engine) as connection:
            sync_runs.require_running(connection, run)
            connection.execute(
                sa.delete(jasper_usage_staging).where(
                    staged.DeviceSyncRunId == run.id, staged.BillingPeriodId == period_id
                )
            )

    def drop_usage(self, run: SyncRun, sums: pl.DataFrame, rejects: pl.DataFrame) -> None:
        """Take back the staged usage of some SIMs, and keep why.

        Raises
        ------
        StorageError
            If the run is not running.
        FencedOffError
            If another process continues it.
        """
        staged = jasper_usage_staging.c
        statement = sa.delete(jasper_usage_staging).where(
            staged.DeviceSyncRunId == run.id,
            staged.BillingPeriodId == sa.bindparam("period_id"),
            staged.MatchKey == sa.bindparam("match_key"),
        )
        with writing(self._engine) as connection:
            sync_runs.require_running(connection, run)
            for part in slices(sums.select("period_id", "match_key")):
                connection.execute(statement, part.to_dicts())
            self._advance(connection, run, rejects, None)

    def counts(self, run: SyncRun) -> RunCounts:
        """Count what the run has staged so far."""
        with reading(self._engine) as connection:
            n_devices = _count(connection, jasper_device_staging, run.id)
            rejects = count_rejects(connection, run.id)
            pages = sync_runs.load_run(connection, run.id)["PagesFetched"]
        by_reason: dict[str, int] = {}
        for (source, reason), number in rejects.items():
            if source != "flag":
                by_reason[reason] = by_reason.get(reason, 0) + number
        return RunCounts(
            devices=n_devices,
            pages=pages,
            rejects=dict(sorted(by_reason.items())),
            flags={reason: n for (source, reason), n in rejects.items() if source == "flag"},
        )

    def publish(self, run: SyncRun, *, today: date, now: datetime) -> PublishCounts:
        """Make the run's data the provider's data in one transaction.

        Staged devices replace those that are the same SIM, staged usage that of the same period. A
        full run marks the devices it did not see as deleted. A run that is published already
        changes nothing and tells its counts again.

        Raises
        ------
        StorageError
            If there is no such run, it has failed, or a full run has staged no device at all while
            the provider has some: that is a fault of the answer, not an empty account.
        FencedOffError
            If another process continues it.
        """
        with writing(self._engine) as connection:
            row = sync_runs.load_run(connection, run.id)
            if row["Status"] == "published":
                return _published_counts(row)
            sync_runs.require_attempt(row, run)
            _refuse_failed(row)
            n_devices = _count(connection, jasper_device_staging, run.id)
            if row["Kind"] == "full" and n_devices == 0:
                _refuse_emptying(connection, row)
            adopt_forms(connection, row, now)
            publish_devices(connection, row, now)
            n_usage = publish_usage(connection, row, today=today, now=now)
            kept = keep_rejected(connection, row) if row["Kind"] == "full" else 0
            removed = remove_unseen(connection, row, now) if row["Kind"] == "full" else 0
            sync_runs.clear_staging(connection, run.id)
            scan = SyncProgress.from_json(row["Progress"]).scan
            sync_runs.update_run(
                connection,
                run.id,
                Status="published",
                FinishedAt=now,
                ListedFrom=scan.started_at if scan is not None else _carried_on(connection, row),
                DeviceCount=n_devices,
                DuplicateCount=row["StagedCount"] - n_devices,
                UsageCount=n_usage,
                RemovedCount=removed,
                KeptCount=kept,
            )
            return _published_counts(sync_runs.load_run(connection, run.id))

    def fail(self, run: SyncRun, *, error: str, now: datetime) -> None:
        """Close the run as ``failed`` and clear its staging; a closed run stays as it is."""
        with writing(self._engine) as connection:
            row = sync_runs.load_run(connection, run.id)
            if row["Status"] == "running" and row["Attempt"] == run.attempt:
                sync_runs.close_failed(connection, run.id, error, now)

    def history(self, service_provider_id: int) -> RunHistory:
        """Read what came before: it decides between a full and an incremental run (C6)."""
        with reading(self._engine) as connection:
            return sync_runs.load_history(connection, service_provider_id)

    def unsynced_periods(self, service_provider_id: int, before_period_id: int) -> list[Period]:
        """Read the billing periods before one that were not read after their end, newest first."""
        with reading(self._engine) as connection:
            return sync_runs.unsynced_periods(connection, service_provider_id, before_period_id)

    def _advance(
        self,
        connection: sa.Connection,
        run: SyncRun,
        rejects: pl.DataFrame | None,
        progress: SyncProgress | None,
        **values: Any,
    ) -> None:
        """Write down, with what was staged, its rejects and how far the run has come."""
        if rejects is not None and rejects.height:
            n_new = add_rejects(connection, run.id, rejects.filter(pl.col("source") != "flag"))
            add_rejects(connection, run.id, rejects.filter(pl.col("source") == "flag"))
            values["RejectCount"] = device_sync_run.c.RejectCount + n_new
        if progress is not None:
            values["Progress"] = progress.to_json()
        values["HeartbeatAt"] = sync_runs.utc_now()
        sync_runs.update_run(connection, run.id, **values)

    def _unusual(self, connection: sa.Connection, row: sa.RowMapping) -> pl.DataFrame:
        staged = jasper_usage_staging.c
        total = sa.func.sum(staged.UsageBytes)
        sums = (
            sa.select(
                staged.BillingPeriodId.label("period_id"),
                staged.MatchKey.label("match_key"),
                sa.func.max(staged.ICCID).label("iccid"),
                total.label("usage_bytes"),
                sa.func.sum(staged.SmsCount).label("sms_count"),
                sa.func.sum(staged.VoiceSeconds).label("voice_seconds"),
            )
            .where(staged.DeviceSyncRunId == row["Id"])
            .group_by(staged.BillingPeriodId, staged.MatchKey)
            .subquery()
        )
        provider_id = row["ServiceProviderId"]
        known, before = device_usage.alias("known"), device_usage.alias("before")

        def same_sim(table: sa.FromClause, period: Any) -> sa.ColumnElement[bool]:
            return sa.and_(
                table.c.ServiceProviderId == provider_id,
                table.c.BillingPeriodId == period,
                sums.c.iccid == table.c.ICCID,
            )

        impossible = sa.or_(
            sums.c.usage_bytes > MAX_USAGE_BYTES,
            sums.c.sms_count > MAX_COUNT,
            sums.c.voice_seconds > MAX_COUNT,
        )
        spike = sa.and_(
            sums.c.period_id == row["BillingPeriodId"],
            sums.c.usage_bytes > SPIKE_BYTES,
            sums.c.usage_bytes > before.c.UsageBytes * SPIKE_FACTOR,
        )
        previous = sync_runs.previous_period(connection, row)
        statement = (
            sa.select(*sums.c, known.c.UsageBytes.label("known_bytes"), before.c.UsageBytes)
            .select_from(
                sums.outerjoin(known, same_sim(known, sums.c.period_id)).outerjoin(
                    before, same_sim(before, previous)
                )
            )
            .where(sa.or_(impossible, sums.c.usage_bytes < known.c.UsageBytes, spike))
            .order_by(
                sa.case((impossible, 0), (sums.c.usage_bytes < known.c.UsageBytes, 1), else_=2),
                sums.c.period_id,
                sums.c.match_key,
            )
            .limit(UNUSUAL_ROWS)
        )
        return read_frame(connection, statement, USAGE_SUM_SCHEMA)


def _carried_on(connection: sa.Connection, row: sa.RowMapping) -> datetime | None:
    """From when on an incremental run that met no modified SIM leaves the next one to list."""
    if row["Kind"] == "full":
        return None
    last = sync_runs.load_history(connection, row["ServiceProviderId"]).last
    return last.listed_from if last is not None else None


def _published_counts(row: sa.RowMapping) -> PublishCounts:
    return PublishCounts(
        devices=row["DeviceCount"],
        duplicates=row["DuplicateCount"],
        usage_rows=row["UsageCount"],
        removed=row["RemovedCount"],
        kept=row["KeptCount"],
    )


def _refuse_failed(row: sa.RowMapping) -> None:
    if row["Status"] == "failed":
        msg = f"synchronisation run {row['Id']} has failed and cannot be published: start a new one"
        raise StorageError(msg)


def _refuse_emptying(connection: sa.Connection, row: sa.RowMapping) -> None:
    n_known = connection.execute(
        sa.select(sa.func.count())
        .select_from(device)
        .where(
            device.c.ServiceProviderId == row["ServiceProviderId"],
            device.c.IsDeleted == sa.false(),
        )
    ).scalar_one()
    if n_known:
        msg = (
            f"the full synchronisation run {row['Id']} staged no device, but {n_known} are known: "
            "nothing was published; check what the carrier's account may see"
        )
        raise StorageError(msg)


def _count(connection: sa.Connection, staging: sa.Table, run_id: int) -> int:
    statement = sa.select(sa.func.count()).select_from(staging)
    statement = statement.where(staging.c.DeviceSyncRunId == run_id)
    return int(connection.execute(statement).scalar_one())
