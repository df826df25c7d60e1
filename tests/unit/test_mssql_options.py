"""Options that last as long as a connection to SQL Server: nothing may leave row counts off (D3, S2)."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import mssql as mssql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect

from core.errors import StorageError
from core.storage import mssql, sqlite
from core.storage.schema import optimization_session


def counts_rows(text):
    """Whether rows are counted after a batch that found them counted."""
    found = re.findall(r"SET NOCOUNT (ON|OFF)", text)
    return not found or found[-1] == "OFF"


class Connection:
    """Stands for one of SQLAlchemy and one of the driver; remembers what it is told."""

    def __init__(self, answer=0):
        self.told = []
        self.answer = answer
        self.engine = SimpleNamespace(url=sa.make_url("mssql+pyodbc://u@h/d"))

    def exec_driver_sql(self, text):
        self.told.append(text)
        return SimpleNamespace(scalar_one=lambda: self.answer)

    def cursor(self):
        return SimpleNamespace(
            execute=self.told.append, fetchone=lambda: (1, True), close=lambda: None
        )

    def commit(self):
        pass


def test_the_lock_of_an_upgrade_leaves_rows_counted():
    """Else Alembic is told -1 rows by its second revision and gives up."""
    connection = Connection()
    mssql.lock_migrations(connection)
    (batch,) = connection.told
    assert batch.startswith("SET NOCOUNT ON")
    assert counts_rows(batch)
    assert batch.index("SET NOCOUNT OFF") < batch.index("SELECT @result;")


def test_the_lock_of_an_upgrade_is_asked_for_within_a_transaction():
    """With implicit transactions there is none before a table is read."""
    connection = Connection()
    mssql.lock_migrations(connection)
    (batch,) = connection.told
    assert 0 < batch.index(" FROM sys.databases") < batch.index("sp_getapplock")


@pytest.mark.parametrize(("answer", "said"), [(-1, "another upgrade"), (-999, "no lock")])
def test_a_lock_that_is_not_had_says_why(answer, said):
    with pytest.raises(StorageError, match=said):
        mssql.lock_migrations(Connection(answer))


def test_a_new_connection_counts_rows_whatever_the_default_of_the_server():
    connection = Connection()
    mssql._prepare_connection(connection, SimpleNamespace(info={}))
    assert connection.told[:2] == ["SET NOCOUNT OFF", "SET XACT_ABORT ON"]


@pytest.mark.parametrize("is_stopped", [False, True])
def test_the_connection_of_a_maintenance_is_not_used_again(tmp_path, is_stopped):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'd.db'}")
    opened = []
    event.listen(engine, "connect", lambda *_: opened.append(1))
    steps = mssql.run_each(engine, ["SELECT 1", "SELECT 2"])
    told = [next(steps)] if is_stopped else list(steps)
    steps.close()
    assert told == ["SELECT 1", "SELECT 2"][: len(told)]
    engine.connect().close()
    assert len(opened) == 2
    assert engine.pool.checkedout() == 0
    engine.dispose()


def test_a_session_that_is_held_keeps_a_shared_lock_on_sql_server_alone():
    statement = sa.select(optimization_session.c.Id)
    held = {
        name: str(module.held(statement, optimization_session).compile(dialect=dialect))
        for name, module, dialect in (
            ("mssql", mssql, mssql_dialect.dialect()),
            ("sqlite", sqlite, sqlite_dialect.dialect()),
        )
    }
    assert held["mssql"].endswith("FROM [OptimizationSession] WITH (REPEATABLEREAD)")
    assert held["sqlite"].endswith('FROM "OptimizationSession"')
