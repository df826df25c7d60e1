"""Every fault of the carrier's API at every place of a sync, once and for good.

After each: either the tables are what the simulated account says, every SIM once, or there is a
CarrierError, devices, usage and published runs are as before to the last column, and a run without
the fault is right. `make faults` tries every cell; each run of the tests, each fault once.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace

import pytest
from pydantic import SecretStr

from core.carriers.credentials import Credentials
from core.errors import CarrierAuthError, CarrierError
from core.simulator.faults import Fault, FaultKind
from core.simulator.server import SimulatorServer
from core.simulator.throttle import AccountThrottle
from tests.faults.small_account import (
    NOW,
    change_account,
    copy_of,
    differences,
    make_database,
    query,
    small_account,
    small_fleet,
    stored_sims,
    synchronise,
    tables,
    true_sims,
)

CLOSED_PORT = "closed_port"
OLD_LIST = "modifiedTill=2026-09-30T00%3A00%3A01%2B00%3A00&pageSize=8&pageNumber="
USAGE = "ratePlanName=START-2MB&cycleStartDate=2026-10-01&pageSize=8&pageNumber="
PLACES = {  # which calls, of those the call of that number; and the same page whenever it is read
    "the first call": ("/devices?", 1, OLD_LIST + "1"),
    "the search for the end": ("/devices?", 3, OLD_LIST + "4"),
    "page 1": ("/devices?", 12, OLD_LIST + "1"),
    "a middle page": ("/devices?", 10, OLD_LIST + "3"),
    "the last page": ("/devices?", 7, OLD_LIST + "6"),
    "the last look": ("/devices?", 14, "T11%3A5"),
    "usage, page 1": ("START-2MB&", 1, USAGE + "1"),
    "usage, a middle page": ("START-2MB&", 2, USAGE + "2"),
    "usage, the last page": ("START-2MB&", 3, USAGE + "3"),
    "details": ("/devices/", 3, "/devices/"),  # the first asks for the cycle
}
OF_A_PAGE = {
    FaultKind.MISSING_LAST_PAGE, FaultKind.REPEATED_PAGE, FaultKind.EMPTY_PAGE, FaultKind.DUPLICATES,
    FaultKind.WRONG_PAGE_NUMBER, FaultKind.EMPTY_FIELDS, FaultKind.ODD_DATES,
    FaultKind.EARLY_LAST_PAGE, FaultKind.NO_DATA_USAGE, FaultKind.UNNAMED_ZONES,
}  # fmt: skip
"""They last where that page has them whenever it is read; the others, where everything has them."""

MAY_REFUSE = {
    FaultKind.BAD_REQUEST, FaultKind.UNAUTHORIZED, FaultKind.FORBIDDEN, FaultKind.NOT_FOUND,
    FaultKind.HUGE, FaultKind.WRONG_PAGE_NUMBER, FaultKind.EMPTY_PAGE, FaultKind.EMPTY_FIELDS,
}  # fmt: skip
"""A run that meets one of the others once goes on and is complete."""

KINDS = [*FaultKind, CLOSED_PORT]
SAMPLE = {
    (kind, list(PLACES)[(3 * number + 2) % len(PLACES)], number % 3 == 1)
    for number, kind in enumerate(KINDS)
}
SAYS_SO_ALWAYS = {
    (FaultKind.EMPTY_PAGE, "the first call"), (FaultKind.EMPTY_PAGE, "page 1"),
    (FaultKind.EMPTY_PAGE, "the last page"), (FaultKind.EMPTY_PAGE, "the last look"),
    (FaultKind.EMPTY_PAGE, "usage, page 1"), (FaultKind.EMPTY_PAGE, "usage, the last page"),
}  # fmt: skip
"""A list that is empty, or ends before its last page, whenever it is read: nothing contradicts it."""

CELLS = [
    pytest.param(
        kind, place, lasts,
        marks=[] if (kind, place, lasts) in SAMPLE else pytest.mark.full,
        id=f"{kind}-{place}-{'lasts' if lasts else 'once'}",
    )
    for kind in KINDS for place in PLACES for lasts in (False, True)
    if not (lasts and (kind, place) in SAYS_SO_ALWAYS)
]  # fmt: skip


@pytest.fixture(scope="module")
def fleet():
    return small_fleet()


@pytest.fixture(scope="module")
def published(fleet, tmp_path_factory):
    """A database with one published run of the account as it was then."""
    path = make_database(tmp_path_factory.mktemp("published") / "published.db")
    account = small_account(fleet)
    with SimulatorServer(account, clock=lambda: NOW) as server:
        synchronise(server.base_url, path)
    assert differences(stored_sims(path), true_sims(account)) == []
    return path


@pytest.fixture
def database(published, tmp_path):
    return copy_of(published, tmp_path)


@pytest.fixture
def server(fleet):
    """The account as it is by now."""
    account = small_account(fleet)
    change_account(account)
    with SimulatorServer(account, clock=lambda: NOW) as server:
        yield server


def breaks(server, kind, place, *, lasts):
    """Let it happen; returns what must be done to the client, if anything."""
    matching, on_call, page = PLACES[place]
    if kind == CLOSED_PORT:
        return lambda client: close_port(server, client, matching, on_call, lasts=lasts)
    if kind is FaultKind.THROTTLE_TENTH:  # time stands still, or passes quickly
        ticks = iter(range(10**6))
        server.throttle.monotonic = (lambda: 0.0) if lasts else lambda: 0.9 * next(ticks)
    if lasts and kind in OF_A_PAGE:
        matching, on_call = page, 1
    fault = Fault(
        kind=kind, matching=matching, on_call=on_call, times=9999 if lasts else 1,
        seconds=3, devices=3,
    )  # fmt: skip
    server.script([fault])
    return lambda client: None


def close_port(server, client, matching, on_call, *, lasts):
    """Close the port before a call; unless it lasts, open it again after that call has failed."""
    send, seen = client._http._client.send, [0]

    def refused_at(request, **more):
        seen[0] += matching in str(request.url)
        is_it = matching in str(request.url) and seen[0] == on_call
        with ExitStack() as stack:
            if is_it:
                server.pause()
                if not lasts:
                    stack.callback(server.resume)
            return send(request, **more)

    client._http._client.send = refused_at


def repair(server, kind, *, lasts):
    server.script([])
    server.throttle = AccountThrottle(server.options)
    if kind == CLOSED_PORT and lasts:
        server.resume()


def wrong(database, server, result, kind, *, gone=frozenset(), sim_by_sim=False):
    """What is not right in a complete run's tables, but for rows on record as rejected."""
    rejects = query(
        database,
        "SELECT Reason, Value, Raw FROM DeviceSyncReject WHERE DeviceSyncRunId = ?",
        result.run_id,
    )
    spoiled = {json.loads(raw)["iccid"] for reason, _, raw in rejects if reason == "missing_value"}
    unread = {iccid for reason, iccid, _ in rejects if reason == "no_details"}
    if kind in (FaultKind.ODD_DATES, FaultKind.EMPTY_FIELDS):  # told, and not true
        asked = [call.rpartition("/")[2] for call in server.calls if "/devices/" in call]
        unread |= set(asked)
    stored, true = stored_sims(database), true_sims(server.account)
    if (
        kind is FaultKind.DUPLICATES
    ):  # old rows behind newer ones: by the list's order they are newer
        stale = {i for i, sim in stored.items() if sim.status == "TEST_READY" and i in true}
        assert len(stale) < 10
        stored |= {iccid: replace(stored[iccid], status=true[iccid].status) for iccid in stale}
    if kind is FaultKind.VANISH:  # a list of usage that shrinks while it is read may skip SIMs
        stored |= {
            iccid: replace(sim, usage=true[iccid].usage)
            for iccid, sim in stored.items()
            if iccid in true and is_older(sim.usage, true[iccid].usage)
        }
    if kind is FaultKind.NO_DATA_USAGE:
        stored |= {
            iccid: replace(sim, usage=true[iccid].usage)
            for iccid, sim in stored.items()
            if sim.usage is None or is_older(sim.usage, true[iccid].usage)
        }
    assert sum({**result.rejects, **result.flags}.values()) == len(rejects)
    return differences(
        {iccid: sim for iccid, sim in stored.items() if iccid not in gone},
        {iccid: sim for iccid, sim in true.items() if iccid not in spoiled - stored.keys()},
        unread_dates=unread,
        sim_by_sim=sim_by_sim or is_sim_by_sim(result),
    )


def is_older(usage, now):
    """Whether this usage is no more than what is used by now."""
    return usage is not None and now is not None and all(map(int.__le__, usage, now))


def is_sim_by_sim(result):
    return any("SIM by SIM" in warning for warning in result.warnings)


@pytest.mark.parametrize(("kind", "place", "lasts"), CELLS)
def test_every_sim_is_there_once_or_nothing_has_changed(
    kind, place, lasts, server, database, report
):
    before, there = tables(database), true_sims(server.account).keys()
    sim_by_sim = False
    prepare = breaks(server, kind, place, lasts=lasts)
    try:
        result = synchronise(server.base_url, database, prepare=prepare)
    except CarrierError:
        assert lasts or kind in MAY_REFUSE
        assert tables(database) == before
        outcome = "refused and untouched"
    else:
        gone = there - true_sims(server.account).keys()
        sim_by_sim = is_sim_by_sim(result)
        assert wrong(database, server, result, kind, gone=gone) == []
        outcome = "complete"
    repair(server, kind, lasts=lasts)
    again = synchronise(server.base_url, database)
    assert wrong(database, server, again, None, sim_by_sim=sim_by_sim) == []
    assert again.rejects == {}
    report.count("faults of a sync", "cells", outcome, "reruns right")


def test_refused_credentials_stop_the_run_at_the_first_call(server, database):
    before = tables(database)
    login = Credentials(username=SecretStr("simulator"), api_key=SecretStr("wrong"))
    with pytest.raises(CarrierAuthError):
        synchronise(server.base_url, database, login=login)
    assert len(server.calls) == 1
    assert tables(database) == before


def test_a_list_that_shifts_before_every_call_loses_no_sim(server, database):
    server.script([Fault(kind=FaultKind.TOUCH, matching="/devices?", times=40, devices=3)])
    result = synchronise(server.base_url, database)
    assert wrong(database, server, result, FaultKind.TOUCH) == []
    assert result.duplicates > 0


def test_no_page_says_that_it_is_the_last(server, database):
    server.script([Fault(kind=FaultKind.MISSING_LAST_PAGE, times=9999)])
    result = synchronise(server.base_url, database)
    assert wrong(database, server, result, FaultKind.MISSING_LAST_PAGE) == []


def test_unreadable_details_keep_the_sim_and_say_so(server, database):
    server.script([Fault(kind=FaultKind.SERVER_ERROR, matching="/devices/", on_call=2, times=3)])
    result = synchronise(server.base_url, database)
    assert result.rejects == {"no_details": 1}
    assert wrong(database, server, result, FaultKind.SERVER_ERROR) == []
