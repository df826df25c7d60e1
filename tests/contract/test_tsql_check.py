"""The check of statements as T-SQL: it can fail, and it looks at every engine of this suite (D1)."""

from __future__ import annotations

from contextlib import suppress

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from core.storage.engine import reading, writing
from core.storage.schema import audit_event, device, tenant
from tests.contract.accounts import NOW
from tests.contract.sqlite_files import SqliteFiles
from tests.contract.tsql_check import REPOSITORY, TsqlCheck, check_text, compile_statement


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a FROM t LIMIT 5",
        "INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO NOTHING",
        "SELECT a || b FROM t",
        "SELECT a FROM t WHERE",
        "INSERT INTO t (a) VALUES (1) RETURNING a",
        "SELECT EXISTS (SELECT 1 FROM t) AS x",
        "SELECT a FROM t WHERE b IS TRUE",
        "UPDATE t SET a = true",
        "SELECT a FROM t WHERE (a, b) IN ((1, 2))",
        "SELECT substr(a, 1, 2) FROM t",
        "SELECT COALESCE(a, @p) FROM t GROUP BY b, COALESCE(a, @p) ORDER BY b",
        "BEGIN IMMEDIATE",
        "PRAGMA user_version",
    ],
)
def test_what_is_no_t_sql_is_found(text):
    problem = check_text(text)
    assert problem is not None
    assert text in problem


@pytest.mark.parametrize(
    "text",
    [
        "SELECT TOP 5 [a] FROM [t] WHERE [b] = ? AND [c] IN (?, ?, ?, ?, ?, ?)",
        "INSERT INTO [t] ([a]) OUTPUT inserted.[Id] VALUES (?)",
        "SELECT a FROM t WHERE b = 'LIMIT ? RETURNING || it''s' AND c = ?",
        "SELECT a FROM (SELECT a FROM t GROUP BY a) AS b WHERE a > ?",
        "SELECT a FROM t ORDER BY a OFFSET 5 ROWS FETCH FIRST 5 ROWS ONLY",
        "UPDATE t SET a = CASE WHEN b IS NULL THEN 0 ELSE coalesce(a, ?) END",
    ],
)
def test_t_sql_is_left_alone(text):
    assert check_text(text) is None


def test_lists_are_written_out_and_limits_become_top():
    ids = sa.select(tenant.c.Id)
    text = compile_statement(ids.where(tenant.c.Id.in_([1, 2])).limit(3))
    assert " ".join(text.split()) == (
        "SELECT TOP 3 [Tenant].[Id] FROM [Tenant] WHERE [Tenant].[Id] IN (?, ?)"
    )
    assert "?" not in compile_statement(ids.where(tenant.c.Id.in_([])))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return SqliteFiles(tmp_path_factory.mktemp("checked"))


@pytest.fixture
def checked(files):
    """A database with a check of its own, whose problems the test looks at."""
    with files.fresh() as engine:
        check = TsqlCheck()
        check.attach(engine)
        yield engine, check


def upsert():
    row = {"ServiceProviderId": 1, "ICCID": "1"}
    return sqlite.insert(device).values(**row).on_conflict_do_nothing()


def many(connection):
    names = [{"Name": name, "CreatedBy": "t", "CreatedDate": NOW} for name in "ab"]
    connection.execute(sa.insert(tenant), names)


@pytest.mark.parametrize(
    "act",
    [
        lambda c: c.execute(sa.select(tenant.c.Name + tenant.c.CreatedBy)),
        many,
        lambda c: c.execute(
            sa.select(tenant.c.Id).where(tenant.c.Id == sa.bindparam("x")).limit(1), {"x": 1}
        ),
        lambda c: c.execute(sa.select(sa.func.coalesce(sa.func.max(tenant.c.Id), 0))),
    ],
    ids=["texts joined", "many rows", "parameters", "functions"],
)
def test_a_statement_that_both_databases_understand_is_no_problem(checked, act):
    engine, check = checked
    with writing(engine) as connection:
        act(connection)
    assert check.take_problems() == []
    assert check.n_statements == 1


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda c: c.execute(sa.select(sa.func.substr(tenant.c.Name, 1, 2))), "function SUBSTR"),
        (lambda c: c.execute(sa.select(sa.exists().where(tenant.c.Id == 1))), "EXISTS is a cond"),
        (lambda c: c.execute(upsert()), "cannot be said to SQL Server"),
        (lambda c: c.execute(sa.text("SELECT Name FROM Tenant LIMIT 1")), "no T-SQL"),
        (lambda c: c.exec_driver_sql("SELECT Name FROM Tenant LIMIT 1"), "no T-SQL"),
        (lambda c: c.execute(sa.select(sa.text("Name || Name")).select_from(tenant)), "no T-SQL"),
    ],
    ids=["function", "exists", "upsert", "text", "driver", "fragment"],
)
def test_a_statement_that_only_sqlite_understands_is_told_each_time_it_runs(checked, act, said):
    engine, check = checked
    for _ in range(2):
        with suppress(sa.exc.IntegrityError), reading(engine) as connection:
            act(connection)
        (problem,) = check.take_problems()
        assert said in problem


def test_a_list_that_becomes_empty_is_another_text(checked):
    engine, check = checked
    for ids in ([1, 2], [], [3]):
        with reading(engine) as connection:
            connection.execute(sa.select(audit_event.c.Id).where(audit_event.c.Id.in_(ids)))
    assert len(check._seen) == 2


def test_sql_written_by_hand_in_the_product_is_a_problem_unless_a_dialect_writes_it(
    checked,
):
    engine, check = checked
    scope = {"sa": sa}
    source = "def run(connection): connection.exec_driver_sql('SELECT 1 AS a')"
    for name, n_problems in (("slots.py", 1), ("sqlite.py", 0), ("mssql.py", 0)):
        code = compile(source, str(REPOSITORY / "core" / "storage" / name), "exec")
        exec(code, scope)  # noqa: S102
        with reading(engine) as connection:
            scope["run"](connection)
        assert len(check.take_problems()) == n_problems


def test_the_engines_of_this_suite_are_looked_at_and_a_problem_fails_the_test(databases):
    before = databases.check.n_statements
    with databases.fresh() as engine, reading(engine) as connection:
        connection.execute(sa.select(tenant.c.Id))
    assert databases.check.n_statements > before
    failing = databases.fresh()
    engine = failing.__enter__()
    if engine.dialect.name == "sqlite":  # elsewhere it cannot even be executed
        with reading(engine) as connection:
            connection.execute(sa.select(sa.exists().where(tenant.c.Id == 1)))
        with pytest.raises(pytest.fail.Exception, match="EXISTS is a condition"):
            failing.__exit__(None, None, None)
    else:
        failing.__exit__(None, None, None)


def test_rows_of_the_sqlite_databases_are_not_numbered_from_one(files):
    with files.fresh() as engine, sa.create_engine(engine.url).begin() as connection:
        row = {"CreatedBy": "t", "CreatedDate": NOW}  # on an engine that may delete
        keys = [
            connection.execute(sa.insert(tenant).values(Name=name, **row)).inserted_primary_key[0]
            for name in "ab"
        ]
        assert keys[0] > 1000
        assert keys[1] == keys[0] + 1
        connection.execute(sa.delete(tenant))
        again = connection.execute(sa.insert(tenant).values(Name="c", **row))
        assert again.inserted_primary_key[0] == keys[1] + 1
