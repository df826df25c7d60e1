"""Migrations on SQLite: they make what the schema says, once, completely or not at all (D1)."""

from __future__ import annotations

import re
import sqlite3
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event

from core.errors import NotAvailableError, SchemaOutdatedError, StorageError
from core.storage.engine import insert_row, open_engine, reading, writing
from core.storage.migrate import require_current, status, upgrade
from core.storage.schema import metadata, optimization_session, tenant

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'folder' / 'new.db'}")
    yield engine
    engine.dispose()


def make_tenant(connection, name="T"):
    return insert_row(connection, tenant, Name=name, CreatedBy="test", CreatedDate=NOW)


def make_session(connection, tenant_id, guid, state="PENDING"):
    return insert_row(
        connection,
        optimization_session,
        SessionId=guid,
        TenantId=tenant_id,
        Kind="m2m",
        State=state,
        Parameters="{}",
        TriggeredBy="test",
        CreatedBy="test",
        CreatedDate=NOW,
    )


def definitions(connection):
    """Every table and index as a set of its parts, whatever their order."""
    rows = connection.exec_driver_sql(
        "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL "
        "AND name NOT LIKE 'sqlite_%' AND name <> 'alembic_version'"
    )
    return {
        name: sorted(
            part
            for line in re.split(
                r'\n|,\s*(?=")', sql
            )  # an added column stands on no line of its own
            if (part := re.sub(r"\s+", " ", line).strip(" ,)"))
        )
        for name, sql in rows
    }


def test_the_migrations_make_exactly_the_schema(engine, tmp_path):
    upgrade(engine)
    plain = sa.create_engine(f"sqlite:///{tmp_path / 'plain.db'}")
    metadata.create_all(plain)
    with reading(engine) as migrated, plain.connect() as made:
        assert definitions(migrated) == definitions(made)
    plain.dispose()


def test_alembic_sees_no_difference_between_schema_and_migrations(engine):
    upgrade(engine)
    with reading(engine) as connection, warnings.catch_warnings():
        # Alembic cannot compare computed columns; the test above compares their text.
        warnings.filterwarnings("ignore", message="Computed default on")
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


VERSIONS = tuple(
    path.name[:4] for path in sorted(Path("core/storage/migrations/versions").glob("0*.py"))
)


def test_an_upgrade_tells_what_it_did_and_a_second_one_does_nothing(engine):
    before = upgrade(engine)
    assert (before.applied, before.pending) == ((), VERSIONS)
    again = upgrade(engine)
    assert (again.applied, again.pending) == (VERSIONS, ())
    assert status(engine).is_current
    require_current(engine)


def test_asking_for_the_status_makes_no_file(engine, tmp_path):
    assert status(engine).applied == ()
    with pytest.raises(SchemaOutdatedError, match="has no tables yet: run `carrier-opt db upgrade"):
        require_current(engine)
    assert list(tmp_path.iterdir()) == []


def count_statements(engine):
    seen = []

    def count(_connection, _cursor, statement, *_rest):
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    return seen


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 1.0])
def test_an_upgrade_that_dies_in_the_middle_leaves_nothing_and_can_be_repeated(tmp_path, share):
    clean = open_engine(f"sqlite:///{tmp_path / 'clean.db'}")
    seen = count_statements(clean)
    upgrade(clean)
    fatal = max(1, int(len(seen) * share))
    engine = open_engine(f"sqlite:///{tmp_path / 'dying.db'}")
    left = [fatal]

    def die(*_rest):
        left[0] -= 1
        if left[0] == 0:
            msg = "the process dies here"
            raise RuntimeError(msg)

    event.listen(engine, "before_cursor_execute", die)
    with pytest.raises(RuntimeError, match="dies here"):
        upgrade(engine)
    event.remove(engine, "before_cursor_execute", die)
    assert status(engine).applied == ()
    with reading(engine) as connection:
        assert definitions(connection) == {}
    upgrade(engine)
    with reading(engine) as repeated, reading(clean) as expected:
        assert definitions(repeated) == definitions(expected)
    engine.dispose()
    clean.dispose()


def test_two_upgrades_at_once_both_succeed(tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    failures = []

    def run():
        engine = open_engine(url)
        try:
            upgrade(engine)
        except Exception as error:
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    engine = open_engine(url)
    assert status(engine).is_current
    engine.dispose()


def test_an_upgrade_waits_for_another_process_that_makes_the_file(tmp_path):
    """SQLite itself does not wait where a file is brought into WAL mode."""
    path, failures = tmp_path / "fresh.db", []

    def run():
        engine = open_engine(f"sqlite:///{path}")
        try:
            upgrade(engine)
        except StorageError as error:
            failures.append(error)
        engine.dispose()

    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    other.execute("ROLLBACK")
    other.close()
    thread.join()
    assert failures == []


def test_a_database_of_a_newer_version_is_refused(engine):
    upgrade(engine)
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match="revision 9999, which this version does not know"):
        require_current(engine)


def test_a_query_without_tables_names_the_remedy(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(SchemaOutdatedError, match="carrier-opt db upgrade"), reading(engine) as c:
        c.execute(sa.select(tenant))
    engine.dispose()


@pytest.mark.parametrize("ask", [upgrade, status])
def test_a_file_that_is_no_database_is_named(tmp_path, ask):
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(StorageError, match=r"notes\.txt failed: file is not a database"):
        ask(engine)
    engine.dispose()


def test_a_folder_is_no_database(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}")
    with pytest.raises(StorageError, match="is a folder: name a file"):
        upgrade(engine)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url):
    with pytest.raises(StorageError, match="not one in memory"):
        open_engine(url)


def test_an_address_that_cannot_be_read_is_refused():
    with pytest.raises(StorageError, match="cannot be read"):
        open_engine("carrier-opt.db")


def test_an_unsupported_database_is_refused_without_showing_its_password():
    with pytest.raises(NotAvailableError, match="the database postgresql is not avail") as error:
        open_engine("postgresql://user:hunter2@server/db")
    assert "hunter2" not in str(error.value)


def test_a_writer_waits_for_another_one_instead_of_failing(engine):
    upgrade(engine)
    entered, failures = threading.Event(), []

    def write():
        entered.set()
        try:
            with writing(engine) as connection:
                make_tenant(connection, "second")
        except StorageError as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    with writing(engine) as connection:
        make_tenant(connection, "first")
        thread.start()
        entered.wait()
        with reading(engine) as other:  # a reader neither waits nor sees what is not committed
            assert other.execute(sa.select(sa.func.count()).select_from(tenant)).scalar_one() == 0
    thread.join()
    assert failures == []
    with reading(engine) as connection:
        assert set(connection.execute(sa.select(tenant.c.Name)).scalars()) == {"first", "second"}


def test_foreign_keys_are_enforced_and_the_file_is_in_wal_mode(engine):
    upgrade(engine)
    with pytest.raises(sa.exc.IntegrityError), writing(engine) as connection:
        make_session(connection, 99, "1")
    with reading(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    assert sqlite3.sqlite_version_info >= (3, 31)  # computed columns
