"""What SQL Server and its driver say, as errors of this system with a remedy (D4).

The driver tells an SQLSTATE of five characters and, in the text, the server's own number. Only what
another try can cure becomes a :class:`~core.errors.TransientStorageError`.
"""

from __future__ import annotations

import re
import socket
from urllib.parse import unquote_plus

import sqlalchemy as sa

from core.errors import (
    DatabaseUnreachableError,
    SchemaOutdatedError,
    StorageError,
    TransientStorageError,
)

DEFAULT_PORT = 1433

APPEND_ONLY_NUMBER = 50001
"""Thrown by the trigger of an append-only table."""

_TRANSIENT_NUMBERS = {
    1204,  # no locks left
    1205,  # chosen as the victim of a deadlock
    1222,  # waited too long for a lock
    3960,  # a snapshot met a newer version of a row
    3961,  # a table or index was changed, as by a rebuild, since a snapshot began
    3966,  # the version of a row that a snapshot needs is gone
    10928, 10929, 40501, 49918, 49919, 49920,  # the service is busy
    40197, 40540, 40613,  # the database moves to another node
}  # fmt: skip
_TIMEOUT_STATES = {"HYT00", "HYT01"}
_TRANSIENT_STATES = {"40001", "08S01", "08003", "08007", *_TIMEOUT_STATES}
_OUTDATED = {"42S02", "42S22"}  # no such table, no such column

_CONNECTION_REMEDIES: dict[str, str] = {
    r"IM002|IM003|Can't open lib|Data source name not found": (
        "install Microsoft's ODBC Driver 18 for SQL Server (Debian package msodbcsql18), or name an "
        "installed one in the address: ?driver=..."
    ),
    r"certificate|self.signed": (
        "give the server a certificate that this machine trusts, for the name in the address; "
        "?TrustServerCertificate=yes gives up the check and is for tests only"
    ),
    r"SSL|TLS|[Ee]ncrypt|Protocol error|handshake": (
        "no encrypted connection came about: check that host and port are those of SQL Server, and "
        "that it offers TLS 1.2 or newer"
    ),
    r"\(18456\)|Login failed": "check user and password, and that the server allows SQL logins",
    r"\(4060\)|Cannot open database": (
        "check the name of the database, and that the user may open it; an administrator makes it"
    ),
    r"[Tt]imeout|HYT0": "check host, port, firewall and that the server runs",
}
"""What to do, by what the driver says; the first that matches counts."""

_PROBE_SECONDS = 5.0

_FALLBACK_REMEDY = "check host, port, database and user of the address"


def database_address(url: sa.URL) -> str:
    """Tell database and server; the rest of the address may be secret."""
    if "odbc_connect" not in url.query:
        port = f":{url.port}" if url.port else ""
        return f"{url.database} on {url.host}{port}"
    parts = dict(
        part.split("=", 1)
        for part in unquote_plus(str(url.query["odbc_connect"])).split(";")
        if "=" in part
    )
    named = {name.strip().lower(): value.strip() for name, value in parts.items()}
    server = named.get("server", named.get("dsn", "an ODBC data source"))
    return f"{named.get('database', 'the default database')} on {server}"


def sql_number(error: BaseException) -> int | None:
    """Read the server's own number out of what the driver says; None where there is none."""
    found = re.findall(r"\((-?\d+)\) \(SQL", str(error))
    return int(found[0]) if found else None


def sql_state(error: BaseException) -> str:
    """Read the SQLSTATE; empty where there is none."""
    first = str(error.args[0]) if error.args else ""
    return first if re.fullmatch(r"[0-9A-Z]{5}", first) else ""


def plain_text(error: BaseException) -> str:
    """Say what the driver said, without names of products and functions."""
    text = str(error.args[-1]) if error.args else type(error).__name__
    text = re.sub(
        r"\[[0-9A-Z]{5}\] |\[[^\]]*(?:Microsoft|ODBC|Driver Manager|SQL Server)[^\]]*\]", "", text
    )
    text = re.sub(r" \((-?\d+)\) \(SQL\w+\)", r" (error \1)", text).replace("(error 0)", "")
    return " ".join(text.split("; [")[0].split()).rstrip(" .;")


def translated(
    error: BaseException, url: sa.URL, *, is_connecting: bool, is_ending: bool
) -> StorageError:
    """Find the error of this system for one of the driver.

    Parameters
    ----------
    url
        Address of the database; the message tells no password of it.
    is_connecting
        Whether there is no connection yet.
    is_ending
        Whether a transaction was being committed: if the connection breaks then, nobody knows
        whether it took effect, so that it is not tried again.
    """
    number, state, text = sql_number(error), sql_state(error), plain_text(error)
    address = database_address(url)
    is_transient = number in _TRANSIENT_NUMBERS or (
        state in _TRANSIENT_STATES and not is_connecting
    )
    if is_transient and is_ending and number not in _TRANSIENT_NUMBERS:
        return StorageError(
            f"the connection to {address} broke while a transaction was being committed, and whether "
            f"it took effect is unknown ({text}): run again; what is written twice counts once"
        )
    if is_transient:
        return TransientStorageError(
            f"the database {address} failed, again and again: {text}: try again later"
        )
    if is_connecting or state in {"08001", "08004", "28000", "IM002", "IM003"}:
        if state in _TIMEOUT_STATES and url.host:
            text = f"{text}, as {reachability(url.host, url.port or DEFAULT_PORT)}"
        return DatabaseUnreachableError(
            f"the database {address} cannot be reached: {text}: {_remedy(str(error))}"
        )
    if state in _OUTDATED:
        return SchemaOutdatedError(
            f"the database {address} is not up to date ({text}): run `carrier-opt db upgrade`"
        )
    return StorageError(f"the database {address} failed: {text}{_permission(number)}")


def reachability(host: str, port: int) -> str:
    """Find out why a server does not answer, since the driver only says that time is over."""
    try:
        socket.create_connection((host, port), timeout=_PROBE_SECONDS).close()
    except socket.gaierror:
        return f"the name {host} cannot be resolved"
    except ConnectionRefusedError:
        return f"nothing listens on port {port} of {host}"
    except OSError as error:
        return f"port {port} of {host} cannot be reached ({error.strerror or 'no answer'})"
    return f"port {port} of {host} is open, but nothing there answers as SQL Server does"


def _remedy(text: str) -> str:
    for pattern, remedy in _CONNECTION_REMEDIES.items():
        if re.search(pattern, text):
            return remedy
    return _FALLBACK_REMEDY


def _permission(number: int | None) -> str:
    if number in (229, 230, 262, 300, 3701):
        return ": the user lacks a right; `carrier-opt db roles` prints the rights that are needed"
    return ""
