"""What the schema itself keeps, and the views that operators query (S3, D2)."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from core.storage.engine import insert_row, reading, writing
from core.storage.schema import metadata, optimization_session, run_slot, tenant
from tests.contract.accounts import MADE, NOVEMBER, NOW, UNKNOWN, accounts_of, add_accounts

RUNNING = sa.table(
    "vwOptimizationSessionRunning",
    *map(
        sa.column,
        (
            "OptimizationSessionId",
            "TenantId",
            "OptimizationInstanceStatusId",
            "OptimizationQueueStatusId",
        ),
    ),
)
SESSIONS = sa.table(
    "vwOptimizationSession",
    *map(
        sa.column,
        (
            "Id",
            "TenantId",
            "State",
            "OptimizationSessionStatusId",
            "CreatedDate",
            "IsActive",
            "IsDeleted",
        ),
    ),
)


@pytest.fixture
def engine(engine):
    add_accounts(engine)
    return engine


def add_session(engine, number, *, state="PENDING", tenant_number=1):
    with writing(engine) as connection:
        return insert_row(
            connection,
            optimization_session,
            SessionId=str(number),
            TenantId=accounts_of(engine).tenant(tenant_number),
            Kind="m2m",
            State=state,
            Parameters="{}",
            TriggeredBy="test",
            **(MADE | {"CreatedDate": NOW + timedelta(minutes=number)}),
        )


def test_a_second_working_session_of_a_tenant_is_refused(engine):
    first = add_session(engine, 1, state="OPTIMISING")
    add_session(engine, 2, tenant_number=2)
    add_session(engine, 3, state="FAILED")
    add_session(engine, 4, state="COMPLETED")
    with pytest.raises(sa.exc.IntegrityError):
        add_session(engine, 5)
    table = optimization_session
    with writing(engine) as connection:
        connection.execute(sa.update(table).where(table.c.Id == first).values(State="CANCELLED"))
    add_session(engine, 5)


def test_the_operators_running_session_query_finds_the_running_session(engine):
    """The legacy query; it must find a session that has no instance yet."""
    add_session(engine, 1, state="COMPLETED")
    running = add_session(engine, 2, state="SYNCING")
    newest = (
        sa.select(SESSIONS.c.Id)
        .where(
            SESSIONS.c.TenantId == accounts_of(engine).tenant(1),
            SESSIONS.c.IsActive == 1,
            SESSIONS.c.IsDeleted == 0,
        )
        .order_by(SESSIONS.c.CreatedDate.desc(), SESSIONS.c.Id.desc())
        .limit(1)
        .subquery()
    )
    query = (
        sa.select(RUNNING.c.OptimizationSessionId)
        .join_from(RUNNING, newest, RUNNING.c.OptimizationSessionId == newest.c.Id)
        .where(
            sa.or_(
                RUNNING.c.OptimizationQueueStatusId != 3,
                RUNNING.c.OptimizationInstanceStatusId != 3,
            )
        )
    )
    states = sa.select(SESSIONS.c.State, SESSIONS.c.OptimizationSessionStatusId)
    with reading(engine) as connection:
        assert connection.execute(query).scalars().all() == [running]
        shown = connection.execute(states.order_by(SESSIONS.c.Id)).all()
        statuses = connection.execute(
            sa.select(RUNNING.c.OptimizationInstanceStatusId, RUNNING.c.OptimizationQueueStatusId)
        ).all()
    assert [tuple(row) for row in statuses] == [(1, 1)]
    assert [tuple(row) for row in shown] == [("COMPLETED", 2), ("SYNCING", 1)]


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (tenant, {"Name": "tenant 1", **MADE}),
        (
            run_slot,
            {
                "ServiceProviderId": UNKNOWN,
                "LocalDate": NOVEMBER[0],
                "Hour": 1,
                "ClaimedBy": "x",
                "ClaimedAt": NOW,
            },
        ),
        (
            optimization_session,
            {
                "SessionId": "1",
                "TenantId": UNKNOWN,
                "Kind": "m2m",
                "State": "FAILED",
                "Parameters": "{}",
                "TriggeredBy": "test",
                **MADE,
            },
        ),
    ],
    ids=["a name twice", "a slot of no provider", "a session of no tenant"],
)
def test_rows_that_break_a_rule_of_the_schema_are_refused(engine, table, row):
    with pytest.raises(sa.exc.IntegrityError), writing(engine) as connection:
        connection.execute(sa.insert(table).values(**row))


def test_a_state_that_nobody_knows_is_refused(engine):
    with pytest.raises(sa.exc.IntegrityError):
        add_session(engine, 1, state="SLEEPING")


def test_names_that_differ_in_case_or_in_a_trailing_letter_only_are_two(engine):
    """Upper and lower case differ in everything that is looked up by its exact value."""
    for name in ("Tenant 1", "tenant 1x", "ten\u00e4nt 1"):
        with writing(engine) as connection:
            key = insert_row(connection, tenant, Name=name, **MADE)
        with reading(engine) as connection:
            found = connection.execute(sa.select(tenant.c.Id).where(tenant.c.Name == name))
            assert found.scalars().all() == [key]


def test_every_table_can_be_read(engine):
    with reading(engine) as connection:
        for table in metadata.sorted_tables:
            connection.execute(sa.select(table).limit(1)).all()
