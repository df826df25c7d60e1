"""A small receiver of AMOP 2.0 messages, for demonstrations and tests (A1).

It is a real HTTP server: it checks the bearer token, the idempotency key and the shape of every
message, counts a message once however often it arrives, and appends each accepted one as a line of
JSON to a log file: ``{"receivedAt": ..., "message": {...}}``. It can be told to fail its first
calls. It is no part of a production deployment: there AMOP 2.0 itself receives.
"""

from __future__ import annotations

import hmac
import json
import logging
import threading
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

LOG = logging.getLogger(__name__)

MAX_BODY_BYTES = 4 << 20
"""Largest message accepted: 4 MiB."""

_TYPES: dict[str, tuple[type, ...]] = {
    "messageId": (str,),
    "type": (str,),
    "sessionId": (str, type(None)),
    "sessionGuid": (str, type(None)),
    "deviceCount": (int,),
    "errorMessage": (str, type(None)),
    "progress": (int,),
    "additionalInfo": (str,),
    "additionalData": (dict,),
    "sentAt": (str,),
}


class AmopReceiver:
    """Receives messages on a port of this machine until it is stopped.

    Parameters
    ----------
    log_path
        File that accepted messages are appended to; what it already holds counts as received.
    token
        Bearer token that every call must bring.
    host, port
        Where to listen; port 0 picks a free one, see :attr:`endpoint`.
    fail_first, fail_status
        Answer the first so many calls with this status, whatever they bring.
    """

    def __init__(
        self,
        log_path: Path,
        *,
        token: SecretStr,
        host: str = "127.0.0.1",
        port: int = 0,
        fail_first: int = 0,
        fail_status: int = HTTPStatus.SERVICE_UNAVAILABLE,
    ) -> None:
        self._log_path = log_path
        self._token = token
        self._fail_first = fail_first
        self._fail_status = fail_status
        self._lock = threading.Lock()
        self._calls = 0
        self._seen = {entry["message"]["messageId"] for entry in read_log(log_path)}
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self._server = _Server((host, port), self)
        self._thread: threading.Thread | None = None

    @property
    def endpoint(self) -> str:
        """Address to post messages to."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/optimization"

    @property
    def calls(self) -> int:
        """Number of calls so far, refused ones and duplicates included."""
        with self._lock:
            return self._calls

    def messages(self) -> list[dict[str, Any]]:
        """Messages received so far, each once, in the order of their arrival."""
        return [entry["message"] for entry in read_log(self._log_path)]

    def fail_next(self, calls: int, status: int) -> None:
        """Answer the next so many calls with this status, whatever they bring."""
        with self._lock:
            self._fail_first = self._calls + calls
            self._fail_status = status

    def serve_forever(self) -> None:
        """Receive in this thread until interrupted."""
        with self._server:
            self._server.serve_forever(poll_interval=0.1)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="amop-receiver",
            daemon=True,
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self._thread is not None:
            self._thread.join()

    def answer(
        self, authorization: str | None, key: str | None, body: bytes
    ) -> tuple[int, dict[str, str]]:
        """Judge one call and record its message if it is good and new.

        Returns
        -------
        tuple
            HTTP status and the JSON object to answer with.
        """
        with self._lock:
            self._calls += 1
            if self._calls <= self._fail_first:
                return self._fail_status, {"error": "told to fail"}
            expected = f"Bearer {self._token.get_secret_value()}"
            if not hmac.compare_digest((authorization or "").encode(), expected.encode()):
                return HTTPStatus.UNAUTHORIZED, {"error": "wrong or missing bearer token"}
            message, problem = _parse(body)
            if problem:
                return HTTPStatus.UNPROCESSABLE_ENTITY, {"error": problem}
            if key != message["messageId"]:
                return HTTPStatus.BAD_REQUEST, {"error": "Idempotency-Key must be the messageId"}
            if key in self._seen:
                return HTTPStatus.OK, {"status": "duplicate"}
            self._record(message)
            self._seen.add(key)
            return HTTPStatus.OK, {"status": "accepted"}

    def _record(self, message: dict[str, Any]) -> None:
        received_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"receivedAt": received_at, "message": message}, ensure_ascii=False)
        with self._log_path.open("a", encoding="utf-8") as log:
            log.write(line + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Entries of a receiver's log: ``receivedAt`` and ``message`` each; none without a file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as log:
        return [json.loads(line) for line in log if line.strip()]


def _parse(body: bytes) -> tuple[dict[str, Any], str | None]:
    """Split a body into its message, or say what is wrong with it."""
    try:
        message = json.loads(body)
    except ValueError:
        return {}, "the body is not JSON"
    if not isinstance(message, dict):
        return {}, "the body is not a JSON object"
    if message.keys() != _TYPES.keys():
        return {}, f"the keys must be {', '.join(_TYPES)}"
    for name, types in _TYPES.items():
        value = message[name]
        if not isinstance(value, types) or isinstance(value, bool):
            return {}, f"{name} is of the wrong type"
    return message, None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], receiver: AmopReceiver) -> None:
        self.receiver = receiver
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # a silent client does not keep its thread for ever
    server: _Server

    def do_POST(self) -> None:
        body = self._read_body()
        if body is None:
            return
        status, reply = self.server.receiver.answer(
            self.headers.get("Authorization"), self.headers.get("Idempotency-Key"), body
        )
        self._reply(status, reply)

    def _read_body(self) -> bytes | None:
        """Read the body; None if its length is missing or too large, and that was answered."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.close_connection = True
            self._reply(HTTPStatus.LENGTH_REQUIRED, {"error": "Content-Length is missing"})
            return None
        if int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "the message is too large"})
            return None
        return self.rfile.read(int(length))

    def _reply(self, status: int, reply: dict[str, str]) -> None:
        body = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        LOG.debug(format, *args)
