"""Faults that the simulator can be told to have: on call N do F."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from core.simulator.api import Reply, error_reply, html_reply

_PROXY_PAGE = b"<html><body><h1>502 Bad Gateway</h1><hr>proxy</body></html>"


class FaultKind(StrEnum):
    """What can go wrong with one call."""

    SERVER_ERROR = "server_error"
    """500 with error 30000001."""
    BAD_GATEWAY = "bad_gateway"
    """502 with an HTML page, as a proxy sends it."""
    RATE_LIMIT = "rate_limit"
    """Error 40000029 with the configured status."""
    TRUNCATED = "truncated"
    """200 with half of the JSON."""
    RESET = "reset"
    """The connection is closed in the middle of the body."""
    HANG = "hang"
    """The answer comes after ``seconds``."""
    MISSING_LAST_PAGE = "missing_last_page"
    """The answer has no ``lastPage``."""
    REPEATED_PAGE = "repeated_page"
    """The rows of the page of this list that was read just before come under the new number."""
    TOUCH = "touch"
    """Before the answer, the first ``devices`` SIMs of the list that is asked for are modified."""
    LOST_REPLY = "lost_reply"
    """The call is carried out, and then answered with 500."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """On calls ``on_call`` to ``on_call + times - 1`` whose target matches, do ``kind``.

    Attributes
    ----------
    on_call
        Number of the first such call, from 1, counted over matching calls only.
    matching
        Text that the target (method, space, path and query) contains; empty: every call.
    """

    kind: FaultKind
    on_call: int = 1
    times: int = 1
    matching: str = ""
    seconds: float = 1.0
    devices: int = 1


class FaultScript:
    """Faults by call number; safe to share between threads."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._faults = [(fault, [0]) for fault in faults]

    def next(self, target: str) -> Fault | None:
        """Count a call and return the fault that it suffers, if any."""
        chosen = None
        with self._lock:
            for fault, seen in self._faults:
                if fault.matching not in target:
                    continue
                seen[0] += 1
                if fault.on_call <= seen[0] < fault.on_call + fault.times:
                    chosen = chosen or fault
        return chosen


def reply_instead(fault: Fault, *, rate_limited: Reply) -> Reply | None:
    """Answer that a fault gives without the call being carried out; None: it is carried out."""
    match fault.kind:
        case FaultKind.SERVER_ERROR:
            return error_reply(500, "30000001", "Unknown server error.")
        case FaultKind.BAD_GATEWAY:
            return html_reply(502, _PROXY_PAGE)
        case FaultKind.RATE_LIMIT:
            return rate_limited
        case _:
            return None


def spoiled(fault: Fault, reply: Reply) -> Reply | None:
    """Return what a fault makes of the regular answer; None: the connection breaks in the body."""
    match fault.kind:
        case FaultKind.LOST_REPLY:
            return error_reply(500, "30000001", "Unknown server error.")
        case FaultKind.RESET:
            return None
        case FaultKind.TRUNCATED:
            return Reply(status=200, body=reply.body[: len(reply.body) // 2])
        case FaultKind.MISSING_LAST_PAGE:
            content = json.loads(reply.body)
            content.pop("lastPage", None)
            return Reply(status=reply.status, body=json.dumps(content).encode())
        case _:
            return reply


def renumbered(reply: Reply, number: int) -> Reply:
    """Return a page's answer with another page number in it."""
    content = json.loads(reply.body) | {"pageNumber": number}
    return Reply(status=reply.status, body=json.dumps(content).encode())
