"""Faults that the simulator can be told to have: on call N do F."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_DAY_SECONDS = 86_400


class FaultKind(StrEnum):
    """What can go wrong with one call."""

    BAD_REQUEST = "bad_request"
    """400 with error 10000028."""
    UNAUTHORIZED = "unauthorized"
    """401 with error 10000001."""
    FORBIDDEN = "forbidden"
    """403 with error 10000030."""
    NOT_FOUND = "not_found"
    """404 with error 20000001."""
    SERVER_ERROR = "server_error"
    """500 with error 30000001."""
    BAD_GATEWAY = "bad_gateway"
    """502 with an HTML page, as a proxy sends it."""
    UNAVAILABLE = "unavailable"
    """503 with an HTML page, as a load balancer sends it."""
    RATE_LIMIT = "rate_limit"
    """Error 40000029 with the configured status."""
    RATE_LIMIT_200 = "rate_limit_200"
    """Error 40000029 in the body of a 200."""
    RATE_LIMIT_400 = "rate_limit_400"
    """Error 40000029 with status 400."""
    RATE_LIMIT_429 = "rate_limit_429"
    """Error 40000029 with status 429, without Retry-After."""
    THROTTLE_TENTH = "throttle_tenth"
    """From this call on the account may make a tenth of its calls per second."""
    REFUSE = "refuse"
    """The connection is reset before any answer; the call is not carried out. To close the port
    itself: ``SimulatorServer.pause`` and ``resume``."""
    RESET = "reset"
    """The connection is closed in the middle of the body."""
    TRUNCATED = "truncated"
    """200 with half of the JSON."""
    HANG = "hang"
    """The answer comes after ``seconds``."""
    DRIP = "drip"
    """The body comes byte by byte over ``seconds``."""
    HUGE = "huge"
    """The body has 64 MiB of white space at its end."""
    LATIN_1 = "latin_1"
    """The body is announced as UTF-8, is ISO-8859-1, and has a ``note`` with accents."""
    UTF_16 = "utf_16"
    """The body is announced as UTF-8 and is UTF-16."""
    MISSING_LAST_PAGE = "missing_last_page"
    """The answer has no ``lastPage``."""
    REPEATED_PAGE = "repeated_page"
    """The rows of the page of this list that was read just before come under the new number."""
    EMPTY_PAGE = "empty_page"
    """The page has no rows and is the last one, as a page past the end may be answered."""
    WRONG_PAGE_NUMBER = "wrong_page_number"
    """The ``pageNumber`` in the answer is one more than the one asked for."""
    DUPLICATES = "duplicates"
    """The first ``devices`` rows of the page of this list that was read just before come again at
    the end of this one, as they were before activation: ``TEST_READY``."""
    TOUCH = "touch"
    """Before the answer, the first ``devices`` SIMs of the list that is asked for are modified."""
    VANISH = "vanish"
    """Before the answer, the SIM in the path, or the first ``devices`` SIMs of the list that is
    asked for, are removed from the account."""
    EMPTY_FIELDS = "empty_fields"
    """All fields but the ICCID are null (first, third, ... row) or "" (second, fourth, ...) in the
    first ``devices`` rows of the page; null in an answer about one SIM."""
    ODD_DATES = "odd_dates"
    """Dates of an answer about one SIM come as a number, in other forms, empty, null or zero."""
    LOST_REPLY = "lost_reply"
    """The call is carried out, and then answered with 500."""
    BYTE_ORDER_MARK = "byte_order_mark"
    """The body begins with the byte order mark of UTF-8."""
    NO_DATA_USAGE = "no_data_usage"
    """Data usage is null in the first (or only) row of usage of each zone, and missing in the others."""
    UNNAMED_ZONES = "unnamed_zones"
    """Zones of usage have no name: null in the first (third, ...) one, "" in the others."""


CONTROL_CENTER_ONLY = frozenset(
    {
        FaultKind.RATE_LIMIT_200,
        FaultKind.RATE_LIMIT_400,
        FaultKind.RATE_LIMIT_429,
        FaultKind.MISSING_LAST_PAGE,
        FaultKind.REPEATED_PAGE,
        FaultKind.WRONG_PAGE_NUMBER,
        FaultKind.DUPLICATES,
        FaultKind.TOUCH,
        FaultKind.VANISH,
        FaultKind.NO_DATA_USAGE,
        FaultKind.UNNAMED_ZONES,
    }
)
"""Kinds that mean nothing to ThingSpace, whose lists have no page numbers and another order,
and whose usage has no zones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """On calls ``on_call`` to ``on_call + times - 1`` whose target matches, do ``kind``.

    Attributes
    ----------
    on_call
        Number of the first such call, from 1, counted over matching calls only.
    times
        Number of calls that suffer it, 1 or more.
    matching
        Text that the target (method, space, path and query) contains; empty: every call.
    seconds
        How long, for the kinds that take time; 0 to a day.
    devices
        How many SIMs, for the kinds that are about some; 1 or more.
    """

    kind: FaultKind
    on_call: int = 1
    times: int = 1
    matching: str = ""
    seconds: float = 1.0
    devices: int = 1

    def __post_init__(self) -> None:
        for name in ("on_call", "times", "devices"):
            if getattr(self, name) < 1:
                msg = f"{name} is 1 or more, not {getattr(self, name)}"
                raise ValueError(msg)
        if not 0 <= self.seconds <= _DAY_SECONDS:
            msg = f"seconds is 0 to {_DAY_SECONDS:,}, not {self.seconds}"
            raise ValueError(msg)


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
