"""One suite for the repositories, whatever the database (D1).

Tests take ``engine``: an empty migrated database. On SQLite it is a file of its own, always. With
``SQLSERVER_URL`` set, every test runs a second time on that server, as a variant with the marker
``sqlserver`` (:mod:`tests.contract.sql_server` says what the address may be, and what is done there).
Tests that need many databases, such as those of Hypothesis, take ``databases`` and ask for a fresh one
each time.

What tests rely on is what both kinds of database have: numbers of rows go on and are never chosen;
nothing is found by the name of an index; a capability that a compatible server may lack is tried out by
a fixture of its kind (:mod:`tests.contract.probes`), never deduced from a product's name or version.

Whatever is executed on SQLite is read as T-SQL too, and a statement that is none fails the test
that ran it (:mod:`tests.contract.tsql_check`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from core.storage.device_store import SqlDeviceStore
from core.sync.store import DeviceStore
from tests.contract.accounts import Accounts, add_accounts
from tests.contract.sql_server import URL_VARIABLE, ServerDatabase
from tests.contract.sqlite_files import SqliteFiles
from tests.contract.tsql_check import TsqlCheck

KINDS = ["sqlite"]
if os.environ.get(URL_VARIABLE):
    KINDS.append(pytest.param("sqlserver", marks=pytest.mark.sqlserver))


class Databases:
    """Hands out empty databases of one kind, with the statements under observation."""

    def __init__(self, source: SqliteFiles | ServerDatabase, check: TsqlCheck) -> None:
        self.source = source
        self.check = check

    @contextmanager
    def fresh(self) -> Iterator[sa.Engine]:
        """Open an empty migrated database; fail if a statement on it was no T-SQL."""
        with self.source.fresh() as engine:
            self.check.attach(engine)
            self.check.take_problems()  # of a test that failed before it was asked for them
            yield engine
        problems = self.check.take_problems()
        if problems:
            pytest.fail("\n\n".join(dict.fromkeys(problems)), pytrace=False)


@pytest.fixture(scope="session")
def tsql_check() -> TsqlCheck:
    """Reads statements as T-SQL, each text once in a process."""
    return TsqlCheck()


@pytest.fixture(scope="session", params=KINDS)
def databases(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tsql_check: TsqlCheck,
    worker_id: str,
) -> Iterator[Databases]:
    """Databases of one kind; every test that takes them runs once per kind."""
    folder: Path = tmp_path_factory.mktemp("databases")
    if request.param == "sqlite":
        yield Databases(SqliteFiles(folder), tsql_check)
        return
    with ServerDatabase.opened(os.environ[URL_VARIABLE], folder, worker_id) as server:
        yield Databases(server, tsql_check)


@pytest.fixture
def engine(databases: Databases) -> Iterator[sa.Engine]:
    """An empty migrated database."""
    with databases.fresh() as engine:
        yield engine


@pytest.fixture
def accounts(engine: sa.Engine) -> Accounts:
    """Three carrier accounts of two tenants in ``engine``."""
    return add_accounts(engine)


@pytest.fixture
def store(engine: sa.Engine, accounts: Accounts) -> DeviceStore:
    """The device store of ``engine``."""
    return SqlDeviceStore(engine)
