"""The ThingSpace client over real HTTP: another carrier behind the same interface (C1-C3)."""

from __future__ import annotations

import base64
import json
import logging
import os
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from core import bootstrap
from core.carriers.base import CarrierClient, ChangeOutcome, ListScan
from core.carriers.credentials import Credentials
from core.carriers.http import RetryPolicy
from core.carriers.iccid import iccid_problems
from core.carriers.limiter import AccountLimiter
from core.carriers.thingspace import open_thingspace, thingspace_capabilities
from core.domain import BillingCycle
from core.errors import (
    CarrierAuthError,
    CarrierError,
    CarrierProtocolError,
    InputError,
    RateLimitedError,
    RejectedByCarrierError,
    RetryableCarrierError,
)
from core.settings import Settings
from core.simulator.account import simulated_account
from core.simulator.faults import Fault, FaultKind
from core.simulator.options import SimulatorOptions
from core.simulator.thingspace_api import ThingSpaceOptions
from core.simulator.thingspace_rows import STATES, device_number
from core.simulator.thingspace_server import ThingSpaceServer
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
QUICK = RetryPolicy(attempts=3, wait_initial_s=0, wait_max_s=0, wait_jitter_s=0)
ACCOUNT = "0000123456-00001"
SECRETS = ("hidden-secret-5f3a", "hidden-user-1c", "hidden;pass-77")
LISTS, USAGE = "POST /api/m2m/v1/devices/actions/list", "/devices/usage/actions/list"


class Clock:
    """The simulator's time, which a test moves."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now

    def forward(self, **span):
        self.now += timedelta(**span)


def client_of(
    url, *, secret=SECRETS[0], password=SECRETS[2], page_size=50, retry=QUICK, limiter=None
):
    packed = ";".join((secret, ACCOUNT, SECRETS[1], password))
    return open_thingspace(
        url,
        Credentials(username=SecretStr("some-key"), api_key=SecretStr(packed)),
        capabilities=thingspace_capabilities(page_size=page_size, requests_per_second=None),
        timeout_s=10.0,
        retry=retry,
        limiter=limiter,
    )


@pytest.fixture
def serve():
    """Starts a simulator, and gives a client of it and the server, whose clock is a `Clock`."""
    opened = []

    def start(
        n_devices=120, *, faults=(), page_size=50, options=None, opened_with=None, **switches
    ):
        thingspace = ThingSpaceOptions(
            client_key="some-key", client_secret=SECRETS[0], account_name=ACCOUNT,
            username=SECRETS[1], password=SECRETS[2], **{"retry_after_s": 0, **switches},
        )  # fmt: skip
        account = simulated_account(n_devices, 1, CYCLE, now=NOW)
        server = ThingSpaceServer(
            account, options, thingspace=thingspace, faults=faults, clock=Clock()
        ).start()
        client = client_of(server.base_url, page_size=page_size, **opened_with or {})
        opened.extend((client.close, server.stop))
        return client, server

    yield start
    for close in opened:
        close()


def expected_devices(account):
    rows = [account.fields(row) for row in range(account.n_devices)]
    return [(iccid, STATES[status], plan, group) for iccid, status, plan, group in rows]


def one_row(server, status="ACTIVATED", n_days=0):
    """Row and ICCID of a SIM with a status."""
    account = server.account
    for row in range(account.n_devices):
        iccid, its_status, plan, _ = account.fields(row)
        if its_status == status and plan and (not n_days or account.usage(row).roaming_bytes):
            return row, iccid
    raise AssertionError(status)


def n_calls(server, part):
    return sum(part in call for call in server.calls)


def test_the_list_is_the_account_and_every_sim_comes_once(serve):
    client, server = serve()
    pages = list(client.device_pages(ListScan()))
    assert [page.number for page in pages] == [1, 2, 3]
    assert pl.concat(page.rows for page in pages).rows() == expected_devices(server.account)
    assert pages[-1].bookmark.cursor == str(device_number(119))
    assert all(page.modified_since is None for page in pages)
    assert client.calls == 3


@pytest.mark.parametrize(
    ("n_devices", "n_calls_of_lists"), [(0, 2), (1, 2), (50, 2), (51, 2), (100, 3)]
)
def test_a_list_ends_where_the_account_does(serve, n_devices, n_calls_of_lists):
    client, server = serve(n_devices)
    pages = list(client.device_pages(ListScan(since=NOW)))
    assert [row for page in pages for row in page.rows.rows()] == expected_devices(server.account)
    assert n_calls(server, LISTS) == n_calls_of_lists


@pytest.mark.parametrize("on_call", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [FaultKind.EMPTY_PAGE, FaultKind.EARLY_LAST_PAGE])
def test_one_answer_that_wrongly_ends_the_list_loses_nothing(serve, kind, on_call):
    client, server = serve(150, faults=[Fault(kind=kind, matching=LISTS, on_call=on_call)])
    pages = list(client.device_pages(ListScan()))
    assert [row for page in pages for row in page.rows.rows()] == expected_devices(server.account)
    assert n_calls(server, LISTS) <= 5


@pytest.mark.parametrize("n_read", [1, 2, 3])
def test_a_list_goes_on_behind_its_bookmark_in_another_client(serve, n_read):
    client, server = serve()
    first = client.device_pages(ListScan())
    read = [next(first) for _ in range(n_read)]
    other = client_of(server.base_url)
    rest = list(other.device_pages(ListScan(resume=read[-1].bookmark)))
    other.close()
    assert [page.number for page in rest] == list(range(n_read + 1, 4))
    rows = [row for page in [*read, *rest] for row in page.rows.rows()]
    assert rows == expected_devices(server.account)


def test_a_list_longer_than_any_account_is_an_error(serve):
    client, _ = serve()
    with pytest.raises(CarrierProtocolError, match="goes on after 2 pages"):
        list(client.device_pages(ListScan(max_pages=2)))


def test_a_sim_is_read_by_its_iccid(serve):
    client, server = serve()
    row, iccid = one_row(server)
    details = client.device_details(iccid)
    _, status, plan, group = server.account.fields(row)
    activated = datetime.fromtimestamp(server.account.activated_ms[row] // 1000, tz=UTC)
    assert (details.iccid, details.status, details.rate_plan) == (iccid, STATES[status], plan)
    assert (details.communication_plan, details.activated_at) == (group, activated)
    with pytest.raises(RejectedByCarrierError, match="no such device"):
        client.device_details("89014103270999999999")


@pytest.mark.parametrize("usage_rows", [500, 7, 3])
def test_usage_is_the_sum_of_the_days_however_they_are_paged(serve, usage_rows):
    client, server = serve(600, usage_rows=usage_rows)
    row, iccid = one_row(server, n_days=25)
    usage = server.account.usage(row)
    page = client.sim_usage(iccid, cycle_start=CYCLE.start_date)
    assert page.rows.rows() == [(iccid, "", usage.data_bytes, usage.sms_mo + usage.sms_mt, 0, True)]
    assert len(page.raw) == 1
    assert (n_calls(server, USAGE) > 1) is (usage_rows < 50)


def test_usage_of_another_cycle_is_not_counted(serve):
    client, server = serve(600)
    _, iccid = one_row(server, n_days=25)
    for start in (date(2026, 9, 1), date(2026, 11, 1)):
        assert client.sim_usage(iccid, cycle_start=start).rows["usage_bytes"].to_list() == [0]
    with pytest.raises(RejectedByCarrierError, match="SIM by SIM"):
        client.usage_pages("FLEX-5MB", CYCLE.start_date)


def test_usage_whose_moment_fills_a_whole_answer_is_an_error_and_no_guess(serve):
    client, server = serve(600, usage_rows=2)
    _, iccid = one_row(server, n_days=25)
    with pytest.raises(CarrierProtocolError, match="do not lead on"):
        client.sim_usage(iccid, cycle_start=CYCLE.start_date)
    assert client.calls <= 3


def test_the_carriers_plans_are_listed_from_an_array(serve):
    client, server = serve(1)
    assert client.rate_plans()["code"].to_list() == list(server.account.rate_plans)
    assert client.billing_cycle("89014103270100000058") is None


def test_tokens_are_fetched_once_and_again_when_they_die(serve):
    client, server = serve(token_seconds=3600, session_seconds=1200)
    client.check()
    client.check()
    assert (n_calls(server, "oauth2/token"), n_calls(server, "session/login")) == (1, 1)
    server.clock.forward(seconds=1201)  # the session is dead
    client.check()
    assert (n_calls(server, "oauth2/token"), n_calls(server, "session/login")) == (2, 2)
    server.clock.forward(seconds=3601)  # both are
    row, iccid = one_row(server)
    assert client.change_rate_plan(iccid, "FLEX-2GB").token
    assert (n_calls(server, "oauth2/token"), n_calls(server, "session/login")) == (3, 3)
    assert n_calls(server, "PUT ") == 2  # refused for its dead token, then carried out
    server.clock.forward(seconds=10)
    client.check()
    assert server.account.fields(row)[2] == "FLEX-2GB"
    assert client.calls == 5


def test_tokens_that_die_at_once_stop_the_call_after_one_renewal(serve):
    client, server = serve(session_seconds=0)
    for n_logins in (1, 2):
        with pytest.raises(CarrierAuthError, match=r"SessionToken\.Expired"):
            client.check()
        assert n_calls(server, "session/login") == n_logins


@pytest.mark.parametrize("wrong", [{"secret": "not-it"}, {"password": "not-it"}])
def test_wrong_credentials_stop_at_once(serve, wrong):
    client, server = serve(opened_with=wrong)
    with pytest.raises(CarrierAuthError, match="401"):
        next(client.device_pages(ListScan()))
    assert client.calls == 1
    assert n_calls(server, LISTS) == 0


@pytest.mark.parametrize("packed", ["one", "one;two;three", "one;;three;four"])
def test_credentials_without_all_parts_are_refused_and_not_shown(packed):
    credentials = Credentials(username=SecretStr("key"), api_key=SecretStr(packed))
    with pytest.raises(InputError, match="KEY:SECRET;ACCOUNT;USER;PASSWORD") as caught:
        open_thingspace("https://example.com", credentials)
    assert packed not in str(caught.value)


def test_a_plan_change_is_pending_and_then_done(serve):
    client, server = serve(change_seconds=60)
    row, iccid = one_row(server)
    receipt = client.change_rate_plan(iccid, "FLEX-2GB")
    assert receipt.outcome is ChangeOutcome.PENDING
    assert client.poll_change(receipt.token) is ChangeOutcome.PENDING
    assert server.account.fields(row)[2] != "FLEX-2GB"
    server.clock.forward(seconds=60)
    assert client.poll_change(receipt.token) is ChangeOutcome.ACCEPTED
    assert client.device_details(iccid).rate_plan == "FLEX-2GB"


def test_a_plan_change_of_a_suspended_sim_is_pending_and_then_failed(serve):
    client, server = serve(600)
    row, iccid = one_row(server, "DEACTIVATED")
    before = server.account.fields(row)
    receipt = client.change_rate_plan(iccid, "FLEX-2GB")
    assert client.poll_change(receipt.token) is ChangeOutcome.PENDING
    server.clock.forward(seconds=60)
    with pytest.raises(RejectedByCarrierError, match="suspended") as caught:
        client.poll_change(receipt.token)
    assert caught.value.code == "UnifiedWebService.REQUEST_FAILED"
    assert server.account.fields(row) == before


def test_the_fifth_plan_change_of_a_month_is_refused(serve):
    client, server = serve()
    _, iccid = one_row(server)
    allowed = client.capabilities.changes_per_cycle
    for _ in range(allowed):
        client.change_rate_plan(iccid, "FLEX-2GB")
    with pytest.raises(RejectedByCarrierError, match="PlanChanges"):
        client.change_rate_plan(iccid, "FLEX-1MB")
    server.clock.forward(days=7)  # the next month has begun
    assert client.change_rate_plan(iccid, "FLEX-1MB").token
    assert allowed == 4


def test_a_plan_change_that_cannot_be_is_refused_at_once(serve):
    client, server = serve()
    _, iccid = one_row(server)
    with pytest.raises(RejectedByCarrierError, match="ServicePlan"):
        client.change_rate_plan(iccid, "NO-SUCH-PLAN")
    with pytest.raises(RejectedByCarrierError, match="dates no plan changes"):
        client.change_rate_plan(iccid, "FLEX-2GB", effective=date(2026, 11, 1))
    with pytest.raises(RejectedByCarrierError, match="RequestId"):
        client.poll_change("../none")
    assert n_calls(server, "PUT ") == 1


def test_a_plan_that_is_no_text_is_refused(serve):
    client, server = serve(5)
    with pytest.raises(RejectedByCarrierError, match="ServicePlan"):
        client.change_rate_plan(one_row(server)[1], ["FLEX-2GB"])


@pytest.mark.parametrize(
    "kind", [FaultKind.SERVER_ERROR, FaultKind.LOST_REPLY, FaultKind.RATE_LIMIT]
)
def test_a_plan_change_in_doubt_is_never_sent_again(serve, kind):
    client, server = serve(faults=[Fault(kind=kind, matching="PUT ", times=9)])
    with pytest.raises(RetryableCarrierError):
        client.change_rate_plan(one_row(server)[1], "FLEX-2GB")
    assert n_calls(server, "PUT ") == 1


@pytest.mark.parametrize("matching", ["/devices/actions/list", "oauth2/token", "session/login"])
@pytest.mark.parametrize(
    "kind", [FaultKind.SERVER_ERROR, FaultKind.RATE_LIMIT, FaultKind.TRUNCATED, FaultKind.RESET]
)
def test_a_passing_fault_is_survived_and_a_lasting_one_is_typed(serve, matching, kind):
    client, server = serve(60, faults=[Fault(kind=kind, times=2, matching=matching)])
    rows = [row for page in client.device_pages(ListScan()) for row in page.rows.rows()]
    assert rows == expected_devices(server.account)
    server.clock.forward(days=1)
    server.script([Fault(kind=kind, times=99, matching=matching)])
    with pytest.raises(RetryableCarrierError) as caught:
        list(client.device_pages(ListScan()))
    assert isinstance(caught.value, RateLimitedError) is (kind is FaultKind.RATE_LIMIT)
    assert not any(secret in str(caught.value) for secret in SECRETS)


def test_too_many_calls_are_429_with_a_time_to_wait(serve):
    once = RetryPolicy(attempts=1, wait_initial_s=0, wait_max_s=0, wait_jitter_s=0)
    client, _ = serve(
        1,
        options=SimulatorOptions(requests_per_second=3),
        retry_after_s=7,
        opened_with={"retry": once},
    )
    client.check()  # three calls, with those for tokens
    with pytest.raises(RateLimitedError, match="TooManyRequests") as caught:
        client.check()
    assert caught.value.retry_after_s == 7


class Ticks:
    """Time that passes while somebody waits."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


def test_an_account_of_one_call_a_second_can_log_in(serve):
    """The carrier may count token calls: they have turns of their own."""
    ticks = Ticks()
    limiter = AccountLimiter(1.0, clock=ticks, sleep=ticks.wait)
    once = RetryPolicy(attempts=1, wait_initial_s=0, wait_max_s=0, wait_jitter_s=0)
    client, server = serve(
        1,
        options=SimulatorOptions(requests_per_second=1.0, single_call=True),
        opened_with={"limiter": limiter, "retry": once},
    )
    server.throttle.monotonic = ticks
    client.check()
    server.clock.forward(days=1)  # both tokens are dead
    client.check()
    assert len(server.calls) == len(server.throttle.starts) == 7
    assert list(server.throttle.starts) == [0, 1, 2, 3, 4, 5, 6]
    assert client.calls == 2


@pytest.mark.parametrize(
    "kind", [FaultKind.RATE_LIMIT, FaultKind.SERVER_ERROR, FaultKind.TRUNCATED]
)
def test_a_bearer_token_is_kept_when_the_login_fails(serve, kind):
    client, server = serve(1, faults=[Fault(kind=kind, matching="session/login")])
    client.check()
    assert (n_calls(server, "oauth2/token"), n_calls(server, "session/login")) == (1, 2)
    assert client.calls == 2


def test_a_bearer_token_that_died_before_the_login_is_fetched_anew(serve):
    client, server = serve(
        1, faults=[Fault(kind=FaultKind.SERVER_ERROR, matching="session/login", times=3)]
    )
    with pytest.raises(RetryableCarrierError):
        client.check()
    server.clock.forward(days=1)
    client.check()
    assert (n_calls(server, "oauth2/token"), n_calls(server, "session/login")) == (2, 5)


def test_no_failure_shows_a_secret(serve, caplog):
    caplog.set_level(logging.DEBUG)
    client, server = serve()
    said = []
    for kind in (FaultKind.SERVER_ERROR, FaultKind.TRUNCATED, FaultKind.RESET):
        for matching in ("/list", "oauth2/token", "session/login"):
            server.script([Fault(kind=kind, times=3, matching=matching)])
            server.clock.forward(days=1)
            with pytest.raises(CarrierError) as caught:
                list(client.device_pages(ListScan()))
            said.append(f"{caught.value!r} {caught.value.__cause__!r} {client.__dict__}")
    everything = "\n".join([*said, caplog.text])
    basic = base64.b64encode(f"some-key:{SECRETS[0]}".encode()).decode()
    assert len(caplog.records) > 20
    assert not any(word in everything for word in (*SECRETS, basic, "bearer-0", "session-0"))


def test_the_command_serves_the_account_behind_a_credential_reference(tmp_path):
    ready = tmp_path / "url"
    script = "import typer; from cli.simulate import simulate_carrier; typer.run(simulate_carrier)"
    process = subprocess.Popen(
        [
            sys.executable, "-c", script, "--integration", "thingspace", "--devices", "60",
            "--port", "0", "--credential-ref", "env:SIMULATED_ACCOUNT", "--ready-file", str(ready),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "SIMULATED_ACCOUNT": f"some-key:{SECRETS[0]};{ACCOUNT};{SECRETS[1]};{SECRETS[2]}",
        },
    )  # fmt: skip
    try:
        assert process.stdout is not None
        head = process.stdout.readline()
        while not ready.exists():
            assert process.poll() is None
        with client_of(ready.read_text()) as client:
            client.check()
            assert sum(page.rows.height for page in client.device_pages(ListScan())) == 60
        process.terminate()
        rest, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert "Simulated ThingSpace with 60 SIMs" in head
    assert not any(secret in head + rest for secret in SECRETS)


class Canned(BaseHTTPRequestHandler):
    """Gives out tokens, and answers every other call with the same body."""

    body = b"{}"
    status = 200
    tokens: object = None
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body, status = self.body, self.status
        if self.path.endswith(("/oauth2/token", "/session/login")):
            body, status = json.dumps(self.tokens).encode(), 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def canned_url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Canned)
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


GOOD_TOKENS = {"access_token": "a", "sessionToken": "b"}


@pytest.mark.parametrize("number", [None, "7"])
def test_a_list_that_comes_whole_whatever_is_asked_for_ends(canned_url, number):
    """Without numbers of devices there is no place to go on from; with them, no new one."""
    row = {"deviceIds": [{"kind": "iccid", "id": "8914800000000000001"}]}
    if number:
        row["extendedAttributes"] = [{"key": "DeviceId", "value": number}]
    Canned.body = json.dumps({"hasMoreData": False, "devices": [row]}).encode()
    Canned.status, Canned.tokens = 200, GOOD_TOKENS
    with client_of(canned_url) as client:
        found = {iccid for page in client.device_pages(ListScan()) for iccid in page.rows["iccid"]}
        assert found == {"8914800000000000001"}
        assert client.calls == (2 if number else 1)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=25)
values = (
    scalars
    | st.lists(scalars, max_size=2)
    | st.dictionaries(st.text(max_size=5), scalars, max_size=2)
)
attributes = st.fixed_dictionaries(
    {"key": st.just("DeviceId") | values, "value": st.integers(0, 9) | values}
)
ids = st.fixed_dictionaries({"kind": st.just("iccid") | values, "id": values})
devices = st.fixed_dictionaries(
    {},
    optional={
        "deviceIds": values | st.lists(ids, max_size=2),
        "extendedAttributes": values | st.lists(attributes, max_size=2),
        "carrierInformations": values
        | st.lists(st.fixed_dictionaries({"state": values, "servicePlan": values}), max_size=2),
        "groupNames": values,
        "lastActivationDate": values,
    },
)
days = st.fixed_dictionaries(
    {"timestamp": values | st.sampled_from(["2026-10-02T00:00:00Z", "2026-10-03T00:00:00.5Z"])},
    optional={"bytesUsed": values, "smsUsed": values},
)
payloads = (
    values
    | st.lists(st.fixed_dictionaries({"code": values}), max_size=3)
    | st.fixed_dictionaries(
        {},
        optional={
            "hasMoreData": values | st.booleans(),
            "devices": values | st.lists(devices | values, max_size=4),
            "usageHistory": values | st.lists(days, max_size=4),
            "requestId": values,
            "status": values | st.sampled_from(["Success", "FAILED", "pending"]),
            "faultResponse": values,
            "errorCode": values,
        },
    )
)


@settings(max_examples=60)
@given(
    payload=payloads,
    cut=st.sampled_from([0, 0, 0, 1]),
    status=st.sampled_from([200, 200, 200, 400, 401, 503]),
    tokens=st.just(GOOD_TOKENS)
    | st.just(GOOD_TOKENS)
    | st.fixed_dictionaries({"access_token": values, "sessionToken": values})
    | values,
)
def test_any_answer_becomes_rows_or_an_error_of_the_tree(canned_url, payload, cut, status, tokens):
    body = json.dumps(payload).encode()
    Canned.body, Canned.status, Canned.tokens = body[: len(body) - cut], status, tokens
    once = RetryPolicy(attempts=1, wait_initial_s=0, wait_max_s=0, wait_jitter_s=0)
    calls = [
        lambda c: [page.rows for page in c.device_pages(ListScan(max_pages=4))],
        lambda c: c.device_details("89014103270100000058"),
        lambda c: c.sim_usage("89014103270100000058", cycle_start=CYCLE.start_date).rows,
        lambda c: c.rate_plans(),
        lambda c: c.change_rate_plan("89014103270100000058", "X"),
        lambda c: c.poll_change("request-1"),
        lambda c: c.check(),
    ]
    with client_of(canned_url, retry=once) as client:
        for call in calls:
            try:
                call(client)
            except CarrierError as error:
                assert str(error)  # noqa: PT017
        assert client.calls <= 30


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'own.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


def test_a_whole_account_is_synchronised_through_the_adapter_of_its_provider(
    serve, engine, tmp_path
):
    _, server = serve(300)
    key_file = tmp_path / "key"
    key_file.write_text(f"some-key:{SECRETS[0]};{ACCOUNT};{SECRETS[1]};{SECRETS[2]}\n")
    author = Author(actor="test")
    provider = catalogue_changes.add_provider(
        engine,
        ProviderSettings(
            name="account", tenant="tenant", integration="thingspace", base_url=server.base_url,
            credential_ref=f"file:{key_file}", time_zone="UTC", billable_statuses=("active",),
            page_size=100, requests_per_second=None,
        ),
        now=NOW,
        author=author,
    )  # fmt: skip
    period = catalogue_changes.add_period(
        engine, provider.id, CYCLE.start_date, CYCLE.end_date, now=NOW, author=author
    )
    request = SyncRequest(
        service_provider_id=provider.id, period_id=period.id, cycle=CYCLE,
        prorated_communication_plans=frozenset({"Trial Kits"}),
    )  # fmt: skip
    with pytest.raises(InputError, match="plans import"):
        bootstrap.control_center(provider, Settings())
    client: CarrierClient = bootstrap.carrier_client(provider, Settings())
    try:
        result = sync_devices(client, SqlDeviceStore(engine), request, clock=lambda: NOW)
    finally:
        client.close()
    account = server.account
    expected = {}
    for row in range(account.n_devices):
        iccid, status, plan, group = account.fields(row)
        usage = account.usage(row)
        if plan and group and iccid_problems(pl.Series([iccid])).is_null().all():
            used = (usage.data_bytes, usage.sms_mo + usage.sms_mt, 0)
            never = account.activated_ms[row] < 0
            expected[iccid] = (STATES[status], plan, group, *((0, 0, 0) if never else used))
    stored = load_devices(engine, provider.id, period.id).select(
        "iccid", "status", "rate_plan", "communication_plan", "usage_bytes", "sms_count",
        "voice_seconds",
    )  # fmt: skip
    assert {iccid: tuple(rest) for iccid, *rest in stored.iter_rows()} == expected
    assert result.devices == result.usage_rows == len(expected) > 250
    assert result.activations > 5
    assert n_calls(server, LISTS) == 4 + result.activations
    assert result.warnings == ()
