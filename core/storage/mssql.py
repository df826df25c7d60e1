"""Everything that only SQL Server needs: how it is opened, locked, filled and read fast.

Through pyodbc and Microsoft's ODBC Driver 18. No statement needs MERGE or CREATE OR ALTER, so that servers that only speak the same language can do as well. What the driver says
becomes an error of this system in :mod:`core.storage.mssql_errors`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import event

from core.errors import NotAvailableError, StorageError
from core.storage.mssql_errors import (
    APPEND_ONLY_NUMBER,
    database_address,
    sql_number,
    translated,
)

EXAMPLE_URL = "mssql+pyodbc://user:password@server:1433/database"

DRIVER = "ODBC Driver 18 for SQL Server"
"""Unless the address names another one."""

LOGIN_TIMEOUT_SECONDS = 30
STATEMENT_TIMEOUT_SECONDS = 900
LOCK_TIMEOUT_MILLISECONDS = 60_000
"""How long an upgrade waits for another one."""

_LEVEL = "carrier_opt_isolation_level"
_IS_LEVEL_SET = "carrier_opt_is_level_set"
_IS_ENDING = "carrier_opt_is_ending"
_MIGRATION_LOCK = "carrier-opt migrations"
_REFUSED_LOCK = -999

_APPEND_ONLY = """
CREATE TRIGGER [TR_{table}_AppendOnly] ON [{table}] AFTER UPDATE, DELETE AS
BEGIN
    SET NOCOUNT ON;
    IF EXISTS (SELECT * FROM deleted) THROW {number}, '{table} is append-only', 1;
END
"""


def create(url: sa.URL) -> sa.Engine:
    """Make the engine of a database on SQL Server; connects to nothing yet.

    The connection is encrypted and the server's certificate verified, unless the address says
    otherwise.

    Raises
    ------
    StorageError
        If the address names no server or database, or the ODBC library is missing.
    NotAvailableError
        If the address names another driver than pyodbc.
    """
    if url.get_driver_name() != "pyodbc":
        raise NotAvailableError(f"the driver {url.drivername}", f"write {EXAMPLE_URL}")
    if "odbc_connect" not in url.query:
        if not url.host or not url.database:
            msg = (
                f"the database address names no server or no database: write it like {EXAMPLE_URL}"
            )
            raise StorageError(msg)
        defaults = {"driver": DRIVER, "Encrypt": "yes"}
        given = {name.lower() for name in url.query}
        url = url.update_query_dict(
            {name: value for name, value in defaults.items() if name.lower() not in given}
        )
    try:
        engine = sa.create_engine(
            url,
            pool_size=10,
            max_overflow=20,
            pool_pre_ping=True,
            pool_recycle=3600,
            fast_executemany=True,
            hide_parameters=True,
            connect_args={"timeout": LOGIN_TIMEOUT_SECONDS},
        )
    except ImportError as error:
        msg = (
            f"the library that speaks ODBC cannot be loaded ({error}): install the Debian package "
            "unixodbc and Microsoft's msodbcsql18"
        )
        raise StorageError(msg) from error
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "reset", _leave_level)
    event.listen(engine, "begin", _note_begin)
    event.listen(engine, "commit", _note_commit)
    event.listen(engine, "handle_error", _raise_translated)
    return engine


def address(url: sa.URL) -> str:
    """Tell database and server; the rest of the address may be secret."""
    return database_address(url)


def exists(engine: sa.Engine) -> bool:
    """Whether there is a database: an administrator has made it, or connecting says that not."""
    del engine
    return True


def prepare(engine: sa.Engine) -> None:
    """Do nothing: an administrator makes the database."""
    del engine


def lock_migrations(connection: sa.Connection) -> None:
    """Keep other upgrades away until the transaction ends, by an application lock.

    The driver's transactions begin with the first statement that reads or writes a table, and without
    one such a lock is refused with -999: so a table is read first. Row counts are switched on again:
    the option lasts as long as the connection, and Alembic compares the number of rows that its own
    record of each revision changed.

    Raises
    ------
    StorageError
        If another upgrade holds it for too long, or the server refuses the lock.
    """
    result = connection.exec_driver_sql(
        "SET NOCOUNT ON; DECLARE @result INT; SELECT @result = COUNT(*) FROM sys.databases; "  # noqa: S608 - constants
        f"EXEC @result = sp_getapplock @Resource = N'{_MIGRATION_LOCK}', @LockMode = 'Exclusive', "
        f"@LockOwner = 'Transaction', @LockTimeout = {LOCK_TIMEOUT_MILLISECONDS}; "
        "SET NOCOUNT OFF; SELECT @result;"
    ).scalar_one()
    if int(result) == _REFUSED_LOCK:
        raise StorageError(f"{address(connection.engine.url)} gave an upgrade no lock ({result})")
    if int(result) < 0:
        msg = (
            f"another upgrade of {address(connection.engine.url)} has been at work for more than "
            f"{LOCK_TIMEOUT_MILLISECONDS // 1000} s: wait for it and look with `carrier-opt db status`"
        )
        raise StorageError(msg)


def begin_reading(connection: sa.Connection) -> None:
    """Read a snapshot where the database allows it, else what is committed.

    Without snapshots a reader holds what it has read until it is done, so that it never sees half of
    a transaction; writers wait for it. With read committed snapshots each statement is a view of its
    own.
    """
    level = connection.info[_LEVEL]
    if level != "READ COMMITTED":  # the default
        connection.info[_IS_LEVEL_SET] = True
        connection.exec_driver_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
        connection.rollback()  # what has begun at another level can be no snapshot


def held(statement: sa.Select[Any], table: sa.Table) -> sa.Select[Any]:
    """Hold a shared lock on the rows that are read, which else is given up at once."""
    return statement.with_hint(table, "WITH (REPEATABLEREAD)", "mssql")


def append_only_statements(table: str) -> list[str]:
    """Spell the trigger that refuses to change or delete rows of ``table`` (D5)."""
    return [_APPEND_ONLY.format(table=table, number=APPEND_ONLY_NUMBER)]


def _prepare_connection(connection: Any, record: Any) -> None:
    """Let any error end the transaction; ask how readers may be kept from half a transaction.

    Rows are counted whatever the server's default is: guarded updates are told by their count.
    """
    connection.timeout = STATEMENT_TIMEOUT_SECONDS
    cursor = connection.cursor()
    cursor.execute("SET NOCOUNT OFF")
    cursor.execute("SET XACT_ABORT ON")
    cursor.execute(
        "SELECT snapshot_isolation_state, is_read_committed_snapshot_on "
        "FROM sys.databases WHERE name = DB_NAME()"
    )
    has_snapshots, has_versions = cursor.fetchone()
    cursor.close()
    connection.commit()
    record.info[_LEVEL] = (
        "SNAPSHOT" if has_snapshots == 1 else "READ COMMITTED" if has_versions else "SERIALIZABLE"
    )


def _leave_level(connection: Any, record: Any, state: sa.PoolResetState) -> None:
    """Give a reader's connection back as it was; the pool throws it away if that fails."""
    del state
    if record.info.pop(_IS_LEVEL_SET, False):
        connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")


def _note_begin(connection: sa.Connection) -> None:
    connection.info[_IS_ENDING] = False


def _note_commit(connection: sa.Connection) -> None:
    """Remember that a commit is under way: unlike a rollback, it may have taken effect if it fails."""
    connection.info[_IS_ENDING] = True


def _raise_translated(context: sa.ExceptionContext) -> None:
    """Raise the error tree's exceptions for the driver's; broken constraints stay as they are."""
    import pyodbc

    original = context.original_exception
    is_ours = isinstance(original, pyodbc.Error) and not isinstance(original, pyodbc.IntegrityError)
    if not is_ours or context.is_pre_ping or context.engine is None:
        return
    if sql_number(original) == APPEND_ONLY_NUMBER:
        raise sa.exc.IntegrityError(context.statement, None, original) from original
    connection = context.connection
    is_statement = context.statement is not None or context.execution_context is not None
    raise translated(
        original,
        context.engine.url,
        is_connecting=connection is None,
        is_ending=connection is not None and not is_statement and connection.info[_IS_ENDING],
    ) from original


# --- many rows at once: the SQL Server side of core.storage.bulk --------------------------------


def to_driver(frame: pl.DataFrame) -> pl.DataFrame:
    """Bring moments to naive UTC, as their columns hold them; the driver takes all else as it is."""
    return frame.with_columns(
        pl.selectors.datetime(time_zone="*").dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    )


def read_slices(
    connection: sa.Connection,
    statement: sa.Select[tuple[object, ...]],
    schema: Mapping[str, pl.DataType],
    n_rows: int,
) -> Iterator[pl.DataFrame]:
    """Run a statement and hand out its rows in slices, within the connection's transaction."""
    with connection.execute(statement) as result:
        while rows := _fetched(result.cursor, n_rows, connection.engine.url):
            yield pl.DataFrame([tuple(row) for row in rows], schema=dict(schema), orient="row")


def _fetched(cursor: Any, n_rows: int, url: sa.URL) -> Sequence[Sequence[object]]:
    """Take rows from the driver itself, past SQLAlchemy, which therefore sees no error of it."""
    import pyodbc

    try:
        return cursor.fetchmany(n_rows)  # type: ignore[no-any-return]
    except pyodbc.Error as error:
        raise translated(error, url, is_connecting=False, is_ending=False) from error


def read_slices_in_bulk(
    connection: sa.Connection,
    statement: sa.Select[tuple[object, ...]],
    schema: Mapping[str, pl.DataType],
    n_rows: int,
) -> Iterator[pl.DataFrame]:
    """Read through Arrow, on a connection of its own, at the same isolation level.

    Values stand in the statement as literals, spelt by SQLAlchemy: parameters would all be text.
    """
    import arrow_odbc

    engine = connection.engine
    (connection_string,), _ = engine.dialect.create_connect_args(engine.url)
    level = connection.info[_LEVEL]
    compiled = statement.compile(dialect=engine.dialect, compile_kwargs={"literal_binds": True})
    try:
        reader = arrow_odbc.read_arrow_batches_from_odbc(
            query=f"SET NOCOUNT ON; SET TRANSACTION ISOLATION LEVEL {level}; {compiled}",
            connection_string=connection_string,
            batch_size=n_rows,
            login_timeout_sec=LOGIN_TIMEOUT_SECONDS,
            query_timeout_sec=STATEMENT_TIMEOUT_SECONDS,
        )
        for batch in reader:
            yield _from_arrow(batch, schema)
    except arrow_odbc.Error as error:
        raise _translated_arrow(error, engine.url) from None


def _from_arrow(batch: Any, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Give the columns the names and types of the schema."""
    frame = pl.from_arrow(batch)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a record batch makes a frame")
    frame.columns = list(schema)
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _translated_arrow(error: Exception, url: sa.URL) -> StorageError:
    """Translate an error that tells SQLSTATE and number within its text."""
    text = str(error)
    state = re.search(r"State: ([0-9A-Z]{5})", text)
    number = re.search(r"Native error: (-?\d+)", text)
    parts: Sequence[object] = (
        state.group(1) if state else "",
        f"{text} ({number.group(1) if number else 0}) (SQLExecDirect)",
    )
    code = parts[0]
    return translated(
        Exception(*parts), url, is_connecting=code in {"08001", "28000", "IM002"}, is_ending=False
    )


# --- maintenance: the SQL Server side of core.storage.maintenance --------------------------------

_SESSION_OPTIONS = ("SET NOCOUNT ON", "SET QUOTED_IDENTIFIER ON", "SET ANSI_NULLS ON")
"""What a session needs to touch filtered indexes and computed columns; ``sqlcmd`` has the second off."""


def maintenance_statements(table_names: Sequence[str], *, full: bool, rebuild: bool) -> list[str]:
    """List the statements; see :func:`core.storage.maintenance.maintenance_statements`.

    Statistics come first: a rebuild makes those of its indexes from every row by itself, and a sample
    that is taken later would replace them.
    """
    statements = list(_SESSION_OPTIONS)
    for name in table_names:
        statements.append(f"UPDATE STATISTICS [{name}]{' WITH FULLSCAN' if full else ''}")
        statements.append(f"ALTER INDEX ALL ON [{name}] {'REBUILD' if rebuild else 'REORGANIZE'}")
    return statements


def run_each(engine: sa.Engine, statements: Sequence[str]) -> Iterator[str]:
    """Run statements, each committed by itself, so that no lock outlives the one that needs it.

    The connection is closed at the end: the options that a script sets would stay on it.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()
        for statement in statements:
            yield statement
            connection.exec_driver_sql(statement)
