"""Staging and publishing of devices and usage, a run at a time, in the database (C5).

Staged rows belong to a run and are invisible until :meth:`SqlDeviceStore.publish`, which is one
transaction. A run that fails leaves the device tables as they were; one whose process died goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from core.carriers.iccid import match_keys
from core.storage import device_publish, sync_runs
from core.storage.bulk import Merge, merge_frame, slices
from core.storage.engine import reading, writing
from core.storage.publish_run import (
    count_known_devices,
    count_staged_devices,
    publish_run,
    published_counts,
)
from core.storage.retry import retried
from core.storage.schema import (
    device_sync_run,
    jasper_device_staging,
    jasper_usage_staging,
)
from core.storage.staged_sims import (
    iccids_to_ask,
    iccids_unlisted,
    iccids_without_usage,
    stage_unanswered,
    used_rate_plans,
    without_whole_usage,
)
from core.storage.sync_rejects import add_rejects, count_rejects
from core.storage.unusual_usage import UNUSUAL_ROWS, load_unusual
from core.sync.progress import SyncProgress
from core.sync.store import (
    USAGE_PROBLEMS,
    Period,
    PublishCounts,
    RunCounts,
    RunHistory,
    RunRequest,
    SyncRun,
)


class SqlDeviceStore:
    """The device store of :mod:`core.sync.store` in the database.

    Whatever stages raises a StorageError if the run has ended, and a FencedOffError if another process
    continues it.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @retried
    def open_run(self, request: RunRequest, *, now: datetime) -> SyncRun:
        """Continue the provider's run that broke off, if it was the same request, or open one.

        Raises
        ------
        SyncBusyError
            If a run of the provider is at work in another process.
        """
        with writing(self._engine) as connection:
            return sync_runs.open_run(connection, request, now)

    @retried
    def stage_devices(
        self, run: SyncRun, rows: pl.DataFrame, rejects: pl.DataFrame, progress: SyncProgress
    ) -> None:
        """Add devices; of a SIM the row with the largest position stays, ICCID and all.

        An activation date once told stays where a later row tells none. Adding the same rows again
        changes nothing but the number of duplicates.
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
        with self._staging(run) as connection:
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

    @retried
    def stage_usage(
        self,
        run: SyncRun,
        rows: pl.DataFrame,
        rejects: pl.DataFrame,
        progress: SyncProgress,
        *,
        period_id: int,
    ) -> None:
        """Add usage; the same SIM, rate plan and zone again is replaced."""
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
        with self._staging(run) as connection:
            merge_frame(
                connection,
                jasper_usage_staging,
                staged,
                keys=("DeviceSyncRunId", "BillingPeriodId", "MatchKey", "RatePlan", "Zone"),
                rules=dict.fromkeys(replaced, Merge.REPLACE),
            )
            pages = device_sync_run.c.PagesFetched + 1
            self._advance(connection, run, rejects, progress, PagesFetched=pages)

    @retried
    def stage_activation(self, run: SyncRun, rows: pl.DataFrame, rejects: pl.DataFrame) -> None:
        """Note the activation dates of staged devices, null where none could be had."""
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
        with self._staging(run) as connection:
            for part in slices(known):
                connection.execute(statement, part.to_dicts())
            self._advance(connection, run, rejects, None)

    @retried
    def save_progress(self, run: SyncRun, progress: SyncProgress) -> None:
        """Note how far the run has come."""
        with self._staging(run) as connection:
            self._advance(connection, run, None, progress)

    @retried
    def close_staging(self, run: SyncRun) -> None:
        """Note that everything is staged, so that what is left to do is the publish."""
        with self._staging(run) as connection:
            sync_runs.update_run(connection, run.id, StagedAt=sync_runs.utc_now())

    @retried
    def used_rate_plans(self, run: SyncRun) -> list[str]:
        """Read the distinct rate plans of the staged and the published SIMs, ascending."""
        with reading(self._engine) as connection:
            return used_rate_plans(connection, sync_runs.load_run(connection, run.id))

    @retried
    def plans_read(self, run: SyncRun, period_id: int) -> set[str]:
        """Read the rate plans of a period that the account's last run that read it has read."""
        with reading(self._engine) as connection:
            row = sync_runs.load_run(connection, run.id)
            return sync_runs.plans_read(connection, row, period_id)

    @retried
    def without_whole_usage(
        self, run: SyncRun, iccids: Sequence[str], *, period_id: int
    ) -> list[str]:
        """Leave out the SIMs whose usage of the whole cycle is staged."""
        with reading(self._engine) as connection:
            return without_whole_usage(connection, run.id, iccids, period_id)

    def iccids_without_usage(
        self, run: SyncRun, rate_plan: str, *, period_id: int
    ) -> Iterator[list[str]]:
        """Read the SIMs on a rate plan whose whole usage is not staged yet, in slices."""
        return iccids_without_usage(self._engine, run.id, rate_plan, period_id)

    def iccids_unlisted(self, run: SyncRun, *, period_id: int) -> Iterator[list[str]]:
        """Read the SIMs with staged usage of which no row was staged, published or rejected."""
        return iccids_unlisted(self._engine, run.id, period_id)

    @retried
    def stage_unanswered(self, run: SyncRun) -> None:
        """Stage the known SIMs whose activation date the last run asked for in vain, to be asked again."""
        with self._staging(run) as connection:
            n_rows = stage_unanswered(connection, sync_runs.load_run(connection, run.id))
            staged_count = device_sync_run.c.StagedCount + n_rows
            self._advance(connection, run, None, None, StagedCount=staged_count)

    def iccids_to_ask(self, run: SyncRun) -> Iterator[list[str]]:
        """Read the staged SIMs whose activation date is needed and not asked for yet, in slices."""
        return iccids_to_ask(self._engine, run.id)

    def unusual_usage(self, run: SyncRun) -> Iterator[pl.DataFrame]:
        """Read the SIMs with a problem in their staged usage, in the order of ``USAGE_PROBLEMS``.

        Of usage that jumped, about the first ``UNUSUAL_ROWS`` SIMs.
        """
        self._make_publishable(run)
        last = None
        while True:
            found = self._load_unusual(run, last)
            yield found
            if found.height < UNUSUAL_ROWS or found["problem"][0] == USAGE_PROBLEMS[-1]:
                return
            last = found.tail(1).to_dicts()[0]

    @retried
    def _make_publishable(self, run: SyncRun) -> None:
        """Bring staged usage to the rows that the publish adds up."""
        with self._staging(run) as connection:
            provider_id = sync_runs.load_run(connection, run.id)["ServiceProviderId"]
            parameters = {"run_id": run.id, "provider_id": provider_id}
            connection.execute(device_publish.adopt_device_forms(), parameters)
            connection.execute(device_publish.drop_parts_of_a_whole(), {"run_id": run.id})

    @retried
    def _load_unusual(self, run: SyncRun, last: Mapping[str, Any] | None) -> pl.DataFrame:
        with reading(self._engine) as connection:
            return load_unusual(connection, sync_runs.load_run(connection, run.id), last)

    @retried
    def drop_period(self, run: SyncRun, period_id: int, progress: SyncProgress) -> None:
        """Take back all the staged usage of one billing period; ``progress`` is that without it."""
        staged = jasper_usage_staging.c
        with self._staging(run) as connection:
            connection.execute(
                sa.delete(jasper_usage_staging).where(
                    staged.DeviceSyncRunId == run.id, staged.BillingPeriodId == period_id
                )
            )
            self._advance(connection, run, None, progress)

    @retried
    def drop_usage(self, run: SyncRun, sums: pl.DataFrame, rejects: pl.DataFrame) -> None:
        """Take back the staged usage of some SIMs, and keep why."""
        staged = jasper_usage_staging.c
        statement = sa.delete(jasper_usage_staging).where(
            staged.DeviceSyncRunId == run.id,
            staged.BillingPeriodId == sa.bindparam("period_id"),
            staged.MatchKey == sa.bindparam("match_key"),
        )
        with self._staging(run) as connection:
            for part in slices(sums.select("period_id", "match_key")):
                connection.execute(statement, part.to_dicts())
            self._advance(connection, run, rejects, None)

    @retried
    def counts(self, run: SyncRun) -> RunCounts:
        """Count what the run has staged so far."""
        with reading(self._engine) as connection:
            n_devices = count_staged_devices(connection, run.id)
            rejects = count_rejects(connection, run.id)
            row = sync_runs.load_run(connection, run.id)
            n_known = count_known_devices(connection, row["ServiceProviderId"])
        by_reason: dict[str, int] = {}
        for (source, reason), number in rejects.items():
            if source != "flag":
                by_reason[reason] = by_reason.get(reason, 0) + number
        return RunCounts(
            devices=n_devices,
            pages=row["PagesFetched"],
            rejects=dict(sorted(by_reason.items())),
            flags={reason: n for (source, reason), n in rejects.items() if source == "flag"},
            known_devices=n_known,
        )

    @retried
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
            row = sync_runs.lock_run(connection, run.id)
            if row["Status"] != "published":
                sync_runs.require_attempt(row, run)
                publish_run(connection, row, today, now)
                row = sync_runs.load_run(connection, run.id)
            return published_counts(row)

    @retried
    def fail(self, run: SyncRun, *, error: str, now: datetime) -> None:
        """Close the run as ``failed`` and clear its staging; a closed run stays as it is."""
        with writing(self._engine) as connection:
            row = sync_runs.lock_run(connection, run.id)
            if row["Status"] == "running" and row["Attempt"] == run.attempt:
                sync_runs.close_failed(connection, run.id, error, now)

    @retried
    def history(self, service_provider_id: int) -> RunHistory:
        """Read what came before: it decides between a full and an incremental run (C6)."""
        with reading(self._engine) as connection:
            return sync_runs.load_history(connection, service_provider_id)

    @retried
    def unsynced_periods(self, service_provider_id: int, before_period_id: int) -> list[Period]:
        """Read the billing periods before one that were not read after their end, newest first."""
        with reading(self._engine) as connection:
            return sync_runs.unsynced_periods(connection, service_provider_id, before_period_id)

    @contextmanager
    def _staging(self, run: SyncRun) -> Iterator[sa.Connection]:
        """One transaction that stages, for a run that is at work in this process.

        Raises
        ------
        StorageError
            If the run is not running.
        FencedOffError
            If another process continues it.
        """
        with writing(self._engine) as connection:
            sync_runs.require_running(connection, run)
            yield connection

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
            if progress.unlisted_before is not None:
                values["ModifiedSince"] = progress.unlisted_before
            if progress.scan is not None:
                values["ListedFrom"] = progress.scan.started_at
        values["HeartbeatAt"] = sync_runs.utc_now()
        sync_runs.update_run(connection, run.id, **values)
