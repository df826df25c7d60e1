"""A limit for a whole call, however slowly its answer drips in (C3).

A timeout of the HTTP library is one for each piece that is sent or received, and for each address that
is tried: a carrier that sends a byte now and then, or has many addresses where nobody answers, holds a
call for ever. Here a clock runs beside the call. When it has run out the call's connections are shut down,
which ends whatever is being waited for, and so is one that is opened after that. While there is none yet,
the addresses of the host share the time that is left.

Looking up the host's name is not under the clock; the system's resolver has limits of its own. A call whose
time is over by then ends without having connected.
"""

from __future__ import annotations

import socket
import threading
import time
import weakref
from collections.abc import MutableMapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self


class Connections:
    """The sockets that a client has opened."""

    def __init__(self) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()

    def add(self, opened: socket.socket) -> None:
        """Note a new connection."""
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
        self._ends_at = time.monotonic() + seconds
        self._connections = connections
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def trace(self, event: str, info: MutableMapping[str, Any]) -> None:
        """Limit the call's connecting, and note its connections; the ``trace`` extension of a request.

        Raises
        ------
        TimeoutError
            If the time is over before connecting has begun.
        """
        if event.endswith("connect_tcp.started"):
            self._limit_connecting(info)
        elif event.endswith(("connect_tcp.complete", "start_tls.complete")):
            opened = info["return_value"].get_extra_info("socket")
            if isinstance(opened, socket.socket):
                self._connections.add(opened)
            if self.is_over:
                self._connections.shut_down()

    def _limit_connecting(self, arguments: MutableMapping[str, Any]) -> None:
        """Give each address that is going to be tried its share of the time."""
        try:
            found = socket.getaddrinfo(
                arguments["host"], arguments["port"], type=socket.SOCK_STREAM
            )
        except OSError:
            return  # connecting is going to say so
        share_s = (self._ends_at - time.monotonic()) / max(len(found), 1)
        if self.is_over or share_s <= 0:
            self._end()
            raise TimeoutError
        allowed_s = arguments["timeout"]
        arguments["timeout"] = share_s if allowed_s is None else min(allowed_s, share_s)

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
