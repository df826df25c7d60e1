"""Everything that only SQLite needs: how it is opened, locked, and filled fast.

The driver's own transaction handling is switched off and every transaction is begun here, so that
DDL is transactional (a migration that dies leaves nothing behind) and a transaction that will write
takes the write lock at its start: a lock that is wanted later, after reading, fails at once instead
of waiting. WAL lets readers go on while one writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import event

from core.errors import SchemaOutdatedError, StorageError

BUSY_TIMEOUT_SECONDS = 60.0
"""How long a writer waits for another one."""

_READ_ONLY_OPTION = "carrier_opt_read_only"
"""Execution option of connections that only read; they take no lock that others wait for."""

REMEDY_UPGRADE = "run `carrier-opt db upgrade`"


def create(url: sa.URL) -> sa.Engine:
    """Make the engine of an SQLite file; opens nothing yet.

    Raises
    ------
    StorageError
        If the address names no file: a database in memory would be another one per connection and
        lost with the process.
    """
    if url.database in (None, "", ":memory:") or "mode=memory" in str(url):
        msg = "the database has to be a file, such as sqlite:///carrier-opt.db, not one in memory"
        raise StorageError(msg)
    engine = sa.create_engine(
        url,
        pool_size=10,
        max_overflow=20,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "close", _end_transaction)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _raise_translated)
    return engine


def address(url: sa.URL) -> str:
    """Tell the address as it is given: there is no password in it."""
    return url.render_as_string()


def path_of(engine: sa.Engine) -> Path:
    """Tell the file of the database."""
    return Path(str(engine.url.database))


def exists(engine: sa.Engine) -> bool:
    """Whether the file is there; opening would make an empty one."""
    return path_of(engine).is_file()


def prepare(engine: sa.Engine) -> None:
    """Make the folder of the database file, and the file in WAL mode, which it then keeps.

    Raises
    ------
    StorageError
        If that is not possible, or the path is a folder.
    """
    path = path_of(engine)
    if path.is_dir():
        msg = f"the database {path} is a folder: name a file"
        raise StorageError(msg)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the folder {path.parent} of the database cannot be made: {error.strerror}"
        raise StorageError(msg) from error
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS)) as connection:
        try:
            _enter_wal(connection)
        except sqlite3.Error as error:
            raise _translated(error, str(path)) from error


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Switch a file to WAL; SQLite does not wait here for a writer, but at the start of its own."""
    for _ in range(10):
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
            return
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")


def lock_migrations(connection: sa.Connection) -> None:
    """Do nothing more: a writing transaction holds the write lock from its beginning."""
    del connection


def begin_reading(connection: sa.Connection) -> None:
    """Begin without the write lock: a transaction that reads sees the state of its first read."""
    connection.execution_options(**{_READ_ONLY_OPTION: True})


def held(statement: sa.Select[Any], table: sa.Table) -> sa.Select[Any]:
    """Return it as it is: nobody else writes while a writing transaction lasts."""
    del table
    return statement


def append_only_statements(table: str) -> list[str]:
    """Spell the triggers that refuse to change or delete rows of ``table`` (D5)."""
    return [
        f'CREATE TRIGGER "TR_{table}_No{verb.title()}" BEFORE {verb} ON "{table}" '
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ]


def _prepare_connection(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    for pragma in (
        "synchronous = NORMAL",  # WAL: a power cut may lose the last commits, never consistency
        "foreign_keys = ON",
        "temp_store = MEMORY",
        "cache_size = -65536",  # 64 MiB
        "wal_autocheckpoint = 16384",  # 64 MiB: pages that many small commits touch are moved once
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _end_transaction(connection: sqlite3.Connection, _record: object) -> None:
    """Give up the locks: a connection that is closed while one of its statements is read keeps them."""
    with suppress(sqlite3.Error):  # it is closed whatever comes
        connection.rollback()


def _begin(connection: sa.Connection) -> None:
    read_only = connection.get_execution_options().get(_READ_ONLY_OPTION, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _raise_translated(context: sa.ExceptionContext) -> None:
    """Raise the error tree's exceptions for the driver's; broken constraints stay as they are."""
    original = context.original_exception
    if not isinstance(original, sqlite3.Error) or isinstance(original, sqlite3.IntegrityError):
        return
    database = context.engine.url.database if context.engine is not None else None
    raise _translated(original, str(database)) from original


def _translated(original: sqlite3.Error, database: str) -> StorageError:
    text = str(original)
    if text.startswith(("no such table", "no such column", "no such view")):
        return SchemaOutdatedError(
            f"the database {database} is not up to date ({text}): {REMEDY_UPGRADE}"
        )
    return StorageError(f"the database {database} failed: {text}{_remedy(text)}")


def _remedy(text: str) -> str:
    for part, remedy in _REMEDIES.items():
        if part in text:
            return f": {remedy}"
    return ""


_REMEDIES: dict[str, str] = {
    "locked": f"another process wrote for more than {BUSY_TIMEOUT_SECONDS:.0f} s; try again",
    "unable to open": "check that the folder exists and may be written to",
    "not a database": "the file is something else; name another one",
    "full": "free space on the disk",
    "readonly": "make the file and its folder writable",
    "malformed": "the file is damaged; restore it from a copy",
}


# --- many rows at once: the SQLite side of core.storage.bulk -----------------------------------


def to_driver(frame: pl.DataFrame) -> pl.DataFrame:
    """Bring dates and moments into the text that the database stores."""
    return frame.with_columns(
        pl.selectors.date().cast(pl.String),
        pl.selectors.datetime(time_zone="*")
        .dt.convert_time_zone("UTC")
        .dt.strftime("%Y-%m-%d %H:%M:%S%.6f"),
    )


def read_slices(
    connection: sa.Connection,
    statement: sa.Select[tuple[object, ...]],
    schema: Mapping[str, pl.DataType],
    n_rows: int,
) -> Iterator[pl.DataFrame]:
    """Run a statement and hand out its rows in slices."""
    with connection.execute(statement) as result:
        while rows := result.cursor.fetchmany(n_rows):
            yield _from_driver(rows, schema)


read_slices_in_bulk = read_slices
"""The file is read in this process: there is no faster way."""


def _from_driver(rows: Sequence[Any], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Make a frame of rows as the driver gives them: dates are text, truth values are numbers."""
    stored = {
        name: pl.String() if dtype == pl.Date else pl.Int64() if dtype == pl.Boolean else dtype
        for name, dtype in schema.items()
    }
    frame = pl.DataFrame(rows, schema=stored, orient="row")
    return frame.with_columns(
        [pl.col(name).str.to_date("%Y-%m-%d") for name in schema if schema[name] == pl.Date]
        + [pl.col(name).cast(pl.Boolean) for name in schema if schema[name] == pl.Boolean]
    )


# --- maintenance: the SQLite side of core.storage.maintenance -----------------------------------

SAMPLED_ROWS = 1_000
"""Rows per index that statistics are made from, unless from all."""


def maintenance_statements(table_names: Sequence[str], *, full: bool, rebuild: bool) -> list[str]:
    """List the statements; see :func:`core.storage.maintenance.maintenance_statements`.

    VACUUM writes tables and indexes anew, so that REINDEX would only do a part of it again.
    """
    return [
        *(["VACUUM"] if rebuild else []),
        f"PRAGMA analysis_limit = {0 if full else SAMPLED_ROWS}",  # 0: no limit
        *(f'ANALYZE "{name}"' for name in table_names),
        "PRAGMA optimize",
        "PRAGMA wal_checkpoint(TRUNCATE)",  # last: what the others wrote goes into the file
    ]


def run_each(engine: sa.Engine, statements: Sequence[str]) -> Iterator[str]:
    """Run statements that no transaction may be around; tells each before it runs.

    Raises
    ------
    StorageError
        If one fails, as where another process holds the file for too long.
    """
    path = path_of(engine)
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS)) as connection:
        connection.isolation_level = None
        for statement in statements:
            yield statement
            try:
                connection.execute(statement).close()
            except sqlite3.Error as error:
                raise _translated(error, str(path)) from error
