"""A sync whose process is killed, at any page and at any statement, goes on in the next one (C2, C5).

40 pages of devices and as many of usage. Every moment is tried by `make faults`, some in every run.
"""

from __future__ import annotations

import re
import shutil
import signal
from collections import Counter
from urllib.parse import parse_qs, urlsplit

import pytest

from core.simulator.account import simulated_account
from core.simulator.server import SimulatorServer
from core.storage.devices import load_devices
from core.storage.engine import open_engine
from tests.faults.processes import PROCESSES
from tests.faults.small_account import make_database, query
from tests.faults.sync_child import CYCLE, NOW, synchronise

N_SIMS = 2000


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A database with provider 1 and its period 1."""
    return make_database(tmp_path_factory.mktemp("template") / "template.db")


@pytest.fixture(scope="module")
def server():
    """An account of 2,000 SIMs on 40 pages."""
    with SimulatorServer(simulated_account(N_SIMS, 1, CYCLE, now=NOW), clock=lambda: NOW) as server:
        yield server


@pytest.fixture
def database(template, tmp_path):
    """A database of this test's own."""
    return shutil.copy(template, tmp_path / "own.db")


def rows(database):
    engine = open_engine(f"sqlite:///{database}")
    found = load_devices(engine, 1, 1)
    engine.dispose()
    return found


def dies(server, database, **moment):
    """Run a sync in a process; whether it was killed before its end."""
    process = PROCESSES.Process(target=synchronise, args=(server.base_url, database), kwargs=moment)
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.fixture(scope="module")
def clean(server, template, tmp_path_factory):
    """What a run without faults leaves, and its calls."""
    database = shutil.copy(template, tmp_path_factory.mktemp("clean") / "clean.db")
    server.calls.clear()
    synchronise(server.base_url, database)
    return rows(database), list(server.calls)


def page_calls(calls):
    """How often each page was asked for; lists up to now begin when the run's first answer came."""
    pages = (call for call in calls if "/devices?" in call or "/usages?" in call)
    return Counter(
        call if "modifiedTill" in call else re.sub("modifiedSince=[^&]*", "", call)
        for call in pages
    )


def check_call(k, server, database, clean):
    expected, calls = clean
    server.calls.clear()
    assert dies(server, database, at_call=k)
    assert rows(database).height == 0
    [(staged,)] = query(database, "SELECT PagesFetched FROM DeviceSyncRun") or [(0,)]
    synchronise(server.base_url, database)
    assert rows(database).equals(expected)
    again = page_calls(server.calls) - page_calls(calls)
    return list(again.elements()), staged


def check_statement(k, server, database, clean):
    expected, _ = clean
    if not dies(server, database, at_statement=k):
        return False
    assert rows(database).height in (0, expected.height)
    synchronise(server.base_url, database)
    assert rows(database).equals(expected)
    return True


def first_page_staged(calls):
    """Number of the call before which the first page is staged: the list's end is found by then."""
    page = {call: parse_qs(urlsplit(call).query).get("pageNumber", ["0"])[0] for call in calls}
    numbers = [int(page[call]) if "/devices?" in call else 0 for call in calls]
    return len(numbers) - numbers[::-1].index(max(numbers)) + 2


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_a_sync_killed_at_a_call_goes_on_and_reads_only_the_boundary_again(
    share, server, database, clean
):
    calls = clean[1]
    k = round(share * len(calls))
    assert k > first_page_staged(calls)
    again, staged = check_call(k, server, database, clean)
    assert len(again) <= 1
    assert staged > 0


@pytest.mark.parametrize("k", [1, 3, 30, 300, 500])
def test_a_sync_killed_at_a_statement_ends_like_one_that_was_not(k, server, database, clean):
    assert check_statement(k, server, database, clean)


@pytest.mark.full
def test_a_sync_killed_at_any_call_goes_on(server, template, tmp_path, clean, report):
    n_calls = len(clean[1])
    counts = Counter()
    for k in range(1, n_calls + 1):
        database = shutil.copy(template, tmp_path / f"{k}.db")
        again, _ = check_call(k, server, database, clean)
        # the boundary, or what confirms that the end of a list was found
        assert len(again) <= 4, again
        counts[len(again)] += 1
        if len(again) > 1:
            report(f"killed before call {k}, called twice: {', '.join(again)}")
    report(f"killed before each of {n_calls} calls; calls made twice: {sorted(counts.items())}")


@pytest.mark.full
def test_a_sync_killed_at_any_statement_ends_right(server, template, tmp_path, clean, report):
    k, n = 1, 0
    while check_statement(k, server, shutil.copy(template, tmp_path / f"{k}.db"), clean):
        k, n = k + 7, n + 1  # statements come in groups of about five per page
    report(f"killed at {n} statements")
    assert n > 50


def changed_meanwhile(server, database, k):
    assert dies(server, database, at_call=k)
    account = server.account
    for row in account.listed(0, None, None)[:70].tolist():  # on two pages, of which one was read
        account.change(row, {"ratePlan": "LEGACY-1GB"}, NOW)
    synchronise(server.base_url, database)
    engine = open_engine(f"sqlite:///{database}")
    stored = load_devices(engine, 1, 1)
    engine.dispose()
    assert stored["iccid"].n_unique() == stored.height
    return stored


@pytest.mark.parametrize(
    "k", [60, *(pytest.param(k, marks=pytest.mark.full) for k in range(40, 110, 7))]
)
def test_no_sim_is_missed_on_a_list_that_changed_before_the_sync_went_on(k, template, tmp_path):
    database = shutil.copy(template, tmp_path / "changing.db")
    account = simulated_account(N_SIMS, 1, CYCLE, now=NOW)
    with SimulatorServer(account, clock=lambda: NOW) as server:
        stored = changed_meanwhile(server, database, k)
        fresh = shutil.copy(template, tmp_path / "fresh.db")
        synchronise(server.base_url, fresh)
    expected = rows(fresh)
    assert stored.drop("activated_date").equals(expected.drop("activated_date"))
    assert (stored["rate_plan"] == "LEGACY-1GB").sum() >= 70
