"""Listing SIMs while the list changes: none is missed, and the newest state comes last (C2)."""

from __future__ import annotations

import collections
import itertools
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.carriers.base import DEVICE_PAGE_SCHEMA, ListScan
from core.carriers.device_scan import ACCOUNT_START, ListedPage, list_windows, scan_pages
from core.errors import CarrierProtocolError, RejectedByCarrierError, RetryableCarrierError

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
YEAR = timedelta(days=364)


class Account:
    """SIMs ordered by modification; before each call some are modified, by a script."""

    def __init__(
        self, modified, *, page_size, script=(), tells_last=True, past_end="error", wrong_call=None
    ):
        self.modified = dict(enumerate(modified))
        self.version = dict.fromkeys(self.modified, 0)
        self.told = self.version  # as of the last answer with rows: nobody can know more
        self.page_size = page_size
        self.script = iter(script)
        self.tells_last = tells_last
        self.past_end = past_end
        self.wrong_call = wrong_call  # the answer to it calls itself the last one, whatever follows
        self.clock = NOW
        self.calls = []

    def modify(self, sims):
        for sim in sims:
            if sim not in self.modified and sim > max(self.modified, default=-1) + 50:
                continue
            self.clock += timedelta(milliseconds=1)
            self.modified[sim] = self.clock
            self.version[sim] = self.version.get(sim, -1) + 1

    def read(self, since, till, number):
        asked_at = self.clock.replace(microsecond=0)
        self.modify(next(self.script, ()))
        self.clock += timedelta(milliseconds=200)
        self.calls.append((since, number))
        listed = sorted(
            (at, sim)
            for sim, at in self.modified.items()
            if since <= at and (till is None or at <= till)
        )
        first = (number - 1) * self.page_size
        sims = [sim for _, sim in listed[first : first + self.page_size]]
        if sims:
            self.told = dict(self.version)
        if not sims and number > 1 and self.past_end == "error":
            return None
        is_last = first + self.page_size >= len(listed) or len(self.calls) == self.wrong_call
        return ListedPage(
            number=number,
            rows=rows_of([(sim, self.version[sim]) for sim in sims]),
            raw=sims,
            is_last=is_last if self.tells_last else None,
            asked_at=asked_at,
        )


def rows_of(sims):
    rows = [(str(sim), "ACTIVATED", str(version), "plan") for sim, version in sims]
    return pl.DataFrame(rows, schema=DEVICE_PAGE_SCHEMA, orient="row")


def scanned(account, scan=None, now=NOW, page_size=None):
    """ICCID to state, the newest wins."""
    states = {}
    for page in scan_pages(
        account.read,
        scan or ListScan(),
        page_size=page_size or account.page_size,
        window=YEAR,
        now=now,
    ):
        states.update(page.rows.select("iccid", "rate_plan").iter_rows())
    return {int(sim): int(version) for sim, version in states.items()}


past = st.integers(0, 3 * 364 * 24).map(lambda hours: NOW - timedelta(hours=1 + hours))
this_month = st.integers(0, 30 * 24).map(lambda hours: NOW - timedelta(hours=1 + hours))


@given(
    modified=st.lists(past, max_size=30) | st.lists(this_month, min_size=10, max_size=60),
    page_size=st.integers(3, 7),
    script=st.lists(st.lists(st.integers(0, 65), max_size=4), min_size=10, max_size=60),
    tells_last=st.booleans(),
    past_end=st.sampled_from(["error", "empty"]),
    wrong_call=st.none() | st.integers(1, 40),
    n_asked_more=st.sampled_from([0, 3]),
)
@example(  # the list becomes a page shorter between two reads, and its last page a page nearer
    modified=[NOW - timedelta(days=1)] * 10,
    page_size=3,
    script=[*[[]] * 10, [0, 1, 2]],
    tells_last=False,
    past_end="error",
    wrong_call=None,
    n_asked_more=0,
)
@example(  # the same, and then both pages are past the end
    modified=[NOW - timedelta(days=1)] * 10,
    page_size=3,
    script=[*[[]] * 10, [0, 1, 2], [3]],
    tells_last=False,
    past_end="empty",
    wrong_call=None,
    n_asked_more=0,
)
@example(  # the newest changes fit on one page when it is looked at, no more when it is read
    modified=[],
    page_size=5,
    script=[[], [63, 52, 43], [30], [], [3, 25], [30], *[[]] * 4, [63, 52, 43]],
    tells_last=False,
    past_end="empty",
    wrong_call=None,
    n_asked_more=0,
)
def test_every_sim_is_found_in_its_newest_state_however_the_list_shifts(
    modified, page_size, script, tells_last, past_end, wrong_call, n_asked_more
):
    account = Account(
        modified,
        page_size=page_size,
        script=script,
        tells_last=tells_last,
        past_end=past_end,
        wrong_call=wrong_call,
    )
    existed = set(account.modified)
    states = scanned(
        account,
        ListScan(since=NOW - timedelta(days=3 * 364 + 1)),
        page_size=page_size + n_asked_more,
    )
    assert existed <= set(states)
    assert states == {sim: account.told[sim] for sim in states}


def test_a_sim_that_moves_to_the_end_makes_a_forward_reader_miss_another():
    """The fault that reading backward is for: shows that the scripted shift is a real one."""
    hours = [NOW - timedelta(hours=100 - k) for k in range(20)]
    account = Account(hours, page_size=5, script=[(), (0,), ()])
    forward = []
    for number in range(1, 5):
        forward += account.read(ACCOUNT_START, None, number).raw
    assert 5 not in forward
    account = Account(hours, page_size=5, script=[(), (), (0,), (1,), (7,), (), (3,)])
    assert set(scanned(account)) == set(range(20))


def test_an_unchanged_list_is_read_once_and_little_more():
    hours = [NOW - timedelta(hours=2000 - k) for k in range(2000)]
    account = Account(hours, page_size=50)
    assert len(scanned(account)) == 2000
    windows = len(list_windows(ListScan(), window=YEAR, now=NOW))
    assert (
        len(account.calls) <= 40 + 2 * windows + 12
    )  # empty ones twice; finding the end and the last look come on top


@pytest.mark.parametrize("n_asked_more", [0, 45])
@pytest.mark.parametrize("n", [5, 6, 10, 47])
def test_one_page_that_wrongly_calls_itself_the_last_loses_nothing(n, n_asked_more):
    """Whichever answer it is; an account may also have fewer rows a page than it was asked for."""
    scan = ListScan(since=NOW - timedelta(days=20))
    hours = [NOW - timedelta(hours=100 - k) for k in range(n)]
    unspoilt = Account(hours, page_size=5)
    scanned(unspoilt, scan, page_size=5 + n_asked_more)
    for wrong_call in range(len(unspoilt.calls)):
        account = Account(hours, page_size=5, wrong_call=wrong_call + 1)
        assert set(scanned(account, scan, page_size=5 + n_asked_more)) == set(range(n))


@pytest.mark.parametrize(
    "error", [RejectedByCarrierError("?"), RetryableCarrierError("?"), CarrierProtocolError("?")]
)
def test_an_account_may_refuse_what_is_behind_its_only_page_in_any_words(error):
    account = Account([NOW - timedelta(hours=9)] * 5, page_size=5)
    read = account.read

    def with_words_of_its_own(since, till, number):
        if number > 1:
            raise error
        return read(since, till, number)

    account.read = with_words_of_its_own
    assert set(scanned(account)) == set(range(5))


@pytest.mark.parametrize("wrong_call", range(12, 20))
def test_a_last_page_that_is_no_longer_the_last_is_noticed_though_it_says_otherwise(wrong_call):
    """Ten SIMs fill two pages of what is new; a third one begins just before the last look."""
    hours = [NOW - timedelta(hours=100 - k) for k in range(20)]
    script = [range(10, 20), *[()] * 14, (0,)]
    account = Account(hours, page_size=5, script=script, wrong_call=wrong_call)
    states = scanned(account, ListScan(since=NOW - timedelta(days=20)))
    assert states == {sim: account.told[sim] for sim in range(20)}


def test_a_list_of_one_page_costs_a_call_more_only_where_the_page_may_be_full():
    """The first list of an account tells nothing yet of how many rows a page of it may have."""
    counts = [3, 3, 2, 1]  # SIMs of each year, the last one this year's
    modified = [
        NOW - YEAR * (3 - k) - timedelta(days=9) for k, n in enumerate(counts) for _ in range(n)
    ]
    account = Account(modified, page_size=5)
    scanned(account, ListScan(since=NOW - 4 * YEAR), page_size=50)
    per_list = collections.Counter(since for since, _ in account.calls)
    assert list(per_list.values()) == [2, 2, 1, 1, 2]  # the last is empty, and is looked at twice


def test_an_empty_account_ends_without_rows():
    assert scanned(Account([], page_size=5)) == {}


def test_a_list_beyond_the_page_limit_is_an_error_that_says_so():
    hours = [NOW - timedelta(hours=100 - k) for k in range(41)]
    assert len(scanned(Account(hours, page_size=5), ListScan(max_pages=9))) == 41
    with pytest.raises(CarrierProtocolError, match=r"after 8 pages, far more than .* devices need"):
        scanned(Account(hours, page_size=5), ListScan(max_pages=8))


def test_an_endless_list_is_an_error_that_says_so():
    def endless(_since, _till, number):
        rows = rows_of([(10 * number + k, 0) for k in range(5)])
        return ListedPage(number=number, rows=rows, raw=[], is_last=False, asked_at=NOW)

    with pytest.raises(
        CarrierProtocolError, match=r"after 64 pages, far more than .* devices need"
    ):
        list(scan_pages(endless, ListScan(max_pages=64), page_size=5, window=None, now=NOW))


def test_a_page_that_comes_under_two_numbers_once_is_read_again():
    hours = [NOW - timedelta(hours=100 - k) for k in range(40)]
    account = Account(hours, page_size=5)
    read, lied = account.read, []

    def once_wrong(since, till, number):
        if number == 6 and account.calls and account.calls[-1][1] == 7 and not lied:
            lied.append(number)
            return read(since, till, 7)
        return read(since, till, number)

    account.read = once_wrong
    assert set(scanned(account)) == set(range(40))
    assert lied


def test_a_page_that_keeps_coming_under_two_numbers_is_an_error():
    hours = [NOW - timedelta(hours=100 - k) for k in range(40)]
    account = Account(hours, page_size=5)
    read = account.read
    account.read = lambda since, till, number: read(since, till, 7 if number == 6 else number)
    with pytest.raises(CarrierProtocolError, match="same devices as page 6 and page 7"):
        scanned(account)


def test_a_list_that_changes_faster_than_it_can_be_read_is_an_error():
    hours = [NOW - timedelta(hours=100 - k) for k in range(40)]
    account = Account(hours, page_size=5, script=[range(40)] * 500)
    with pytest.raises(RetryableCarrierError, match="changes faster"):
        scanned(account)


@given(
    since=st.none() | past,
    boundaries=st.lists(past, max_size=3),
    window=st.sampled_from([None, YEAR, timedelta(days=30)]),
)
def test_windows_cover_all_time_without_a_gap_and_respect_their_length(since, boundaries, window):
    scan = ListScan(since=since, boundaries=tuple(boundaries))
    windows = list_windows(scan, window=window, now=NOW)
    start = since or ACCOUNT_START
    assert windows[0][0] == start
    assert windows[-1][1] is None
    for (begin, till), (following, _) in itertools.pairwise(windows):
        assert begin < following < till
        assert window is None or till - begin <= window + timedelta(seconds=1)
    assert {b for b in boundaries if start < b < NOW} <= {begin for begin, _ in windows}
    if window is not None:
        assert NOW - windows[-1][0] <= window


def test_pages_tell_on_which_side_of_a_boundary_they_are():
    boundary = NOW - timedelta(days=10)
    modified = [boundary - timedelta(hours=1), boundary + timedelta(hours=1)]
    account = Account(modified, page_size=5)
    scan = ListScan(boundaries=(boundary,))
    sides = {
        iccid: page.modified_since >= boundary
        for page in scan_pages(account.read, scan, page_size=5, window=YEAR, now=NOW)
        for iccid in page.rows["iccid"]
    }
    assert sides == {"0": False, "1": True}
