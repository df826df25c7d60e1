"""Sends the outbox to AMOP 2.0: in order, with retries, beside the work (A3).

A background thread takes the first waiting message of every session and posts it. What happens next
is decided by the answer (:class:`core.amop.client.Outcome`):

- delivered: the session's next message follows;
- unreachable: AMOP is down, and nothing is sent for a while;
- retry: this session waits for a while (at least as long as AMOP asks);
- refused: as retry, but the third time the message is parked and the session's next one follows.

Waiting times double up to a limit. Nothing here fails or delays a run: what could not be sent stays
in the outbox, and the sender of the next run goes on with it.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pydantic import SecretStr

from core.amop.client import TIMEOUT_S, AmopClient, Answer, Outcome
from core.errors import StorageError
from core.sessions.process import host_identity, is_process_alive
from core.storage import outbox
from core.storage.engine import reading, writing
from core.storage.retry import retried

if TYPE_CHECKING:
    import sqlalchemy as sa

    from core.storage.outbox import OutboxMessage

LOG = logging.getLogger(__name__)

REFUSALS_UNTIL_PARKED = 3
"""Times a message is refused before it is parked (A3)."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 300.0
"""Waiting time after the first failure, and its limit."""

LEASE_S = 30.0
"""How long another sender's attempt must be seen unchanged before its sender counts as dead, where
its process cannot be looked at; longer than the three phases of a call can take."""

_POLL_S = 1.0
_DRAIN_POLL_S = 0.02


@dataclass(slots=True)
class _Pause:
    """How often something failed in a row, and until when it waits, on the monotonic clock."""

    failures: int = 0
    until: float = 0.0

    def extend(self, now: float, at_least: float = 0.0) -> None:
        wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self.failures, 16))
        jitter = 0.75 + secrets.randbelow(500) / 1000  # 0.75 to 1.25: senders do not march in step
        self.failures += 1
        self.until = now + max(wait * jitter, min(at_least, LONGEST_WAIT_S))


@dataclass(slots=True)
class _Memory:
    """What one sender remembers between its passes, beside what the outbox holds.

    Attributes
    ----------
    endpoint
        Pause of everything, while AMOP does not answer.
    sessions
        Pause by what must stay in order, see :func:`_line`.
    refusals
        Refused attempts by message.
    under_way
        By message: the attempt of another sender, and since when it has been seen.
    """

    endpoint: _Pause = field(default_factory=_Pause)
    sessions: dict[int, _Pause] = field(default_factory=dict)
    refusals: dict[int, int] = field(default_factory=dict)
    under_way: dict[int, tuple[int, float]] = field(default_factory=dict)

    def keep_only(self, heads: list[OutboxMessage]) -> None:
        """Forget messages and sessions that no longer wait."""
        ids, lines = {head.outbox_id for head in heads}, {_line(head) for head in heads}
        self.sessions = {line: v for line, v in self.sessions.items() if line in lines}
        self.refusals = {key: v for key, v in self.refusals.items() if key in ids}
        self.under_way = {key: v for key, v in self.under_way.items() if key in ids}


class OutboxSender:
    """Drains the outbox in a thread of its own while the context is open.

    Parameters
    ----------
    engine
        Database of the outbox.
    endpoint
        Address to post to; None: messages stay recorded as unsent, which is logged once.
    api_key
        Bearer token; required with an endpoint.
    lease_s, timeout_s
        See :data:`LEASE_S` and :data:`core.amop.client.TIMEOUT_S`.
    clock, monotonic
        Sources of the time of day (aware UTC) and of seconds that only grow.

    Raises
    ------
    InputError
        If endpoint or key cannot be used.
    """

    def __init__(
        self,
        engine: sa.Engine,
        endpoint: str | None,
        api_key: SecretStr | None,
        *,
        lease_s: float = LEASE_S,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._client = (
            None if endpoint is None else AmopClient(endpoint, api_key, timeout_s=timeout_s)
        )
        self._lease_s = lease_s
        self._clock = clock
        self._monotonic = monotonic
        self._memory = _Memory()
        self._name = _sender_name(host_identity(), os.getpid())
        self._is_stopping = False
        # An event has a lock that an interrupt can leave held, so that the next one to set it waits.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._client is None:
            LOG.warning("AMOP_API_ENDPOINT is not set: messages are recorded and not sent")
            return self
        self._thread = threading.Thread(target=self._run, name="amop-sender", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_stopping = True
        self.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._client is not None:
            self._client.close()

    def notify(self) -> None:
        """Say that there is a new message, so that it goes out at once."""
        self._wake.put(None)

    def drain(self, timeout_s: float, *, session_id: int | None = None) -> int:
        """Wait until nothing waits to be sent, but no longer than ``timeout_s``.

        Parameters
        ----------
        session_id
            Wait for this session's messages only.

        Returns
        -------
        int
            Messages that still wait. Without an endpoint, or outside the context, at once.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            waiting = self._count(session_id)
            left_s = deadline - time.monotonic()
            if waiting == 0 or left_s <= 0 or self._thread is None:
                break
            self.notify()
            time.sleep(min(_DRAIN_POLL_S, left_s))
        if waiting:
            LOG.warning("%d AMOP messages wait in the outbox for a later run to send them", waiting)
        return waiting

    def send_due(self) -> int:
        """Go once through the waiting messages, at most one of each session.

        Returns
        -------
        int
            Messages that need no further attempt: delivered or parked.

        Raises
        ------
        StorageError
            If the outbox cannot be read or written.
        """
        if self._client is None:
            return 0
        with reading(self._engine) as connection:
            heads = outbox.load_next_messages(connection)
        self._memory.keep_only(heads)
        if heads:
            self._client.connect()  # takes a while the first time: before a message is claimed
        done = 0
        for head in heads:
            if self._monotonic() < self._memory.endpoint.until or self._is_stopping:
                break
            if self._may_try(head):
                done += self._try(self._client, head)
        return done

    def _run(self) -> None:
        while not self._is_stopping:
            while not self._wake.empty():
                self._wake.get()
            try:
                done = self.send_due()
            except StorageError as exc:
                LOG.warning("the AMOP outbox cannot be read or written now: %s", exc)
                done = 0
            except Exception:
                LOG.exception("sending AMOP messages failed unexpectedly; it is tried again")
                done = 0
            if not done:
                with suppress(Empty):
                    self._wake.get(timeout=_POLL_S)

    @retried
    def _count(self, session_id: int | None) -> int:
        with reading(self._engine) as connection:
            return outbox.count_waiting(connection, session_id)

    def _may_try(self, head: OutboxMessage) -> bool:
        now = self._monotonic()
        pause = self._memory.sessions.get(_line(head))
        if pause is not None and now < pause.until:
            return False
        if head.sent_by is None or _is_dead(head.sent_by):
            return True
        # Whose clock says when that attempt began does not matter: what counts is how long this
        # sender has seen the same attempt.
        attempts, since = self._memory.under_way.get(head.outbox_id, (head.attempts, now))
        if attempts != head.attempts:
            since = now
        self._memory.under_way[head.outbox_id] = (head.attempts, since)
        return now - since >= self._lease_s

    def _try(self, client: AmopClient, head: OutboxMessage) -> bool:
        """Send one message, and say whether it is done with."""
        with writing(self._engine) as connection:
            if not outbox.claim_message(connection, head, sender=self._name):
                return False
        attempt = head.attempts + 1
        answer = client.post(head.payload, message_id=head.message_id)
        if answer.outcome is not Outcome.UNREACHABLE:
            self._memory.endpoint = _Pause()
        if answer.outcome is Outcome.DELIVERED:
            self._mark_sent(head, attempt)
            self._memory.sessions.pop(_line(head), None)
            return True
        if answer.outcome is Outcome.REFUSED and self._is_last_refusal(head):
            self._park(head, attempt, answer)
            return True
        self._postpone(head, attempt, answer)
        return False

    def _is_last_refusal(self, head: OutboxMessage) -> bool:
        refusals = self._memory.refusals.get(head.outbox_id, 0) + 1
        self._memory.refusals[head.outbox_id] = refusals
        return refusals >= REFUSALS_UNTIL_PARKED

    @retried
    def _mark_sent(self, head: OutboxMessage, attempt: int) -> None:
        with writing(self._engine) as connection:
            outbox.mark_sent(connection, head.outbox_id, attempt, self._clock())

    @retried
    def _park(self, head: OutboxMessage, attempt: int, answer: Answer) -> None:
        with writing(self._engine) as connection:
            outbox.mark_parked(connection, head.outbox_id, attempt, answer.problem, self._clock())
        self._memory.sessions.pop(_line(head), None)
        LOG.error(
            "AMOP refuses the %s, which is parked; the next one goes on: %s",
            _described(head),
            answer.problem,
        )

    @retried
    def _postpone(self, head: OutboxMessage, attempt: int, answer: Answer) -> None:
        with writing(self._engine) as connection:
            outbox.mark_failed(connection, head.outbox_id, attempt, answer.problem)
        now = self._monotonic()
        if answer.outcome is Outcome.UNREACHABLE:
            self._memory.endpoint.extend(now)
        else:
            pause = self._memory.sessions.setdefault(_line(head), _Pause())
            pause.extend(now, answer.retry_after_s)
        LOG.warning(
            "the %s was not delivered at attempt %d and is tried again: %s",
            _described(head),
            attempt,
            answer.problem,
        )


def _sender_name(host: str, pid: int) -> str:
    return f"process {pid} on {host}"


def _is_dead(name: str) -> bool:
    """Whether a sender's name is that of a process that is known to be gone from this machine."""
    pid = name.split()[1]
    is_here = pid.isdecimal() and name == _sender_name(host_identity(), int(pid))
    return is_here and not is_process_alive(int(pid))


def _line(message: OutboxMessage) -> int:
    """Name what must be sent in order: a session (positive), or a message alone (negative)."""
    return message.session_id if message.session_id is not None else -message.outbox_id


def _described(message: OutboxMessage) -> str:
    session = "no session" if message.session_id is None else f"session {message.session_id}"
    return f"{message.type} {message.progress} % of {session} (message {message.message_id})"
