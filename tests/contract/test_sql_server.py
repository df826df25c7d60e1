"""The way to the server of the contract suite, as far as it can be tried without one."""

from __future__ import annotations

import os

import pytest
import sqlalchemy as sa

from core.errors import StorageError
from core.storage.engine import open_engine, writing
from core.storage.schema import audit_event, metadata, tenant
from tests.contract.accounts import MADE, NOW
from tests.contract.probes import supports
from tests.contract.sql_server import (
    DRIVER,
    URL_VARIABLE,
    ServerDatabase,
    as_url,
    empty,
    provide_driver,
)


@pytest.mark.sqlserver
def test_the_server_is_there_and_migrated(databases):
    """Tells why nothing else runs when no server is named."""
    if not os.environ.get(URL_VARIABLE):
        pytest.skip(f"{URL_VARIABLE} names no server, so the contract suite runs on SQLite only")
    with databases.fresh() as engine:
        assert supports(engine, "triggers")


@pytest.mark.sqlserver
def test_the_suite_works_with_the_rights_of_the_working_role(databases):
    source = databases.source
    if not isinstance(source, ServerDatabase):
        pytest.skip("SQLite has no roles; an authorizer grants the same rights there")
    if not source.has_working_role:
        pytest.skip("this server, or this login, cannot make a login with the working role")
    with (
        databases.fresh() as engine,
        pytest.raises(StorageError, match="db roles"),
        writing(engine) as connection,
    ):
        connection.execute(sa.delete(tenant))


@pytest.mark.parametrize(
    "text",
    [
        "Driver={ODBC Driver 18 for SQL Server};Server=localhost,1433;Database=d;UID=u;PWD=p@:/;x",
        "Server=tcp:h://odd;Database=d",
    ],
)
def test_a_connection_string_becomes_an_address_that_holds_it_whole(text):
    url = sa.make_url(as_url(text))
    assert url.drivername == "mssql+pyodbc"
    assert url.query["odbc_connect"] == text


def test_an_address_is_left_as_it_is():
    address = "mssql+pyodbc://user:pass;word@host/database?driver=ODBC+Driver+18+for+SQL+Server"
    assert as_url(address) == address


def test_a_driver_that_the_machine_lacks_is_taken_from_its_package(tmp_path, monkeypatch):
    pytest.importorskip("mssql_python_odbc", reason="the package mssql-python-odbc is missing")
    monkeypatch.setattr("tests.contract.sql_server._has_driver", lambda: False)
    monkeypatch.setenv("ODBCSYSINI", "elsewhere")
    provide_driver(tmp_path)
    assert list(tmp_path.iterdir()) == []  # somebody has chosen already
    monkeypatch.delenv("ODBCSYSINI")
    provide_driver(tmp_path)
    section, library = (tmp_path / "odbcinst.ini").read_text().splitlines()
    assert section == f"[{DRIVER}]"
    assert os.path.isfile(library.removeprefix("Driver="))  # noqa: PTH113
    assert os.environ["ODBCSYSINI"] == str(tmp_path)


def test_a_database_is_emptied_whole_and_its_audit_log_stays_append_only(databases):
    """On SQLite too, where nothing else needs it."""
    with databases.fresh() as engine:
        again = open_engine(engine.url.render_as_string(hide_password=False))
        event = {"Actor": "x", "Source": "cli", "Action": "a.b", "Subject": "s", "OccurredAt": NOW}
        with writing(again) as connection:
            connection.execute(sa.insert(tenant).values(Name="T", **MADE))
            connection.execute(sa.insert(audit_event).values(**event))
        empty(again)
        with writing(again) as connection:
            for table in metadata.sorted_tables:
                assert connection.execute(sa.select(table).limit(1)).all() == []
            connection.execute(sa.insert(audit_event).values(**event))
        with pytest.raises(sa.exc.IntegrityError), writing(again) as connection:
            connection.execute(sa.delete(audit_event))
        again.dispose()
