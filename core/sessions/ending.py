"""How a session ends: completed, failed or cancelled (S2, S9, A1).

Each end is one transaction of the guarded change, the AMOP message and the audit event, and can be
asked for again by the same run without effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from core.amop import messages
from core.amop.messages import Message
from core.errors import InputError, StorageError
from core.sessions import audit_trail
from core.sessions.ownership import SessionHandle, check_ownership, refuse_move
from core.sessions.state import SessionState, check_move
from core.storage import outbox
from core.storage import sessions as stored_sessions
from core.storage.audit import Author
from core.storage.engine import writing
from core.storage.retry import retried
from core.storage.sessions import Guard, StoredSession


@retried
def complete(
    engine: sa.Engine,
    handle: SessionHandle,
    *,
    now: datetime,
    totals: Mapping[str, object],
    device_count: int,
    error_message: str | None = None,
) -> SessionHandle:
    """End a FINALISING session with its result; does nothing if this run has done so before.

    Parameters
    ----------
    totals
        For ``additionalData.totals`` of the Completed message (A2).
    error_message
        None: COMPLETED. Otherwise COMPLETED_WITH_ERRORS, and what went wrong.

    Raises
    ------
    IllegalTransitionError
        If the session is not FINALISING.
    FencedOffError, SessionCancelledError
        If the session is not this run's any more.
    """
    state = SessionState.COMPLETED if error_message is None else SessionState.COMPLETED_WITH_ERRORS
    message = messages.completed_message(
        session_id=handle.session_id,
        session_guid=handle.session_guid,
        device_count=device_count,
        error_message=error_message,
        totals=totals,
        additional_info=messages.additional_info(is_dry_run=handle.is_dry_run),
        additional_data=handle.additional_data,
        now=now,
    )
    with writing(engine) as connection:
        is_done = stored_sessions.complete(
            connection,
            handle.guard,
            state,
            now=now,
            device_count=device_count,
            error_message=error_message,
        )
        if is_done:
            outbox.append_message(connection, message, milestone="100")
            _audit_end(connection, handle, state, now=now, error_message=error_message)
        else:
            _accept_only_if(connection, handle, state)
    return replace(handle, state=state)


@retried
def fail(
    engine: sa.Engine, handle: SessionHandle, *, now: datetime, error_message: str
) -> SessionHandle:
    """End a working session as FAILED and tell AMOP; does nothing if this run has done so before.

    The session keeps its last progress and remembers the state it failed in.

    Raises
    ------
    IllegalTransitionError
        If the session has ended otherwise.
    FencedOffError, SessionCancelledError
        If the session is not this run's any more.
    """
    with writing(engine) as connection:
        is_done = stored_sessions.stop(
            connection, handle.guard, SessionState.FAILED, now=now, error_message=error_message
        )
        if is_done:
            outbox.append_message(connection, _error(handle, error_message, now))
            _audit_end(
                connection, handle, SessionState.FAILED, now=now, error_message=error_message
            )
        else:
            _accept_only_if(connection, handle, SessionState.FAILED)
    return replace(handle, state=SessionState.FAILED)


@retried
def cancel(
    engine: sa.Engine,
    session: SessionHandle | int,
    *,
    now: datetime,
    reason: str,
    cancelled_by: Author | None = None,
) -> None:
    """End a working session as CANCELLED and tell AMOP (S9).

    Does nothing if the session is CANCELLED already.

    Parameters
    ----------
    session
        The handle of the run that works on it, which is fenced off like any other write; or the id
        of a session, which whoever may cancel it gives (``cancelled_by`` is required then).

    Raises
    ------
    InputError
        If there is no session of that id.
    IllegalTransitionError
        If the session has ended otherwise.
    FencedOffError
        If the session is not the run's any more.
    """
    with writing(engine) as connection:
        guard, stored = _cancellation_target(connection, session)
        author = _canceller(session, cancelled_by)
        if stored.state is SessionState.CANCELLED:
            return
        check_move(stored.state, SessionState.CANCELLED)
        is_done = stored_sessions.stop(
            connection, guard, SessionState.CANCELLED, now=now, error_message=reason
        )
        if not is_done:
            raise StorageError(
                f"session {stored.session_id} was changed by its run at this moment: cancel it again"
            )
        message = messages.error_message(
            session_id=stored.session_id,
            text=reason,
            additional_info=messages.additional_info(is_dry_run=stored.is_dry_run),
            additional_data=stored.additional_data,
            now=now,
        )
        outbox.append_message(connection, message)
        audit_trail.record(
            connection,
            "session.cancelled",
            stored,
            author=author,
            now=now,
            details={"reason": reason},
        )


def _cancellation_target(
    connection: sa.Connection, session: SessionHandle | int
) -> tuple[Guard, StoredSession]:
    """Find what a cancellation may change, by the rights of who asks."""
    session_id = session if isinstance(session, int) else session.session_id
    stored = stored_sessions.load_session(connection, session_id)
    if stored is None:
        raise InputError(f"there is no session {session_id}")
    if isinstance(session, int):
        guard = Guard(session_id=session_id, run_id=stored.run_id or "", attempt=stored.attempt)
        return guard, stored
    if stored.state is not SessionState.CANCELLED:
        check_ownership(stored, session)
    return session.guard, stored


def _canceller(session: SessionHandle | int, cancelled_by: Author | None) -> Author:
    if cancelled_by is not None:
        return cancelled_by
    if isinstance(session, int):
        msg = "whoever cancels a session by its id has to say who it is"
        raise ValueError(msg)  # noqa: TRY004 - a missing argument, not a wrong type
    return session.triggered_by


def _accept_only_if(connection: sa.Connection, handle: SessionHandle, state: SessionState) -> None:
    """Accept that nothing was changed only where the session has ended that way before."""
    stored = stored_sessions.load_session(connection, handle.session_id)
    if check_ownership(stored, handle).state is not state:
        refuse_move(connection, handle, state)


def _error(handle: SessionHandle, text: str, now: datetime) -> Message:
    return messages.error_message(
        session_id=handle.session_id,
        text=text,
        additional_info=messages.additional_info(is_dry_run=handle.is_dry_run),
        additional_data=handle.additional_data,
        now=now,
    )


def _audit_end(
    connection: sa.Connection,
    handle: SessionHandle,
    state: SessionState,
    *,
    now: datetime,
    error_message: str | None,
) -> None:
    details = None if error_message is None else {"error": error_message}
    audit_trail.record(
        connection,
        f"session.{state.value.lower()}",
        handle,
        author=handle.triggered_by,
        now=now,
        details=details,
    )
