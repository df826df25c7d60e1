"""The limits of a simulated account: calls a second, and calls at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from core.simulator.options import SimulatorOptions

_USUAL_RATE = 5.0  # calls a second of a real account
_N_REMEMBERED = 1_000_000


class AccountThrottle:
    """Calls per second over a sliding second, and calls in flight.

    Attributes
    ----------
    starts
        Monotonic times, in seconds, at which the newest calls came in, refused and faulty ones too.
    max_in_flight
        The most calls that were being answered at one time, refused and faulty ones included.
    monotonic
        Tells seconds; may be replaced to let time stand still.
    """

    def __init__(self, options: SimulatorOptions) -> None:
        self._options = options
        self._rate = options.requests_per_second
        self._lock = threading.Lock()
        self._counted: deque[float] = deque()
        self._in_flight = 0
        self._n_present = 0
        self.starts: deque[float] = deque(maxlen=_N_REMEMBERED)
        self.max_in_flight = 0
        self.monotonic: Callable[[], float] = time.monotonic

    def arrive(self) -> None:
        """Note a call, whatever becomes of it."""
        with self._lock:
            self.starts.append(self.monotonic())
            self._n_present += 1
            self.max_in_flight = max(self.max_in_flight, self._n_present)

    def depart(self) -> None:
        """Note the end of a call."""
        with self._lock:
            self._n_present -= 1

    def slow_down(self) -> None:
        """From now on allow a tenth of the rate; an unlimited account gets a tenth of 5 a second."""
        with self._lock:
            self._rate = (self._rate or _USUAL_RATE) / 10

    def enter(self) -> bool:
        """Begin a call; False: the account is over its limit."""
        with self._lock:
            if self._options.single_call and self._in_flight:
                return False
            if self._rate is not None and not self._has_room(self._rate):
                return False
            self._in_flight += 1
            return True

    def leave(self) -> None:
        """End a call that was let in."""
        with self._lock:
            self._in_flight -= 1

    def _has_room(self, rate: float) -> bool:
        now = self.monotonic()
        span = max(1.0, 1 / rate)
        while self._counted and now - self._counted[0] >= span:
            self._counted.popleft()
        has_room = len(self._counted) < max(1.0, rate)
        if has_room or self._options.strict_throttle:
            self._counted.append(now)
        return has_room
