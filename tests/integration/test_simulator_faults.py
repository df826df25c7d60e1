"""Every fault of the simulator is what its description says."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import pytest

from core.domain import BillingCycle
from core.simulator.account import simulated_account
from core.simulator.faults import Fault, FaultKind
from core.simulator.options import SimulatorOptions
from core.simulator.reply import HUGE_BYTES
from core.simulator.server import SimulatorServer

CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
ROOT = "/rws/api/v1"
ALL = {"modifiedSince": "2004-01-01T00:00:00+00:00", "pageSize": 20}
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture
def serve():
    """Starts a simulator with one fault, and gives a client of it and the server."""
    opened = []

    def start(*kinds, options=None, **details):
        server = SimulatorServer(
            simulated_account(60, 1, CYCLE, now=NOW),
            options,
            faults=[Fault(kind=kind, **details) for kind in kinds],
            clock=lambda: NOW,
        ).start()
        client = httpx.Client(
            base_url=f"{server.base_url}{ROOT}",
            auth=("simulator", "simulated-key"),
            trust_env=False,
            verify=NO_TLS,
        )
        opened.extend((client, server))
        return client, server

    yield start
    for thing in opened:
        thing.close() if isinstance(thing, httpx.Client) else thing.stop()


def page(client, number):
    return client.get("/devices", params={**ALL, "pageNumber": number})


def iccids(response):
    return [row["iccid"] for row in response.json()["devices"]]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("bad_request", 400, "10000028"),
        ("unauthorized", 401, "10000001"),
        ("forbidden", 403, "10000030"),
        ("not_found", 404, "20000001"),
        ("server_error", 500, "30000001"),
        ("rate_limit", 400, "40000029"),
        ("rate_limit_200", 200, "40000029"),
        ("rate_limit_400", 400, "40000029"),
        ("rate_limit_429", 429, "40000029"),
    ],
)
def test_error_answers_have_the_platforms_envelope(serve, kind, status, code):
    client, _ = serve(FaultKind(kind))
    answer = page(client, 1)
    assert answer.status_code == status
    assert answer.json()["errorCode"] == code
    assert set(answer.json()) == {"errorMessage", "errorCode"}
    assert page(client, 1).status_code == 200


@pytest.mark.parametrize(("kind", "status"), [("bad_gateway", 502), ("unavailable", 503)])
def test_proxies_answer_with_html(serve, kind, status):
    client, _ = serve(FaultKind(kind))
    answer = page(client, 1)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html")


def test_every_kind_has_a_word_of_its_own_in_the_tests():
    """A new kind needs a test: its value or name stands in this file."""
    here = Path(__file__).read_text(encoding="utf-8")
    for kind in FaultKind:
        assert f'"{kind.value}"' in here or f"FaultKind.{kind.name}" in here, kind


def usage_rows(client):
    zones = client.get("/usages", params={"ratePlanName": "FLEX-5MB"}).json()["zones"]
    return [(zone["zone"], device["usage"]) for zone in zones for device in zone["devices"]]


def test_a_body_may_begin_with_a_byte_order_mark(serve):
    client, _ = serve(FaultKind.BYTE_ORDER_MARK)
    spoilt, plain = page(client, 1).content, page(client, 1).content
    assert spoilt == b"\xef\xbb\xbf" + plain


def test_usage_may_come_without_data_and_zones_without_a_name(serve):
    client, _ = serve(FaultKind.NO_DATA_USAGE, matching="/usages")
    spoilt, plain = usage_rows(client), usage_rows(client)
    assert [zone for zone, _ in spoilt] == [zone for zone, _ in plain]
    assert all(use.get("dataUsage") is None for _, use in spoilt)
    assert all(use["dataUsage"] >= 0 for _, use in plain)
    client, _ = serve(FaultKind.UNNAMED_ZONES, matching="/usages")
    spoilt = usage_rows(client)
    assert {zone for zone, _ in spoilt} <= {None, ""}
    assert [use for _, use in spoilt] == [use for _, use in usage_rows(client)]


def test_a_refused_call_is_reset_and_not_carried_out(serve):
    client, server = serve(FaultKind.REFUSE, matching="PUT")
    iccid = server.account.iccid[0].decode()
    with pytest.raises(httpx.NetworkError):
        client.put(f"/devices/{iccid}", json={"ratePlan": "FLEX-2GB"})
    assert client.get(f"/devices/{iccid}").json()["ratePlan"] != "FLEX-2GB"


def test_a_paused_server_refuses_connections_and_comes_back_on_its_port(serve):
    client, server = serve()
    address = server.base_url
    assert page(client, 1).status_code == 200
    server.pause()
    with pytest.raises(httpx.ConnectError):
        page(client, 1)
    server.resume()
    assert server.base_url == address
    assert page(client, 1).status_code == 200


def test_bodies_break_off_or_are_cut_in_the_middle(serve):
    client, _ = serve(FaultKind.RESET)
    with pytest.raises(httpx.RemoteProtocolError):
        page(client, 1)
    client, _ = serve(FaultKind.TRUNCATED)
    with pytest.raises(json.JSONDecodeError):
        page(client, 1).json()


def test_a_late_or_dripping_answer_is_whole_in_the_end(serve):
    plain = page(serve()[0], 1).content
    for kind in (FaultKind.HANG, FaultKind.DRIP):
        client, _ = serve(kind, seconds=0.05)
        assert page(client, 1).content == plain
    client, _ = serve(FaultKind.HANG, seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        client.get("/devices", params=ALL, timeout=0.05)
    client, _ = serve(FaultKind.DRIP, seconds=3000)
    with client.stream("GET", "/devices", params=ALL, timeout=0.2) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            answer.read()


def test_a_huge_body_announces_its_size(serve):
    plain = page(serve()[0], 1).content
    client, _ = serve(FaultKind.HUGE)
    with client.stream("GET", "/devices", params={**ALL, "pageNumber": 1}) as answer:
        assert int(answer.headers["Content-Length"]) == len(plain) + HUGE_BYTES
        assert next(answer.iter_bytes(len(plain))) == plain


@pytest.mark.parametrize(("kind", "encoding"), [("latin_1", "latin-1"), ("utf_16", "utf-16")])
def test_the_announced_charset_may_be_wrong(serve, kind, encoding):
    client, _ = serve(FaultKind(kind))
    answer = page(client, 1)
    assert answer.headers["Content-Type"].endswith("UTF-8")
    with pytest.raises(UnicodeDecodeError):
        answer.content.decode("utf-8")
    assert json.loads(answer.content.decode(encoding))["note"] == "Opération terminée"


def test_pages_may_lack_or_mistake_their_place(serve):
    client, _ = serve(FaultKind.MISSING_LAST_PAGE)
    assert "lastPage" not in page(client, 1).json()
    client, _ = serve(FaultKind.WRONG_PAGE_NUMBER)
    assert page(client, 1).json()["pageNumber"] == 2
    client, _ = serve(FaultKind.EARLY_LAST_PAGE)
    assert [page(client, 1).json()["lastPage"] for _ in range(2)] == [True, False]
    client, _ = serve(FaultKind.EMPTY_PAGE, on_call=2)
    page(client, 1)
    assert page(client, 2).json() == {"pageNumber": 2, "devices": [], "lastPage": True}
    client, _ = serve(FaultKind.REPEATED_PAGE, on_call=2)
    first, second = page(client, 1), page(client, 2)
    assert (iccids(second), second.json()["pageNumber"]) == (iccids(first), 2)


def test_rows_of_the_page_before_come_again_with_older_data(serve):
    client, _ = serve(FaultKind.DUPLICATES, on_call=2, devices=3)
    first, second = page(client, 1), page(client, 2)
    assert iccids(second)[20:] == iccids(first)[:3]
    assert {row["status"] for row in second.json()["devices"][20:]} == {"TEST_READY"}
    assert len(iccids(second)) == 23


def test_sims_that_are_modified_during_a_scan_shift_the_pages(serve):
    client, _ = serve(FaultKind.TOUCH, on_call=2, devices=4)
    first, second, third = (page(client, number) for number in (1, 2, 3))
    seen = iccids(first) + iccids(second) + iccids(third)
    assert (len(seen), len(set(seen))) == (60, 56)


@pytest.mark.parametrize("kind", [FaultKind.TOUCH, FaultKind.VANISH])
@pytest.mark.parametrize("since", ["soon", "2026-10-01"])
def test_a_list_whose_beginning_cannot_be_read_is_refused_and_disturbs_nothing(serve, kind, since):
    client, server = serve(kind, times=2)
    before = server.account.updated_ms.tolist()
    answer = client.get("/devices", params={"modifiedSince": since})
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "10000012")
    assert (server.account.updated_ms.tolist(), server.account.n_devices) == (before, 60)


def test_a_vanished_sim_is_gone_from_every_answer(serve):
    client, server = serve(FaultKind.VANISH, matching="ctdUsages")
    iccid = iccids(page(client, 1))[0]
    answer = client.get(f"/devices/{iccid}/ctdUsages")
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "20000001")
    assert client.get(f"/devices/{iccid}").status_code == 404
    assert [iccid in iccids(page(client, n)) for n in (1, 2, 3)] == [False] * 3
    assert server.account.n_devices == 59
    client, server = serve(FaultKind.VANISH, devices=5)
    page(client, 1)
    assert server.account.n_devices == 55


def test_fields_may_be_null_or_empty_and_dates_odd(serve):
    client, _ = serve(FaultKind.EMPTY_FIELDS, devices=2)
    rows = page(client, 1).json()["devices"]
    assert [set(row.values()) - {row["iccid"]} for row in rows[:2]] == [{None}, {""}]
    assert rows[2]["status"]
    client, server = serve(FaultKind.ODD_DATES)
    details = client.get(f"/devices/{server.account.iccid[0].decode()}").json()
    dates = [value for name, value in details.items() if name.startswith("date")]
    assert len(set(map(str, dates))) == 4
    assert isinstance(dates[0], int)


def test_a_lost_reply_is_carried_out_all_the_same(serve):
    client, server = serve(FaultKind.LOST_REPLY, matching="PUT")
    iccid = server.account.iccid[0].decode()
    assert client.put(f"/devices/{iccid}", json={"ratePlan": "FLEX-2GB"}).status_code == 500
    assert client.get(f"/devices/{iccid}").json()["ratePlan"] == "FLEX-2GB"


def test_an_account_can_be_slowed_to_a_tenth(serve):
    options = SimulatorOptions(requests_per_second=20)
    client, server = serve(FaultKind.THROTTLE_TENTH, on_call=2, options=options)
    server.throttle.monotonic = lambda: 7.0
    codes = [client.get("/echo/a").json().get("errorCode") for _ in range(4)]
    assert codes == [None, None, "40000029", "40000029"]


@pytest.mark.parametrize(("is_strict", "last"), [(False, None), (True, "40000029")])
def test_a_strict_throttle_counts_refused_calls(serve, is_strict, last):
    options = SimulatorOptions(requests_per_second=1, strict_throttle=is_strict)
    client, server = serve(options=options)
    codes = []
    for now in (0.0, 0.6, 1.2):
        server.throttle.monotonic = lambda now=now: now
        codes.append(client.get("/echo/a").json().get("errorCode"))
    assert codes == [None, "40000029", last]


def test_the_code_of_a_throttled_account_may_come_with_200(serve):
    options = SimulatorOptions(requests_per_second=1, rate_limit_status=200)
    client, server = serve(options=options)
    server.throttle.monotonic = lambda: 7.0
    answers = [client.get("/echo/a") for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 200]
    assert answers[1].json()["errorCode"] == "40000029"


def test_the_throttle_remembers_starts_and_calls_at_a_time(serve):
    client, server = serve(FaultKind.HANG, matching="/echo", times=3, seconds=0.3)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: client.get("/echo/a"), range(3)))
    assert server.throttle.max_in_flight == 3
    client.get("/echo/b", auth=None)
    starts = list(server.throttle.starts)
    assert len(starts) == 4
    assert starts == sorted(starts)


def test_calls_one_after_another_are_never_two_at_a_time(serve):
    client, server = serve()
    for number in (1, 2, 3):
        page(client, number)
    assert (server.throttle.max_in_flight, len(server.throttle.starts)) == (1, 3)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_one_process_serves_several_accounts_until_it_is_told_to_stop(tmp_path, number, code):
    ready, file, faults = tmp_path / "urls", tmp_path / "accounts.json", tmp_path / "faults.json"
    east = {"name": "east", "devices": 30, "cycle_start_day": 27}
    west = {"name": "west", "devices": 40, "seed": 2, "options": {"time_zone": "Asia/Shanghai"}}
    file.write_text(json.dumps([east, west]))
    faults.write_text(json.dumps([{"kind": "unavailable", "matching": "/echo"}]))
    script = "import typer; from cli.simulate import simulate_carrier; typer.run(simulate_carrier)"
    command = [sys.executable, "-c", script, "--accounts", str(file), "--faults", str(faults)]
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready), "--strict-dates"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not ready.exists():
            assert process.poll() is None, process.communicate()
        urls = dict(line.split(" ") for line in ready.read_text().splitlines())
        assert list(urls) == ["east", "west"]
        for name, n in (("east", 30), ("west", 40)):
            auth = (name, "simulated-key")
            params = {"modifiedSince": "2099-01-01T00:00:00Z"}
            answer = httpx.get(f"{urls[name]}{ROOT}/devices", params=params, auth=auth)
            assert answer.json()["errorCode"] == "10002119"
            assert httpx.get(f"{urls[name]}{ROOT}/echo/a", auth=auth).status_code == 503
            assert httpx.get(f"{urls[name]}{ROOT}/echo/a", auth=("x", "y")).status_code == 401
            assert f"{name}: {n} SIMs at {urls[name]}" in process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, errors) == (code, "")
