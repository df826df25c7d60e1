"""Calls over HTTP whatever the other side sends: limits, retries, error classes (C3)."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st

from core.carriers import http as carrier_http
from core.carriers.envelopes import CarrierFault
from core.carriers.http import CarrierHttp, ErrorCodes, RetryPolicy
from core.errors import (
    CarrierAuthError,
    CarrierDownError,
    CarrierError,
    CarrierProtocolError,
    RateLimitedError,
    RejectedByCarrierError,
    RetryableCarrierError,
)

ONCE = RetryPolicy(attempts=1)
QUICK = RetryPolicy(attempts=3, wait_initial_s=0, wait_max_s=0, wait_jitter_s=0)
CODES = ErrorCodes(
    rate_limited=frozenset({"40000029"}),
    auth=frozenset({"UnifiedWebServices.InvalidToken*"}),
    retryable=frozenset({"REQUEST_FAILED.UnexpectedError"}),
)


class Listener:
    """A limiter that lets every call pass and notes complaints."""

    def __init__(self):
        self.complaints = []

    @contextmanager
    def slot(self):
        yield 0.0

    def rate_limited(self, retry_after_s=None):
        self.complaints.append(retry_after_s)


class Wire:
    """A server of raw bytes: it reads a request's head and body, and answers what it is told to."""

    def __init__(self):
        self.requests = []
        self.answers = [b""]
        self.drip_s = None
        self.stopping = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while not self.stopping.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                try:
                    self._answer(connection)
                except OSError:
                    continue

    def _answer(self, connection):
        read = b""
        while b"\r\n\r\n" not in read:
            more = connection.recv(65536)
            if not more:
                return
            read += more
        self.requests.append(read)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        drip_s = self.drip_s
        if drip_s is None:
            connection.sendall(answer)
            return
        for one in answer:
            if self.stopping.wait(drip_s):
                return
            connection.sendall(bytes([one]))

    def stop(self):
        self.stopping.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(timeout=10)


@pytest.fixture
def wire():
    server = Wire()
    yield server
    server.stop()


@pytest.fixture
def call(wire):
    """Makes a client of the wire."""
    opened = []

    def make(**options):
        options = {"limiter": Listener(), "codes": CODES, "retry": ONCE, "timeout_s": 5.0} | options
        opened.append(CarrierHttp(wire.url, httpx.BasicAuth("someone", "hidden-key"), **options))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


def answer(body=b"{}", status="200 OK", **headers):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    lines = {"Content-Length": len(body), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


@pytest.mark.parametrize("where", ["head", "body"])
def test_an_answer_that_drips_in_ends_with_the_deadline(wire, call, where):
    endless = answer(b" " * 999) if where == "body" else b"HTTP/1.1 200 OK\r\nX: " + b"x" * 999
    wire.answers, wire.drip_s = [endless], 0.02
    client = call(timeout_s=0.2)
    began = time.monotonic()
    with pytest.raises(RetryableCarrierError, match=r"no complete answer within 0\.4 s"):
        client.get("/slow")
    assert time.monotonic() - began < 10  # it would have dripped for 20 s
    assert client.seconds >= 0.4


def test_the_deadline_also_holds_where_most_addresses_of_the_host_are_dead(wire, call, monkeypatch):
    wire.answers, wire.drip_s = [answer(b" " * 999)], 0.02
    look_up, connect, tried = socket.getaddrinfo, socket.create_connection, []

    def four_dead_ones_first(host, port, *args, **more):
        return [*look_up(host, port, *args, **more)] * 5

    def slow(address, timeout, **more):
        tried.append(timeout)
        wire.stopping.wait(4 * timeout)
        return connect(address, timeout, **more)

    monkeypatch.setattr(socket, "getaddrinfo", four_dead_ones_first)
    monkeypatch.setattr(socket, "create_connection", slow)
    began = time.monotonic()
    with pytest.raises(RetryableCarrierError, match=r"no complete answer within 0\.4 s"):
        call(timeout_s=0.2).get("/slow")
    assert time.monotonic() - began < 10  # it would have dripped for 20 s
    assert [0 < timeout <= 0.4 / 5 for timeout in tried] == [True]


def test_a_connection_that_is_had_too_late_is_not_used(wire, call, monkeypatch):
    wire.answers = [answer({"a": 1})]
    connect = socket.create_connection

    def late(address, timeout, **more):
        wire.stopping.wait(0.3)
        return connect(address, timeout, **more)

    monkeypatch.setattr(socket, "create_connection", late)
    with pytest.raises(RetryableCarrierError, match=r"no complete answer within 0\.2 s"):
        call(timeout_s=0.1).get("/late")


def test_a_client_goes_on_after_a_deadline(wire, call):
    client = call(timeout_s=0.5)
    wire.answers, wire.drip_s = [answer(b" " * 10_000)], 0.02
    with pytest.raises(RetryableCarrierError, match="no complete answer"):
        client.get("/slow")
    wire.answers, wire.drip_s = [answer({"a": 1})], None
    assert client.get("/quick").content == {"a": 1}


@pytest.mark.parametrize("is_packed", [False, True])
def test_an_answer_that_is_too_large_is_not_read_to_its_end(wire, call, monkeypatch, is_packed):
    monkeypatch.setattr(carrier_http, "LARGEST_BODY", 100_000)
    for size, fits in ((90_000, True), (110_000, False)):
        body = json.dumps({"a": "x" * size}).encode()
        head = {"Content_Encoding": "gzip"} if is_packed else {}
        wire.answers = [answer(gzip.compress(body) if is_packed else body, **head)]
        if fits:
            assert len(call().get("/large").content["a"]) == size
        else:
            with pytest.raises(CarrierProtocolError, match="larger than 100,000 bytes"):
                call().get("/large")


@pytest.mark.parametrize("coding", ["gzip, gzip", "br", "zstd", "nonsense"])
def test_codings_that_were_not_asked_for_are_not_unpacked(wire, call, coding):
    wire.answers = [answer(gzip.compress(gzip.compress(b"{}")), Content_Encoding=coding)]
    with pytest.raises(CarrierProtocolError, match="which was not asked for"):
        call().get("/packed")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("400 Bad Request", {"errorCode": "40000029"}, RateLimitedError),
        ("200 OK", {"errorCode": "40000029", "errorMessage": "Rate Limit Exceeded"}, RateLimitedError),
        ("200 OK", {"errorCode": 40000029}, RateLimitedError),
        ("429 Too Many Requests", b"slow down", RateLimitedError),
        ("200 OK", {"errorCode": "10000013"}, RejectedByCarrierError),
        ("400 Bad Request", {"errorCode": "REQUEST_FAILED.UnexpectedError"}, RetryableCarrierError),
        ("400 Bad Request", {"errorCode": "REQUEST_FAILED.UnexpectedErrors"}, RejectedByCarrierError),
        ("400 Bad Request", {"errorCode": "UnifiedWebServices.InvalidTokenX"}, CarrierAuthError),
        ("401 Unauthorized", b"<html>", CarrierAuthError),
        ("403 Forbidden", {}, CarrierAuthError),
        ("404 Not Found", {"errorCode": "20000001"}, RejectedByCarrierError),
        ("408 Request Timeout", {}, RetryableCarrierError),
        ("500 Oops", {"errorCode": "30000001"}, RetryableCarrierError),
        ("503 Busy", b"", RetryableCarrierError),
        ("200 OK", b"[]", RetryableCarrierError),
        ("200 OK", b"", RetryableCarrierError),
        ("302 Found", b"", CarrierProtocolError),
        ("600 Odd", b"", RetryableCarrierError),
    ],
)  # fmt: skip
def test_an_answer_is_an_error_by_what_the_caller_can_do(wire, call, status, body, kind):
    wire.answers = [answer(body, status)]
    with pytest.raises(CarrierError) as caught:
        call().get("/x")
    assert type(caught.value) is kind


def test_a_carrier_may_have_an_envelope_of_its_own(wire, call):
    def read(content):
        error = content.get("error") or {}
        return CarrierFault(code=error.get("id"), message=error.get("text"))

    wire.answers = [answer({"error": {"id": "40000029", "text": "Slowly"}})]
    with pytest.raises(RateLimitedError, match=r"error 40000029 \(Slowly\)"):
        call(read_error=read).get("/x")


@pytest.mark.parametrize(
    ("said", "expected"),
    [("7", 7.0), ("0", 0.0), ("86400", 60.0), ("-1", None), ("nan", None), ("inf", None),
     ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)  # fmt: skip
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Busy", "500 Oops"])
def test_a_carrier_says_when_to_come_back(wire, call, said, expected, status):
    wire.answers = [answer(b"{}", status, Retry_After=said)]
    listener = Listener()
    with pytest.raises(RetryableCarrierError) as caught:
        call(limiter=listener).get("/x")
    expected = None if status.startswith("500") else expected
    assert caught.value.retry_after_s == expected
    assert carrier_http._backoff(caught.value) == (True if expected is None else expected)
    assert listener.complaints == ([expected] if status.startswith("429") else [])


def test_the_pause_that_the_carrier_asks_for_is_made(wire, call):
    wire.answers = [answer(b"{}", "503 Busy", Retry_After="60"), answer({"a": 1})]
    pauses = []
    stamina.instrumentation.set_on_retry_hooks([lambda details: pauses.append(details.wait_for)])
    try:
        with stamina_without_waiting():
            call(retry=QUICK).get("/x")
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    assert pauses == [60.0]


@contextmanager
def stamina_without_waiting():
    import tenacity.nap

    slept, tenacity.nap.time.sleep = tenacity.nap.time.sleep, lambda _: None
    try:
        yield
    finally:
        tenacity.nap.time.sleep = slept


def test_a_read_by_post_is_tried_again_and_a_write_is_not(wire, call):
    wire.answers = [answer(b"{}", "500 Oops"), answer({"a": 1})]
    assert call(retry=QUICK).post("/list", {"filter": "x"}).content == {"a": 1}
    assert [request.split()[0] for request in wire.requests] == [b"POST", b"POST"]
    wire.requests.clear()
    for send in (lambda c: c.post("/do", {}, retry=False), lambda c: c.put("/do", {})):
        wire.answers = [answer(b"{}", "500 Oops")]
        with pytest.raises(RetryableCarrierError):
            send(call(retry=QUICK))
    assert len(wire.requests) == 2


@pytest.mark.parametrize("write", ["put", "post"])
@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b""), (202, b""), (204, b""), (200, b"<html>OK</html>"), (202, b'{"a":'), (200, b"[1]")],
)
def test_a_success_of_a_write_needs_no_object_and_that_of_a_read_does(
    wire, call, write, status, body
):
    wire.answers = [answer(body, f"{status} Fine")]
    client = call()
    for _ in range(carrier_http.BREAKER_LIMIT + 2):
        more = {"retry": False} if write == "post" else {}
        reply = getattr(client, write)("/x", {"a": 1}, **more)
        assert (reply.status, reply.content) == (status, {})
    for read in (lambda: client.get("/x"), lambda: client.post("/x", {})):
        with pytest.raises(RetryableCarrierError, match="not a JSON object"):
            read()


def test_an_open_breaker_tells_the_first_failure_of_the_row(wire, call):
    client = call()
    wire.answers = [answer(b"{}", "500 Before"), answer(), answer(b"{}", "502 First")]
    wire.answers += [answer(b"{}", "503 Later")]
    with pytest.raises(RetryableCarrierError):
        client.get("/x")
    client.get("/x")
    for _ in range(carrier_http.BREAKER_LIMIT + 1):
        with pytest.raises(RetryableCarrierError):
            client.get("/x")
    with pytest.raises(CarrierDownError, match=r"6 calls .* the first failure: GET /x: HTTP 502"):
        client.get("/x")


def test_the_time_that_answers_take_is_measured(wire, call):
    client = call()
    assert client.mean_response_s is None
    wire.answers = [answer()]
    client.get("/x")
    client.get("/x")
    assert 0 < client.mean_response_s == client.seconds / 2


def test_a_body_that_cannot_be_unpacked_is_an_error_of_the_tree(wire, call):
    wire.answers = [answer(b"rubbish", Content_Encoding="gzip")]
    with pytest.raises(CarrierProtocolError, match="cannot be read"):
        call().get("/packed")


heads = st.lists(
    st.tuples(
        st.sampled_from(["Content-Length", "Content-Encoding", "Transfer-Encoding", "Date", "Location",
                         "Retry-After", "Set-Cookie", "Content-Type", "WWW-Authenticate", "X"]),
        st.sampled_from([b"chunked", b"gzip", b"deflate", b"5", b"-1", b"99999999999999999999", b"\xff",
                         b"http://[", b"//\xe9:x", b"", b" ", b"a=b; expires=never", b"0 0 0 0 0 0"]),
    ),
    max_size=3,
)  # fmt: skip


@given(
    start=st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 302 Go", b"HTTP/1.1 100 Go", b"HTTP/1.0 200",
                           b"HTTP/9.9 200 OK", b"HTTP/1.1 99 X", b"\x16\x03\x01", b""]),
    head=heads,
    body=st.binary(max_size=30) | st.sampled_from([b"{}", b"5\r\n{   }\r\n0\r\n\r\n", b"9" * 5000,
                                                   b"[" * 100_000, b'{"errorCode": [1]}']),
)  # fmt: skip
def test_whatever_bytes_come_back_an_error_is_one_of_the_tree(start, head, body):
    lines = b"".join(b"%s: %s\r\n" % (name.encode(), value) for name, value in head)
    server = Wire()
    server.answers = [start + b"\r\n" + lines + b"\r\n" + body]
    client = CarrierHttp(
        server.url, httpx.BasicAuth("a", "b"), limiter=Listener(), codes=CODES, retry=ONCE,
        timeout_s=5.0,
    )  # fmt: skip
    try:
        client.get("/x")
    except CarrierError as error:
        assert str(error)  # noqa: PT017
    finally:
        client.close()
        server.stop()
