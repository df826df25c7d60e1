"""Shows that a run lives, and notices that its session is not its own any more (S2).

A thread renews the heartbeat of the session's row while the work goes on in other threads or
processes. It never ends silently: what it finds out is logged at once and raised by
:meth:`Heartbeat.check`, which the work calls wherever it can stop.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from core.errors import SessionError, StorageError
from core.sessions.ownership import HEARTBEAT_TIMEOUT, SessionHandle, check_ownership
from core.storage import sessions as stored_sessions
from core.storage.engine import writing

if TYPE_CHECKING:
    import sqlalchemy as sa

LOG = logging.getLogger(__name__)


class Heartbeat:
    """Renews a session's heartbeat while the context is open.

    Parameters
    ----------
    interval_seconds
        Time between two heartbeats; well below ``timeout``.
    timeout
        Silence after which another run may take the session over. A database that cannot be
        written for so long is raised by :meth:`check`.
    clock
        Source of the time of day, aware.
    """

    def __init__(
        self,
        engine: sa.Engine,
        handle: SessionHandle,
        interval_seconds: float,
        *,
        timeout: timedelta = HEARTBEAT_TIMEOUT,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._engine = engine
        self._handle = handle
        self._interval_seconds = interval_seconds
        self._timeout = timeout
        self._clock = clock
        self._last_success = clock()
        self._problem: Exception | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def check(self) -> None:
        """Return if the session is still this run's, as far as is known.

        Raises
        ------
        FencedOffError, SessionCancelledError
            If the session is another run's by now, or cancelled.
        StorageError
            If no heartbeat could be written for longer than the timeout, or the heartbeat broke.
        """
        problem = self._problem
        if isinstance(problem, SessionError):
            raise problem
        if problem is None:
            return
        silence = self._clock() - self._last_success
        if not self._thread.is_alive() or silence > self._timeout:
            raise StorageError(
                f"session {self._handle.session_id} had no heartbeat for "
                f"{silence.total_seconds():.0f} s and may be taken over: {problem}"
            ) from problem

    def beat(self) -> bool:
        """Write one heartbeat.

        Returns
        -------
        bool
            False if there is nothing more to do: the session is over or lost.
        """
        now = self._clock()
        handle = self._handle
        try:
            with writing(self._engine) as connection:
                if not stored_sessions.touch(connection, handle.guard, now=now):
                    stored = stored_sessions.load_session(connection, handle.session_id)
                    check_ownership(stored, handle)  # returns where this run ended its session
                    return False
        except SessionError as exc:
            LOG.error("%s", exc)  # noqa: TRY400 - the message says it all
            self._problem = exc
            return False
        except StorageError as exc:
            LOG.warning("the heartbeat of session %d failed: %s", handle.session_id, exc)
            self._problem = exc
            return True
        self._last_success = now
        self._problem = None
        return True

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._interval_seconds):
                if not self.beat():
                    return
        except Exception as exc:
            LOG.exception("the heartbeat of session %d broke", self._handle.session_id)
            self._problem = exc
