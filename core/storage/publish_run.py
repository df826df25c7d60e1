"""The transaction that makes a synchronisation run's data the provider's data (C5)."""

from __future__ import annotations

from datetime import date, datetime

import sqlalchemy as sa

from core.errors import StorageError
from core.storage import device_publish, sync_runs
from core.storage.schema import device, jasper_device_staging
from core.sync.store import PublishCounts


def publish_run(connection: sa.Connection, row: sa.RowMapping, today: date, now: datetime) -> None:
    """Publish a run that is locked and has not been published.

    Raises
    ------
    StorageError
        If it has failed, or a full run has staged no device at all while the provider has some.
    """
    _refuse_failed(row)
    n_devices = count_staged_devices(connection, row["Id"])
    if sync_runs.lists_whole_account(row) and n_devices == 0:
        _refuse_emptying(connection, row)
    counts = _take_steps(connection, row, today, now)
    sync_runs.update_run(
        connection,
        row["Id"],
        {"provider_id": row["ServiceProviderId"]},
        Status="published",
        FinishedAt=now,
        ListedFrom=device_publish.listed_from(),
        DeviceCount=n_devices,
        DuplicateCount=row["StagedCount"] - n_devices,
        UsageCount=counts["usage_rows"],
        RemovedCount=counts["removed"],
        KeptCount=counts["kept"],
    )


def _take_steps(
    connection: sa.Connection, row: sa.RowMapping, today: date, now: datetime
) -> dict[str, int]:
    """Take every step of the publish; rows by what they count as."""
    parameters = {
        "run_id": row["Id"],
        "provider_id": row["ServiceProviderId"],
        "period_id": row["BillingPeriodId"],
        "day": today,
        "now": now,
    }
    has_other_forms = connection.execute(device_publish.other_forms().limit(1), parameters).first()
    steps = [
        *(device_publish.form_steps() if has_other_forms else []),
        *device_publish.steps(),
        *device_publish.clearing_steps(),
    ]
    counts = {"usage_rows": 0, "kept": 0, "removed": 0}
    for step in steps:
        if step.only_full and not sync_runs.lists_whole_account(row):
            continue
        wanted = step.statement.compile(dialect=connection.dialect).params
        result = connection.execute(step.statement, {name: parameters[name] for name in wanted})
        if step.counts_as is not None:
            counts[step.counts_as] += result.rowcount
    return counts


def published_counts(row: sa.RowMapping) -> PublishCounts:
    """Tell what a published run changed."""
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
    n_known = count_known_devices(connection, row["ServiceProviderId"])
    if n_known:
        msg = (
            f"the full synchronisation run {row['Id']} staged no device, but {n_known} are known: "
            "nothing was published; check what the carrier's account may see"
        )
        raise StorageError(msg)


def count_known_devices(connection: sa.Connection, provider_id: int) -> int:
    """Count the provider's SIMs that are not gone."""
    known = device.c
    statement = sa.select(sa.func.count()).select_from(device)
    statement = statement.where(
        known.ServiceProviderId == provider_id, known.IsDeleted == sa.false()
    )
    return int(connection.execute(statement).scalar_one())


def count_staged_devices(connection: sa.Connection, run_id: int) -> int:
    """Count the SIMs that a run has staged."""
    staged = jasper_device_staging
    statement = sa.select(sa.func.count()).select_from(staged)
    return int(connection.execute(statement.where(staged.c.DeviceSyncRunId == run_id)).scalar_one())
