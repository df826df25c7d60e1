"""Faults of the carrier's API during a sync: every SIM once, or a clear error and untouched tables.

Each fault is tried at the first call, in the middle and at the end of the list, and in the usage;
after an error a rerun is right.
"""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime

import polars as pl
import pytest
from pydantic import SecretStr

from core.carriers.control_center import control_center_capabilities, open_control_center
from core.carriers.credentials import Credentials
from core.carriers.http import RetryPolicy
from core.domain import BillingCycle
from core.errors import CarrierAuthError, CarrierError
from core.simulator.account import simulated_account
from core.simulator.faults import Fault, FaultKind
from core.simulator.options import SimulatorOptions
from core.simulator.server import SimulatorServer
from core.storage import catalogue_changes
from core.storage.audit import Author
from core.storage.device_store import SqlDeviceStore
from core.storage.devices import load_devices
from core.storage.engine import open_engine
from core.storage.migrate import upgrade
from core.storage.records import ProviderSettings
from core.sync.run import SyncRequest, sync_devices

CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
N_SIMS = 400
PAGE_SIZE = 20
REQUEST = SyncRequest(
    service_provider_id=1,
    period_id=1,
    cycle=CYCLE,
    prorated_communication_plans=frozenset({"Trial Kits"}),
)
PLACES = {
    "first list call": {"matching": "/devices?", "on_call": 1},
    "a page in the middle": {"matching": "/devices?", "on_call": 40},
    "the last look at the list": {"matching": "/devices?", "on_call": -1},
    "usage": {"matching": "ratePlanName=FLEX-5MB&", "on_call": 2},  # of three pages
    "details": {"matching": "/devices/", "on_call": 3},  # the first asks for the cycle
}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A database with provider 1 and its period 1."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    author = Author(actor="test")
    settings = ProviderSettings(
        name="account",
        tenant="tenant",
        integration="jasper",
        base_url="http://127.0.0.1",
        credential_ref="env:NONE",
        time_zone="UTC",
    )
    provider = catalogue_changes.add_provider(engine, settings, now=NOW, author=author)
    catalogue_changes.add_period(
        engine, provider.id, CYCLE.start_date, CYCLE.end_date, now=NOW, author=author
    )
    engine.dispose()
    return path


@pytest.fixture
def engine(template, tmp_path):
    """A database of this test's own."""
    shutil.copy(template, tmp_path / "own.db")
    engine = open_engine(f"sqlite:///{tmp_path / 'own.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def server():
    """An account of 400 SIMs on 20 pages."""
    account = simulated_account(N_SIMS, 1, CYCLE, now=NOW)
    options = SimulatorOptions(past_end="error")
    with SimulatorServer(account, options, clock=lambda: NOW) as server:
        yield server


@pytest.fixture(scope="module")
def clean(template, tmp_path_factory):
    """The tables after a run without faults, and the number of its list calls."""
    path = tmp_path_factory.mktemp("clean") / "clean.db"
    shutil.copy(template, path)
    engine = open_engine(f"sqlite:///{path}")
    with SimulatorServer(simulated_account(N_SIMS, 1, CYCLE, now=NOW), clock=lambda: NOW) as server:
        synchronise(server, engine)
        n_calls = sum("/devices?" in call for call in server.calls)
    rows = load_devices(engine, 1, 1)
    engine.dispose()
    return rows, n_calls


def synchronise(server, engine, *, key="simulated-key"):
    with open_control_center(
        server.base_url,
        Credentials(username=SecretStr("simulator"), api_key=SecretStr(key)),
        capabilities=control_center_capabilities(page_size=PAGE_SIZE, requests_per_second=None),
        timeout_s=0.4,
        retry=RetryPolicy(attempts=3, wait_initial_s=0, wait_max_s=0, wait_jitter_s=0),
    ) as client:
        return sync_devices(client, SqlDeviceStore(engine), REQUEST, clock=lambda: NOW)


def same(stored, expected):
    """Equal, but for activation dates before the cycle: they are known of SIMs asked about only."""
    before = pl.col("activated_date") < CYCLE.start_date
    cut = [f.with_columns(pl.when(~before).then("activated_date")) for f in (stored, expected)]
    return cut[0].equals(cut[1])


def fault_at(place, kind, n_list_calls, **more):
    where = dict(PLACES[place])
    if where["on_call"] < 0:
        where["on_call"] += n_list_calls + 1
    return Fault(kind=kind, **where, **more)


PASSING = (
    FaultKind.SERVER_ERROR, FaultKind.BAD_GATEWAY, FaultKind.RATE_LIMIT, FaultKind.TRUNCATED,
    FaultKind.RESET, FaultKind.HANG, FaultKind.MISSING_LAST_PAGE, FaultKind.REPEATED_PAGE,
    FaultKind.TOUCH,
)  # fmt: skip
LASTING = [(FaultKind.SERVER_ERROR, place) for place in PLACES if place != "details"] + [
    (kind, place) for kind in PASSING[1:5] for place in ("a page in the middle", "usage")
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", PASSING)
def test_after_a_passing_fault_every_sim_is_there_once(server, engine, clean, kind, place):
    if kind is FaultKind.REPEATED_PAGE and place == "details":
        kind = FaultKind.LOST_REPLY  # details have no pages
    expected, n_list_calls = clean
    server.script([fault_at(place, kind, n_list_calls, seconds=2, devices=33)])
    synchronise(server, engine)
    assert same(load_devices(engine, 1, 1), expected)


@pytest.mark.parametrize(("kind", "place"), LASTING)
def test_a_lasting_fault_is_an_error_and_changes_nothing(server, engine, clean, kind, place):
    expected, n_list_calls = clean
    synchronise(server, engine)
    changed = server.account.row_of(expected["iccid"][5])
    server.account.change(changed, {"ratePlan": "FLEX-2GB"}, NOW)
    server.script([fault_at(place, kind, n_list_calls, times=999)])
    with pytest.raises(CarrierError):
        synchronise(server, engine)
    assert load_devices(engine, 1, 1).equals(expected)
    assert SqlDeviceStore(engine).history(1).last.run_id == 1

    server.script([])
    synchronise(server, engine)
    stored = load_devices(engine, 1, 1)
    assert stored["rate_plan"][5] == "FLEX-2GB"
    assert stored.height == expected.height


def test_a_list_that_shifts_before_every_call_loses_no_sim(server, engine, clean):
    expected, _ = clean
    server.script([Fault(kind=FaultKind.TOUCH, matching="/devices?", times=120, devices=3)])
    synchronise(server, engine)
    assert same(load_devices(engine, 1, 1), expected)


def test_no_page_says_that_it_is_the_last(server, engine, clean):
    expected, _ = clean
    server.script([Fault(kind=FaultKind.MISSING_LAST_PAGE, times=9999)])
    synchronise(server, engine)
    assert load_devices(engine, 1, 1).equals(expected)


def test_unreadable_details_keep_the_sim_and_say_so(server, engine, clean):
    expected, _ = clean
    server.script([Fault(kind=FaultKind.SERVER_ERROR, matching="/devices/", on_call=2, times=3)])
    result = synchronise(server, engine)
    assert result.rejects["no_details"] == 1
    stored = load_devices(engine, 1, 1)
    assert stored.drop("activated_date").equals(expected.drop("activated_date"))
    assert stored["activated_date"].null_count() in (
        expected["activated_date"].null_count(),
        expected["activated_date"].null_count() + 1,
    )


def test_refused_credentials_stop_the_run_at_the_first_call(server, engine):
    with pytest.raises(CarrierAuthError):
        synchronise(server, engine, key="wrong")
    assert len(server.calls) == 1
    assert load_devices(engine, 1, 1).height == 0
