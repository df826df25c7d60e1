"""docs/database.md says what the schema says: tables, computed columns, numbers, statements (D2)."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from core.storage.engine import insert_row, open_engine, reading, writing
from core.storage.legacy_ids import PORTAL_TYPE, STATUS_OF_STATE, RunStatus
from core.storage.migrate import upgrade
from core.storage.schema import (
    catalogue,
    devices,
    metadata,
    optimization_instance,
    optimization_session,
    results,
    sessions,
    tenant,
)

PAGE = (Path(__file__).parents[2] / "docs/database.md").read_text(encoding="utf-8")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROOMS = {"catalogue": catalogue, "devices": devices, "sessions": sessions, "results": results}
STATEMENTS = re.findall(r"^```sql\n(SELECT.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
WORDS = {"SELECT", "TOP", "FROM", "JOIN", "ON", "WHERE", "AND", "OR", "ORDER", "BY", "DESC"}


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of a section's table rows, without header and backticks."""
    lines = re.findall(r"^\| (.*) \|$", section(heading), re.MULTILINE)
    return [[cell.strip("` ") for cell in line.split(" | ")] for line in lines]


def test_every_table_is_listed_in_its_room_with_what_stands_in_it() -> None:
    listed = {cells[0]: cells[1:] for cells in rows("Tables")[1:]}
    expected = {
        member.name: room
        for room, module in ROOMS.items()
        for member in vars(module).values()
        if isinstance(member, sa.Table)
    }
    assert {name: room for name, (room, _) in listed.items()} == expected
    assert expected.keys() == metadata.tables.keys()
    assert all(text for _, text in listed.values())


def test_every_computed_column_is_listed_with_the_column_behind_it() -> None:
    listed = {
        (cells[0], cells[1]): re.match(r"\w+", cells[2])[0]  # type: ignore[index]
        for cells in rows("Names that operators know")
        if cells[0] in metadata.tables
    }
    computed = [
        column
        for table in metadata.sorted_tables
        for column in table.columns
        if column.computed is not None
    ]
    assert listed.keys() == {(column.table.name, column.name) for column in computed}
    for column in computed:
        source = listed[column.table.name, column.name]
        assert source in column.table.columns
        assert column.computed is not None
        assert source in re.findall(r"\w+", str(column.computed.sqltext))


def test_the_status_ids_and_portal_types_are_those_of_the_code() -> None:
    listed = [
        (int(cells[0]), cells[1], tuple(cells[2].split(", ")))
        for cells in rows("Names that operators know")
        if cells[0].isdigit()
    ]
    expected = [
        (
            int(status),
            status.name,
            tuple(state for state, mapped in STATUS_OF_STATE.items() if mapped is status),
        )
        for status in RunStatus
    ]
    assert listed == expected
    told = re.findall(r"(\d) `(\w+)`", PAGE.split("`PortalType` is the kind", 1)[1].split(".")[0])
    assert told == [(str(number), portal.value) for portal, number in PORTAL_TYPE.items()]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('operators') / 'new.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


def on_sqlite(statement: str) -> str:
    """Write TOP 1 as SQLite does; all else stays as operators type it."""
    limited = re.sub(
        r"SELECT TOP 1 (.*?)(?=\) optf|\Z)", r"SELECT \1 LIMIT 1", statement, flags=re.S
    )
    assert limited.count("LIMIT 1") == statement.count("TOP 1")
    return limited


def add_session(connection: sa.Connection, tenant_id: int, number: int, state: str) -> int:
    return insert_row(
        connection, optimization_session, SessionId=str(uuid.uuid4()), TenantId=tenant_id, Kind="m2m",
        State=state, Parameters="{}", TriggeredBy="test", CreatedBy="test",
        CreatedDate=NOW.replace(minute=number),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("states", "running"),
    [
        (["COMPLETED", "SYNCING"], [1]),
        (["COMPLETED", "COMPLETED_WITH_ERRORS"], []),
        (["OPTIMISING"], [0]),
        (["FAILED", "CANCELLED", "COMPLETED"], []),
    ],
)
def test_the_operators_statement_finds_a_running_session_and_nothing_else(engine, states, running):
    with writing(engine) as connection:
        tenant_id = insert_row(
            connection, tenant, Name=" ".join(states), CreatedBy="test", CreatedDate=NOW
        )
        ids = [add_session(connection, tenant_id, k, state) for k, state in enumerate(states)]
    statement = next(text for text in STATEMENTS if "vwOptimizationSessionRunning" in text)
    given = {"tenantId": tenant_id, "optimizationStatusError": int(RunStatus.COMPLETE_WITH_ERRORS)}
    with reading(engine) as connection:
        found = connection.exec_driver_sql(on_sqlite(statement), given).scalars().all()
        others = connection.exec_driver_sql(on_sqlite(statement), {**given, "tenantId": 99}).all()
    assert found == [ids[k] for k in running]
    assert others == []


def test_the_other_statements_of_operators_run_as_they_are(engine):
    end, plans = (text for text in STATEMENTS if "vwOptimizationSessionRunning" not in text)
    with reading(engine) as connection:
        given = {"optimizationIdRunning": 1, "CommGroupId": 1}
        assert connection.exec_driver_sql(on_sqlite(end), given).all() == []
        found = connection.exec_driver_sql(on_sqlite(plans), given)
        assert list(found.keys())[-3:] == ["MaxAvgUsage", "CreatedBy", "CreatedDate"]
    assert "OptimizationInstanceStatusId" in optimization_instance.columns


def test_every_name_in_the_operators_statements_is_a_table_a_view_or_a_column(engine):
    """SQLite reads an unknown name in quotes as text; here every name is looked up."""
    names = {name.lower() for name in metadata.tables}
    names |= {c.name.lower() for table in metadata.sorted_tables for c in table.columns}
    with reading(engine) as connection:
        for view in sa.inspect(connection).get_view_names():
            names.add(view.lower())
            found = connection.exec_driver_sql(f"SELECT * FROM {view}").keys()
            names |= {name.lower() for name in found}
    assert len(STATEMENTS) == 3
    for statement in STATEMENTS:
        used = set(re.findall(r"(?<![@\w])[A-Za-z_]\w*", statement)) - WORDS
        assert {name.lower() for name in used} - {"sr", "optf"} <= names
