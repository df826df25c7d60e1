"""Politeness towards one carrier account: so many calls a second, one at a time (C3).

A carrier counts the calls of the whole account, so all clients of an account share one limiter:
those of one process by :func:`limiter_for`, those of all workers through Redis
(:mod:`core.carriers.redis_limiter`) where it is configured.

A carrier that says "too often" all the same is believed: the pause between calls doubles, up to
``SLOWEST_FACTOR`` times, and halves again after ``RECOVERY_CALLS`` calls without complaint.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from pydantic import SecretStr

SLOWEST_FACTOR = 16
"""The pause between calls is at most so many times the one that the account's rate asks for."""

RECOVERY_CALLS = 50
"""Calls without complaint after which the pause halves: from 16 pauses to one in about five minutes
at five calls a second."""

LONGEST_CALL_S = 60.0
"""Seconds that one call is taken to last at most, unless the caller knows better."""


class Limiter(Protocol):
    """Gives out the right to make one call."""

    def slot(self) -> AbstractContextManager[float]:
        """Wait for the account's turn, and hold it for the length of the block.

        Yields
        ------
        float
            The call's start, in seconds on the clock that all callers of the limiter share.
        """
        ...

    def rate_limited(self, retry_after_s: float | None = None) -> None:
        """Take note that the carrier says it is called too often.

        Parameters
        ----------
        retry_after_s
            Seconds that the carrier asks to be left alone; None: it did not say.
        """
        ...


class AccountLimiter:
    """Starts calls at least ``1 / requests_per_second`` apart, never two at a time; one process.

    Parameters
    ----------
    requests_per_second
        Above 0.
    clock, sleep
        Seconds that never run backwards, and how to wait.

    Raises
    ------
    ValueError
        If the rate is not above 0.
    """

    def __init__(
        self,
        requests_per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not requests_per_second > 0:
            msg = f"requests per second must be above 0, not {requests_per_second}"
            raise ValueError(msg)
        self._interval_s = 1 / requests_per_second
        self._clock = clock
        self._sleep = sleep
        self._in_flight = threading.Lock()
        self._pace = threading.Lock()
        self._next_start: float | None = None
        self._factor = 1
        self._n_good = 0

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Wait for the account's turn, and hold it for the length of the block."""
        with self._in_flight:
            while True:
                now = self._clock()
                with self._pace:  # a complaint comes before the start, and is heeded, or after it
                    wait_s = 0.0 if self._next_start is None else self._next_start - now
                    if wait_s <= 0:
                        self._next_start = now + self._interval_s * self._factor
                        break
                self._sleep(wait_s)
            yield now
            self._succeeded()

    def started_elsewhere(self) -> None:
        """Keep the distance to a call that began just now, without this limiter's slot."""
        with self._pace:
            earliest = self._clock() + self._interval_s * self._factor
            self._next_start = max(self._next_start or earliest, earliest)

    def slow_to(self, requests_per_second: float) -> None:
        """Keep this rate, unless a slower one is kept."""
        with self._pace:
            self._interval_s = max(self._interval_s, 1 / requests_per_second)

    def rate_limited(self, retry_after_s: float | None = None) -> None:
        """Double the pause, and leave the carrier alone for as long as it asks."""
        with self._pace:
            self._factor = min(2 * self._factor, SLOWEST_FACTOR)
            self._n_good = 0
            pause = max(retry_after_s or 0.0, self._interval_s * self._factor)
            self._next_start = max(self._next_start or 0.0, self._clock() + pause)

    def _succeeded(self) -> None:
        with self._pace:
            self._n_good += 1
            if self._n_good >= RECOVERY_CALLS:
                self._factor = max(1, self._factor // 2)
                self._n_good = 0


class UnlimitedLimiter:
    """For accounts without a limit: every call starts at once."""

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Let the call pass."""
        yield time.monotonic()

    def rate_limited(self, retry_after_s: float | None = None) -> None:
        """Change nothing: there is no pause that could grow."""


class _SharedByClients(Limiter, Protocol):
    def slow_to(self, requests_per_second: float) -> None: ...


_shared: dict[tuple[str, str], _SharedByClients] = {}
_shared_lock = threading.Lock()


def limiter_for(
    account: str,
    requests_per_second: float | None,
    *,
    redis_url: SecretStr | None = None,
    longest_call_s: float = LONGEST_CALL_S,
) -> Limiter:
    """Return the limiter that all clients of an account share; it keeps the slowest rate asked of it.

    Two configurations of one account may name different rates, and the carrier counts them together.

    Parameters
    ----------
    account
        Names the account at the carrier, such as base address and user name.
    requests_per_second
        Above 0; None: unlimited, whatever the account's other clients do.
    redis_url
        Where the workers of a deployment meet; None: this process is the only one.
    longest_call_s
        Longest time that a call can take, in seconds; a worker that holds the account's turn for
        longer is taken to be dead.

    Raises
    ------
    InputError
        If the address of Redis is none.
    """
    if requests_per_second is None:
        return UnlimitedLimiter()
    key = (account, redis_url.get_secret_value() if redis_url else "")
    with _shared_lock:
        if key in _shared:
            _shared[key].slow_to(requests_per_second)
        else:
            local = AccountLimiter(requests_per_second)
            if redis_url is None:
                _shared[key] = local
            else:
                from core.carriers.redis_limiter import SharedLimiter, link_to

                _shared[key] = SharedLimiter(
                    link_to(redis_url),
                    account,
                    requests_per_second,
                    local=local,
                    longest_call_s=longest_call_s,
                )
        return _shared[key]
