"""The simulated Control Center over real HTTP answers as the platform's documentation says."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from datetime import UTC, date, datetime

import httpx
import pytest

from core.domain import BillingCycle
from core.simulator.account import SimulatedAccount, simulated_account
from core.simulator.faults import Fault, FaultKind
from core.simulator.fleet import make_fleet
from core.simulator.options import SimulatorOptions
from core.simulator.server import SimulatorServer
from core.simulator.tariffs import simulated_communication_plans, simulated_rate_plans

CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
ROOT = "/rws/api/v1"
ALL = {"modifiedSince": "2004-01-01T00:00:00+00:00"}
KEY = ("simulator", "simulated-key")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading certificates takes longer than a test


@pytest.fixture
def serve():
    """Starts a simulator with options, and gives a client of it and the server."""
    opened = []

    def start(n_devices=120, options=None, faults=()):
        account = simulated_account(n_devices, 1, CYCLE, now=NOW)
        server = SimulatorServer(account, options, faults=faults, clock=lambda: NOW).start()
        client = httpx.Client(base_url=server.base_url, auth=KEY, trust_env=False, verify=NO_TLS)
        opened.extend((client, server))
        return client, server

    yield start
    for thing in opened:
        thing.close() if isinstance(thing, httpx.Client) else thing.stop()


def error_of(response):
    return response.status_code, response.json().get("errorCode")


def listed(client, **params):
    rows, number = [], 1
    while True:
        page = client.get(f"{ROOT}/devices", params={**ALL, **params, "pageNumber": number}).json()
        rows += page["devices"]
        if page["lastPage"]:
            return rows
        number += 1


def test_both_401_shapes_name_the_realm(serve):
    client, _ = serve()
    missing = client.get(f"{ROOT}/devices", auth=None)
    assert missing.status_code == 401
    assert missing.json() == {
        "errorMessage": "Full authentication is required to access this resource"
    }
    wrong = client.get(f"{ROOT}/devices", auth=("simulator", "wrong"))
    assert error_of(wrong) == (401, "10000001")
    for response in (missing, wrong):
        assert response.headers["WWW-Authenticate"] == 'Basic realm="Jasper"'
        assert "ISO-8859-1" in response.headers["Content-Type"]


def test_a_list_has_four_fields_no_total_and_ends_with_last_page(serve):
    client, server = serve()
    page = client.get(f"{ROOT}/devices", params=ALL).json()
    assert set(page) == {"pageNumber", "devices", "lastPage"}
    assert (page["pageNumber"], len(page["devices"]), page["lastPage"]) == (1, 50, False)
    assert set(page["devices"][0]) == {"iccid", "status", "ratePlan", "communicationPlan"}
    rows = listed(client)
    assert len({row["iccid"] for row in rows}) == server.account.n_devices == 120


def test_a_list_is_ordered_by_modification_oldest_first(serve):
    client, _ = serve()
    dates = [
        client.get(f"{ROOT}/devices/{row['iccid']}").json()["dateUpdated"]
        for row in listed(client)[:30]
    ]
    assert dates == sorted(dates)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, "10000003"),
        ({"modifiedSince": ""}, "10000003"),
        ({"modifiedSince": "2026-10-01"}, "10000012"),
        ({"modifiedSince": "2026-99-01T00:00:00Z"}, "10000012"),
        ({**ALL, "modifiedTill": "later"}, "10000012"),
        ({**ALL, "pageSize": 51}, "10000006"),
        ({**ALL, "pageSize": 0}, "10000006"),
        ({**ALL, "pageSize": "many"}, "10000006"),
        ({**ALL, "pageNumber": 0}, "10000007"),
        ({**ALL, "pageNumber": 4}, "10000007"),
        ({**ALL, "status": "ACTIVE"}, "10000005"),
        ({**ALL, "pagesize": 20}, "10000028"),
        ({**ALL, "accountId": "100020620"}, "10000028"),
    ],
)
def test_wrong_list_parameters_have_the_documented_codes(serve, params, code):
    client, _ = serve()
    assert error_of(client.get(f"{ROOT}/devices", params=params)) == (400, code)


def test_windows_of_modification_times_split_the_list(serve):
    client, _ = serve()
    middle = "2026-06-01T00:00:00+00:00"
    before = listed(client, modifiedTill=middle)
    after = listed(client, modifiedSince=middle)
    assert len(before) + len(after) == 120
    assert before
    assert after


def test_switches_change_page_size_totals_past_end_and_date_rules(serve):
    options = SimulatorOptions(
        max_page_size=500, has_total_count=True, past_end="empty", strict_dates=True
    )
    client, _ = serve(options=options)
    since = {"modifiedSince": "2025-10-26T00:00:00Z", "pageSize": 500}
    page = client.get(f"{ROOT}/devices", params=since).json()
    assert page["totalCount"] == len(page["devices"])
    past = client.get(f"{ROOT}/devices", params={**since, "pageNumber": 9}).json()
    assert (past["devices"], past["lastPage"]) == ([], True)
    old = client.get(f"{ROOT}/devices", params=ALL)
    future = client.get(f"{ROOT}/devices", params={"modifiedSince": "2026-12-01T00:00:00Z"})
    assert (error_of(old), error_of(future)) == ((400, "10000045"), (400, "10002119"))


def test_details_have_spaced_dates_empty_text_and_nulls(serve):
    client, server = serve()
    iccid = server.account.iccid[0].decode()
    details = client.get(f"{ROOT}/devices/{iccid}").json()
    for name in ("dateActivated", "dateAdded", "dateUpdated"):
        assert datetime.strptime(details[name], "%Y-%m-%d %H:%M:%S.%f%z").tzinfo is not None
    assert (details["iccid"], details["imei"], details["customer"]) == (iccid, "", None)
    assert isinstance(details["accountId"], str)


def test_an_unknown_sim_and_an_unknown_path_are_404_of_two_kinds(serve):
    client, _ = serve()
    assert error_of(client.get(f"{ROOT}/devices/89000000000000000000")) == (404, "20000001")
    for path in ("/", "/console", f"{ROOT}/nothing", f"{ROOT}/devices/1/2/3"):
        response = client.get(path)
        assert response.status_code == 404
        assert response.headers["Content-Type"] == "text/html"


@pytest.mark.parametrize(
    "path",
    [
        "/devices/{iccid}?fields=status",
        "/devices/{iccid}/ctdUsages?fields=ctdDataUsage",
        "/devices/{iccid}/usageInZone?cycleStartDate=2026-10-01Z&zones=Home",
        "/usages?ratePlanName=FLEX-5MB&usageType=DATA",
        "/rateplans?shared=true",
        "/echo/hello?loud",
    ],
)
def test_a_parameter_that_a_call_does_not_have_is_refused_by_name(serve, path):
    client, server = serve(5)
    iccid = server.account.iccid[0].decode()
    answer = client.get(f"{ROOT}{path.format(iccid=iccid)}")
    assert error_of(answer) == (400, "10000028")
    name = path.rpartition("&" if "&" in path else "?")[2].partition("=")[0]
    assert answer.json()["errorMessage"].endswith(f"unrecognized parameter {name}.")


def test_a_change_that_is_dated_today_is_carried_out_at_once(serve):
    client, server = serve(5)
    path = f"{ROOT}/devices/{server.account.iccid[0].decode()}"
    body = {"ratePlan": "SOLO-1MB", "effectiveDate": "2026-10-25Z"}
    assert client.put(path, json=body).status_code == 200
    assert client.get(path).json()["ratePlan"] == "SOLO-1MB"


def test_usage_by_plan_adds_up_to_what_each_sim_says(serve):
    client, _ = serve()
    per_sim = {}
    for plan in ("FLEX-5MB", "FLEX-50MB", "SHARE-1GB", "SHARE-100MB"):
        number, is_last = 1, False
        while not is_last:
            params = {"ratePlanName": plan, "cycleStartDate": "2026-10-01", "pageNumber": number}
            page = client.get(f"{ROOT}/usages", params=params).json()
            for device in (d for zone in page["zones"] for d in zone["devices"]):
                usage = device["usage"]
                before = per_sim.get(device["deviceId"], (0, 0))
                sms = usage.get("smsMOUsage", 0) + usage.get("smsMTUsage", 0)
                per_sim[device["deviceId"]] = (before[0] + usage["dataUsage"], before[1] + sms)
            number, is_last = number + 1, page["lastPage"]
    assert len(per_sim) > 15
    for iccid, (data, sms) in per_sim.items():
        own = client.get(f"{ROOT}/devices/{iccid}/ctdUsages").json()
        assert (own["ctdDataUsage"], own["ctdSMSUsage"]) == (data, sms)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, "10000011"),
        ({"ratePlanName": "NO-SUCH-PLAN"}, "10000013"),
        ({"ratePlanName": "FLEX-5MB", "cycleStartDate": "2026-10-02"}, "10000032"),
        ({"ratePlanName": "FLEX-5MB", "cycleStartDate": "soon"}, "10000012"),
    ],
)
def test_wrong_usage_parameters_have_the_documented_codes(serve, params, code):
    client, _ = serve()
    assert error_of(client.get(f"{ROOT}/usages", params=params)) == (400, code)


def test_the_catalogue_lists_published_plans_only(serve):
    client, _ = serve()
    answer = client.get(f"{ROOT}/rateplans").json()
    names = [plan["name"] for plan in answer["ratePlans"]]
    assert names == [plan.code for plan in simulated_rate_plans()]
    assert "RETAIL-300MB" not in names
    assert answer["lastPage"] is True


def test_a_plan_change_shows_at_once_and_moves_the_sim_to_the_end(serve):
    client, _ = serve()
    iccid = listed(client)[0]["iccid"]
    reply = client.put(f"{ROOT}/devices/{iccid}", json={"ratePlan": "FLEX-2GB"})
    assert (reply.status_code, reply.json()) == (200, {"iccid": iccid})
    assert client.get(f"{ROOT}/devices/{iccid}").json()["ratePlan"] == "FLEX-2GB"
    rows = listed(client)
    assert (rows[-1]["iccid"], rows[-1]["ratePlan"], len(rows)) == (iccid, "FLEX-2GB", 120)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"ratePlan":"NO-SUCH-PLAN"}', "10000013"),
        (b'{"ratePlan":"RETAIL-300MB"}', "10000013"),
        (b'{"ratePlan":["FLEX-2GB"]}', "10000013"),
        (b'{"communicationPlan":{"name":"x"}}', "10000014"),
        (b'{"status":["ACTIVATED"]}', "10000005"),
        (b'{"communicationPlan":"none"}', "10000014"),
        (b'{"status":"ACTIVE"}', "10000005"),
        (b'{"rateplan":"FLEX-2GB"}', "10000028"),
        (b'{"ratePlan":"FLEX-2GB","effectiveDate":"2027-10-01Z"}', "10000028"),
        (b'{"ratePlan":"FLEX-2GB","effectiveDate":"2026-10-24Z"}', "10000028"),
        (b'{"ratePlan":"FLEX-2GB","effectiveDate":"soon"}', "10000012"),
        (b"{}", "10000011"),
        (b"{", "10000023"),
        (b"[]", "10000023"),
    ],
)
def test_wrong_changes_have_the_documented_codes_and_change_nothing(serve, content, code):
    client, _ = serve()
    first = listed(client)[0]
    reply = client.put(f"{ROOT}/devices/{first['iccid']}", content=content)
    assert error_of(reply) == (400, code)
    assert listed(client)[0] == first


def test_a_future_change_waits_for_its_day():
    clock = [NOW]
    account = SimulatedAccount(
        make_fleet(5, 1, CYCLE),
        cycle=CYCLE,
        rate_plans=simulated_rate_plans(),
        communication_plans=simulated_communication_plans(),
    )
    with (
        SimulatorServer(account, clock=lambda: clock[0]) as server,
        httpx.Client(base_url=server.base_url, auth=KEY, trust_env=False, verify=NO_TLS) as client,
    ):
        path = f"{ROOT}/devices/{account.iccid[0].decode()}"
        before = client.get(path).json()["ratePlan"]
        body = {"ratePlan": "SOLO-1MB", "effectiveDate": "2026-11-01Z"}
        assert client.put(path, json=body).status_code == 200
        assert client.get(path).json()["ratePlan"] == before
        clock[0] = datetime(2026, 11, 1, 0, 0, 1, tzinfo=UTC)
        assert client.get(path).json()["ratePlan"] == "SOLO-1MB"


def test_a_throttled_account_is_told_so_in_the_body(serve):
    client, _ = serve(options=SimulatorOptions(requests_per_second=2, rate_limit_status=429))
    answers = [client.get(f"{ROOT}/echo/hello") for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 429]
    assert answers[0].json() == {"param": "hello"}
    assert answers[2].json() == {"errorMessage": "Rate limit exceeded", "errorCode": "40000029"}
    assert "Retry-After" not in answers[2].headers


def test_faults_come_on_the_scripted_calls_only(serve):
    faults = [
        Fault(kind=FaultKind.SERVER_ERROR, on_call=2, times=2, matching="/devices?"),
        Fault(kind=FaultKind.BAD_GATEWAY, on_call=1, matching="/echo"),
    ]
    client, server = serve(faults=faults)
    statuses = [client.get(f"{ROOT}/devices", params=ALL).status_code for _ in range(4)]
    assert statuses == [200, 500, 500, 200]
    assert client.get(f"{ROOT}/echo/a").text.startswith("<html>")
    assert client.get(f"{ROOT}/echo/a").json() == {"param": "a"}
    assert server.calls[-1] == f"GET {ROOT}/echo/a"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_command_serves_until_it_is_told_to_stop(tmp_path, number, code):
    ready = tmp_path / "url"
    script = "import typer; from cli.simulate import simulate_carrier; typer.run(simulate_carrier)"
    command = [sys.executable, "-c", script, "--devices", "60", "--port", "0"]
    command += ["--credential-ref", "env:SIMULATED_ACCOUNT", "--ready-file", str(ready)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SIMULATED_ACCOUNT": "someone:hidden-key"},
    )
    try:
        assert process.stdout is not None
        head = process.stdout.readline()
        assert "60 SIMs at http://127.0.0.1:" in head
        while not ready.exists():
            assert process.poll() is None
        url = f"{ready.read_text()}{ROOT}/devices"
        answer = httpx.get(url, params=ALL, auth=("someone", "hidden-key"), trust_env=False)
        assert answer.status_code == 200
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, errors) == (code, "")
    assert "hidden-key" not in head + rest
