"""HTTP for the simulator: sockets, headers, and answers that travel badly."""

from __future__ import annotations

import logging
import socket
import struct
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, cast

from core.simulator.reply import HUGE_BYTES, Delivery, Reply

logger = logging.getLogger(__name__)

_BLANKS = b" " * (1 << 20)
_MISSING = {Delivery.CUT: 100, Delivery.HUGE: HUGE_BYTES}  # announced on top of the content


class Simulator(Protocol):
    """What answers the calls."""

    clock: Callable[[], datetime]

    def authorization_of(self, headers: Message) -> str | None:
        """Return what a call shows to be let in."""

    def answer(self, method: str, target: str, authorization: str | None, body: bytes) -> Reply:
        """Answer one call."""

    def wait(self, seconds: float) -> None:
        """Let time pass, but not after the simulator was stopped."""


class HttpServer(ThreadingHTTPServer):
    """A listening socket and its connections, which can be closed all at once."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], handler: type[Handler], simulator: Simulator
    ) -> None:
        self.simulator = simulator
        self._reset: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection."""
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection, and end it as was asked for."""
        with self._open_lock:
            self._open.discard(request)
            is_reset = request in self._reset
            self._reset.discard(request)
        if is_reset:
            self.close_request(request)  # without the orderly goodbye
        else:
            super().shutdown_request(request)

    def reset_at_close(self, connection: socket.socket) -> None:
        """End a connection so that the client sees it reset by peer."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with self._open_lock:
            self._reset.add(connection)

    def close_connections(self) -> None:
        """Close every open connection."""
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


class Handler(BaseHTTPRequestHandler):
    """One connection: reads calls, and writes what the simulator answers."""

    protocol_version = "HTTP/1.1"
    server_version = "SimulatedControlCenter"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one write

    def do_GET(self) -> None:
        """Answer a call without a body."""
        self._answer(b"")

    def do_PUT(self) -> None:
        """Answer a call with a body."""
        self._answer(self._body())

    def do_POST(self) -> None:
        """Answer a call with a body."""
        self._answer(self._body())

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        return self.rfile.read(int(length)) if length.isdigit() else b""

    def _answer(self, body: bytes) -> None:
        server = cast("HttpServer", self.server)
        authorization = server.simulator.authorization_of(self.headers)
        reply = server.simulator.answer(self.command, self.path, authorization, body)
        if reply.delivery is Delivery.RESET:
            server.reset_at_close(self.connection)
            self.close_connection = True
            return
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body) + _MISSING.get(reply.delivery, 0)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="Jasper"')
        self.end_headers()
        self._write_body(reply)
        self.wfile.flush()
        self.close_connection = self.close_connection or reply.delivery is Delivery.CUT

    def _write_body(self, reply: Reply) -> None:
        if reply.delivery is Delivery.DRIP:
            pause = reply.seconds / max(len(reply.body), 1)
            for byte in reply.body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                cast("HttpServer", self.server).simulator.wait(pause)
            return
        self.wfile.write(reply.body)
        if reply.delivery is Delivery.HUGE:
            for _ in range(HUGE_BYTES // len(_BLANKS)):
                self.wfile.write(_BLANKS)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Write the Date header by the simulator's clock, as the API's own times are."""
        clock = cast("HttpServer", self.server).simulator.clock
        return super().date_time_string(timestamp or clock().timestamp())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep calls out of the terminal."""
        logger.debug(format, *args)
