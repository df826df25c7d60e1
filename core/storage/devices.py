"""Devices and their usage: staging per synchronisation run, publish, and what a flow reads (C5).

Staged rows belong to a run and are invisible until :meth:`SqlDeviceStore.publish`, which is one
transaction. A run that fails leaves the device tables as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from core.carriers.iccid import match_keys
from core.errors import StorageError
from core.storage.bulk import Merge, insert_frame, merge_frame, read_frame, slices
from core.storage.device_publish import (
    adopt_forms,
    publish_devices,
    publish_usage,
    remove_unseen,
)
from core.storage.engine import insert_row, reading, writing
from core.storage.schema import (
    device,
    device_sync_reject,
    device_sync_run,
    device_usage,
    jasper_device_staging,
    jasper_usage_staging,
)
from core.sync.store import REJECT_SCHEMA, PublishCounts, PublishedRun

ICCID_SLICE = 5_000
"""ICCIDs that :meth:`SqlDeviceStore.staged_iccids` hands out at once."""

DEVICE_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "status": pl.String(),
    "rate_plan": pl.String(),
    "communication_plan": pl.String(),
    "usage_bytes": pl.Int64(),  # null, as the two below, where no usage was reported (U1)
    "sms_count": pl.Int64(),
    "voice_seconds": pl.Int64(),
    "activated_date": pl.Date(),
    "is_usage_reported": pl.Boolean(),
}
"""Columns of :func:`load_devices`."""


class SqlDeviceStore:
    """The device store of :mod:`core.sync.store` in the database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def start_run(
        self, *, service_provider_id: int, kind: str, session_id: int | None, now: datetime
    ) -> int:
        """Open a run of kind ``full`` or ``incremental`` and return its id; status ``running``.

        A run of the provider that is still running lost its process, since a provider is
        synchronised by one session at a time: it is failed and its staging cleared.
        """
        run = device_sync_run.c
        left_running = sa.select(run.Id).where(
            run.ServiceProviderId == service_provider_id, run.Status == "running"
        )
        with writing(self._engine) as connection:
            for run_id in connection.execute(left_running).scalars().all():
                _fail(connection, run_id, "broken off: its process ended without closing it", now)
            return insert_row(
                connection,
                device_sync_run,
                ServiceProviderId=service_provider_id,
                OptimizationSessionId=session_id,
                Kind=kind,
                Status="running",
                StartedAt=now,
            )

    def stage_devices(self, run_id: int, frame: pl.DataFrame) -> None:
        """Add devices; of a SIM the row with the largest position stays, ICCID and all.

        An activation date once told stays where a later row tells none. Adding the same rows again
        changes nothing but the number of duplicates.

        Raises
        ------
        StorageError
            If the run is not running.
        """
        rows = frame.select(
            pl.lit(run_id, dtype=pl.Int64).alias("DeviceSyncRunId"),
            MatchKey=match_keys(frame["iccid"]),
            ICCID="iccid",
            Position="position",
            Status="status",
            RatePlan="rate_plan",
            CommunicationPlan="communication_plan",
            ActivatedDate="activated_date",
        )
        replaced = ("ICCID", "Position", "Status", "RatePlan", "CommunicationPlan")
        run = device_sync_run.c
        with writing(self._engine) as connection:
            _require_running(connection, run_id)
            merge_frame(
                connection,
                jasper_device_staging,
                rows,
                keys=("DeviceSyncRunId", "MatchKey"),
                rules={
                    **dict.fromkeys(replaced, Merge.REPLACE),
                    "ActivatedDate": Merge.REPLACE_UNLESS_NULL,
                },
                newest_by="Position",
            )
            _update_run(connection, run_id, StagedCount=run.StagedCount + frame.height)

    def stage_usage(self, run_id: int, frame: pl.DataFrame) -> None:
        """Add usage; several rows of one SIM add up (it has usage on each plan it had).

        Raises
        ------
        StorageError
            If the run is not running.
        """
        rows = frame.select(
            pl.lit(run_id, dtype=pl.Int64).alias("DeviceSyncRunId"),
            MatchKey=match_keys(frame["iccid"]),
            ICCID="iccid",
            UsageBytes="usage_bytes",
            SmsCount="sms_count",
            VoiceSeconds="voice_seconds",
        )
        added = ("UsageBytes", "SmsCount", "VoiceSeconds")
        with writing(self._engine) as connection:
            _require_running(connection, run_id)
            merge_frame(
                connection,
                jasper_usage_staging,
                rows,
                keys=("DeviceSyncRunId", "MatchKey"),
                rules={**dict.fromkeys(added, Merge.ADD), "ICCID": Merge.REPLACE},
            )

    def stage_activation(self, run_id: int, frame: pl.DataFrame) -> None:
        """Set the activation date of staged devices; dates of others are left out.

        Raises
        ------
        StorageError
            If the run is not running.
        """
        staged = jasper_device_staging.c
        key = staged.MatchKey
        statement = (
            sa.update(jasper_device_staging)
            .where(staged.DeviceSyncRunId == run_id, key == sa.bindparam("match_key"))
            .values(ActivatedDate=sa.bindparam("activated_date"))
        )
        known = frame.select(
            match_keys(frame["iccid"]).alias("match_key"), "activated_date"
        ).drop_nulls("activated_date")
        with writing(self._engine) as connection:
            _require_running(connection, run_id)
            for part in slices(known):
                connection.execute(statement, part.to_dicts())

    def add_rejects(self, run_id: int, frame: pl.DataFrame) -> None:
        """Keep rejected rows, each once; they stay when the run fails."""
        rows = frame.unique(maintain_order=True)
        with writing(self._engine) as connection:
            known = _read_rejects(connection, run_id)
            new = rows.join(known, on=list(REJECT_SCHEMA), how="anti", nulls_equal=True)
            insert_frame(
                connection,
                device_sync_reject,
                new.select(
                    pl.lit(run_id, dtype=pl.Int64).alias("DeviceSyncRunId"),
                    **{column: name for name, column in _REJECT_COLUMNS.items()},
                ),
            )
            run = device_sync_run.c
            _update_run(connection, run_id, RejectCount=run.RejectCount + new.height)

    def staged_rate_plans(self, run_id: int) -> list[str]:
        """Read the distinct rate plans of the staged devices, ascending."""
        staged = jasper_device_staging.c
        statement = (
            sa.select(staged.RatePlan)
            .where(staged.DeviceSyncRunId == run_id, staged.RatePlan.is_not(None))
            .distinct()
        )
        with reading(self._engine) as connection:
            return sorted(connection.execute(statement).scalars())

    def staged_iccids(self, run_id: int, rate_plans: Sequence[str] | None) -> Iterator[list[str]]:
        """Read each staged SIM's ICCID in slices, ascending; each slice is its own transaction.

        Parameters
        ----------
        rate_plans
            Only devices whose newest row has one of these plans; None for all.
        """
        staged = jasper_device_staging.c
        key = staged.MatchKey
        statement = sa.select(key, staged.ICCID).where(staged.DeviceSyncRunId == run_id)
        if rate_plans is not None:
            statement = statement.where(staged.RatePlan.in_(list(rate_plans)))
        statement = statement.order_by(key).limit(ICCID_SLICE)
        last = ""
        while True:
            with reading(self._engine) as connection:
                part = connection.execute(statement.where(key > last)).all()
            if part:
                yield [row.ICCID for row in part]
                last = part[-1].MatchKey
            if len(part) < ICCID_SLICE:
                return

    def publish(self, run_id: int, *, period_id: int, now: datetime) -> PublishCounts:
        """Make the run's data the provider's data in one transaction.

        Staged devices replace those that are the same SIM, staged usage that of the same period. A
        full run marks the devices it did not see as deleted. A run that is published already
        changes nothing and tells its counts again.

        Raises
        ------
        StorageError
            If there is no such run, it has failed, or a full run has staged no device at all while
            the provider has some: that is a fault of the answer, not an empty account.
        """
        with writing(self._engine) as connection:
            run = _load_run(connection, run_id)
            if run["Status"] == "published":
                return PublishCounts(
                    devices=run["DeviceCount"],
                    duplicates=run["DuplicateCount"],
                    usage_rows=run["UsageCount"],
                    removed=run["RemovedCount"],
                )
            _refuse_failed(run)
            n_devices = _count(connection, jasper_device_staging, run_id)
            n_usage = _count(connection, jasper_usage_staging, run_id)
            if run["Kind"] == "full" and n_devices == 0:
                _refuse_emptying(connection, run)
            adopt_forms(connection, run, now)
            publish_devices(connection, run, now)
            publish_usage(connection, run, period_id, now)
            removed = remove_unseen(connection, run, now) if run["Kind"] == "full" else 0
            _clear_staging(connection, run_id)
            counts = PublishCounts(
                devices=n_devices,
                duplicates=run["StagedCount"] - n_devices,
                usage_rows=n_usage,
                removed=removed,
            )
            _update_run(
                connection,
                run_id,
                Status="published",
                BillingPeriodId=period_id,
                FinishedAt=now,
                DeviceCount=counts.devices,
                DuplicateCount=counts.duplicates,
                UsageCount=counts.usage_rows,
                RemovedCount=counts.removed,
            )
        return counts

    def fail(self, run_id: int, *, error: str, now: datetime) -> None:
        """Close the run as ``failed`` and clear its staging; a closed run stays as it is."""
        with writing(self._engine) as connection:
            if _load_run(connection, run_id)["Status"] != "running":
                return
            _fail(connection, run_id, error, now)

    def last_published(self, service_provider_id: int) -> PublishedRun | None:
        """Read the newest published run of a provider; None before the first."""
        run = device_sync_run.c
        statement = (
            sa.select(device_sync_run)
            .where(run.ServiceProviderId == service_provider_id, run.Status == "published")
            .order_by(run.StartedAt.desc(), run.Id.desc())
            .limit(1)
        )
        with reading(self._engine) as connection:
            row = connection.execute(statement).mappings().one_or_none()
        if row is None:
            return None
        return PublishedRun(
            run_id=row["Id"],
            kind=row["Kind"],
            started_at=row["StartedAt"],
            device_count=row["DeviceCount"],
        )


def load_devices(engine: sa.Engine, provider_id: int, period_id: int) -> pl.DataFrame:
    """Read a provider's SIMs with their usage of a billing period.

    Returns
    -------
    pl.DataFrame
        Columns of ``DEVICE_SCHEMA``, sorted by ICCID; deleted SIMs are left out. Usage, SMS and
        voice are null where the carrier reported none.

    Raises
    ------
    StorageError
        If the database fails.
    """
    usage = device_usage.c
    joined = device.outerjoin(
        device_usage,
        sa.and_(
            usage.ServiceProviderId == device.c.ServiceProviderId,
            usage.BillingPeriodId == period_id,
            usage.ICCID == device.c.ICCID,
        ),
    )
    statement = (
        sa.select(
            device.c.ICCID,
            device.c.Status,
            device.c.RatePlan,
            device.c.CommunicationPlan,
            usage.UsageBytes,
            usage.SmsCount,
            usage.VoiceSeconds,
            device.c.ActivatedDate,
        )
        .select_from(joined)
        .where(device.c.ServiceProviderId == provider_id, device.c.IsDeleted == sa.false())
        .order_by(device.c.ICCID)
    )
    stored = {name: dtype for name, dtype in DEVICE_SCHEMA.items() if name != "is_usage_reported"}
    with reading(engine) as connection:
        frame = read_frame(connection, statement, stored)
    return frame.with_columns(is_usage_reported=pl.col("usage_bytes").is_not_null())


def load_rejects(engine: sa.Engine, run_id: int) -> pl.DataFrame:
    """Read the rejected rows of a run, in the order in which they were found.

    Returns
    -------
    pl.DataFrame
        Columns of :data:`core.sync.store.REJECT_SCHEMA`.
    """
    with reading(engine) as connection:
        return _read_rejects(connection, run_id)


_REJECT_COLUMNS = {
    "source": "Source",
    "page": "Page",
    "row": "RowNumber",
    "column": "ColumnName",
    "value": "Value",
    "reason": "Reason",
    "raw": "Raw",
}
"""Column of ``REJECT_SCHEMA`` to column of DeviceSyncReject."""


def _read_rejects(connection: sa.Connection, run_id: int) -> pl.DataFrame:
    table = device_sync_reject.c
    columns = [table[name] for name in _REJECT_COLUMNS.values()]
    statement = sa.select(*columns).where(table.DeviceSyncRunId == run_id).order_by(table.Id)
    return read_frame(connection, statement, REJECT_SCHEMA)


def _load_run(connection: sa.Connection, run_id: int) -> sa.RowMapping:
    run = device_sync_run.c
    row = (
        connection.execute(sa.select(device_sync_run).where(run.Id == run_id))
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise StorageError(f"synchronisation run {run_id} is unknown")
    return row


def _require_running(connection: sa.Connection, run_id: int) -> None:
    status = _load_run(connection, run_id)["Status"]
    if status != "running":
        msg = f"synchronisation run {run_id} is {status}, not running: nothing can be staged in it"
        raise StorageError(msg)


def _refuse_failed(run: sa.RowMapping) -> None:
    if run["Status"] == "failed":
        msg = f"synchronisation run {run['Id']} has failed and cannot be published: start a new one"
        raise StorageError(msg)


def _refuse_emptying(connection: sa.Connection, run: sa.RowMapping) -> None:
    n_known = connection.execute(
        sa.select(sa.func.count())
        .select_from(device)
        .where(
            device.c.ServiceProviderId == run["ServiceProviderId"],
            device.c.IsDeleted == sa.false(),
        )
    ).scalar_one()
    if n_known:
        msg = (
            f"the full synchronisation run {run['Id']} staged no device, but {n_known} are known: "
            "nothing was published; check what the carrier's account may see"
        )
        raise StorageError(msg)


def _fail(connection: sa.Connection, run_id: int, error: str, now: datetime) -> None:
    _clear_staging(connection, run_id)
    _update_run(connection, run_id, Status="failed", FinishedAt=now, ErrorMessage=error)


def _update_run(connection: sa.Connection, run_id: int, **values: Any) -> None:
    connection.execute(
        sa.update(device_sync_run).where(device_sync_run.c.Id == run_id).values(**values)
    )


def _count(connection: sa.Connection, staging: sa.Table, run_id: int) -> int:
    statement = sa.select(sa.func.count()).select_from(staging)
    statement = statement.where(staging.c.DeviceSyncRunId == run_id)
    return int(connection.execute(statement).scalar_one())


def _clear_staging(connection: sa.Connection, run_id: int) -> None:
    for staging in (jasper_device_staging, jasper_usage_staging):
        connection.execute(sa.delete(staging).where(staging.c.DeviceSyncRunId == run_id))
