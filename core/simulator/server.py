"""The simulated Control Center as an HTTP server: authentication, throttle and faults around the API."""

from __future__ import annotations

import base64
import hmac
import threading
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.message import Message
from types import TracebackType
from typing import Self

from core.simulator.account import SimulatedAccount
from core.simulator.api import ControlCenterApi
from core.simulator.disturb import PageMemory, disturb_account, with_older_rows
from core.simulator.faults import Fault, FaultKind, FaultScript
from core.simulator.listener import Handler, HttpServer
from core.simulator.options import SimulatorOptions
from core.simulator.reply import Api, Reply, error_reply
from core.simulator.spoil import renumbered, reply_instead, spoiled
from core.simulator.throttle import AccountThrottle


def utc_now() -> datetime:
    """Return the time now, aware."""
    return datetime.now(tz=UTC)


class SimulatorServer:
    """Serves one account on a loopback port until stopped; a context manager.

    Several may run side by side, each with an account, port, credentials and limits of its own.

    Parameters
    ----------
    port
        0 takes a free one.
    faults
        What goes wrong, by call number.
    api
        What is served; default: Control Center's API of the account.

    Attributes
    ----------
    account
        The state behind the API.
    clock
        Tells the simulator's time.
    calls
        The newest calls (method, space, target), oldest first.
    throttle
        The account's limits, and a record of when calls came and how many at a time.
    """

    def __init__(
        self,
        account: SimulatedAccount,
        options: SimulatorOptions | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Iterable[Fault] = (),
        clock: Callable[[], datetime] = utc_now,
        api: Api | None = None,
    ) -> None:
        self.account = account
        self.options = options or SimulatorOptions()
        self.calls: deque[str] = deque(maxlen=100_000)
        self.clock = clock
        self.throttle = AccountThrottle(self.options)
        self._api = api or ControlCenterApi(account, self.options, clock)
        self._faults = FaultScript(faults)
        self._pages = PageMemory()
        self._stopping = threading.Event()
        self._http = HttpServer((host, port), Handler, self)
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """Address that a client is given, without the API's own path."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> Self:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        return self

    def serve(self) -> None:
        """Serve in this thread until :meth:`stop` is called from another, or KeyboardInterrupt."""
        self._http.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        """Close the port and every connection."""
        self._stopping.set()
        self.pause()

    def pause(self) -> None:
        """Close the port and every connection for a while: further connections are refused.

        For servers that were begun with :meth:`start`.
        """
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.close_connections()
        self._http.server_close()

    def resume(self) -> None:
        """Open the same port again after :meth:`pause`."""
        host, port = self._http.server_address[:2]
        self._http = HttpServer((str(host), port), Handler, self)
        self.start()

    def wait(self, seconds: float) -> None:
        """Let time pass, but not after the simulator was stopped."""
        self._stopping.wait(seconds)

    def interrupt(self) -> None:
        """Make :meth:`serve` return; for signal handlers, which may not block."""
        threading.Thread(target=self._http.shutdown, daemon=True).start()

    def script(self, faults: Iterable[Fault]) -> None:
        """Replace the faults; calls are counted anew."""
        self._faults = FaultScript(faults)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def authorization_of(self, headers: Message) -> str | None:
        """Return what a call shows to be let in."""
        return headers.get("Authorization")

    def answer(self, method: str, target: str, authorization: str | None, body: bytes) -> Reply:
        """Answer one call, faults included."""
        line = f"{method} {target}"
        self.calls.append(line)
        self.throttle.arrive()
        try:
            fault = self._faults.next(line)
            if fault is not None:
                return self._faulty(fault, method, target, authorization, body)
            reply = self._regular(method, target, authorization, body)
            self._pages.remember(target, reply)
            return reply
        finally:
            self.throttle.depart()

    def refusal(self, authorization: str | None) -> Reply | None:
        """Answer to a call whose ``Authorization`` header is not the account's; None: it is."""
        if authorization is None:
            return error_reply(401, None, "Full authentication is required to access this resource")
        pair = f"{self.options.username}:{self.options.api_key}"
        expected = f"Basic {base64.b64encode(pair.encode()).decode()}"
        if hmac.compare_digest(authorization.encode(), expected.encode()):
            return None
        return error_reply(401, "10000001", "Invalid credentials.")

    def rate_limited(self) -> Reply:
        """Answer to a call beyond the account's limits."""
        return error_reply(self.options.rate_limit_status, "40000029", "Rate limit exceeded")

    def reply_instead(self, kind: FaultKind) -> Reply | None:
        """Answer that a fault gives without the call being carried out; None: it is carried out."""
        return self.rate_limited() if kind is FaultKind.RATE_LIMIT else reply_instead(kind)

    def _regular(self, method: str, target: str, authorization: str | None, body: bytes) -> Reply:
        refusal = self.refusal(authorization)
        if refusal is not None:
            return refusal
        if not self.throttle.enter():
            return self.rate_limited()
        try:
            return self._api.handle(method, target, body)
        finally:
            self.throttle.leave()

    def _faulty(
        self, fault: Fault, method: str, target: str, authorization: str | None, body: bytes
    ) -> Reply:
        instead = self.reply_instead(fault.kind)
        if instead is not None:
            return instead
        if fault.kind is FaultKind.HANG:
            self.wait(fault.seconds)
        elif fault.kind is FaultKind.THROTTLE_TENTH:
            self.throttle.slow_down()
        disturb_account(fault, self.account, target, self.clock())
        before = self._pages.read_before(target)
        if fault.kind is FaultKind.REPEATED_PAGE and before is not None:
            again = self._regular(method, before.target, authorization, b"")
            return renumbered(again, before.number)
        reply = self._regular(method, target, authorization, body)
        if fault.kind is FaultKind.DUPLICATES and before is not None:
            earlier = self._regular(method, before.target, authorization, b"")
            return with_older_rows(reply, earlier, fault.devices)
        if fault.kind is FaultKind.LOST_REPLY:
            return self.reply_instead(FaultKind.SERVER_ERROR) or reply
        return spoiled(fault, reply)
