"""A flow's hold on its session: opened, kept alive, moved on, and ended whatever happens (S2, S3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from core.amop.sender import OutboxSender
from core.errors import CarrierOptError, FencedOffError, SessionCancelledError
from core.interrupts import release_frames
from core.sessions import lifecycle
from core.sessions.heartbeat import Heartbeat
from core.sessions.lifecycle import Author, Owner, RunRequest, SessionHandle, SessionState
from core.settings import Settings
from core.storage.engine import reading
from core.storage.retry import retried
from core.storage.sessions import load_session
from tasks.interrupt import check_interrupt, was_interrupted

if TYPE_CHECKING:
    import sqlalchemy as sa

LOG = logging.getLogger(__name__)

INTERRUPTED = "The run was interrupted (Ctrl-C or a stop request)."


def utc_now() -> datetime:
    """Tell the time, aware and in UTC."""
    return datetime.now(tz=UTC)


@dataclass(slots=True, kw_only=True)
class SessionRun:
    """One run of one session; every call is guarded by owner and attempt.

    Attributes
    ----------
    handle
        Replaced by each move.
    devices
        SIMs known so far, for the messages.
    """

    engine: sa.Engine
    handle: SessionHandle
    heartbeat: Heartbeat
    sender: OutboxSender
    devices: int = 0

    @property
    def session_id(self) -> int:
        """Number of the session."""
        return self.handle.session_id

    def enter(self, state: SessionState, *, milestone: int | None = None, info: str = "") -> None:
        """Begin a stage and tell AMOP the milestone that was reached before it (A2)."""
        check_interrupt()
        self.heartbeat.check()
        self.handle = lifecycle.enter(
            self.engine,
            self.handle,
            state,
            now=utc_now(),
            milestone=milestone,
            device_count=self.devices,
            info=info,
        )
        self.sender.notify()

    def report(self, progress: int, info: str = "") -> None:
        """Tell AMOP a progress within a stage; told once, never going back."""
        check_interrupt()
        self.heartbeat.check()
        lifecycle.report_progress(
            self.engine, self.handle, progress, now=utc_now(), device_count=self.devices, info=info
        )
        self.sender.notify()

    def complete(self, totals: Mapping[str, Any], *, error_message: str | None = None) -> None:
        """End the session with its totals; with errors where groups had to be left out."""
        check_interrupt()
        self.handle = lifecycle.complete(
            self.engine,
            self.handle,
            now=utc_now(),
            totals=totals,
            device_count=self.devices,
            error_message=error_message,
        )
        self.sender.notify()


@contextmanager
def session_run(
    engine: sa.Engine,
    settings: Settings,
    sender: OutboxSender,
    request: RunRequest,
    *,
    tenant_id: int,
    flow_run_id: str,
    author: Author,
    on_stop: Callable[[int, int], None],
) -> Iterator[SessionRun]:
    """Open the request's session for the length of a block.

    An error in the block ends the session as FAILED and a Ctrl-C as CANCELLED; both are told to
    AMOP, and both then call ``on_stop`` with the session's id and attempt. A run that has lost its session
    to another owner ends without touching it.

    Raises
    ------
    SessionBusyError
        If another session of the tenant runs.
    """
    timeout = timedelta(seconds=settings.heartbeat_timeout_seconds)
    handle = lifecycle.open_session(
        engine,
        request,
        tenant_id=tenant_id,
        owner=Owner.of_this_process(flow_run_id),
        triggered_by=author,
        now=utc_now(),
        heartbeat_timeout=timeout,
    )
    sender.notify()
    if handle.taken_over_from:
        LOG.warning("%s", handle.taken_over_from)
    with Heartbeat(engine, handle, settings.heartbeat_seconds, timeout=timeout) as heartbeat:
        run = SessionRun(
            engine=engine,
            handle=handle,
            heartbeat=heartbeat,
            sender=sender,
        )
        try:
            run.devices = _stored_devices(engine, handle.session_id)
            yield run
        except (FencedOffError, SessionCancelledError):
            raise
        except BaseException as error:
            # KeyboardInterrupt, SystemExit and Prefect's cancellation are no Exception.
            release_frames(error)
            if isinstance(error, Exception) and not was_interrupted():
                lifecycle.fail(engine, run.handle, now=utc_now(), error_message=_said(error))
            else:
                lifecycle.cancel(engine, run.handle, now=utc_now(), reason=INTERRUPTED)
            try:
                sender.notify()
            finally:
                _clean_up(on_stop, run)
            raise


@retried
def _stored_devices(engine: sa.Engine, session_id: int) -> int:
    with reading(engine) as connection:
        stored = load_session(connection, session_id)
    return 0 if stored is None else stored.device_count


def _said(error: Exception) -> str:
    """Say what AMOP and the operators are told: our own words, or what kind of error it was."""
    return str(error) if isinstance(error, CarrierOptError) else f"{type(error).__name__}: {error}"


def _clean_up(on_stop: Callable[[int, int], None], run: SessionRun) -> None:
    """Clean up after a session that has ended; what goes wrong here changes its end no more."""
    try:
        on_stop(run.session_id, run.handle.attempt)
    except Exception:
        LOG.exception("session %d could not be cleaned up", run.session_id)
