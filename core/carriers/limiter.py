"""Politeness towards one carrier account: so many calls a second, one at a time (C3).

A carrier counts the calls of the whole account, so all clients of an account share one limiter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Limiter(Protocol):
    """Gives out the right to make one call."""

    def slot(self) -> AbstractContextManager[None]:
        """Wait for the account's turn, and hold it for the length of the block."""
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
        self._next_start: float | None = None

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for the account's turn, and hold it for the length of the block."""
        with self._in_flight:
            now = self._clock()
            while self._next_start is not None and now < self._next_start:
                self._sleep(self._next_start - now)
                now = self._clock()
            self._next_start = now + self._interval_s
            yield


class UnlimitedLimiter:
    """For accounts without a limit: every call starts at once."""

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Let the call pass."""
        yield


_shared: dict[tuple[str, float], AccountLimiter] = {}
_shared_lock = threading.Lock()


def limiter_for(account: str, requests_per_second: float | None) -> Limiter:
    """Return the limiter that all clients of an account in this process share.

    Parameters
    ----------
    account
        Names the account at the carrier, such as base address and user name.
    requests_per_second
        None: unlimited.
    """
    if requests_per_second is None:
        return UnlimitedLimiter()
    with _shared_lock:
        key = (account, requests_per_second)
        if key not in _shared:
            _shared[key] = AccountLimiter(requests_per_second)
        return _shared[key]
