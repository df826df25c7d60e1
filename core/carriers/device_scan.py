"""Reads a list that is ordered by modification time and changes while it is read (C2).

The list has numbered pages and no cursor. When a SIM is modified it leaves its place and goes to the
end, so that every row behind it moves forward by one: a reader who goes forward misses the row that
slipped onto the page just read. Reading *backward*, from the last page to the first, misses nothing:

    A SIM that is not modified during the scan only ever moves forward, to smaller page numbers. When
    the reader is about to read page p, it is on page p or before it, or has been read: true for the
    last page; and if the SIM is not on page p when p is read, it is on p - 1 or before when p - 1 is
    read. Before page 1 there is no page, so it has been read.

A SIM that *is* modified during the scan is found by listing what was modified since its beginning,
and so on until such a list fits on one page, which the carrier answers in one piece, or ends as it
began: a modification would have changed the last page. Where the list ends is found by doubling the
page number and halving the gap, since no total is told. No page is believed to be the last one as long
as there is room for doubt: where it may be full, the page behind it is read too. An account may send fewer
rows a page than it was asked for, so that a page may be full unless another one of the account had more.

A scan that was interrupted may go on in the same way, for the same reason: every page that it hands
out carries a bookmark, from which another process goes on, beginning with that page once more; while
the end of the list is looked for, and between windows, there are bookmarks without rows. What was modified
meanwhile, too, is found by listing what was modified since the scan's first beginning.

Some accounts refuse lists that begin long ago. Windows are counted back from now, so that all that such
an account does list is read, and the bookmarks tell from when on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import polars as pl

from core.carriers.base import DEVICE_PAGE_SCHEMA, DevicePage, ListScan, ScanBookmark
from core.errors import CarrierProtocolError, RejectedByCarrierError, RetryableCarrierError

logger = logging.getLogger(__name__)

ACCOUNT_START = datetime(2004, 1, 1, tzinfo=UTC)
"""No SIM was modified before: the platform is not older."""

CLOCK_OVERLAP = timedelta(minutes=5)
"""How far the clocks behind the carrier's API may differ from one another."""

DELTA_OVERLAP = timedelta(seconds=2)
"""The carrier tells its time in whole seconds; one more for good measure."""

MAX_DELTA_ROUNDS = 10
REREADS = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ListedPage:
    """One answer: rows, whether it called itself the last, and when it was asked for.

    Attributes
    ----------
    is_last
        None where the carrier did not say.
    asked_at
        On the carrier's clock, rather too early than too late.
    """

    number: int
    rows: pl.DataFrame
    raw: Sequence[object]
    is_last: bool | None
    asked_at: datetime

    def iccids(self) -> list[str | None]:
        """ICCIDs in the page's order."""
        return self.rows["iccid"].to_list()

    def digest(self) -> int:
        """Tell pages of other SIMs apart."""
        return hash(tuple(self.iccids()))


ReadPage = Callable[[datetime, datetime | None, int], ListedPage | None]
"""Reads a page of what was modified from .. till (None: now); None: there is no such page."""


def scan_pages(
    read_page: ReadPage,
    scan: ListScan,
    *,
    page_size: int,
    window: timedelta | None,
    now: datetime,
    too_old: str | None = None,
) -> Iterator[DevicePage]:
    """List every SIM of the scan at least once.

    Parameters
    ----------
    page_size
        Rows that a page has at most.
    window
        Longest span of modification times per list; None: any.
    now
        Aware; the newest window is open-ended, so that an early ``now`` loses nothing.
    too_old
        The carrier's code for a list that begins too long ago: such a window is passed over, and
        ``unlisted_before`` of the bookmarks tells where the list begins instead.

    Raises
    ------
    CarrierProtocolError
        If a list has more than ``scan.max_pages`` pages, or a page keeps coming under two numbers.
    RetryableCarrierError
        If the list changes faster than it can be read.
    """
    sweep = _Sweep(read_page, scan.max_pages, page_size)
    mark = scan.resume or ScanBookmark(asked_at=now)
    windows = list_windows(scan, window=window, now=mark.asked_at)
    for index in range(mark.window, len(windows)):
        since, till = windows[index]
        unlisted_before = mark.unlisted_before
        try:
            for step in sweep.steps(since, till, resume=mark):
                mark = replace(
                    mark,
                    started_at=mark.started_at or sweep.started_at,
                    page=step.at,
                    low=step.low,
                    high=step.high,
                )
                yield _public(step.page, since, mark)
        except RejectedByCarrierError as error:
            has_listed = mark.started_at is not None or sweep.has_begun
            if too_old is None or error.code != too_old or till is None or has_listed:
                raise
            unlisted_before = windows[index + 1][0]
        started_at = mark.started_at or sweep.started_at
        mark = ScanBookmark(
            asked_at=mark.asked_at,
            started_at=started_at,
            window=index + 1,
            unlisted_before=unlisted_before,
        )
        yield _public(None, since, mark)
    since = (mark.started_at or now) - CLOCK_OVERLAP
    for repeat in range(MAX_DELTA_ROUNDS):
        for step in sweep.steps(since, None):
            if step.page is not None:
                yield replace(_public(step.page, since, mark), sweep=repeat, is_repeat=True)
        if sweep.ends_as_it_began():
            return
        since = max(since, (sweep.started_at or since) - DELTA_OVERLAP)
    msg = (
        f"the carrier's list of devices still changes faster than it can be read after "
        f"{MAX_DELTA_ROUNDS} rounds: synchronise when fewer devices are being modified"
    )
    raise RetryableCarrierError(msg)


def list_windows(
    scan: ListScan, *, window: timedelta | None, now: datetime
) -> list[tuple[datetime, datetime | None]]:
    """Split the scan's time into windows, oldest first; neighbours share a second, the last is open."""
    start = scan.since or ACCOUNT_START
    begins = {start, *(edge for edge in scan.boundaries if start < edge < now)}
    edge = now
    while window is not None and edge - start > window:
        edge -= window
        begins.add(edge)
    edges = sorted(begins)
    tills: list[datetime | None] = [edge + timedelta(seconds=1) for edge in edges[1:]]
    return list(zip(edges, [*tills, None], strict=True))


def _public(page: ListedPage | None, since: datetime, mark: ScanBookmark) -> DevicePage:
    return DevicePage(
        number=page.number if page is not None else 0,
        rows=page.rows if page is not None else pl.DataFrame(schema=DEVICE_PAGE_SCHEMA),
        raw=page.raw if page is not None else (),
        modified_since=since,
        bookmark=mark,
        sweep=mark.window,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """A page, if there is one, and where its sweep would go on: backward from a page, or searching."""

    page: ListedPage | None = None
    at: int | None = None
    low: int = 1
    high: int | None = None


class _Sweep:
    """Reads one list backward, and the next one, and so on.

    Attributes
    ----------
    started_at
        When the first page of the list that was begun last was asked for.
    has_begun
        Whether the carrier has answered a page of the list that is being read.
    """

    def __init__(self, read_page: ReadPage, max_pages: int, page_size: int) -> None:
        self._read_page = read_page
        self._max_pages = max_pages
        self._page_size = page_size
        self._most_rows = 0
        self.started_at: datetime | None = None
        self.has_begun = False
        self._look_again: Callable[[], bool] = lambda: True

    def ends_as_it_began(self) -> bool:
        """Whether the list of the last sweep came in one piece, or still has the same last page."""
        return self._look_again()

    def steps(
        self, since: datetime, till: datetime | None, *, resume: ScanBookmark | None = None
    ) -> Iterator[_Step]:
        """Yield the list's pages, last page first, or from where a bookmark of it is."""

        def read(number: int) -> ListedPage | None:
            page = self._read_page(since, till, number)
            self.has_begun = True
            self._most_rows = max(self._most_rows, page.rows.height if page is not None else 0)
            return page

        self.has_begun = False
        self._look_again = lambda: True
        low, high = (1, None) if resume is None else (resume.low, resume.high)
        if resume is not None and resume.page is not None:
            yield from self._backward(read, resume.page)
            return
        if (low, high) == (1, None):
            first = read(1)
            self.started_at = first.asked_at if first is not None else None
            if first is None or _is_past_end(first):
                first = read(1)  # a list that is taken for empty by mistake loses its SIMs
            if first is None or _is_past_end(first):
                return
            if first.is_last and self._is_end(read, first, 1):
                yield _Step(page=first, at=1)
                return
        last_number = yield from self._last_page(read, low, high)
        yield _Step(at=last_number)
        yield from self._backward(read, last_number)

    def _backward(
        self, read: Callable[[int], ListedPage | None], last_number: int
    ) -> Iterator[_Step]:
        seen: dict[int, int] = {}  # digest of a page's SIMs -> its number
        for number in range(last_number, 0, -1):
            page = read(number)
            if page is None or not page.rows.height:
                page = _empty_again(read, number)
            if number == last_number:
                self._look_again = partial(self._is_same_end, read, page, number)
            if page is None:
                continue  # the list has become shorter
            twin = seen.get(page.digest())
            if twin is not None:
                other, page = _read_both_again(read, twin, number)
                if other is not None:
                    yield _Step(page=other, at=number + 1)
            if page is not None:
                yield _Step(page=page, at=number)
                seen[page.digest()] = number

    def _last_page(
        self, read: Callable[[int], ListedPage | None], low: int, high: int | None
    ) -> Generator[_Step, None, int]:
        """Find the number of the last page; what is found is looked at twice.

        Pages that are added meanwhile hold SIMs modified meanwhile, which are found afterwards.
        """
        for _ in range(REREADS):
            low = yield from self._search(read, low, high)
            high = None
            confirmation = read(low)
            if confirmation is None:
                break
            if self._is_end(read, confirmation, low):
                beyond = read(low + 2) if confirmation.is_last is False else None
                if beyond is None or _is_past_end(beyond):
                    break
                low += 1
            low += 1
        return low

    def _search(
        self, read: Callable[[int], ListedPage | None], low: int, high: int | None
    ) -> Generator[_Step, None, int]:
        """Find the last page from a page that is not past the end, and one that is, if known."""
        while high is None or high - low > 1:
            if high is None and low >= self._max_pages:
                msg = (
                    f"the carrier's list of devices goes on after {self._max_pages:,} pages, far "
                    "more than the account's devices need: it may never end; ask the carrier "
                    "about the list"
                )
                raise CarrierProtocolError(msg)
            probe = min(low * 2, self._max_pages) if high is None else (low + high) // 2
            page = read(probe)
            if page is None or _is_past_end(page):
                high = probe
            elif page.is_last:
                return probe
            else:
                low = probe
            yield _Step(low=low, high=high)
        return low

    def _is_same_end(
        self, read: Callable[[int], ListedPage | None], seen: ListedPage | None, number: int
    ) -> bool:
        now = read(number)
        if seen is None or now is None or not now.rows.equals(seen.rows):
            return False
        return now.is_last is not False and self._is_end(read, now, number)

    def _is_end(
        self, read: Callable[[int], ListedPage | None], page: ListedPage, number: int
    ) -> bool:
        """Whether nothing is behind a page: the next one tells, unless there is no room for doubt.

        One that cannot be had is no reason to doubt a page that calls itself the last: carriers refuse
        what is past the end in words of their own.
        """
        if page.is_last and not self._may_be_full(page):
            return True
        try:
            after = read(number + 1)
        except (RejectedByCarrierError, RetryableCarrierError, CarrierProtocolError) as error:
            if not page.is_last:
                raise
            logger.info("behind a page that may be full: %s", error)
            return True
        if after is None or _is_past_end(after):
            return True
        return bool(page.is_last) and after.digest() == page.digest()  # page numbers mean nothing

    def _may_be_full(self, page: ListedPage) -> bool:
        return page.rows.height >= min(self._page_size, self._most_rows)


def _is_past_end(page: ListedPage) -> bool:
    return not page.rows.height and page.is_last is not False


def _empty_again(read: Callable[[int], ListedPage | None], number: int) -> ListedPage | None:
    """Read an empty page again; None: the list has become shorter.

    The page before it tells: where it has more behind it, the empty page was a mistake, and to go on
    without its SIMs would lose them.
    """
    for _ in range(REREADS):
        before = read(number - 1) if number > 1 else None
        if number > 1 and (before is None or before.is_last or not before.rows.height):
            return None
        page = read(number)
        if page is not None and page.rows.height:
            return page
        if before is None or before.is_last is None:
            return None
    msg = (
        f"the carrier says that devices follow page {number - 1}, and sends none as page {number}: "
        "the list cannot be read completely; run again later or tell the carrier"
    )
    raise CarrierProtocolError(msg)


def _read_both_again(
    read: Callable[[int], ListedPage | None], twin: int, number: int
) -> tuple[ListedPage | None, ListedPage | None]:
    """Read a page and one behind it until they differ: one of them came under a wrong number.

    Or the list has become shorter, by just as many rows as make them the same; then there may be
    nothing behind any more, and what was there is on this page or before.
    """
    for _ in range(REREADS):
        behind, page = read(twin), read(number)
        iccids = [[] if answer is None else answer.iccids() for answer in (behind, page)]
        if not all(iccids) or iccids[0] != iccids[1]:
            return behind, page
    msg = (
        f"the carrier sends the same devices as page {number} and page {twin}: "
        "the list cannot be read completely; run again later or tell the carrier"
    )
    raise CarrierProtocolError(msg)
