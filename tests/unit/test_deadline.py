"""The clock beside a call: it also counts while there is no connection yet (C3)."""

from __future__ import annotations

import socket

import pytest

from core.carriers.deadline import Connections, Deadline

STARTED, COMPLETE = "connection.connect_tcp.started", "connection.connect_tcp.complete"


class Stream:
    """What the HTTP library tells of a connection."""

    def __init__(self, opened):
        self._opened = opened

    def get_extra_info(self, what):
        return self._opened if what == "socket" else None


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        yield ours, theirs


def connecting(timeout):
    return {"host": "carrier.example", "port": 443, "timeout": timeout}


def addresses(n):
    return lambda *_, **__: [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{k}", 443)) for k in range(n)
    ]


@pytest.mark.parametrize("timeout", [30.0, None])
def test_the_addresses_of_a_host_share_the_time(monkeypatch, timeout):
    monkeypatch.setattr(socket, "getaddrinfo", addresses(8))
    with Deadline(60.0, Connections()) as deadline:
        arguments = connecting(timeout)
        deadline.trace(STARTED, arguments)
    assert 0 < arguments["timeout"] <= 7.5


def test_an_address_has_no_more_than_the_timeout_of_a_step(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", addresses(1))
    with Deadline(60.0, Connections()) as deadline:
        arguments = connecting(30.0)
        deadline.trace(STARTED, arguments)
    assert arguments["timeout"] == 30.0


def test_a_name_that_cannot_be_looked_up_is_left_to_the_connecting(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with Deadline(60.0, Connections()) as deadline:
        arguments = connecting(30.0)
        deadline.trace(STARTED, arguments)
    assert arguments["timeout"] == 30.0
    assert not deadline.is_over


def test_a_call_whose_time_went_by_while_the_name_was_looked_up_does_not_connect():
    with Deadline(0.0, Connections()) as deadline, pytest.raises(TimeoutError):
        deadline.trace(STARTED, connecting(30.0) | {"host": "127.0.0.1"})
    assert deadline.is_over


def test_a_connection_that_is_opened_too_late_is_shut_down(pair):
    ours, theirs = pair
    deadline = Deadline(60.0, Connections())
    deadline.is_over = True
    deadline.trace(COMPLETE, {"return_value": Stream(ours)})
    assert theirs.recv(1) == b""


def test_a_connection_that_is_opened_in_time_is_shut_down_at_the_end(pair):
    ours, theirs = pair
    with Deadline(0.05, Connections()) as deadline:
        deadline.trace(COMPLETE, {"return_value": Stream(ours)})
        assert theirs.recv(1) == b""
    assert deadline.is_over
