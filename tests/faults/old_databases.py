"""Databases as older versions left them: at a revision, with two rows in every table.

Rows are made from what SQLite says of the columns, and by no code of the program's.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command

from core.storage import migrate
from core.storage.engine import open_engine, writing

REVISIONS = tuple(
    path.name[:4] for path in sorted(Path("core/storage/migrations/versions").glob("0*.py"))
)

ALLOWED = {
    ("AuditEvent", "Source"): ("cli", "cron"),
    ("OptimizationSession", "State"): ("OPTIMISING", "COMPLETED"),
    ("DeviceSyncRun", "Status"): ("published", "running"),
    ("RatePlanChange", "Status"): ("intended", "applied"),
    ("BillingPeriod", "BillingPeriodStart"): ("2026-10-01", "2026-11-01"),
    ("BillingPeriod", "BillingPeriodEnd"): ("2026-10-31", "2026-11-30"),
}
"""Values of columns that take only some."""


def make_database(path, revision):
    """A database at a revision; None: one without tables."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    engine = open_engine(f"sqlite:///{path}")
    if revision is not None:
        with writing(engine) as connection:
            command.upgrade(migrate._config(connection), revision)
        fill(path)
    engine.dispose()
    return path


def tables(connection):
    """Names of the tables, those that others refer to first."""
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
        "AND name <> 'alembic_version' ORDER BY name"
    )
    refers_to = {name: set(foreign_keys(connection, name).values()) - {name} for (name,) in found}
    in_order = []
    while len(in_order) < len(refers_to):
        ready = [t for t in refers_to if t not in in_order and refers_to[t] <= {*in_order}]
        assert ready, "tables refer to each other in a circle"
        in_order += ready
    return in_order


def foreign_keys(connection, table):
    """Column to the table that it refers to."""
    return {row[3]: row[2] for row in connection.execute(f'PRAGMA foreign_key_list("{table}")')}


def fill(path):
    """Put rows 1 and 2 into every table; row n refers to rows n."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        for table in tables(connection):
            refers = foreign_keys(connection, table)
            for number in (1, 2):
                values = {
                    name: _value(table, name, kind, number, is_reference=name in refers)
                    for _, name, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")')
                }
                names = ", ".join(f'"{name}"' for name in values)
                marks = ", ".join("?" * len(values))
                connection.execute(
                    f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(values.values())
                )


def _value(table, name, kind, number, *, is_reference):
    if (table, name) in ALLOWED:
        return ALLOWED[table, name][number - 1]
    kind = kind.upper()
    if is_reference or name == "Id":
        return number
    if kind == "DATE":
        return f"2026-10-{number:02}"
    if kind.startswith("DATETIME"):
        return f"2026-10-{number:02} 12:34:56.789012"
    if kind == "BOOLEAN":
        return number - 1
    if re.search("INT|NUMERIC|DECIMAL", kind):
        return 2**40 + number if kind == "BIGINT" else number
    return f"{name} {number} ä"


def rows(path):
    """Every row of every table, column by column; computed columns too."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {
            table: [
                dict(row) for row in connection.execute(f'SELECT * FROM "{table}" ORDER BY 1, 2')
            ]
            for table in tables(connection)
        }


def column_defaults(path):
    """What each column of each table holds where a row does not say; numbers, text or None."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: {
                name: connection.execute(f"SELECT CAST({default or 'NULL'} AS {kind})").fetchone()[
                    0
                ]
                for _, name, kind, _, default, _, hidden in connection.execute(
                    f'PRAGMA table_xinfo("{table}")'
                )
                if not hidden  # computed ones have a value already
            }
            for table in tables(connection)
        }
