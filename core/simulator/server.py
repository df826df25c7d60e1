"""The simulated Control Center as an HTTP server: authentication, throttle and faults around the API."""

from __future__ import annotations

import base64
import hmac
import logging
import re
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import parse_qs, urlsplit

from core.simulator.account import SimulatedAccount
from core.simulator.api import ControlCenterApi, Reply, error_reply
from core.simulator.faults import (
    Fault,
    FaultKind,
    FaultScript,
    renumbered,
    reply_instead,
    spoiled,
)
from core.simulator.options import SimulatorOptions
from core.simulator.throttle import AccountThrottle

logger = logging.getLogger(__name__)

_PAGE_NUMBER = re.compile(r"pageNumber=(\d+)")


def utc_now() -> datetime:
    """Return the time now, aware."""
    return datetime.now(tz=UTC)


class SimulatorServer:
    """Serves one account on a loopback port until stopped; a context manager.

    Parameters
    ----------
    port
        0 takes a free one.
    faults
        What goes wrong, by call number.

    Attributes
    ----------
    account
        The state behind the API.
    clock
        Tells the simulator's time.
    calls
        The newest calls (method, space, target), oldest first.
    """

    def __init__(
        self,
        account: SimulatedAccount,
        options: SimulatorOptions | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Iterable[Fault] = (),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.account = account
        self.options = options or SimulatorOptions()
        self.calls: deque[str] = deque(maxlen=100_000)
        self.clock = clock
        self._api = ControlCenterApi(account, self.options, clock)
        self._faults = FaultScript(faults)
        self._throttle = AccountThrottle(self.options)
        self._last_read: dict[str, int] = {}  # list without page number -> page read last
        self._read_lock = threading.Lock()
        self._stopping = threading.Event()
        self._http = _HttpServer((host, port), _Handler, self)
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """Address that a client is given, without the API's own path."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> Self:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        return self

    def serve(self) -> None:
        """Serve in this thread until :meth:`stop` is called from another, or KeyboardInterrupt."""
        self._http.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        """Close the port and every connection."""
        self._stopping.set()
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.close_connections()
        self._http.server_close()

    def interrupt(self) -> None:
        """Make :meth:`serve` return; for signal handlers, which may not block."""
        threading.Thread(target=self._http.shutdown, daemon=True).start()

    def script(self, faults: Iterable[Fault]) -> None:
        """Replace the faults; calls are counted anew."""
        self._faults = FaultScript(faults)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def answer(
        self, method: str, target: str, authorization: str | None, body: bytes
    ) -> Reply | None:
        """Answer one call, faults included; None: break the connection off."""
        line = f"{method} {target}"
        self.calls.append(line)
        fault = self._faults.next(line)
        if fault is not None:
            return self._faulty(fault, method, target, authorization, body)
        reply = self._regular(method, target, authorization, body)
        self._remember(target, reply)
        return reply

    def _regular(self, method: str, target: str, authorization: str | None, body: bytes) -> Reply:
        refusal = self._unauthorised(authorization)
        if refusal is not None:
            return refusal
        if not self._throttle.enter():
            return self._rate_limited()
        try:
            return self._api.handle(method, target, body)
        finally:
            self._throttle.leave()

    def _unauthorised(self, authorization: str | None) -> Reply | None:
        if authorization is None:
            return error_reply(401, None, "Full authentication is required to access this resource")
        pair = f"{self.options.username}:{self.options.api_key}"
        expected = f"Basic {base64.b64encode(pair.encode()).decode()}"
        if hmac.compare_digest(authorization.encode(), expected.encode()):
            return None
        return error_reply(401, "10000001", "Invalid credentials.")

    def _rate_limited(self) -> Reply:
        return error_reply(self.options.rate_limit_status, "40000029", "Rate limit exceeded")

    def _faulty(
        self, fault: Fault, method: str, target: str, authorization: str | None, body: bytes
    ) -> Reply | None:
        instead = reply_instead(fault, rate_limited=self._rate_limited())
        if instead is not None:
            return instead
        if fault.kind is FaultKind.REPEATED_PAGE:
            return self._repeated(method, target, authorization)
        if fault.kind is FaultKind.TOUCH:
            self.account.touch_oldest(fault.devices, self.clock(), since_ms=_since_ms(target))
        if fault.kind is FaultKind.HANG:
            self._stopping.wait(fault.seconds)
        return spoiled(fault, self._regular(method, target, authorization, body))

    def _repeated(self, method: str, target: str, authorization: str | None) -> Reply:
        """Answer with the page of the same list that was read just before, under the new number."""
        number = _page_number(target)
        with self._read_lock:
            before = self._last_read.get(_without_page(target))
        if number is None or before is None:
            return self._regular(method, target, authorization, b"")
        again = target.replace(f"pageNumber={number}", f"pageNumber={before}")
        reply = self._regular(method, again, authorization, b"")
        return renumbered(reply, number) if reply.status == 200 else reply

    def _remember(self, target: str, reply: Reply) -> None:
        number = _page_number(target)
        if number is not None and reply.status == 200:
            with self._read_lock:
                self._last_read[_without_page(target)] = number


def _since_ms(target: str) -> int:
    since = parse_qs(urlsplit(target).query).get("modifiedSince", ["1970-01-01T00:00:00+00:00"])
    return int(datetime.fromisoformat(since[0]).timestamp() * 1000)


def _page_number(target: str) -> int | None:
    found = _PAGE_NUMBER.search(target)
    return int(found[1]) if found else None


def _without_page(target: str) -> str:
    return _PAGE_NUMBER.sub("", target)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], handler: type[_Handler], simulator: SimulatorServer
    ) -> None:
        self.simulator = simulator
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        with self._open_lock:
            open_now = list(self._open)
        for connection in open_now:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError as error:  # the client was faster
                logger.debug("connection already closed: %s", error)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Clients that hang up are normal here; anything else is worth a traceback."""
        error = sys.exception()
        if isinstance(error, OSError):
            logger.debug("call from %s broke off: %s", client_address, error)
        else:
            logger.error("call from %s could not be answered", client_address, exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "SimulatedControlCenter"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one write

    def do_GET(self) -> None:
        self._answer(b"")

    def do_PUT(self) -> None:
        length = self.headers.get("Content-Length", "0")
        self._answer(self.rfile.read(int(length)) if length.isdigit() else b"")

    def _answer(self, body: bytes) -> None:
        simulator = cast("_HttpServer", self.server).simulator
        reply = simulator.answer(self.command, self.path, self.headers.get("Authorization"), body)
        is_cut = reply is None
        reply = reply or Reply(status=200, body=b'{"pageNumber":1,"devices":[')
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body) + (100 if is_cut else 0)))
        if reply.status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="Jasper"')
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()
        if is_cut:
            self.close_connection = True

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Write the Date header by the simulator's clock, as the API's own times are."""
        clock = cast("_HttpServer", self.server).simulator.clock
        return super().date_time_string(timestamp or clock().timestamp())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        logger.debug(format, *args)
