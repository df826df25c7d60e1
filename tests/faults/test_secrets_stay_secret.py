"""Runs that fail in every way, with credentials that are easy to find: they are found nowhere (C8).

Searched are log records of every library at DEBUG, tracebacks with all causes and contexts, results,
and the files of the database, byte by byte.
"""

from __future__ import annotations

import base64
import logging
import traceback
from contextlib import contextmanager

import pytest
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from core.carriers.credentials import Credentials
from core.errors import CarrierOptError
from core.simulator.api import ControlCenterApi
from core.simulator.faults import Fault, FaultKind
from core.simulator.options import SimulatorOptions
from core.simulator.reply import error_reply, html_reply
from core.simulator.server import SimulatorServer
from tests.faults.small_account import (
    NOW,
    copy_of,
    make_database,
    query,
    small_account,
    synchronise,
)

USER, KEY = "Zebedee.Quux", "k3y-Xylophon-Vmlm1Z29"
PAIR = f"{USER}:{KEY}"
SECRETS = (
    KEY,
    PAIR,
    base64.b64encode(PAIR.encode()).decode(),
    base64.urlsafe_b64encode(PAIR.encode()).decode(),
    base64.b64encode(KEY.encode()).decode().rstrip("="),
)
LOGIN = Credentials(username=SecretStr(USER), api_key=SecretStr(KEY))


class Instead:
    """An API that gives one answer to everything."""

    def __init__(self, reply):
        self.reply = reply

    def handle(self, method, target, body):
        return self.reply


class Collected(logging.Handler):
    """Log records as text, with whatever they carry."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.text = []

    def emit(self, record):
        self.text += [self.format(record), repr(record.args), repr(record.__dict__)]


@contextmanager
def everything_logged():
    handler, root = Collected(), logging.getLogger()
    loggers = [root, *(logging.getLogger(n) for n in ("httpx", "httpcore", "core", "stamina"))]
    levels = [logger.level for logger in loggers]
    root.addHandler(handler)
    try:
        for logger in loggers:
            logger.setLevel(logging.DEBUG)
        yield handler
    finally:
        root.removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    return make_database(tmp_path_factory.mktemp("empty") / "empty.db")


@pytest.fixture
def database(empty_database, tmp_path):
    return copy_of(empty_database, tmp_path)


def served(*, faults=(), api=None, key=KEY):
    options = SimulatorOptions(username=USER, api_key=key)
    account = small_account()
    clock = {"clock": lambda: NOW}
    api = api or ControlCenterApi(account, options, lambda: NOW)
    return SimulatorServer(account, options, api=api, faults=faults, **clock)


def lasting(kind):
    return {"faults": [Fault(kind=kind, times=9999, seconds=3)]}


FAILURES = {
    "401": {"key": "another"},
    "403": lasting(FaultKind.FORBIDDEN),
    "404": lasting(FaultKind.NOT_FOUND),
    "500": lasting(FaultKind.SERVER_ERROR),
    "rate limit": lasting(FaultKind.RATE_LIMIT_429),
    "drip": lasting(FaultKind.DRIP),
    "hang": lasting(FaultKind.HANG),
    "reset": lasting(FaultKind.RESET),
    "huge": lasting(FaultKind.HUGE),
    "malformed": lasting(FaultKind.TRUNCATED),
    "fields": lasting(FaultKind.WRONG_PAGE_NUMBER),
    "redirect": {"api": Instead(html_reply(302))},
    "HTML": {"api": Instead(html_reply(200))},
    "refused words": {"api": Instead(error_reply(400, "1", "no"))},
}


def traces_of(error, logged, database):
    """All that a failed run leaves, as text."""
    chain = []
    while error is not None:
        chain += [*traceback.format_exception(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    files = [
        path.read_bytes().decode("latin-1")
        for path in database.parent.iterdir()
        if path.name.startswith(database.name)
    ]
    assert files
    return "\n".join([*chain, *logged.text, *files])


def failed(base_url, database, *, of=CarrierOptError):
    """Run a synchronisation that must fail; what it leaves."""
    with everything_logged() as logged:
        with pytest.raises(of) as caught:
            synchronise(base_url, database, login=LOGIN)
        logging.getLogger("core").error("it failed", exc_info=caught.value)
    return traces_of(caught.value, logged, database)


def assert_no_secret(text):
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize("way", FAILURES)
def test_no_trace_of_a_failed_run_has_a_secret(way, database):
    with served(**FAILURES[way]) as server:
        text = failed(server.base_url, database)
    messages = query(database, "SELECT ErrorMessage FROM DeviceSyncRun WHERE Status = 'failed'")
    assert len(messages) == 1
    assert messages[0][0]
    assert "send_request_headers" in text  # the libraries' own records are among what was searched
    assert_no_secret(text)


@pytest.mark.parametrize(
    "words", [f"bad header: Basic {SECRETS[2]}", f"{190 * '-'}{SECRETS[2]}", f"wrong key {KEY}"]
)
@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_a_carrier_that_repeats_the_credentials_is_not_quoted(status, words, database):
    with served(api=Instead(error_reply(status, "1", words))) as server:
        text = failed(server.base_url, database)
    assert "they repeat credentials" in text
    assert_no_secret(text)
    assert SECRETS[2][:9] not in text


def test_neither_a_closed_port_nor_bad_tls_tells_a_secret(database):
    with served() as server:
        assert_no_secret(failed(server.base_url.replace("http:", "https:"), database))
        server.pause()
        assert_no_secret(failed(server.base_url, database))
        server.resume()


@pytest.mark.parametrize(
    "moment", ["BEFORE INSERT ON JasperDeviceStaging", "BEFORE INSERT ON Device"]
)
def test_an_error_of_the_database_tells_no_secret(moment, database):
    trigger = f"CREATE TRIGGER broken {moment} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    query(database, trigger)
    with served() as server:
        text = failed(server.base_url, database, of=SQLAlchemyError)
    assert "the disk is full" in text
    assert_no_secret(text)


def test_a_successful_run_tells_no_secret(database):
    with served() as server, everything_logged() as logged:
        result = synchronise(server.base_url, database, login=LOGIN)
    assert_no_secret("\n".join([repr(result), result.summary(), repr(LOGIN), str(LOGIN)]))
    assert_no_secret(traces_of(None, logged, database))


def test_what_is_searched_for_is_what_is_sent(database):
    seen = []
    with served() as server:
        answer = server.answer

        def noted(method, target, authorization, body):
            seen.append(authorization)
            return answer(method, target, authorization, body)

        server.answer = noted
        synchronise(server.base_url, database, login=LOGIN)
    assert {SECRETS[2]} == {header.removeprefix("Basic ") for header in seen}
