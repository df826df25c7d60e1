"""Answers of every resource, damaged in thousands of ways: nothing but a CarrierError comes out (C3, C4)."""

from __future__ import annotations

import gzip
import json
import random
from itertools import islice

import httpx
import pytest

from core.carriers.base import ListScan
from core.carriers.control_center import ERROR_CODES, ControlCenterClient
from core.carriers.control_center import control_center_capabilities as capabilities
from core.carriers.http import CarrierHttp, RetryPolicy
from core.carriers.limiter import UnlimitedLimiter
from core.errors import CarrierError
from core.simulator.api import ControlCenterApi
from core.simulator.options import SimulatorOptions
from core.sync.validation import check_devices, check_usage
from tests.faults.small_account import CYCLE, NOW, PAGE_SIZE, small_account

ICCID = "89014103270100000058"
ROOT = "/rws/api/v1"
RESOURCES = {  # a target whose answer is damaged, and how the client reads it
    "devices": (
        f"/devices?modifiedSince=2004-01-01T00:00:00%2B00:00&pageSize={PAGE_SIZE}&pageNumber=1",
        lambda client: [
            check_devices([page]) for page in islice(client.device_pages(ListScan(max_pages=2)), 3)
        ],
    ),
    "details": (f"/devices/{ICCID}", lambda client: client.device_details(ICCID)),
    "usages": (
        f"/usages?ratePlanName=START-2MB&cycleStartDate=2026-10-01&pageSize={PAGE_SIZE}",
        lambda client: [
            check_usage([page])
            for page in client.usage_pages("START-2MB", CYCLE.start_date, max_pages=2)
        ],
    ),
    "ctdUsages": (
        f"/devices/{ICCID}/ctdUsages",
        lambda client: check_usage([client.sim_usage(ICCID)]),
    ),
    "usageInZone": (f"/devices/{ICCID}/usageInZone", lambda client: client.billing_cycle(ICCID)),
    "rateplans": ("/rateplans?pageSize=5", lambda client: client.rate_plans(max_pages=2)),
    "offers": ("/rateplans?pageSize=5", lambda client: list(client.plan_offers(max_pages=2))),
    "PUT": ("", lambda client: client.change_rate_plan(ICCID, "START-200MB")),
}
ODD = (
    None, True, False, 0, -1, 1, 10**18, 10**19, -(10**40), 10**400, 0.5, -0.0, 1e308, "", " ", "NaN",
    "\x00", "\ud800", "é", "9" * 5000, "true", "1e9", "2026-13-40", "9999-12-31T23:59:59-14:00",
    "0001-01-01", 253402300800000, float("nan"), float("inf"), float("-inf"), [], {}, [[]], [None],
    {"a": {"b": []}}, [1, "2"],
)  # fmt: skip
HEADERS = (
    {"Content-Type": "text/html"}, {"Content-Type": "application/json;charset=utf-16"},
    {"Content-Encoding": "gzip"}, {"Content-Encoding": "deflate"}, {"Content-Encoding": "br"},
    {"Content-Encoding": "gzip, gzip"}, {"Date": "yesterday"}, {"Date": "Mon, 01 Jan 0001 00:00:00 GMT"},
    {"Date": "Fri, 31 Dec 9999 23:59:59 -1200"}, {"Date": ""}, {"Retry-After": "-1"},
    {"Retry-After": "nan"}, {"Location": "https://elsewhere.example/"}, {"Date": "\xff"},
)  # fmt: skip
STATUSES = (200, 200, 200, 202, 204, 206, 302, 304, 400, 404, 408, 418, 429, 500, 503)


@pytest.fixture(scope="module")
def bodies():
    """The real answers, by resource."""
    api = ControlCenterApi(small_account(), SimulatorOptions(), lambda: NOW)
    found = {
        name: api.handle("GET", ROOT + target, b"").body for name, (target, _) in RESOURCES.items()
    }
    change = json.dumps({"ratePlan": "START-200MB"}).encode()
    found["PUT"] = api.handle("PUT", f"{ROOT}/devices/{ICCID}", change).body
    assert all(json.loads(body) for body in found.values())
    return {
        name: body.replace(b'"lastPage":false', b'"lastPage":true').replace(
            b'"lastPage": false', b'"lastPage": true'
        )
        for name, body in found.items()
    }


@pytest.fixture(scope="module")
def client():
    """A client without a network: ``answer`` is what it gets."""
    http = CarrierHttp(
        "http://127.0.0.1:9",
        httpx.BasicAuth("user", "key"),
        limiter=UnlimitedLimiter(),
        codes=ERROR_CODES,
        retry=RetryPolicy(attempts=1),
        timeout_s=30,
    )
    http._client.close()
    one = ControlCenterClient(
        http, capabilities(page_size=PAGE_SIZE, requests_per_second=None), clock=lambda: NOW
    )

    def get(answer):
        http._failures = 0
        one._plan_usage.newest_versions = {}  # else it would ask for the list of plans first
        http._client = httpx.Client(
            base_url="http://127.0.0.1:9",
            transport=httpx.MockTransport(lambda request: answer()),
            trust_env=False,
        )
        return one

    yield get
    one.close()


def places(value, path=()):
    """Every place in a JSON value, as a path."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 4)):
            yield from places(value[index], (*path, index))


def with_other(value, path, change):
    """The value with what is at a place changed."""
    if not path:
        return change(value)
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = with_other(value[path[0]], path[1:], change)
    return copy


def deep(rng):
    depth = rng.choice((50, 900, 100_000))
    opened, closed = rng.choice(((b"[", b"]"), (b'{"devices":[', b"]}"), (b'{"a":', b"}")))
    return opened * depth + b"1" + closed * depth


def damaged_json(rng, content):
    """Types swapped, keys dropped, lists doubled, at one to four places."""
    for _ in range(rng.randint(1, 4)):
        path = rng.choice(list(places(content)))
        odd = rng.choice(ODD)
        kind = rng.randrange(4)
        if kind == 0 and path:
            path, key = path[:-1], path[-1]
            content = with_other(
                content, path,
                lambda v, key=key: {k: x for k, x in v.items() if k != key}
                if isinstance(v, dict) else [x for i, x in enumerate(v) if i != key],
            )  # fmt: skip
        elif kind == 1:
            content = with_other(content, path, lambda v: [v, v])
        elif kind == 2:
            content = with_other(content, path, lambda v: v * 2 if isinstance(v, list) else str(v))
        else:
            content = with_other(content, path, lambda _, odd=odd: odd)
        if not isinstance(content, dict | list):
            break
    return json.dumps(content, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def damaged(rng, body):
    """One damaged answer."""
    headers = {"Content-Type": "application/json"}
    kind = rng.randrange(10)
    if kind < 5:
        body = damaged_json(rng, json.loads(body))
    elif kind == 5:
        flipped = bytearray(body)
        for _ in range(rng.randint(1, 8)):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        body = bytes(flipped)
    elif kind == 6:
        start, end = sorted(rng.randrange(len(body) + 1) for _ in range(2))
        body = rng.choice((body[:start], body[end:], body[:start] + body[end:], body + body))
    elif kind == 7:
        text = json.dumps(json.loads(body) | {"note": "Opération terminée €"}, ensure_ascii=False)
        body = text.encode(rng.choice(("utf-16", "utf-32", "utf-8-sig", "cp1252", "utf-7")))
    elif kind == 8:
        body = deep(rng)
    else:
        headers |= rng.choice(HEADERS)
        body = gzip.compress(body) if rng.random() < 0.3 else body
    if rng.random() < 0.2:
        headers |= rng.choice(HEADERS)
    status = rng.choice(STATUSES) if rng.random() < 0.3 else 200
    raw = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
    # A stream, so that the body is decoded where the client reads it, as from a socket.
    return lambda: httpx.Response(status, headers=raw, stream=httpx.ByteStream(body))


def fuzz(bodies, client, seed, n):
    """Read ``n`` damaged answers; how many were read and how many refused."""
    rng = random.Random(seed)  # noqa: S311
    outcomes = {"read": 0, "refused": 0}
    names = list(RESOURCES)
    for number in range(n):
        name = names[number % len(names)]
        answer = damaged(rng, bodies[name])
        try:
            RESOURCES[name][1](client(answer))
        except CarrierError:
            outcomes["refused"] += 1
        except BaseException as error:
            error.add_note(f"seed {seed}, number {number}, {name}: {answer().read()[:500]!r}")
            raise
        else:
            outcomes["read"] += 1
    return outcomes


@pytest.mark.parametrize(
    ("seed", "n"), [(1, 600), *(pytest.param(s, 2000, marks=pytest.mark.full) for s in range(2, 7))]
)
def test_damaged_answers_raise_nothing_but_carrier_errors(seed, n, bodies, client, report):
    outcomes = fuzz(bodies, client, seed, n)
    report(f"fuzzed answers, seed {seed}: {outcomes}")
    assert sum(outcomes.values()) == n
    assert min(outcomes.values()) > n // 10


def test_undamaged_answers_are_read(bodies, client):
    for name, body in bodies.items():
        RESOURCES[name][1](client(lambda body=body: httpx.Response(200, content=body)))
