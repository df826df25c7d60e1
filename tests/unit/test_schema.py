"""The schema by itself: names, types, and that both databases can be told to make it (D1, D2)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from core.domain import Portal
from core.sessions.state import SessionState
from core.storage.column_types import UtcDateTime
from core.storage.legacy_ids import (
    FINAL_STATES,
    PORTAL_TYPE,
    RUNNING_STATES,
    STATUS_OF_STATE,
    RunStatus,
)
from core.storage.schema import metadata

OPERATORS_TABLES = [
    "OptimizationSession",
    "OptimizationInstance",
    "OptimizationCommGroup",
    "OptimizationCommGroup_CommPlan",
    "OptimizationCommGroup_RatePlan",
    "OptimizationQueue",
    "OptimizationQueue_RatePlan",
    "OptimizationSimCard",
    "OptimizationM2MDeviceResult",
    "OptimizationMobilityDeviceResult",
    "JasperDeviceStaging",
    "JasperUsageStaging",
    "Tenant",
    "ServiceProvider",
    "BillingPeriod",
    "CarrierRatePlan",
    "CustomerRatePlan",
    "CommunicationPlan",
    "OptimizationGroup",
    "Customer",
    "TaxRate",
    "Device",
    "DeviceUsage",
    "RunSlot",
    "RatePlanChange",
    "AmopOutbox",
    "AuditEvent",
    "DeviceSyncRun",
    "DeviceSyncReject",
]

OPERATORS_COLUMNS = {
    "OptimizationSession": "Id TenantId IsActive IsDeleted CreatedDate",
    "OptimizationInstance": "Id ServiceProviderId RunStatusId RunStartTime RunEndTime TotalCost "
    "OptimizationSessionId OptimizationInstanceStatusId CreatedDate PortalType IntegrationId",
    "OptimizationQueue": "Id InstanceId CommPlanGroupId ServiceProviderId UsesProration RunStatusId "
    "TotalCost RunEndTime",
    "OptimizationCommGroup_RatePlan": "Id InstanceId CommGroupId CarrierRatePlanId "
    "CustomerRatePlanId MaxAvgUsage CreatedBy CreatedDate",
    "OptimizationQueue_RatePlan": "QueueId CommGroup_RatePlanId SequenceOrder",
    "OptimizationSimCard": "Id InstanceId ICCID CycleDataUsageMB",
    "OptimizationM2MDeviceResult": "QueueId",
    "OptimizationMobilityDeviceResult": "QueueId",
    "BillingPeriod": "BillingPeriodStart BillingPeriodEnd",
    "CommunicationPlan": "RatePlanIds",
}


def test_every_table_that_operators_know_is_there():
    assert set(OPERATORS_TABLES) <= metadata.tables.keys()


@pytest.mark.parametrize(("table", "columns"), OPERATORS_COLUMNS.items())
def test_the_columns_of_the_operators_statements_are_there(table, columns):
    assert set(columns.split()) <= set(metadata.tables[table].columns.keys())


@pytest.mark.parametrize("dialect", [sqlite.dialect(), mssql.dialect()], ids=lambda d: d.name)
@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda t: t.name)
def test_every_table_and_index_compiles_for_both_databases(table, dialect):
    assert table.name in str(CreateTable(table).compile(dialect=dialect))
    for index in table.indexes:
        text = str(CreateIndex(index).compile(dialect=dialect))
        is_filtered = index.dialect_options["sqlite"]["where"] is not None
        assert is_filtered == (" WHERE " in text)


def test_only_computed_columns_are_decimals():
    decimals = [
        column
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.Numeric) and not isinstance(column.type, sa.Float)
    ]
    assert {column.name for column in decimals} == {"TotalCost", "CycleDataUsageMB", "MaxAvgUsage"}
    assert all(column.computed is not None for column in decimals)


def test_money_and_data_are_64_bit_integers():
    columns = [
        column
        for table in metadata.sorted_tables
        for column in table.columns
        if column.name.endswith(("Micros", "Bytes")) and column.name != "MbBytes"
    ]
    assert len(columns) > 40
    assert {type(column.type) for column in columns} == {sa.BigInteger}


def test_every_moment_is_utc():
    plain = [
        column
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.DateTime)
    ]
    assert plain == []


def test_every_session_state_has_a_legacy_status():
    states = {state.value for state in SessionState}
    assert STATUS_OF_STATE.keys() == states == {*RUNNING_STATES, *FINAL_STATES}
    assert not set(RUNNING_STATES) & set(FINAL_STATES)


def test_the_legacy_numbers_that_operators_statements_use_keep_their_meaning():
    assert STATUS_OF_STATE["COMPLETED"] == 2
    assert STATUS_OF_STATE["COMPLETED_WITH_ERRORS"] == 3
    assert len(set(RunStatus)) == 6


def test_every_kind_of_optimisation_has_its_portal_type():
    assert PORTAL_TYPE.keys() == set(Portal)
    assert len(set(PORTAL_TYPE.values())) == len(Portal)


@pytest.fixture
def moments(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'moments.db'}")
    table = sa.Table("Moment", sa.MetaData(), sa.Column("At", UtcDateTime))
    table.create(engine)
    with engine.begin() as connection:
        yield connection, table
    engine.dispose()


def test_a_moment_comes_back_as_the_same_moment_in_utc(moments):
    connection, table = moments
    told = datetime(2026, 11, 1, 1, 30, 0, 123456, tzinfo=timezone(timedelta(hours=-5)))
    connection.execute(table.insert().values(At=told))
    read = connection.execute(sa.select(table.c.At)).scalar_one()
    assert read == told
    assert read.tzinfo is UTC
    stored = connection.exec_driver_sql('SELECT "At" FROM "Moment"').scalar_one()
    assert stored == "2026-11-01 06:30:00.123456"


def test_a_moment_without_a_time_zone_is_refused(moments):
    connection, table = moments
    naive = datetime(2026, 11, 1, 1, 30, tzinfo=UTC).replace(tzinfo=None)
    with pytest.raises(sa.exc.StatementError, match="needs a time zone"):
        connection.execute(table.insert().values(At=naive))
