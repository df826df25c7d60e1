"""Connecting to SQL Server through Microsoft's driver, as far as it goes without a server (D1, D4)."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from core.errors import (
    CarrierOptError,
    DatabaseUnreachableError,
    NotAvailableError,
    SchemaOutdatedError,
    StorageError,
    TransientStorageError,
)
from core.storage import mssql
from core.storage.engine import address_of, open_engine, reading
from core.storage.mssql_errors import translated
from tests.contract.sql_server import DRIVER, provide_driver

SECRET = "hunter2"  # noqa: S105
_OPTIONS = bytes.fromhex("00000b0006 0100110001 ff".replace(" ", ""))  # version, encryption
OPEN_TLS = bytes.fromhex("0401001a00000100") + _OPTIONS + bytes.fromhex("10000000000001")
"""Answer to PRELOGIN: a server of version 16 that wants encryption."""


@pytest.fixture(scope="module", autouse=True)
def driver(tmp_path_factory):
    if importlib.util.find_spec("mssql_python_odbc") is None:
        pytest.skip("the package mssql-python-odbc is missing")
    provide_driver(tmp_path_factory.mktemp("odbc"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The driver tries a closed port again until its time is over."""
    monkeypatch.setattr(mssql, "LOGIN_TIMEOUT_SECONDS", 1)


def address(port, query=""):
    return f"mssql+pyodbc://operator:{SECRET}@127.0.0.1:{port}/fleet{query}"


def connect(url):
    """Try to connect; the error, whose text and causes hold no password."""
    engine = open_engine(url)
    with pytest.raises(CarrierOptError) as caught, reading(engine) as connection:
        connection.exec_driver_sql("SELECT 1")
    engine.dispose()
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in address_of(engine)
    return caught.value


@contextmanager
def listening(answer):
    """A port of this machine where ``answer`` handles each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def handle(client):
            with client, suppress(OSError):
                answer(client)

        def serve():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=handle, args=(client,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_closed_port_is_named():
    port = free_port()
    error = connect(address(port))
    assert isinstance(error, DatabaseUnreachableError)
    assert f"fleet on 127.0.0.1:{port} cannot be reached" in str(error)
    assert f"nothing listens on port {port}" in str(error)
    assert "check host, port, firewall" in str(error)


def test_a_server_that_never_answers_is_a_timeout():
    hold = threading.Event()
    with listening(lambda client: hold.wait(20)) as port:
        error = connect(address(port))
    hold.set()
    assert isinstance(error, DatabaseUnreachableError)
    assert "is open, but nothing there answers as SQL Server does" in str(error)


def test_a_name_that_nobody_has_is_named():
    error = connect(f"mssql+pyodbc://u:{SECRET}@no-such-host.invalid/fleet")
    assert "the name no-such-host.invalid cannot be resolved" in str(error)


def test_a_plain_socket_where_tls_is_wanted_says_so():
    def answer(client):
        client.recv(4096)
        client.sendall(OPEN_TLS)
        client.recv(4096)
        client.sendall(b"this is no TLS record " * 10)
        client.recv(4096)

    with listening(answer) as port:
        error = connect(address(port))
    assert isinstance(error, DatabaseUnreachableError)
    assert "SSL Provider" in str(error)
    assert "no encrypted connection came about" in str(error)


def test_a_web_server_is_none():
    def answer(client):
        client.recv(4096)
        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listening(answer) as port:
        error = connect(address(port))
    assert isinstance(error, DatabaseUnreachableError)
    assert "check that host and port are those of SQL Server" in str(error)


def test_a_missing_driver_names_the_one_to_install():
    error = connect(address(1433, "?driver=ODBC+Driver+99+for+SQL+Server"))
    assert isinstance(error, DatabaseUnreachableError)
    assert "ODBC Driver 99" in str(error)
    assert "install Microsoft's ODBC Driver 18" in str(error)


def test_the_password_of_a_connection_string_stays_secret():
    port = free_port()
    text = f"Driver={{{DRIVER}}};Server=127.0.0.1,{port};Database=fleet;UID=me;PWD={SECRET}"
    from tests.contract.sql_server import as_url

    error = connect(as_url(text))
    assert f"fleet on 127.0.0.1,{port} cannot be reached" in str(error)


def test_db_status_says_the_remedy_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "cli.main", "db", "status", "--database"]
    url = address(1433, "?driver=ODBC+Driver+99+for+SQL+Server")
    ran = subprocess.run(
        [*command, url], capture_output=True, text=True, check=False, env={**os.environ}, cwd=Path()
    )
    assert ran.returncode != 0
    assert "install Microsoft's ODBC Driver 18" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert SECRET not in ran.stderr + ran.stdout


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("mssql+pymssql://u@h/d", NotAvailableError, "the driver mssql"),
        ("mssql+pyodbc://u@h", StorageError, "names no server or no database"),
        ("mssql+pyodbc:///d", StorageError, "names no server or no database"),
    ],
)
def test_an_address_that_cannot_work_is_refused(url, kind, said):
    with pytest.raises(kind, match=said):
        open_engine(url)


def test_connections_are_encrypted_verified_and_pooled_unless_said_otherwise():
    engine = open_engine(address(1433))
    (text,), arguments = engine.dialect.create_connect_args(engine.url)
    assert "Encrypt=yes" in text
    assert "TrustServerCertificate" not in text  # the driver's default is to verify
    assert f"DRIVER={{{DRIVER}}}" in text
    pool = engine.pool
    assert (pool.size(), pool._max_overflow, pool._recycle, pool._pre_ping) == (10, 20, 3600, True)
    assert arguments is not None
    engine.dispose()
    (text,), _ = open_engine(address(1433, "?encrypt=strict")).dialect.create_connect_args(
        open_engine(address(1433, "?encrypt=strict")).url
    )
    assert "Encrypt=yes" not in text


def odbc(state, text, number):
    return Exception(
        state,
        f"[{state}] [Microsoft][ODBC Driver 18][SQL Server]{text} ({number}) (SQLExecDirectW)",
    )


URL = open_engine(address(1433)).url if importlib.util.find_spec("pyodbc") else None


@pytest.mark.parametrize(
    ("error", "is_ending", "kind", "said"),
    [
        (odbc("40001", "deadlock victim", 1205), False, TransientStorageError, "deadlock victim"),
        (odbc("40001", "deadlock victim", 1205), True, TransientStorageError, "deadlock victim"),
        (odbc("42000", "deadlock victim", 1205), False, TransientStorageError, "deadlock victim"),
        (odbc("42000", "metadata not versioned", 3961), False, TransientStorageError, "versioned"),
        (odbc("HYT00", "Query timeout expired", 0), False, TransientStorageError, "timeout"),
        (odbc("08S01", "Communication link failure", 0), False, TransientStorageError, "link fail"),
        (odbc("08S01", "Communication link failure", 0), True, StorageError, "is unknown"),
        (odbc("HY000", "database is moving", 40613), False, TransientStorageError, "moving"),
        (odbc("42S02", "Invalid object name 'Tenant'", 208), False, SchemaOutdatedError, "upgrade"),
        (odbc("42000", "permission was denied", 229), False, StorageError, "db roles"),
        (odbc("22001", "String data, right truncation", 0), False, StorageError, "truncation"),
    ],
)
def test_what_the_server_says_becomes_an_error_of_the_tree(error, is_ending, kind, said):
    found = translated(error, URL, is_connecting=False, is_ending=is_ending)
    assert type(found) is kind
    assert said in str(found)
    assert "Microsoft" not in str(found)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (odbc("28000", "Login failed for user 'operator'.", 18456), "check user and password"),
        (odbc("42000", 'Cannot open database "fleet"', 4060), "check the name of the database"),
        (
            odbc("08001", "SSL Provider: certificate verify failed:self-signed", -1),
            "certificate that",
        ),
    ],
)
def test_a_refused_login_says_what_to_look_at(error, said):
    found = translated(error, URL, is_connecting=True, is_ending=False)
    assert type(found) is DatabaseUnreachableError
    assert said in str(found)
