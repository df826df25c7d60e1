"""Answers of a simulated API: status, body, and how they travel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

_NOT_FOUND_PAGE = b"<html><head><title>404 Not Found</title></head><body>Not Found</body></html>"


class Delivery(Enum):
    """How an answer reaches the client."""

    WHOLE = auto()
    """At once."""
    CUT = auto()
    """The connection is closed in the middle of the announced body."""
    RESET = auto()
    """The connection is reset before the first byte of an answer."""
    DRIP = auto()
    """The body comes byte by byte over ``seconds``."""
    HUGE = auto()
    """The body is followed by ``HUGE_BYTES`` of white space that count as part of it."""


HUGE_BYTES = 64 << 20
"""What a huge body has more than its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer."""

    status: int
    body: bytes
    content_type: str = "application/json;charset=UTF-8"
    delivery: Delivery = Delivery.WHOLE
    seconds: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)


class Api(Protocol):
    """A carrier's API that :class:`core.simulator.server.SimulatorServer` can serve."""

    def handle(self, method: str, target: str, body: bytes) -> Reply:
        """Answer one call that has been let in; ``target`` is path and query."""


class ApiError(Exception):
    """A refusal with the platform's error code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(message)


def error_reply(status: int, code: str | None, message: str) -> Reply:
    """Write the platform's error envelope; the code is a string and may be missing."""
    envelope = {"errorMessage": message} | ({"errorCode": code} if code else {})
    return Reply(
        status=status,
        body=json.dumps(envelope).encode("latin-1", "replace"),
        content_type="application/json;charset=ISO-8859-1",
    )


def html_reply(status: int, body: bytes = _NOT_FOUND_PAGE) -> Reply:
    """Answer with an HTML page, as the console or a proxy does."""
    return Reply(status=status, body=body, content_type="text/html")


def json_reply(value: object, status: int = 200) -> Reply:
    """Answer with JSON."""
    return Reply(status=status, body=json.dumps(value).encode())
