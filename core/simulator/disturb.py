"""Faults of what is behind the answers: lists that change while they are read."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qs, unquote, urlsplit

from core.simulator.account import SimulatedAccount
from core.simulator.api import API_ROOT
from core.simulator.faults import Fault, FaultKind
from core.simulator.params import milliseconds, parse_time
from core.simulator.reply import ApiError, Reply
from core.simulator.spoil import content_of, with_content

_PAGE_NUMBER = re.compile(r"pageNumber=(\d+)")
_ONE_SIM = re.compile(rf"{API_ROOT}/devices/([^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierPage:
    """The page of a list that was read before: how to ask for it, and the number asked for now."""

    target: str
    number: int


class PageMemory:
    """Which page of each list was read last; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, int] = {}  # list without page number -> page read last

    def remember(self, target: str, reply: Reply) -> None:
        """Note a page that was answered."""
        found = _PAGE_NUMBER.search(target)
        if found and reply.status == 200:
            with self._lock:
                self._last[_PAGE_NUMBER.sub("", target)] = int(found[1])

    def read_before(self, target: str) -> EarlierPage | None:
        """Return the page of this list that was read last, if any."""
        found = _PAGE_NUMBER.search(target)
        with self._lock:
            before = self._last.get(_PAGE_NUMBER.sub("", target))
        if found is None or before is None:
            return None
        again = target.replace(found[0], f"pageNumber={before}")
        return EarlierPage(target=again, number=int(found[1]))


def disturb_account(fault: Fault, account: SimulatedAccount, target: str, now: datetime) -> None:
    """Change the account as a fault says, before the call is answered."""
    if fault.kind is FaultKind.TOUCH:
        since_ms = _since_ms(target)
        if since_ms is not None:
            account.touch_oldest(fault.devices, now, since_ms=since_ms)
    elif fault.kind is FaultKind.VANISH:
        for row in _meant(account, target, fault.devices):
            account.remove(row)


def with_older_rows(reply: Reply, earlier: Reply, n: int) -> Reply:
    """Add to a page the first rows of an earlier one, as if from before they were activated."""
    page, before = content_of(reply), content_of(earlier)
    if page is None or before is None:
        return reply
    rows, old = page.get("devices"), before.get("devices")
    if not isinstance(rows, list) or not isinstance(old, list):
        return reply
    page["devices"] = rows + [row | {"status": "TEST_READY"} for row in old[:n]]
    return with_content(reply, page)


def _meant(account: SimulatedAccount, target: str, n: int) -> list[int]:
    """Rows of the SIM that a path names, or the first ``n`` of the list that is asked for."""
    one = _ONE_SIM.match(urlsplit(target).path)
    if one is None:
        since_ms = _since_ms(target)
        return [] if since_ms is None else account.listed(since_ms, None, None)[:n].tolist()
    row = account.row_of(unquote(one[1]))
    return [] if row is None else [row]


def _since_ms(target: str) -> int | None:
    """Time from which on SIMs are listed; None: the call says none that can be read."""
    since = parse_qs(urlsplit(target).query).get("modifiedSince", ["1970-01-01T00:00:00+00:00"])
    try:
        return milliseconds(parse_time(since[0]))
    except ApiError:
        return None
