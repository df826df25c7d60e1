"""One rate and one call in flight per account, whatever number of workers there are (C3)."""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from core.carriers.limiter import RECOVERY_CALLS, AccountLimiter
from core.carriers.redis_limiter import RATE_LIFETIME_S, RedisLink, SharedLimiter
from core.domain import BillingCycle
from core.errors import InputError
from core.simulator.account import simulated_account
from core.simulator.options import SimulatorOptions
from core.simulator.server import SimulatorServer

pytestmark = pytest.mark.redis

ROOT = Path(__file__).parents[2]
CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
RATE = 20
TICK_S = 1e-6  # the resolution of Redis' clock

WORKER = """
import json, sys
from contextlib import contextmanager
from pydantic import SecretStr
from core.carriers.control_center import control_center_capabilities, open_control_center
from core.carriers.credentials import Credentials, account_name
from core.carriers.limiter import limiter_for

url, redis_url, rate, n_calls, iccid = sys.argv[1:]
credentials = Credentials(username=SecretStr("simulator"), api_key=SecretStr("simulated-key"))
shared = limiter_for(account_name(url, credentials), float(rate), redis_url=SecretStr(redis_url))
starts = []

class Noting:
    rate_limited = shared.rate_limited
    @contextmanager
    def slot(self):
        with shared.slot() as start:
            starts.append(start)
            yield start

client = open_control_center(
    url, credentials, limiter=Noting(),
    capabilities=control_center_capabilities(requests_per_second=float(rate)),
)
for _ in range(int(n_calls)):
    client.device_details(iccid)
print(json.dumps(starts))
"""

HOLDER = """
import sys, time
from pydantic import SecretStr
from core.carriers.limiter import AccountLimiter
from core.carriers.redis_limiter import RedisLink, SharedLimiter

with SharedLimiter(RedisLink(SecretStr(sys.argv[1])), sys.argv[2], 1000, local=AccountLimiter(1000),
                   longest_call_s=0.5, lock_margin_s=0.25).slot():
    print("held", flush=True)
    time.sleep(600)
"""


def python(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def shared(url, account, rate=1000.0, **lifetimes):
    lifetimes = {"longest_call_s": 10.0, **lifetimes}
    return SharedLimiter(
        RedisLink(SecretStr(url)), account, rate, local=AccountLimiter(rate), **lifetimes
    )


class Watched(SimulatorServer):
    """A simulator that notes when calls arrive, and how many it has at once."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.arrivals: list[float] = []
        self.in_flight = self.most_in_flight = 0
        self._count = threading.Lock()

    def answer(self, *call):
        with self._count:
            self.arrivals.append(time.monotonic())
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return super().answer(*call)
        finally:
            with self._count:
                self.in_flight -= 1


def most_within(moments, seconds):
    """Count the moments of the fullest stretch of time that is shorter than so many seconds."""
    return max(sum(first <= m < first + seconds for m in moments) for first in moments)


def test_four_processes_together_keep_the_rate_of_one_account(redis_url):
    account = simulated_account(5, 1, CYCLE, now=NOW)
    options = SimulatorOptions(requests_per_second=RATE + 2, single_call=True)
    with Watched(account, options, clock=lambda: NOW) as server:
        iccid = account.iccid[0].decode()
        workers = [python(WORKER, server.base_url, redis_url, RATE, 12, iccid) for _ in range(4)]
        told = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4
    starts = sorted(itertools.chain.from_iterable(told))
    assert len(starts) == len(server.arrivals) == 48  # and so none was refused and repeated
    assert min(b - a for a, b in itertools.pairwise(starts)) >= 1 / RATE - TICK_S
    assert server.most_in_flight == 1
    assert most_within(starts, 1 - TICK_S) <= RATE + 1
    # A call may arrive just before the next one starts, so that one more fits.
    assert most_within(server.arrivals, 1) <= RATE + 2
    assert most_within(server.arrivals, 10) <= 10 * RATE + 1


def test_those_who_wait_get_their_turn_in_the_order_of_their_coming(redis_url):
    greedy, patient = shared(redis_url, "fair", 100.0), shared(redis_url, "fair", 100.0)
    order = []
    waiting = threading.Event()

    def wait_once():
        waiting.set()
        with patient.slot():
            order.append("patient")

    thread = threading.Thread(target=wait_once)
    with redis.Redis.from_url(redis_url) as client:
        with greedy.slot():
            queue = next(key for key in greedy._keys if key.endswith("queue"))
            thread.start()
            while not client.zcard(queue):
                waiting.wait(0.01)
        for _ in range(3):
            with greedy.slot():
                order.append("greedy")
    thread.join(timeout=10)
    assert order == ["patient", "greedy", "greedy", "greedy"]


def test_a_holder_that_is_killed_frees_the_lock(redis_url):
    holder = python(HOLDER, redis_url, "killed")
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=10)
    holder.stdout.close()
    with shared(redis_url, "killed").slot() as start:
        assert start > 0


def test_a_waiter_that_is_gone_does_not_hold_up_the_others(redis_url):
    limiter = shared(redis_url, "gone")
    with redis.Redis.from_url(redis_url) as client:
        for key in limiter._keys[1:3]:
            client.zadd(key, {"somebody": 1})
    with limiter.slot():
        pass


def test_a_lost_lock_is_noticed_and_the_new_holder_keeps_it(redis_url, caplog):
    slow = shared(redis_url, "lost", longest_call_s=0.05, lock_margin_s=0.0)
    other = shared(redis_url, "lost")
    with redis.Redis.from_url(redis_url) as client:
        with slow.slot():
            turn = other.slot()
            turn.__enter__()  # gets it once the lock has ended
            mine = client.get(other._keys[0])
        assert client.get(other._keys[0]) == mine is not None
        assert "another worker may have called at the same time" in caplog.text
        turn.__exit__(None, None, None)
        assert client.get(other._keys[0]) is None


def test_no_key_shows_the_account(redis_url):
    limiter = shared(redis_url, "https://carrier.example someone")
    with limiter.slot(), redis.Redis.from_url(redis_url) as client:
        limiter.rate_limited()
        stored = b" ".join(client.keys("*"))
    assert limiter._keys[0].encode() in stored
    assert b"someone" not in stored
    assert b"carrier.example" not in stored


def gap(first, second):
    with first.slot() as before:
        pass
    with second.slot() as after:
        pass
    return after - before


def test_a_complaint_to_one_worker_slows_all_and_good_calls_make_up_for_it(redis_url):
    one, two = shared(redis_url, "slow", 500.0), shared(redis_url, "slow", 500.0)
    for _ in range(9):
        one.rate_limited()
    assert gap(two, one) >= 16 / 500 - TICK_S
    with redis.Redis.from_url(redis_url) as client:
        pace = one._keys[3]
        assert client.hget(pace, "factor") == b"16"
        for expected in (b"8", b"4"):
            client.hset(pace, "good", RECOVERY_CALLS - 1)
            gap(one, two)
            assert client.hget(pace, "factor") == expected
    with pytest.raises(RuntimeError), one.slot():
        raise RuntimeError  # such a call counts for nothing
    two.rate_limited(retry_after_s=0.2)
    with redis.Redis.from_url(redis_url) as client:
        seconds, micros = client.time()
        assert client.hget(pace, "good") == b"0"
    with one.slot() as start:
        assert start > seconds + micros / 1e6 + 0.15


def test_a_pause_is_not_lost_to_a_call_that_was_about_to_start(redis_url):
    """The call before it had left its turn when the carrier's complaint was read."""
    one, two = shared(redis_url, "pause"), shared(redis_url, "pause")
    start_call, complained = two._start, []

    def after_a_complaint(*arguments):
        if not complained:
            complained.append(time.monotonic())
            one.rate_limited(retry_after_s=0.3)
        return start_call(*arguments)

    two._start = after_a_complaint
    with two.slot():
        assert time.monotonic() >= complained[0] + 0.3


def test_the_slowest_rate_of_an_accounts_workers_holds_while_it_is_used(redis_url):
    fast, slow = shared(redis_url, "two rates", 1000.0), shared(redis_url, "two rates", 10.0)
    assert gap(slow, fast) >= 0.1 - TICK_S
    assert gap(fast, fast) >= 0.1 - TICK_S
    assert gap(fast, slow) >= 0.1 - TICK_S
    with redis.Redis.from_url(redis_url) as client:
        seconds, micros = client.time()
        long_ago = seconds * 10**6 + micros - (RATE_LIFETIME_S + 10) * 10**6
        client.hset(slow._keys[3], "interval_at", long_ago)
        gap(fast, fast)
        assert client.hget(slow._keys[3], "interval") == b"1000"


def test_a_clock_that_is_set_back_stops_nobody_for_long(redis_url):
    limiter = shared(redis_url, "clock")
    with redis.Redis.from_url(redis_url) as client:
        client.hset(limiter._keys[3], "next", str(10**17))
    with limiter.slot():
        pass


@pytest.fixture
def own_redis(tmp_path, service_check):
    """A Redis that a test may kill."""
    service_check(shutil.which("redis-server"), package="redis-server")
    path = tmp_path / "r.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", ""]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    url = f"unix://{path}"
    with redis.Redis.from_url(url) as client:
        for _ in range(1000):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.01)
    yield url, server
    server.kill()
    server.wait(timeout=10)


def test_redis_that_dies_in_the_middle_is_one_warning_and_calls_go_on(own_redis, caplog):
    caplog.set_level(logging.WARNING)
    url, server = own_redis
    limiter = shared(url, "dies", 50.0)
    with limiter.slot():
        before = time.monotonic()
        server.kill()
        server.wait(timeout=10)
    local = []
    for _ in range(3):
        with limiter.slot() as start:
            local.append(start)
    limiter.rate_limited()
    assert local[0] >= before + 1 / 50 - 0.005  # the distance to the last shared call is kept too
    assert min(b - a for a, b in itertools.pairwise(local)) >= 1 / 50 - TICK_S
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "cannot be used (" in caplog.text


def test_redis_that_is_not_there_is_one_warning_without_its_password(caplog):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    limiter = shared(f"redis://:hunter2@127.0.0.1:{port}/0", "absent")
    for _ in range(2):
        with limiter.slot():
            pass
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"Redis at 127.0.0.1:{port} cannot be used" in caplog.text
    assert "hunter2" not in caplog.text


def test_an_address_of_redis_that_is_none_is_refused_without_being_repeated():
    with pytest.raises(InputError, match="CARRIER_OPT_REDIS_URL") as caught:
        RedisLink(SecretStr("hunter2"))
    assert "hunter2" not in str(caught.value)
