"""The limits of a simulated account: calls a second, and calls at a time."""

from __future__ import annotations

import threading
import time
from collections import deque

from core.simulator.options import SimulatorOptions


class AccountThrottle:
    """Calls per second over a sliding second, and calls in flight."""

    def __init__(self, options: SimulatorOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._starts: deque[float] = deque()
        self._in_flight = 0

    def enter(self) -> bool:
        """Begin a call; False: the account is over its limit."""
        rate = self._options.requests_per_second
        with self._lock:
            if self._options.single_call and self._in_flight:
                return False
            if rate is not None:
                now = time.monotonic()
                span = max(1.0, 1 / rate)
                while self._starts and now - self._starts[0] >= span:
                    self._starts.popleft()
                if len(self._starts) >= max(1.0, rate):
                    return False
                self._starts.append(now)
            self._in_flight += 1
            return True

    def leave(self) -> None:
        """End a call that was let in."""
        with self._lock:
            self._in_flight -= 1
