"""SQLite for the contract suite: one migrated file per process, copied for every test."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event

from core.storage.engine import open_engine
from core.storage.migrate import upgrade
from core.storage.roles import APPEND_ONLY, runtime_rights

NUMBERS_APART = 1_000
"""Rows of different tables are numbered from different thousands."""


class SqliteFiles:
    """Hands out empty migrated databases.

    Their tables number rows as a server does that has been in use: from a number of its own per table,
    and never one twice. A test or a statement that takes row 1 for granted, or the number of one
    table for that of another, fails here and not only on a server.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = count()
        self._template = folder / "template.db"
        engine = open_engine(f"sqlite:///{self._template}")
        upgrade(engine)
        engine.dispose()
        _number_rows_like_a_server(self._template)

    @contextmanager
    def fresh(self) -> Iterator[sa.Engine]:
        """Open an empty database of its own, and remove it at the end."""
        path = self._folder / f"{next(self._names)}.db"
        shutil.copy(self._template, path)
        engine = open_engine(f"sqlite:///{path}")
        event.listen(engine, "connect", _allow_the_working_role_only)
        try:
            yield engine
        finally:
            engine.dispose()
            path.unlink()


_VERBS = {
    sqlite3.SQLITE_INSERT: "INSERT",
    sqlite3.SQLITE_UPDATE: "UPDATE",
    sqlite3.SQLITE_DELETE: "DELETE",
}


def _allow_the_working_role_only(connection: sqlite3.Connection, _record: object) -> None:
    """Give the connection the rights of the role that programs have on SQL Server, and no more.

    What the append-only trigger of the audit log refuses is left to it.
    """
    rights = runtime_rights()

    def authorize(action: int, table: str | None, *_rest: object) -> int:
        verb = _VERBS.get(action)
        is_free = verb is None or table not in rights or table in APPEND_ONLY
        return sqlite3.SQLITE_OK if is_free or verb in rights[table] else sqlite3.SQLITE_DENY

    connection.set_authorizer(authorize)


def _number_rows_like_a_server(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        tables = [(name, sql) for name, sql in found if re.search(r'"Id" INTEGER NOT NULL', sql)]
        for name, sql in tables:
            numbered = re.sub(
                r'"Id" INTEGER NOT NULL,', '"Id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,', sql
            )
            if numbered != sql:
                numbered = re.sub(r'CONSTRAINT "PK_\w+" PRIMARY KEY \("Id"\),?\s*', "", numbered)
            connection.execute(
                "UPDATE sqlite_master SET sql = ? WHERE name = ? AND type = 'table'",
                (numbered.rstrip(), name),
            )
        connection.executemany(
            "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)",
            [(name, NUMBERS_APART * n) for n, (name, _) in enumerate(tables, start=1)],
        )
        connection.commit()
    with closing(sqlite3.connect(path)) as connection:
        (is_whole,) = connection.execute("PRAGMA integrity_check").fetchone()
        assert is_whole == "ok"
