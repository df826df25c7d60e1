"""The Control Center client over real HTTP: complete data, typed errors, no secret anywhere (C1-C3)."""

from __future__ import annotations

import base64
import json
import logging
import threading
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from core.carriers.base import ChangeOutcome, ListScan
from core.carriers.control_center import control_center_capabilities, open_control_center
from core.carriers.credentials import Credentials
from core.carriers.http import BREAKER_LIMIT, RetryPolicy
from core.carriers.json_values import flag
from core.domain import BillingCycle
from core.errors import (
    CarrierAuthError,
    CarrierDownError,
    CarrierError,
    CarrierProtocolError,
    InputError,
    RateLimitedError,
    RejectedByCarrierError,
    RetryableCarrierError,
)
from core.simulator.account import simulated_account
from core.simulator.faults import Fault, FaultKind
from core.simulator.options import SimulatorOptions
from core.simulator.server import SimulatorServer

CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
QUICK = RetryPolicy(attempts=3, wait_initial_s=0, wait_max_s=0, wait_jitter_s=0)
KEY = "hidden-key-5f3a"
MOST_CALLS = 25  # of any canned answer: a few pages, each read again three times


def client_of(url, *, key=KEY, page_size=50, timeout_s=10.0, retry=QUICK):
    return open_control_center(
        url,
        Credentials(username=SecretStr("someone"), api_key=SecretStr(key)),
        capabilities=control_center_capabilities(page_size=page_size, requests_per_second=None),
        timeout_s=timeout_s,
        retry=retry,
    )


@pytest.fixture
def serve():
    """Starts a simulator, and gives a client of it and the server."""
    opened = []

    def start(n_devices=120, *, faults=(), page_size=50, key=KEY, timeout_s=10.0, **switches):
        options = SimulatorOptions(
            username="someone", api_key=KEY, max_page_size=max(50, page_size), **switches
        )
        account = simulated_account(n_devices, 1, CYCLE, now=NOW)
        server = SimulatorServer(account, options, faults=faults, clock=lambda: NOW).start()
        client = client_of(server.base_url, key=key, page_size=page_size, timeout_s=timeout_s)
        opened.extend((client.close, server.stop))
        return client, server

    yield start
    for close in opened:
        close()


def all_devices(client):
    pages = [page.rows for page in client.device_pages(ListScan())]
    return pl.concat(pages).unique("iccid", keep="last").sort("iccid")


def test_the_list_is_the_account(serve):
    client, server = serve()
    account = server.account
    expected = [account.fields(row) for row in range(account.n_devices)]
    assert all_devices(client).rows() == sorted(expected, key=lambda row: row[0])


def test_list_parameters_are_written_as_the_platform_wants_them(serve):
    client, server = serve(3)
    all_devices(client)
    first, second = server.calls[0], server.calls[1]
    query = parse_qs(urlsplit(first.split(" ")[1]).query)
    assert query["modifiedSince"] == ["2004-01-01T00:00:00+00:00"]
    assert "%2B00%3A00" in first
    assert (query["pageSize"], query["pageNumber"]) == (["50"], ["1"])
    begin, till = (
        datetime.fromisoformat(query[name][0]) for name in ("modifiedSince", "modifiedTill")
    )
    assert (till - begin).days <= 365
    assert parse_qs(urlsplit(second.split(" ")[1]).query)["modifiedSince"] < query["modifiedTill"]
    assert "modifiedTill" not in server.calls[-1]


def test_details_are_read_in_utc(serve):
    client, server = serve()
    account = server.account
    details = client.device_details(account.iccid[0].decode())
    iccid, status, plan, comm = account.fields(0)
    assert (details.iccid, details.status) == (iccid, status)
    assert (details.rate_plan, details.communication_plan) == (plan, comm)
    assert details.activated_at == datetime.fromtimestamp(account.activated_ms[0] / 1000, tz=UTC)


def test_usage_by_plan_is_the_same_as_usage_sim_by_sim(serve):
    client, server = serve()
    pages = list(client.usage_pages("SHARE-1GB", CYCLE.start_date))
    by_plan = (
        pl.concat(page.rows for page in pages)
        .group_by("iccid")
        .agg(pl.col("usage_bytes", "sms_count", "voice_seconds").sum())
    )
    rows = server.account.rows_on_plan("SHARE-1GB")
    assert by_plan.height == len(rows) > 0
    for iccid, *usage in by_plan.rows():
        own = client.sim_usage(iccid).rows.drop("zone")
        assert own.rows() == [(iccid, *usage, True)]


def test_the_carriers_catalogue_is_listed(serve):
    client, server = serve()
    plans = client.rate_plans()
    assert sorted(plans["code"]) == sorted(server.account.rate_plans)
    assert plans["plan_type"].n_unique() == 2


def test_a_plan_change_is_sent_once_and_read_back(serve):
    client, server = serve()
    iccid = server.account.iccid[0].decode()
    assert client.change_rate_plan(iccid, "FLEX-2GB").outcome is ChangeOutcome.ACCEPTED
    assert client.device_details(iccid).rate_plan == "FLEX-2GB"
    client.change_rate_plan(iccid, "FLEX-1MB", effective=date(2026, 11, 1))
    assert client.device_details(iccid).rate_plan == "FLEX-2GB"
    with pytest.raises(RejectedByCarrierError) as caught:
        client.change_rate_plan(iccid, "NO-SUCH-PLAN")
    assert caught.value.code == "10000013"


@pytest.mark.parametrize(
    "kind", [FaultKind.SERVER_ERROR, FaultKind.LOST_REPLY, FaultKind.RATE_LIMIT]
)
def test_a_plan_change_in_doubt_is_never_sent_again(serve, kind):
    client, server = serve(faults=[Fault(kind=kind, matching="PUT ", times=9)])
    with pytest.raises(RetryableCarrierError):
        client.change_rate_plan(server.account.iccid[0].decode(), "FLEX-2GB")
    assert sum(call.startswith("PUT") for call in server.calls) == 1


TRANSIENT = [
    FaultKind.SERVER_ERROR, FaultKind.BAD_GATEWAY, FaultKind.RATE_LIMIT, FaultKind.TRUNCATED,
    FaultKind.RESET, FaultKind.HANG,
]  # fmt: skip


@pytest.mark.parametrize("kind", TRANSIENT)
def test_a_passing_fault_is_survived(serve, kind):
    fault = Fault(kind=kind, on_call=1, times=2, matching="/devices/", seconds=5)
    client, server = serve(faults=[fault], timeout_s=0.5)
    iccid = server.account.iccid[0].decode()
    assert client.device_details(iccid).iccid == iccid
    assert client.calls == 3


@pytest.mark.parametrize("kind", TRANSIENT)
def test_a_lasting_fault_is_a_typed_error_after_the_last_try(serve, kind):
    fault = Fault(kind=kind, times=99, matching="/devices/", seconds=5)
    client, server = serve(faults=[fault], timeout_s=0.3)
    with pytest.raises(RetryableCarrierError) as caught:
        client.device_details(server.account.iccid[0].decode())
    assert isinstance(caught.value, RateLimitedError) is (kind is FaultKind.RATE_LIMIT)
    assert client.calls == QUICK.attempts


def test_a_rate_limit_may_come_as_429_too(serve):
    fault = Fault(kind=FaultKind.RATE_LIMIT, times=99)
    client, _ = serve(faults=[fault], rate_limit_status=429)
    with pytest.raises(RateLimitedError, match="429"):
        client.rate_plans()


def test_a_refusal_is_final_at_once(serve):
    client, _ = serve()
    with pytest.raises(RejectedByCarrierError, match="Invalid ICCID") as caught:
        client.device_details("89000000000000000000")
    assert (caught.value.code, caught.value.status, client.calls) == ("20000001", 404, 1)


def test_wrong_credentials_stop_at_once(serve):
    client, _ = serve(key="not-the-key-77")
    with pytest.raises(CarrierAuthError, match="10000001"):
        next(client.device_pages(ListScan()))
    assert client.calls == 1


def test_a_page_larger_than_the_platforms_is_refused_by_it(serve):
    client, server = serve()
    larger = client_of(server.base_url, page_size=51)
    with pytest.raises(RejectedByCarrierError, match="pageSize"):
        next(larger.device_pages(ListScan()))
    larger.close()
    assert client.capabilities.page_size == 50


def test_nobody_listening_is_a_retryable_error():
    client = client_of("http://127.0.0.1:9")
    with pytest.raises(RetryableCarrierError, match="no answer"):
        client.rate_plans()
    client.close()


def test_the_breaker_opens_after_more_than_five_failed_calls(serve):
    client, server = serve(faults=[Fault(kind=FaultKind.SERVER_ERROR, times=999)])
    for _ in range(BREAKER_LIMIT + 1):
        with pytest.raises(RetryableCarrierError):
            client.device_details("89014103270100000058")
    n_calls = len(server.calls)
    assert n_calls == (BREAKER_LIMIT + 1) * QUICK.attempts
    with pytest.raises(CarrierDownError, match="in a row") as caught:
        client.device_details("89014103270100000058")
    assert "the first failure: GET /rws/api/v1/devices/89014103270100000058: HTTP 5" in str(
        caught.value
    )
    assert len(server.calls) == n_calls


def test_an_answer_in_between_resets_the_breaker(serve):
    fault = Fault(kind=FaultKind.SERVER_ERROR, times=999, matching="/ctdUsages")
    client, server = serve(faults=[fault])
    iccid = server.account.iccid[0].decode()
    for _ in range(3):
        for _ in range(BREAKER_LIMIT):
            with pytest.raises(RetryableCarrierError):
                client.sim_usage(iccid)
        assert client.device_details(iccid).iccid == iccid


@pytest.mark.parametrize(
    "url",
    [
        "http://restapi1.example.com", "ftp://127.0.0.1", "restapi1.example.com", "", "http://",
        "http://10.0.0.1", "http://127.0.0.1.example.com",
        "https://user:hidden-pass@example.com", "https://user:hidden-pass@host:port",
        "https://user:hidden-pass@ho st", "user:hidden-pass@host", "http://host/?key=hidden-pass",
        "https://us\x00er:hidden-pass@host", "https://user:hidden-pass@[host",
    ],
)  # fmt: skip
def test_credentials_are_sent_over_tls_or_not_off_this_machine(url):
    with pytest.raises(InputError) as caught:
        client_of(url)
    assert "hidden-pass" not in f"{caught.value} {caught.value.__cause__}"
    assert "https://" in str(caught.value)


def test_no_failure_shows_a_secret(serve, caplog):
    caplog.set_level(logging.DEBUG)
    client, server = serve(timeout_s=0.3)
    words = [KEY, base64.b64encode(f"someone:{KEY}".encode()).decode()]
    said = []
    for kind in (*TRANSIENT, FaultKind.REPEATED_PAGE):
        server.script([Fault(kind=kind, times=3, matching="/usages", seconds=3)])
        with pytest.raises(CarrierError) as caught:
            list(client.usage_pages("FLEX-5MB", CYCLE.start_date, max_pages=1))
        said.append(f"{caught.value!r} {caught.value.__cause__!r} {client!r} {client.__dict__}")
    everything = "\n".join([*said, caplog.text])
    assert len(caplog.records) > 20
    assert not any(word in everything for word in words)


def test_usage_that_keeps_repeating_is_an_error(serve):
    fault = Fault(kind=FaultKind.REPEATED_PAGE, times=99, matching="pageNumber=2")
    client, _ = serve(400, faults=[fault], page_size=5)
    with pytest.raises(CarrierProtocolError, match="are the same"):
        list(client.usage_pages("FLEX-5MB", CYCLE.start_date))


def test_usage_without_last_page_is_read_to_the_end(serve):
    fault = Fault(kind=FaultKind.MISSING_LAST_PAGE, times=99)
    client, server = serve(400, faults=[fault], page_size=5)
    pages = list(client.usage_pages("FLEX-5MB", CYCLE.start_date))
    found = {iccid for page in pages for iccid in page.rows["iccid"]}
    assert len(found) == len(server.account.rows_on_plan("FLEX-5MB")) > 10


class Canned(BaseHTTPRequestHandler):
    """Answers every call with the same body."""

    body = b"{}"
    status = 200
    date: str | None = None
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together: in two pieces the second waits for the first
    disable_nagle_algorithm = True

    def do_GET(self):
        body = self.body
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp=None):
        return self.date or super().date_time_string(timestamp)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def canned_url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Canned)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=25)
values = (
    scalars
    | st.lists(scalars, max_size=2)
    | st.dictionaries(st.text(max_size=5), scalars, max_size=2)
)
devices = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("iccid", "status", "ratePlan", "communicationPlan"), values)
)
usages = st.fixed_dictionaries(
    {},
    optional={
        "deviceId": values,
        "usage": values
        | st.fixed_dictionaries({}, optional=dict.fromkeys(("dataUsage", "smsMOUsage"), values)),
    },
)
payloads = values | st.fixed_dictionaries(
    {},
    optional={
        "pageNumber": values,
        "lastPage": values | st.just(value=True),
        "devices": values | st.lists(devices | values, max_size=4),
        "zones": values
        | st.lists(
            st.fixed_dictionaries({"zone": values, "devices": st.lists(usages)}), max_size=3
        ),
        "ratePlans": values | st.lists(st.fixed_dictionaries({"name": values}), max_size=3),
        "errorCode": values,
        "dateActivated": values,
    },
)


@settings(max_examples=60)
@given(payload=payloads, cut=st.integers(0, 3), status=st.sampled_from([200, 200, 200, 400, 503]))
def test_any_answer_becomes_rows_or_an_error_of_the_tree(canned_url, payload, cut, status):
    body = json.dumps(payload).encode()
    Canned.body, Canned.status, Canned.date = body[: len(body) - cut], status, None
    once = RetryPolicy(attempts=1, wait_initial_s=0, wait_max_s=0, wait_jitter_s=0)
    calls = [
        lambda c: [page.rows for page in c.device_pages(ListScan(since=NOW, max_pages=4))],
        lambda c: [page.rows for page in c.usage_pages("X", CYCLE.start_date, max_pages=4)],
        lambda c: c.device_details("89014103270100000058"),
        lambda c: c.sim_usage("89014103270100000058").rows,
        lambda c: c.rate_plans(max_pages=4),
    ]
    for call in calls:
        client = client_of(canned_url, retry=once)
        try:
            call(client)
        except CarrierError as error:
            assert str(error)  # noqa: PT017
        finally:
            client.close()
        assert client.calls <= MOST_CALLS


@pytest.mark.parametrize("plans", [[{"name": "A"}], [{"name": None}], []])
@pytest.mark.parametrize("last_page", [False, "false", None, [1]])
def test_rate_plans_that_never_end_are_an_error_after_a_few_calls(canned_url, plans, last_page):
    body = json.dumps({"ratePlans": plans, "lastPage": last_page}).encode()
    Canned.body, Canned.status, Canned.date = body, 200, None
    with client_of(canned_url) as client:
        if plans or flag(last_page) is False:
            with pytest.raises(CarrierProtocolError, match="list of rate plans"):
                client.rate_plans()
        else:
            assert client.rate_plans().is_empty()
        assert client.calls <= MOST_CALLS


@pytest.mark.parametrize(
    "told",
    [
        "Fri, 31 Dec 9999 23:59:59 -2359", "Fri, 31 Dec 99999999999999999999 23:59:59 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999", "soon",
    ],
)  # fmt: skip
def test_an_impossible_time_of_the_carrier_is_as_good_as_none(canned_url, told):
    Canned.body, Canned.status = b'{"devices": [{"iccid": "1"}], "lastPage": true}', 200
    Canned.date = told
    with client_of(canned_url) as client:
        assert all_devices(client)["iccid"].to_list() == ["1"]
