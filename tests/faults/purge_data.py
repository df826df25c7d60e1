"""A database of sessions old, young, running and failed, and a purge that kills itself."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import event

from core.storage import schema
from core.storage.audit import Author
from core.storage.column_types import UtcDateTime
from core.storage.engine import insert_row, open_engine, writing
from core.storage.migrate import upgrade
from core.storage.purge import purge

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CUTOFF = NOW - timedelta(days=90)
OLD = CUTOFF - timedelta(microseconds=1)
AUTHOR = Author(actor="test", run_id="flow-run-1")

SESSIONS = {  # number -> state, end, provider, number of SIMs per group
    1: ("COMPLETED", OLD, 1, 9),
    2: ("COMPLETED_WITH_ERRORS", OLD - timedelta(days=400), 2, 4),
    3: ("FAILED", OLD, 1, 2),
    4: ("CANCELLED", OLD, 1, 0),
    5: ("COMPLETED", CUTOFF, 1, 5),  # as young as can be
    6: ("FAILED", NOW, 1, 3),  # may be resumed
    7: ("OPTIMISING", None, 1, 5),
    8: ("FAILED", OLD, 1, None),  # never had an instance
}
DOOMED = (1, 2, 3, 4)
N_GROUPS = 3

RUNS = {  # number -> provider, status, end, number of rows
    1: (1, "published", OLD, 7),
    2: (1, "failed", OLD, 3),
    3: (1, "running", None, 4),  # broke off long ago: the next synchronisation closes it
    4: (1, "published", CUTOFF, 5),
    5: (2, "published", OLD - timedelta(days=1), 6),  # the last one of its provider
    6: (2, "failed", OLD, 0),
}
DOOMED_RUNS = (1, 2)

_BLANK = {sa.Integer: 0, sa.BigInteger: 0, sa.Boolean: False, sa.Date: date(2026, 1, 1)}


def filled(table, **given):
    """A row with something in every column that must have a value."""
    row = dict(given)
    for column in table.columns:
        is_free = column.nullable or column.computed is not None or column.server_default
        if column.name in row or is_free or column.autoincrement is True:
            continue
        if column.primary_key and len(table.primary_key.columns) == 1 and column.name == "Id":
            continue
        kind = type(column.type)
        row[column.name] = NOW if kind is UtcDateTime else _BLANK.get(kind, "x")
    return row


def add(connection, table, **given):
    return insert_row(connection, table, **filled(table, **given))


def add_all(connection, table, rows):
    made = [filled(table, **row) for row in rows]
    if made:
        connection.execute(sa.insert(table), made)


def make_database(path):
    """Make the file; returns its path as text."""
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    with writing(engine) as connection:
        _add_accounts(connection)
        instances = {
            number: _add_session(connection, number, *what) for number, what in SESSIONS.items()
        }
        for place in range(N_GROUPS):  # sessions in turn: numbers of one never stand together
            for number, instance_id in instances.items():
                if instance_id is not None:
                    _add_group(connection, number, instance_id, place)
        for number, what in RUNS.items():
            _add_run(connection, number, *what)
    engine.dispose()
    return str(path)


def _add_accounts(connection):
    add(connection, schema.tenant, Name="T")
    for name in ("one", "two"):
        provider = add(connection, schema.service_provider, TenantId=1, Name=name, Integration="jasper",
                       Portal="m2m", TimeZone="UTC", ProrationBasis="cycle", PoolScope="plan",
                       BaseUrl="https://c.example", CredentialRef="store", MbBytes=1 << 20,
                       PageSize=50, Currency="USD")  # fmt: skip
        add(connection, schema.billing_period, ServiceProviderId=provider,
            BillingPeriodStart=date(2026, 7, 1), BillingPeriodEnd=date(2026, 7, 31))  # fmt: skip


def _add_session(connection, number, state, ended_at, provider, n_sims):
    add(
        connection, schema.optimization_session, Id=number, SessionId=f"guid-{number}", TenantId=1,
        ServiceProviderId=provider, BillingPeriodId=provider, Kind="m2m", State=state,
        Parameters="{}", CreatedDate=OLD - timedelta(days=number), CompletedDate=ended_at,
        FailedInState="OPTIMISING" if state in ("FAILED", "CANCELLED") else None,
    )  # fmt: skip
    add(connection, schema.rate_plan_change, SessionId=number, ServiceProviderId=provider,
        ICCID="1", Status="proposed")  # fmt: skip
    add(connection, schema.amop_outbox, SessionId=number, Sequence=1, MessageId=f"m-{number}",
        Type="Progress")  # fmt: skip
    connection.execute(
        sa.insert(schema.run_slot).values(
            ServiceProviderId=provider, LocalDate=date(2026, 1, number), Hour=-1, ClaimedBy="x",
            ClaimedAt=NOW, SessionId=number,
        )
    )  # fmt: skip
    if n_sims is None:
        return None
    return add(
        connection, schema.optimization_instance, OptimizationSessionId=number,
        ServiceProviderId=provider, TenantId=1, BillingPeriodId=provider, RunStatusId=2,
        GroupedAt=OLD,
    )  # fmt: skip


def _add_group(connection, number, instance_id, place):
    state, _, provider, n_sims = SESSIONS[number]
    unit = f"U{place}"
    connection.execute(
        sa.insert(schema.optimization_unit),
        filled(schema.optimization_unit, InstanceId=instance_id, UnitCode=unit),
    )
    group = add(connection, schema.optimization_comm_group, InstanceId=instance_id,
                GroupCode=f"G{place}", UnitCode=unit)  # fmt: skip
    of_group = {"InstanceId": instance_id, "CommGroupId": group}
    add_all(connection, schema.optimization_comm_group_comm_plan,
            [{**of_group, "CommPlanName": f"C{n}"} for n in range(2)])  # fmt: skip
    add_all(connection, schema.optimization_comm_group_rate_plan,
            [{**of_group, "RatePlanCode": f"P{n}"} for n in range(3)])  # fmt: skip
    iccids = [f"89{place}{n:04d}" for n in range(n_sims)]
    add_all(connection, schema.optimization_sim_card,
            [{**of_group, "ICCID": iccid} for iccid in iccids])  # fmt: skip
    results = (
        schema.optimization_m2m_device_result
        if provider == 1
        else schema.optimization_mobility_device_result
    )
    for sequence in range(4 if state == "FAILED" else 1):
        queue = add(connection, schema.optimization_queue, InstanceId=instance_id, UnitCode=unit,
                    CommPlanGroupId=group, ServiceProviderId=provider, IsWinner=sequence == 0)  # fmt: skip
        add_all(connection, schema.optimization_queue_rate_plan,
                [{"QueueId": queue, "SequenceOrder": n} for n in (1, 2)])  # fmt: skip
        if sequence == 0:
            add_all(connection, results, [{"QueueId": queue, "ICCID": iccid} for iccid in iccids])


def _add_run(connection, number, provider, status, ended_at, n_rows):
    add(connection, schema.device_sync_run, Id=number, ServiceProviderId=provider, Kind="full",
        Status=status, OptimizationSessionId=1 if number == 1 else None, FinishedAt=ended_at,
        StartedAt=(ended_at or OLD) - timedelta(hours=1))  # fmt: skip
    add_all(connection, schema.device_sync_reject,
            [{"DeviceSyncRunId": number, "Source": ("usage", "devices")[n % 2],
              "Page": n % 3 or None} for n in range(n_rows)])  # fmt: skip
    add_all(connection, schema.jasper_device_staging,
            [{"DeviceSyncRunId": number, "MatchKey": f"{n}"} for n in range(n_rows)])  # fmt: skip
    add_all(connection, schema.jasper_usage_staging,
            [{"DeviceSyncRunId": number, "BillingPeriodId": 1, "MatchKey": f"{n}"}
             for n in range(n_rows)])  # fmt: skip
    connection.execute(
        sa.insert(schema.device),
        filled(schema.device, ServiceProviderId=1, ICCID=f"dev-{number}", LastSyncRunId=number),
    )


def contents(path):
    """All rows of all tables, as dicts, straight from the file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        names = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        return {
            name: [dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')]
            for name in names
        }


def belongs_to_doomed(tables):
    """Tell, by name of the table, which rows a purge has to take: worked out row by row."""
    instances = {
        row["Id"] for row in tables["OptimizationInstance"]
        if row["OptimizationSessionId"] in DOOMED
    }  # fmt: skip
    queues = {row["Id"] for row in tables["OptimizationQueue"] if row["InstanceId"] in instances}
    column = {
        "OptimizationInstance": ("Id", instances),
        **dict.fromkeys(("OptimizationUnit", "OptimizationCommGroup", "OptimizationCommGroup_CommPlan", "OptimizationCommGroup_RatePlan", "OptimizationQueue", "OptimizationSimCard"), ("InstanceId", instances)),
        **dict.fromkeys(("OptimizationQueue_RatePlan", "OptimizationM2MDeviceResult", "OptimizationMobilityDeviceResult"), ("QueueId", queues)),
        **{
            name: ("DeviceSyncRunId", set(DOOMED_RUNS))
            for name in ("DeviceSyncReject", "JasperDeviceStaging", "JasperUsageStaging")
        },
    }  # fmt: skip
    return {
        name: [row for row in tables[name] if row[key] in owners]
        for name, (key, owners) in column.items()
    }


def run_purge(path, *, batch_rows=5, die_at_statement=0):
    """Purge; die (SIGKILL) before the database statement of that number, from 1."""
    engine = open_engine(f"sqlite:///{path}")
    left = die_at_statement

    def strike(*_):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(engine, "before_cursor_execute", strike)
    try:
        return list(purge(engine, cutoff=CUTOFF, now=NOW, author=AUTHOR, batch_rows=batch_rows))
    finally:
        engine.dispose()
