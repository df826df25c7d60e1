"""What SQL Server says on the wire reaches the program through Microsoft's driver (D1, D4)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import traceback

import polars as pl
import pytest
import sqlalchemy as sa
import stamina
from polars.testing import assert_frame_equal

from core.errors import (
    DatabaseUnreachableError,
    InputError,
    SchemaOutdatedError,
    StorageError,
    TransientStorageError,
)
from core.storage import bulk, mssql
from core.storage.engine import open_engine, reading, writing
from core.storage.retry import ATTEMPTS, retried
from tests.contract.sql_server import provide_driver
from tests.integration.tds_endpoint import Changed, Failure, Other, Rows, serving

SECRET = "hunter2"  # noqa: S105
STATE = {"snapshot_isolation_state": "int", "is_read_committed_snapshot_on": "int"}
SNAPSHOTS = ("sys.databases", Rows(STATE, [(1, 1)]))
DEADLOCK = Failure(1205, "Transaction (Process ID 52) was deadlocked and has been chosen.", 13)
NO_TABLE = Failure(208, "Invalid object name 'Sim'.")
INSERT = "INSERT INTO [Sim] VALUES (1)"

SIM = sa.Table(
    "Sim",
    sa.MetaData(),
    sa.Column("Id", sa.BigInteger, primary_key=True),
    sa.Column("Iccid", sa.Unicode(20)),
    sa.Column("Lines", sa.Integer),
)
SCHEMA = {"Id": pl.Int64(), "Iccid": pl.String(), "Lines": pl.Int32()}
COLUMNS = {"Id": "bigint", "Iccid": "nvarchar", "Lines": "int"}
FRAME = pl.DataFrame(
    {"Id": [1, 2**40, 3], "Iccid": ["8901", "ä", None], "Lines": [7, None, 9]}, schema=SCHEMA
)

_INSERTING = """
import sys
from core.storage import bulk
from core.storage.engine import open_engine, writing
from tests.integration.test_sql_server_protocol import FRAME, SIM
with writing(open_engine(sys.argv[1])) as connection:
    bulk.insert_frame(connection, SIM, FRAME)
"""


@pytest.fixture(scope="module", autouse=True)
def driver(tmp_path_factory):
    if importlib.util.find_spec("mssql_python_odbc") is None:
        pytest.skip("the package mssql-python-odbc is missing")
    provide_driver(tmp_path_factory.mktemp("odbc"))


@pytest.fixture(autouse=True)
def without_waiting():
    with stamina.set_testing(True, attempts=ATTEMPTS, cap=True):
        yield


def address(endpoint):
    return f"mssql+pyodbc://operator:{SECRET}@127.0.0.1:{endpoint.port}/fleet?Encrypt=no"


@pytest.fixture
def opened():
    """Open the engine of an endpoint; all are closed at the end."""
    engines = []

    def open_one(endpoint):
        engines.append(open_engine(address(endpoint)))
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.dispose()


def write(engine, statement=INSERT):
    with writing(engine) as connection:
        connection.exec_driver_sql(statement)


def write_retried(engine):
    retried(write)(engine)


def read(engine, *, in_bulk):
    with reading(engine) as connection:
        statement = sa.select(SIM).where(SIM.c.Iccid != "x")
        return bulk.read_frame(connection, statement, SCHEMA, in_bulk=in_bulk)


def read_in_bulk(engine):
    return read(engine, in_bulk=True)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (Failure(18456, "Login failed for user 'operator'.", 14), "check user and password"),
        (
            Failure(
                4060,
                'Cannot open database "fleet" requested by the login.',
                11,
                Failure(18456, "Login failed for user 'operator'.", 14),
            ),
            "check the name of the database",
        ),
    ],
)
def test_a_refused_login_says_what_to_look_at(opened, failure, said):
    with serving(login=[failure]) as endpoint, pytest.raises(DatabaseUnreachableError) as caught:
        write_retried(opened(endpoint))
    assert said in str(caught.value)
    assert failure.text.rstrip(".") in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert endpoint.n_connections == 1


@pytest.mark.parametrize(
    ("state", "level"),
    [((1, 0), "SNAPSHOT"), ((1, 1), "SNAPSHOT"), ((0, 1), None), ((0, 0), "SERIALIZABLE")],
)
def test_a_reader_takes_the_level_that_the_database_allows(opened, state, level):
    with serving([("sys.databases", Rows(STATE, [state]))]) as endpoint:
        with reading(opened(endpoint)) as connection:
            connection.exec_driver_sql("SELECT [Id] FROM [Sim]")
        said = endpoint.statements
    prepared = said.index("SET XACT_ABORT ON")
    assert "FROM sys.databases WHERE name = DB_NAME()" in said[prepared + 1]
    levels = [text for text in said if text.startswith("SET TRANSACTION ISOLATION LEVEL")]
    if level is None:
        assert levels == []
        return
    first, last = (f"SET TRANSACTION ISOLATION LEVEL {name}" for name in (level, "READ COMMITTED"))
    assert levels == [first, last]
    start = said.index(first)
    assert said[start + 1 :] == [
        "ROLLBACK TRANSACTION",  # so that the next one begins at this level
        "SELECT [Id] FROM [Sim]",
        "COMMIT TRANSACTION",
        last,
        "ROLLBACK TRANSACTION",
    ]


def test_a_writer_stays_at_the_level_of_the_server(opened):
    with serving([SNAPSHOTS]) as endpoint:
        write(opened(endpoint))
    assert not any("ISOLATION LEVEL" in text for text in endpoint.statements)
    assert endpoint.statements[-2:] == [INSERT, "COMMIT TRANSACTION"]


def test_a_deadlock_is_over_at_the_second_attempt(opened):
    with serving([SNAPSHOTS, ("^INSERT", [DEADLOCK])]) as endpoint:
        write_retried(opened(endpoint))
    assert endpoint.statements.count(INSERT) == 2
    assert endpoint.statements[-1] == "COMMIT TRANSACTION"
    assert endpoint.n_connections == 1


def test_a_deadlock_that_stays_surfaces_after_all_attempts(opened):
    with (
        serving([SNAPSHOTS, ("^INSERT", DEADLOCK)]) as endpoint,
        pytest.raises(TransientStorageError, match=r"was deadlocked.*\(error 1205\)"),
    ):
        write_retried(opened(endpoint))
    assert endpoint.statements.count(INSERT) == ATTEMPTS


def test_a_connection_that_breaks_in_a_statement_is_replaced(opened):
    with serving([SNAPSHOTS, ("^INSERT", [Other.CLOSE])]) as endpoint:
        write_retried(opened(endpoint))
    assert endpoint.statements.count(INSERT) == 2
    assert endpoint.n_connections == 2


def test_a_connection_that_broke_while_idle_is_replaced_unseen(opened):
    with serving([SNAPSHOTS, ("^SELECT 1$", [Other.CLOSE])]) as endpoint:
        engine = opened(endpoint)
        write(engine)
        write(engine)
    assert endpoint.statements.count(INSERT) == 2
    assert endpoint.n_connections == 2


def test_a_connection_that_breaks_in_the_commit_is_not_tried_again(opened):
    script = [SNAPSHOTS]
    with serving(script) as endpoint:
        engine = opened(endpoint)
        write(engine)
        script.append(("^COMMIT", [Other.CLOSE]))
        with pytest.raises(StorageError, match="took effect is unknown") as caught:
            write_retried(engine)
    assert type(caught.value) is StorageError
    assert endpoint.statements.count(INSERT) == 2


def test_a_deadlock_in_the_commit_has_left_nothing_and_is_tried_again(opened):
    script = [SNAPSHOTS]
    with serving(script) as endpoint:
        engine = opened(endpoint)
        write(engine)
        script.append(("^COMMIT", [DEADLOCK]))
        write_retried(engine)
    assert endpoint.statements.count(INSERT) == 3


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        (NO_TABLE, SchemaOutdatedError, "carrier-opt db upgrade"),
        (Failure(207, "Invalid column name 'Lines'."), SchemaOutdatedError, "db upgrade"),
        (
            Failure(229, "The INSERT permission was denied on the object 'Sim'.", 14),
            StorageError,
            "`carrier-opt db roles`",
        ),
        (Failure(1222, "Lock request time out period exceeded."), TransientStorageError, "later"),
        (Failure(3960, "Snapshot isolation aborted."), TransientStorageError, "later"),
        (Failure(40613, "Database is not available.", 17), TransientStorageError, "later"),
        (Failure(8134, "Divide by zero error encountered."), StorageError, "error 8134"),
    ],
    ids=lambda value: value.number if isinstance(value, Failure) else "",
)
def test_what_the_server_says_becomes_an_error_of_the_tree(opened, failure, kind, said):
    with (
        serving([SNAPSHOTS, ("^INSERT", failure)]) as endpoint,
        pytest.raises(StorageError) as caught,
    ):
        write(opened(endpoint))
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert failure.text.rstrip(".") in str(caught.value)
    assert "Microsoft" not in str(caught.value)


@pytest.mark.parametrize(
    "failure",
    [
        Failure(mssql.APPEND_ONLY_NUMBER, "AuditEvent is append-only"),
        Failure(2627, "Violation of PRIMARY KEY constraint 'PK_Sim'.", 14),
        Failure(2601, "Cannot insert duplicate key row in object 'dbo.Sim'.", 14),
        Failure(547, "The INSERT statement conflicted with the FOREIGN KEY constraint."),
        Failure(515, "Cannot insert the value NULL into column 'Id'."),
    ],
    ids=lambda failure: str(failure.number),
)
def test_a_broken_constraint_stays_one(opened, failure):
    with (
        serving([SNAPSHOTS, ("^INSERT", failure)]) as endpoint,
        pytest.raises(sa.exc.IntegrityError, match=failure.text[:20]),
    ):
        write_retried(opened(endpoint))
    assert endpoint.statements.count(INSERT) == 1


def test_a_server_that_falls_silent_is_given_up_and_tried_again(opened, monkeypatch):
    monkeypatch.setattr(mssql, "STATEMENT_TIMEOUT_SECONDS", 1)
    with serving([SNAPSHOTS, ("^INSERT", [Other.SILENCE, Other.SILENCE])]) as endpoint:
        engine = opened(endpoint)
        with pytest.raises(TransientStorageError, match="timeout expired"):
            write(engine)
        write_retried(engine)
    assert endpoint.statements.count(INSERT) == 3


def described(*kinds):
    """What ``sp_describe_undeclared_parameters`` says: number, name, type, size and much else."""
    names = [f"c{number}" for number in range(24)]
    texts = {1, 3, 8, 9, 10, 11, 13, 14, 15, 21}
    columns = {name: "nvarchar" if at in texts else "int" for at, name in enumerate(names)}
    rows = []
    for number, (kind, name, size, precision, on_wire) in enumerate(kinds, 1):
        start = [number, f"@P{number}", kind, name, size, precision, 0]
        rows.append((*start, *[None] * 9, 0, 0, 0, 1, 0, None, on_wire, size))
    return Rows(columns, rows)


def test_the_rows_of_a_frame_go_out_at_once_with_their_types():
    """In a process of its own: while pyodbc asks for the types, no other thread of Python runs."""
    types = described(
        (127, "bigint", 8, 19, 0x26), (231, "nvarchar(20)", 40, 0, 0xE7), (56, "int", 4, 10, 0x26)
    )
    script = [SNAPSHOTS, ("sp_describe_undeclared", types), ("^INSERT", Changed())]
    with serving(script) as endpoint:
        subprocess.run([sys.executable, "-c", _INSERTING, address(endpoint)], check=True)
    inserts = [text for text in endpoint.statements if text.startswith("INSERT")]
    assert set(inserts) == {"INSERT INTO [Sim] ([Id], [Iccid], [Lines]) VALUES (@P1, @P2, @P3)"}
    sent = [values for values in endpoint.parameters if len(values) == 3]
    assert sent == [list(row) for row in FRAME.rows()]
    assert len(FRAME) in endpoint.calls_at_once


def test_rows_come_through_arrow_with_the_types_of_the_schema(opened):
    rows = [(1, "8901", 7), (2**40, "ä", None), (3, None, -1)]
    with serving([SNAPSHOTS, (r"FROM \[Sim\]", Rows(COLUMNS, rows))]) as endpoint:
        frame = read_in_bulk(opened(endpoint))
    assert_frame_equal(frame, pl.DataFrame(rows, schema=SCHEMA, orient="row"))
    (batch,) = [text for text in endpoint.statements if "[Sim]" in text]
    assert batch.startswith(
        "SET NOCOUNT ON; SET TRANSACTION ISOLATION LEVEL SNAPSHOT; SELECT [Sim].[Id]"
    )
    assert batch.endswith("N'x'")
    assert endpoint.n_connections == 2


def test_many_rows_come_through_arrow_in_order(opened, monkeypatch):
    monkeypatch.setattr(bulk, "SLICE_ROWS", 1000)
    rows = [(number, f"{number:020}", number) for number in range(2500)]
    with serving([SNAPSHOTS, (r"FROM \[Sim\]", Rows(COLUMNS, rows))]) as endpoint:
        frame = read_in_bulk(opened(endpoint))
    assert_frame_equal(frame, pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def test_no_rows_through_arrow_make_an_empty_frame(opened):
    with serving([SNAPSHOTS, (r"FROM \[Sim\]", Rows(COLUMNS))]) as endpoint:
        assert_frame_equal(read_in_bulk(opened(endpoint)), pl.DataFrame(schema=SCHEMA))


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (DEADLOCK, TransientStorageError, "was deadlocked"),
        (NO_TABLE, SchemaOutdatedError, "Invalid object name 'Sim'"),
        (Failure(229, "The SELECT permission was denied.", 14), StorageError, "db roles"),
        (Other.CLOSE, TransientStorageError, "try again later"),
    ],
    ids=["1205", "208", "229", "closed"],
)
def test_an_error_through_arrow_is_translated(opened, answer, kind, said):
    with (
        serving([SNAPSHOTS, (r"FROM \[Sim\]", answer)]) as endpoint,
        pytest.raises(StorageError) as caught,
    ):
        read_in_bulk(opened(endpoint))
    assert type(caught.value) is kind
    assert said in str(caught.value)
    assert "Microsoft" not in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_deadlock_through_arrow_is_over_at_the_second_attempt(opened):
    rows = [(1, "8901", 7)]
    script = [SNAPSHOTS, (r"FROM \[Sim\]", [DEADLOCK, Rows(COLUMNS, rows)])]
    with serving(script) as endpoint:
        frame = retried(read_in_bulk)(opened(endpoint))
    assert frame.rows() == rows


@pytest.mark.parametrize("in_bulk", [False, True], ids=["pyodbc", "arrow"])
@pytest.mark.parametrize("then", [DEADLOCK, Other.CLOSE], ids=["deadlock", "broken"])
def test_what_fails_among_the_rows_is_tried_again(opened, then, in_bulk):
    rows = [(number, f"{number:020}", number) for number in range(200)]
    script = [SNAPSHOTS, (r"FROM \[Sim\]", [Rows(COLUMNS, rows, then), Rows(COLUMNS, rows)])]
    with serving(script) as endpoint:
        frame = retried(read)(opened(endpoint), in_bulk=in_bulk)
    assert frame.rows() == rows


@pytest.mark.parametrize("then", [DEADLOCK, Other.CLOSE], ids=["deadlock", "broken"])
def test_what_fails_among_the_rows_of_a_plain_statement_is_tried_again(opened, then):
    rows = [(number, f"{number:020}", number) for number in range(200)]

    @retried
    def select(engine):
        with reading(engine) as connection:
            return [tuple(row) for row in connection.execute(sa.select(SIM))]

    script = [SNAPSHOTS, (r"FROM \[Sim\]", [Rows(COLUMNS, rows, then), Rows(COLUMNS, rows)])]
    with serving(script) as endpoint:
        assert select(opened(endpoint)) == rows


def test_an_error_that_ends_the_connection_is_tried_again_on_a_new_one(opened):
    moved = Failure(40197, "The service has encountered an error processing your request.", 20)
    with serving([SNAPSHOTS, ("^INSERT", [moved])]) as endpoint:
        write_retried(opened(endpoint))
    assert endpoint.statements.count(INSERT) == 2
    assert endpoint.n_connections == 2


def test_a_connection_that_breaks_in_the_rollback_does_not_hide_why(opened):
    with serving([SNAPSHOTS, ("^INSERT", [DEADLOCK])]) as endpoint:
        engine = opened(endpoint)
        write(engine, "SELECT 1")
        endpoint.script.append(("^ROLLBACK", [Other.CLOSE]))
        write_retried(engine)
    assert endpoint.statements.count(INSERT) == 2


def test_what_the_program_raises_survives_a_connection_that_breaks_in_the_rollback(opened):
    @retried
    def refuse(engine):
        with writing(engine) as connection:
            connection.exec_driver_sql(INSERT)
            raise InputError("no such plan")

    with serving([SNAPSHOTS]) as endpoint:
        engine = opened(endpoint)
        write(engine)
        endpoint.script.append(("^ROLLBACK", [Other.CLOSE]))
        with pytest.raises(InputError, match="no such plan"):
            refuse(engine)
    assert endpoint.statements.count(INSERT) == 3


def test_a_database_that_moves_at_the_login_is_tried_again(opened):
    with serving([SNAPSHOTS], login=[Failure(40613, "Database is not available.", 14)]) as endpoint:
        write_retried(opened(endpoint))
    assert endpoint.n_connections == 2


@pytest.mark.parametrize("statement", ["SERVERPROPERTY", "XACT_ABORT", "sys.databases"])
@pytest.mark.parametrize(
    "answer", [Other.CLOSE, Failure(229, "Denied.", 14)], ids=["closed", "denied"]
)
def test_a_connection_that_cannot_be_prepared_is_an_error_of_the_tree(opened, statement, answer):
    with (
        serving([(statement, answer), SNAPSHOTS]) as endpoint,
        pytest.raises(StorageError, match=r"fleet on 127\.0\.0\.1") as caught,
    ):
        write(opened(endpoint))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_falls_silent_is_given_up_through_arrow(opened, monkeypatch):
    monkeypatch.setattr(mssql, "STATEMENT_TIMEOUT_SECONDS", 1)
    with (
        serving([SNAPSHOTS, (r"FROM \[Sim\]", Other.SILENCE)]) as endpoint,
        pytest.raises(TransientStorageError, match="timeout expired"),
    ):
        read_in_bulk(opened(endpoint))


@pytest.mark.parametrize("level", ["SNAPSHOT", "READ COMMITTED"])
def test_a_connection_that_breaks_where_the_level_is_set_is_replaced(opened, level):
    rows = [(1, "8901", 7)]
    script = [
        (f"SET TRANSACTION ISOLATION LEVEL {level}", [Other.CLOSE]),
        SNAPSHOTS,
        (r"FROM \[Sim\]", Rows(COLUMNS, rows)),
    ]
    with serving(script) as endpoint:
        frame = retried(read)(opened(endpoint), in_bulk=False)
    assert frame.rows() == rows
