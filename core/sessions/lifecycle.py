"""The story of a session, as the flows tell it (S2, S3, A1-A3).

::

    handle = open_session(...)               PENDING, progress 0   (or SessionBusyError -> refuse)
    with Heartbeat(engine, handle, ...):
        handle = enter(..., SYNCING)
        handle = enter(..., GROUPING, milestone=20)
        handle = enter(..., SEQUENCING, milestone=30)
        handle = enter(..., OPTIMISING, milestone=40)
        report_progress(..., 50) ... 89
        handle = enter(..., FINALISING)
        report_progress(..., 90)
        complete(...)                        COMPLETED, progress 100
    otherwise: fail(...) or cancel(...)

Every function is one transaction: the guarded change of the session's row, the AMOP message and the
audit event that tell of it, all or nothing. Each raises :class:`FencedOffError` if the session has
another owner and :class:`SessionCancelledError` if it was cancelled; a run that gets one of the two
ends without calling :func:`fail`.

The flows need this module and :mod:`core.sessions.heartbeat` only.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from core.amop import messages
from core.errors import IllegalTransitionError
from core.sessions.ending import cancel, complete, fail
from core.sessions.opening import open_session, refuse
from core.sessions.ownership import (
    HEARTBEAT_TIMEOUT,
    Owner,
    SessionHandle,
    check_ownership,
    refuse_move,
)
from core.sessions.parameters import RunRequest, parse_parameters
from core.sessions.state import SessionState, is_at_or_past, predecessors
from core.storage import outbox
from core.storage import sessions as stored_sessions
from core.storage.audit import Author
from core.storage.engine import writing
from core.storage.retry import retried
from core.storage.sessions import StoredSession

__all__ = [
    "HEARTBEAT_TIMEOUT",
    "Author",
    "Owner",
    "RunRequest",
    "SessionHandle",
    "SessionState",
    "advance",
    "cancel",
    "complete",
    "enter",
    "fail",
    "open_session",
    "parse_parameters",
    "refuse",
    "report_progress",
]


@retried
def advance(
    engine: sa.Engine,
    handle: SessionHandle,
    to_state: SessionState,
    *,
    now: datetime,
    milestone: int | None = None,
    device_count: int | None = None,
    info: str = "",
) -> SessionHandle:
    """Move a session to the next working state; a rerun uses :func:`enter` instead.

    Parameters
    ----------
    milestone
        Progress to tell AMOP, 1 to 99. It is told at most once per session, and not at all if the
        session has told a higher one.
    device_count
        Number of SIMs known by now; None: as stored.
    info
        Text for ``additionalInfo``.

    Raises
    ------
    IllegalTransitionError
        If ``to_state`` does not follow the stored state.
    FencedOffError, SessionCancelledError
        If the session is not this run's any more.
    """
    _require_working(to_state)
    with writing(engine) as connection:
        _move(connection, handle, to_state, now=now, device_count=device_count)
        if milestone is not None:
            _tell_progress(connection, handle, milestone, now=now, info=info)
    return replace(handle, state=to_state)


@retried
def enter(
    engine: sa.Engine,
    handle: SessionHandle,
    state: SessionState,
    *,
    now: datetime,
    milestone: int | None = None,
    device_count: int | None = None,
    info: str = "",
) -> SessionHandle:
    """Begin a stage, also for the second time: :func:`advance` unless the session is there already.

    A run that took a session over goes through all stages again. Where the session is in ``state``
    or past it, its state and progress stay what they are and the work goes on; the stages' writes
    are idempotent. A stage cannot be left out.

    Returns
    -------
    SessionHandle
        With the state that the session has now: ``state`` or a later one.

    Raises
    ------
    IllegalTransitionError
        If a stage was left out, or the session is over.
    FencedOffError, SessionCancelledError
        If the session is not this run's any more.
    """
    _require_working(state)
    with writing(engine) as connection:
        stored = _touch(connection, handle, now=now, device_count=device_count)
        reached = stored.state
        if not is_at_or_past(reached, state):
            _move(connection, handle, state, now=now, device_count=device_count)
            reached = state
        if milestone is not None:
            _tell_progress(connection, handle, milestone, now=now, info=info)
    return replace(handle, state=reached)


@retried
def report_progress(
    engine: sa.Engine,
    handle: SessionHandle,
    progress: int,
    *,
    now: datetime,
    device_count: int | None = None,
    info: str = "",
) -> bool:
    """Tell AMOP how far the session is (A2): 50 to 89 by finished batches, 90 at cleanup.

    Returns
    -------
    bool
        Whether a message was recorded: not if the session has told this progress or a higher one.

    Raises
    ------
    ValueError
        If ``progress`` is not 1 to 99.
    FencedOffError, SessionCancelledError
        If the session is not this run's any more.
    """
    with writing(engine) as connection:
        _touch(connection, handle, now=now, device_count=device_count)
        return _tell_progress(connection, handle, progress, now=now, info=info)


def _require_working(state: SessionState) -> None:
    if not state.is_working:
        msg = f"{state} is an end: use complete, fail or cancel"
        raise ValueError(msg)


def _move(
    connection: sa.Connection,
    handle: SessionHandle,
    to_state: SessionState,
    *,
    now: datetime,
    device_count: int | None,
) -> None:
    is_done = stored_sessions.move(
        connection,
        handle.guard,
        to_state,
        from_states=predecessors(to_state),
        now=now,
        device_count=device_count,
    )
    if not is_done:
        refuse_move(connection, handle, to_state)


def _touch(
    connection: sa.Connection,
    handle: SessionHandle,
    *,
    now: datetime,
    device_count: int | None,
) -> StoredSession:
    """Lock the session's row by a heartbeat and read it."""
    is_mine = stored_sessions.touch(connection, handle.guard, now=now, device_count=device_count)
    stored = stored_sessions.load_session(connection, handle.session_id)
    stored = check_ownership(stored, handle)
    if not is_mine:
        raise IllegalTransitionError(
            f"session {handle.session_id} is over, it is {stored.state}: nothing can be done in it"
        )
    return stored


def _tell_progress(
    connection: sa.Connection, handle: SessionHandle, progress: int, *, now: datetime, info: str
) -> bool:
    """Record a Progress message if the progress is news; the row is locked by the caller."""
    stored = stored_sessions.load_session(connection, handle.session_id)
    message = messages.progress_message(
        session_id=handle.session_id,
        session_guid=handle.session_guid,
        device_count=0 if stored is None else stored.device_count,
        progress=progress,
        additional_info=messages.additional_info(info, is_dry_run=handle.is_dry_run),
        additional_data=handle.additional_data,
        now=now,
    )
    if not stored_sessions.raise_progress(connection, handle.guard, progress):
        return False
    outbox.append_message(connection, message, milestone=str(progress))
    return True
