"""The simulated ThingSpace as an HTTP server: the other simulator's port, throttle and faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from email.message import Message

from core.simulator.account import SimulatedAccount
from core.simulator.faults import Fault, FaultKind
from core.simulator.options import SimulatorOptions
from core.simulator.reply import Reply, error_reply
from core.simulator.server import SimulatorServer, utc_now
from core.simulator.thingspace_api import FAILED, INPUT, ThingSpaceApi, ThingSpaceOptions

_INSTEAD = {
    FaultKind.BAD_REQUEST: error_reply(400, f"{INPUT}.Request", "The request is not valid."),
    FaultKind.UNAUTHORIZED: error_reply(401, f"{FAILED}.Unauthorized", "The token is not valid."),
    FaultKind.FORBIDDEN: error_reply(403, f"{FAILED}.Forbidden", "The user has no access."),
    FaultKind.NOT_FOUND: error_reply(404, f"{INPUT}.NotFound", "There is no such thing."),
    FaultKind.SERVER_ERROR: error_reply(500, f"{FAILED}.Unexpected", "Something went wrong."),
}


class ThingSpaceServer(SimulatorServer):
    """Serves one account as ThingSpace does; a context manager.

    Of ``options`` only the limits of calls are used: key and password are in ``thingspace``.
    """

    def __init__(
        self,
        account: SimulatedAccount,
        options: SimulatorOptions | None = None,
        *,
        thingspace: ThingSpaceOptions | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: Iterable[Fault] = (),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.thingspace = thingspace or ThingSpaceOptions()
        self._thingspace_api = ThingSpaceApi(account, self.thingspace, clock)
        super().__init__(account, options, host=host, port=port, faults=faults, clock=clock)

    def authorization_of(self, headers: Message) -> str:
        """Return both tokens."""
        tokens = (headers.get("Authorization", ""), headers.get("VZ-M2M-Token", ""))
        return "\n".join(tokens)

    def _regular(self, method: str, target: str, authorization: str | None, body: bytes) -> Reply:
        if not self.throttle.enter():
            return self.rate_limited()
        try:
            return self._thingspace_api.answer(method, target, authorization or "", body)
        finally:
            self.throttle.leave()

    def reply_instead(self, kind: FaultKind) -> Reply | None:
        """Answer with ThingSpace's own codes."""
        return _INSTEAD.get(kind) or super().reply_instead(kind)

    def rate_limited(self) -> Reply:
        """Answer to a call beyond the account's limits, with a time to wait."""
        reply = error_reply(429, f"{FAILED}.TooManyRequests", "Too many requests.")
        return replace(reply, headers={"Retry-After": str(self.thingspace.retry_after_s)})
