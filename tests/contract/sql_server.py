"""A SQL Server, or something compatible, for the contract suite.

``SQLSERVER_URL`` is an address of SQLAlchemy (``mssql+pyodbc://user:password@host/database?driver=...``)
or a bare ODBC connection string (``Driver=...;Server=...;Database=...``), of a login that may make
tables: the database is migrated once per process, and emptied before every test. Name one that holds
nothing you need.

Where the machine has no ODBC driver and the package ``mssql-python-odbc`` is installed, its driver is
used, under the name ``ODBC Driver 18 for SQL Server``.

Processes of pytest-xdist each get a database of their own, ``<database>_<worker>``, where the login may
make one. Where it may not, they share the one that is named, one test at a time (``sp_getapplock``).
"""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote_plus

import sqlalchemy as sa

from core.errors import CarrierOptError
from core.storage.engine import append_only_statements, open_engine, reading
from core.storage.migrate import upgrade
from core.storage.roles import RUNTIME_ROLE, roles_sql
from core.storage.schema import metadata, tenant

URL_VARIABLE = "SQLSERVER_URL"
DRIVER = "ODBC Driver 18 for SQL Server"


class ServerDatabase:
    """One database on a server, emptied for every test."""

    def __init__(self, url: str, lock: sa.Engine | None) -> None:
        self._owner = open_engine(url)
        self._lock = lock
        upgrade(self._owner)
        self._url = working_url(self._owner, url)
        self.has_working_role = self._url != url

    @classmethod
    @contextmanager
    def opened(cls, address: str, folder: Path, worker: str) -> Iterator[ServerDatabase]:
        """Open the database of one process of the tests.

        Parameters
        ----------
        worker
            Name of the process in pytest-xdist; ``master`` if there is only one.
        """
        provide_driver(folder)
        url = as_url(address)
        own = None if worker == "master" else _own_database(url, worker)
        shared = sa.create_engine(url) if worker != "master" and own is None else None
        server = cls(own or url, shared)
        try:
            yield server
        finally:
            server._owner.dispose()
            if shared is not None:
                shared.dispose()

    @contextmanager
    def fresh(self) -> Iterator[sa.Engine]:
        """Empty the database and open it as the product does."""
        with _alone(self._lock):
            empty(self._owner)
            engine = open_engine(self._url)
            try:
                yield engine
            finally:
                engine.dispose()


def working_url(owner: sa.Engine, url: str) -> str:
    """Make a login that has the working role and nothing else, and tell its address.

    Where the server cannot, as many a compatible one, or the owner may not, the tests work as the
    owner; :func:`tests.contract.test_sql_server` then says so.
    """
    name, password = "carrier_opt_contract", f"Aa1!{secrets.token_hex(16)}"
    try:
        with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in (
                *(part for part in roles_sql().split(";\n") if RUNTIME_ROLE in part),
                f"IF SUSER_ID('{name}') IS NOT NULL DROP LOGIN [{name}]",
                f"CREATE LOGIN [{name}] WITH PASSWORD = '{password}'",
                f"IF DATABASE_PRINCIPAL_ID('{name}') IS NOT NULL DROP USER [{name}]",
                f"CREATE USER [{name}] FOR LOGIN [{name}]",
                f"ALTER ROLE [{RUNTIME_ROLE}] ADD MEMBER [{name}]",
            ):
                connection.exec_driver_sql(statement)
        working = _with_login(url, name, password)
        engine = open_engine(working)
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1").all()
    except (sa.exc.SQLAlchemyError, CarrierOptError):
        return url
    with reading(engine) as connection:  # from here on a right that is missing is a failure
        connection.execute(sa.select(tenant.c.Id)).all()
    engine.dispose()
    return working


def _with_login(url: str, name: str, password: str) -> str:
    parsed = sa.make_url(url)
    if "odbc_connect" not in parsed.query:
        return parsed.set(username=name, password=password).render_as_string(hide_password=False)
    text = re.sub(r"(?i)\b(UID|PWD)=[^;]*;?", "", str(parsed.query["odbc_connect"])).rstrip(";")
    return as_url(f"{text};UID={name};PWD={password}")


def empty(engine: sa.Engine) -> None:
    """Delete all rows, children first; numbers of rows go on."""
    audit = append_only_statements(engine.dialect.name, "AuditEvent")
    triggers = [statement.split()[2] for statement in audit]
    with engine.begin() as connection:
        for trigger in triggers:
            connection.exec_driver_sql(f"DROP TRIGGER {trigger}")
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))
        for statement in audit:
            connection.exec_driver_sql(statement)


def as_url(address: str) -> str:
    """Make an address of SQLAlchemy of what ``SQLSERVER_URL`` holds."""
    if re.match(r"[a-z]+(\+[a-z]+)?://", address):
        return address
    return f"mssql+pyodbc:///?odbc_connect={quote_plus(address)}"


def provide_driver(folder: Path) -> None:
    """Let ODBC find the driver of ``mssql-python-odbc``, unless the machine has one; before pyodbc."""
    if "ODBCSYSINI" in os.environ or _has_driver():
        return
    found = importlib.util.find_spec("mssql_python_odbc")
    if found is None or not found.submodule_search_locations:
        return
    package = Path(found.submodule_search_locations[0])
    libraries = sorted(package.glob("libs/linux/debian_ubuntu/x86_64/lib/libmsodbcsql-18*"))
    if not libraries:
        return
    (folder / "odbcinst.ini").write_text(f"[{DRIVER}]\nDriver={libraries[-1]}\n")
    os.environ["ODBCSYSINI"] = str(folder)


def _has_driver() -> bool:
    try:
        said = subprocess.run(["odbcinst", "-j"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        paths = ["/etc/odbcinst.ini"]
    else:
        paths = re.findall(r"\S*odbcinst\.ini", said.stdout) or ["/etc/odbcinst.ini"]
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(paths)
    return any(name != "ODBC Drivers" for name in parser.sections())


def _own_database(url: str, worker: str) -> str | None:
    """Make a database for one process, and tell its address; None if the login may not."""
    parsed = sa.make_url(url)
    if "odbc_connect" in parsed.query:
        text = str(parsed.query["odbc_connect"])
        found = re.search(r"(?i)\bDatabase=([^;]*)", text)
        name = f"{found[1] if found else 'carrier_opt'}_{worker}"
        rest = re.sub(r"(?i)\bDatabase=[^;]*;?", "", text).rstrip(";")
        own = as_url(f"{rest};Database={name}")
    else:
        name = f"{parsed.database or 'carrier_opt'}_{worker}"
        own = parsed.set(database=name).render_as_string(hide_password=False)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(
                f"IF DB_ID('{name}') IS NULL EXEC('CREATE DATABASE [{name}]')"
            )
    except sa.exc.DBAPIError:
        return None
    finally:
        engine.dispose()
    return own


@contextmanager
def _alone(lock: sa.Engine | None) -> Iterator[None]:
    """Keep the tests of other processes out, if the database is shared with them."""
    if lock is None:
        yield
        return
    with lock.begin() as connection:
        connection.exec_driver_sql(
            "DECLARE @n INT; SELECT @n = COUNT(*) FROM sys.databases; "  # begins the transaction
            "EXEC sp_getapplock @Resource = 'carrier-opt contract suite', @LockMode = 'Exclusive', "
            "@LockOwner = 'Transaction', @LockTimeout = -1"
        )
        yield
