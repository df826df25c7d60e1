"""The simulated ThingSpace over real HTTP: its faults are ThingSpace's own."""

from __future__ import annotations

import ssl
from datetime import UTC, date, datetime

import httpx
import pytest

from core.domain import BillingCycle
from core.simulator.account import simulated_account
from core.simulator.faults import CONTROL_CENTER_ONLY, Fault, FaultKind
from core.simulator.options import SimulatorOptions
from core.simulator.thingspace_api import API_ROOT, TOKEN_PATH
from core.simulator.thingspace_server import ThingSpaceServer

CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
OFFERED = sorted(set(FaultKind) - CONTROL_CENTER_ONLY)
BREAKS_OFF = {FaultKind.RESET: httpx.RemoteProtocolError, FaultKind.REFUSE: httpx.NetworkError}
IS_LATE = (FaultKind.HANG, FaultKind.DRIP)


def lists(n, *faults):
    """Answers to the first calls for the list of devices."""
    account = simulated_account(6, 1, CYCLE, now=NOW)
    options = SimulatorOptions(requests_per_second=30)
    with (
        ThingSpaceServer(account, options, faults=faults, clock=lambda: NOW) as server,
        httpx.Client(base_url=server.base_url, trust_env=False, verify=NO_TLS) as http,
    ):
        server.throttle.monotonic = lambda: 7.0
        own = server.thingspace
        form, key = {"grant_type": "client_credentials"}, (own.client_key, own.client_secret)
        token = http.post(TOKEN_PATH, data=form, auth=key).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        login = {"username": own.username, "password": own.password}
        session = http.post(f"{API_ROOT}session/login", json=login).json()["sessionToken"]
        http.headers["VZ-M2M-Token"] = session
        return [http.post(f"{API_ROOT}devices/actions/list", json={}) for _ in range(n)]


def fault(kind, **details):
    return Fault(kind=kind, matching="/actions/list", seconds=0.01, **details)


@pytest.mark.parametrize("kind", OFFERED)
def test_every_fault_that_is_offered_does_something_and_none_speaks_as_control_center(kind):
    if kind in BREAKS_OFF:
        with pytest.raises(BREAKS_OFF[kind]):
            lists(1, fault(kind))
        return
    faulty, plain = lists(2, fault(kind))
    if kind is FaultKind.THROTTLE_TENTH:
        assert (faulty.status_code, plain.status_code) == (200, 429)
        return
    is_as_ever = kind in IS_LATE or kind is FaultKind.EARLY_LAST_PAGE  # it is the last one
    assert (faulty.content == plain.content) is is_as_ever
    if faulty.status_code >= 400 and kind not in (FaultKind.BAD_GATEWAY, FaultKind.UNAVAILABLE):
        assert faulty.json()["errorCode"].startswith("UnifiedWebService.")


def test_an_empty_page_is_the_last_and_empty_fields_leave_the_iccid():
    answers = lists(3, fault(FaultKind.EMPTY_PAGE), fault(FaultKind.EMPTY_FIELDS, on_call=2))
    empty, poor, plain = (answer.json() for answer in answers)
    assert empty == {"hasMoreData": False, "devices": []}
    row, whole = poor["devices"][0], plain["devices"][0]
    assert row == dict.fromkeys(whole) | {"deviceIds": whole["deviceIds"]}
