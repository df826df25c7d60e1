"""Politeness towards an account: spacing of calls, one at a time (C3). The clock is the test's own."""

from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from core.carriers.limiter import RECOVERY_CALLS, AccountLimiter, UnlimitedLimiter, limiter_for


class Clock:
    """Time that passes only when somebody sleeps, and a little less than asked for, as clocks do."""

    def __init__(self, lag: float = 0.0):
        self.now = 100.0
        self.lag = lag

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += max(seconds - self.lag, 1e-4)


@given(
    rate=st.floats(0.1, 50),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=30),
    lag=st.sampled_from([0.0, 0.005]),
)
def test_calls_start_at_least_one_interval_apart(rate, pauses, lag):
    clock = Clock(lag)
    limiter = AccountLimiter(rate, clock=clock, sleep=clock.sleep)
    starts = []
    for pause in pauses:
        with limiter.slot():
            starts.append(clock.now)
        clock.now += pause
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    assert all(gap >= 1 / rate - 1e-9 for gap in gaps)


def test_the_first_call_does_not_wait():
    clock = Clock()
    with AccountLimiter(1, clock=clock, sleep=clock.sleep).slot():
        assert clock.now == 100.0


def test_a_caller_who_came_late_does_not_wait_and_earns_no_burst():
    clock = Clock()
    limiter = AccountLimiter(2, clock=clock, sleep=clock.sleep)
    with limiter.slot():
        pass
    clock.now += 60
    for expected in (160.0, 160.5, 161.0):
        with limiter.slot():
            assert clock.now == expected


def test_only_one_call_is_in_flight():
    limiter = AccountLimiter(1e6)
    entered = threading.Event()

    def second_call():
        with limiter.slot():
            entered.set()

    with limiter.slot():
        thread = threading.Thread(target=second_call)
        thread.start()
        assert not entered.wait(timeout=0.05)
    thread.join(timeout=10)
    assert entered.is_set()


def test_a_failing_call_gives_the_turn_back():
    limiter = AccountLimiter(1e6)
    with pytest.raises(RuntimeError), limiter.slot():
        raise RuntimeError
    with limiter.slot():
        pass


def test_clients_of_one_account_share_a_limiter():
    assert limiter_for("account a", 5.0) is limiter_for("account a", 5.0)
    assert limiter_for("account a", 5.0) is not limiter_for("account b", 5.0)


def test_clients_of_one_account_with_different_rates_share_the_slower_one():
    limiter = limiter_for("account of two rates", 5.0)
    for rate, seconds in ((4.0, 0.25), (5.0, 0.25), (2.0, 0.5)):
        assert limiter_for("account of two rates", rate) is limiter
        clock = Clock()
        limiter._clock, limiter._sleep, limiter._next_start = clock, clock.sleep, None
        assert paused(limiter, clock) == pytest.approx(seconds)


def test_clients_that_meet_in_redis_share_the_slower_rate_of_their_account():
    """Nothing is asked of Redis here: the rate is the process's own."""
    url = SecretStr("redis://127.0.0.1:1/0")
    limiter = limiter_for("account of two rates", 5.0, redis_url=url)
    assert limiter_for("account of two rates", 4.0, redis_url=url) is limiter
    assert limiter._interval_us == 250_000
    assert limiter_for("account of two rates", 5.0, redis_url=url)._interval_us == 250_000


def test_an_account_without_a_limit_lets_calls_overlap():
    limiter = limiter_for("account a", None)
    assert isinstance(limiter, UnlimitedLimiter)
    with limiter.slot(), limiter.slot():
        pass


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_that_is_not_above_zero_is_refused(rate):
    with pytest.raises(ValueError, match="above 0"):
        AccountLimiter(rate)


def paused(limiter, clock):
    """Return the seconds between two calls, one after the other."""
    with limiter.slot() as before:
        pass
    with limiter.slot() as after:
        pass
    return after - before


def test_complaints_double_the_pause_up_to_its_limit_and_good_calls_halve_it():
    clock = Clock()
    limiter = AccountLimiter(1, clock=clock, sleep=clock.sleep)
    for expected in (2, 4, 8, 16, 16):
        limiter.rate_limited()
        assert paused(limiter, clock) == pytest.approx(expected)
    limiter.rate_limited()
    for factor in (16, 8, 4, 2, 1, 1):
        pauses = [paused(limiter, clock) for _ in range(RECOVERY_CALLS // 2)]
        assert pauses == pytest.approx([factor] * (RECOVERY_CALLS // 2))


def test_a_carrier_that_asks_for_a_pause_gets_it():
    clock = Clock()
    limiter = AccountLimiter(1, clock=clock, sleep=clock.sleep)
    limiter.rate_limited(retry_after_s=60)
    with limiter.slot() as start:
        assert start >= 160


class Interrupted:
    """A lock in whose way somebody else comes once, just before it is taken."""

    def __init__(self, lock, somebody_else):
        self.lock, self.somebody_else = lock, somebody_else

    def __enter__(self):
        somebody_else, self.somebody_else = self.somebody_else, lambda: None
        somebody_else()
        return self.lock.__enter__()

    def __exit__(self, *failure):
        return self.lock.__exit__(*failure)


def test_a_pause_is_not_lost_to_a_call_that_was_about_to_start():
    """The call before it had left its turn when the carrier's complaint was read."""
    clock = Clock()
    limiter = AccountLimiter(1, clock=clock, sleep=clock.sleep)
    limiter._pace = Interrupted(limiter._pace, lambda: limiter.rate_limited(retry_after_s=60))
    with limiter.slot() as start:
        assert start >= 160


def test_a_pause_is_not_lost_to_a_call_that_started_elsewhere():
    clock = Clock()
    limiter = AccountLimiter(1, clock=clock, sleep=clock.sleep)
    limiter.rate_limited(retry_after_s=60)
    limiter.started_elsewhere()
    with limiter.slot() as start:
        assert start >= 160


def test_a_call_that_fails_is_no_good_call():
    clock = Clock()
    limiter = AccountLimiter(1, clock=clock, sleep=clock.sleep)
    limiter.rate_limited()
    for _ in range(2 * RECOVERY_CALLS):
        with pytest.raises(RuntimeError), limiter.slot():
            raise RuntimeError
    assert paused(limiter, clock) == pytest.approx(2)
