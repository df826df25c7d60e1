"""A limit for a whole call, however slowly its answer drips in (C3).

A timeout of the HTTP library is one for each piece that is sent or received: a carrier that sends a
byte now and then holds a call for ever. Here a clock runs beside the call, and when it has run out
the call's connections are shut down, which ends whatever is being waited for.

Looking up the host's name is not under the clock; the system's resolver has limits of its own.
"""

from __future__ import annotations

import socket
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self


class Connections:
    """The sockets that a client has opened, as told by the trace of its calls."""

    def __init__(self) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Note a new connection; the ``trace`` extension of a request."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            opened = info["return_value"].get_extra_info("socket")
            if isinstance(opened, socket.socket):
                with self._lock:
                    self._sockets.add(opened)

    def shut_down(self) -> None:
        """End all traffic; whoever waits for some gets an error."""
        with self._lock:
            opened = list(self._sockets)
        for one in opened:
            with suppress(OSError):  # closed already
                # The method of the plain socket: that of TLS would pull its state away from the reader.
                socket.socket.shutdown(one, socket.SHUT_RDWR)


class Deadline:
    """Shuts connections down when a time is over; a context manager around one call.

    Attributes
    ----------
    is_over
        Whether it came to that.
    """

    def __init__(self, seconds: float, connections: Connections) -> None:
        self.is_over = False
        self._connections = connections
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def _end(self) -> None:
        self.is_over = True
        self._connections.shut_down()

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
