"""Who works on a session, whether that somebody lives, and what a run holds of its session (S2).

A session belongs to one run in one process. The run shows that it lives by a heartbeat; where the
process is on this machine, its process number tells sooner. A run whose session has been given to
another is *fenced off*: its writes change nothing and it is told so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NoReturn, Self

from core.errors import FencedOffError, SessionCancelledError, SessionError, StorageError
from core.sessions.parameters import RunRequest
from core.sessions.process import host_identity, host_name
from core.sessions.state import SessionState, check_move
from core.storage.audit import Author
from core.storage.sessions import Guard, StoredSession, load_session

if TYPE_CHECKING:
    import sqlalchemy as sa

HEARTBEAT_TIMEOUT = timedelta(seconds=60)
"""Silence after which a session may be taken over (S2). Clocks of machines that share a database
have to agree within much less, as they do with time synchronisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A run in a process.

    Attributes
    ----------
    run_id
        Id of the flow run.
    host
        Where the process number means something, see :func:`core.sessions.process.host_identity`.
    """

    run_id: str
    host: str
    pid: int

    @classmethod
    def of_this_process(cls, run_id: str) -> Self:
        """Make the owner that stands for a run in this process."""
        return cls(run_id=run_id, host=host_identity(), pid=os.getpid())


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionHandle:
    """What a run knows of the session it works on; the database is the truth.

    Attributes
    ----------
    session_id, session_guid
        The session's number and its global name.
    attempt
        1 for a new session, one more each time it is taken over.
    state
        State when the handle was made.
    request
        What the session does, with its billing period. It differs from the request it was opened
        with only where a session is continued by its id: then what it was begun with counts.
    triggered_by
        Who started this run, for the audit log (D5).
    taken_over_from
        None for a new session; else who had it before, why it was free, and where it stood.
    """

    session_id: int
    session_guid: str
    tenant_id: int
    service_provider_id: int
    billing_period_id: int
    attempt: int
    owner: Owner
    state: SessionState
    request: RunRequest
    triggered_by: Author
    taken_over_from: str | None = None

    @property
    def additional_data(self) -> dict[str, object]:
        """The object that every AMOP message of the session echoes (A1)."""
        return self.request.additional_data

    @property
    def guard(self) -> Guard:
        """What every write of this run carries."""
        return Guard(session_id=self.session_id, run_id=self.owner.run_id, attempt=self.attempt)

    @property
    def is_dry_run(self) -> bool:
        """Whether the session changes and mails nothing (S4)."""
        return self.request.dry_run


def why_free(
    session: StoredSession,
    candidate: Owner,
    *,
    now: datetime,
    heartbeat_timeout: timedelta,
    is_alive: Callable[[int], bool],
) -> str | None:
    """Say why a working session may be taken over; None if its owner lives.

    It may if its heartbeat is older than the timeout, if its process is gone from this machine, or
    if it is this very run in this very process that asks (a run cannot be at two places in itself).
    """
    if session.heartbeat_at is None:
        return "it has no owner"
    if session.host == candidate.host and session.pid is not None:
        if not is_alive(session.pid):
            return f"its process {session.pid} on {host_name(session.host)} is gone"
        if session.pid == candidate.pid and session.run_id == candidate.run_id:
            return "the same run started it"
    if now - session.heartbeat_at > heartbeat_timeout:
        return (
            f"its last heartbeat was at {shown_time(session.heartbeat_at)}, "
            f"more than {heartbeat_timeout.total_seconds():g} s ago"
        )
    return None


def check_ownership(session: StoredSession | None, handle: SessionHandle) -> StoredSession:
    """Return the session if it still belongs to the run that holds the handle.

    Raises
    ------
    FencedOffError
        If another run has taken it over.
    SessionCancelledError
        If it was cancelled.
    SessionError
        If there is no such session any more.
    """
    if session is None:
        raise SessionError(f"session {handle.session_id} is not in the database any more")
    if (session.run_id, session.attempt) != (handle.owner.run_id, handle.attempt):
        raise FencedOffError(
            f"session {handle.session_id} was taken from this run ({handle.owner.run_id}, attempt "
            f"{handle.attempt}) and belongs to {describe_owner(session)}, attempt "
            f"{session.attempt}; it is {session.state}. This run must end; nothing it writes counts"
        )
    if session.state is SessionState.CANCELLED:
        raise SessionCancelledError(
            f"session {handle.session_id} was cancelled: {session.error_message}"
        )
    return session


def refuse_move(
    connection: sa.Connection, handle: SessionHandle, to_state: SessionState
) -> NoReturn:
    """Say why a guarded update towards ``to_state`` found no row.

    Raises
    ------
    IllegalTransitionError
        If the session is this run's and in a state that ``to_state`` may not follow.
    FencedOffError, SessionCancelledError, SessionError
        As :func:`check_ownership`.
    """
    stored = check_ownership(load_session(connection, handle.session_id), handle)
    check_move(stored.state, to_state)
    raise StorageError(
        f"session {handle.session_id} could not become {to_state} although nothing forbids it"
    )


def describe_owner(session: StoredSession) -> str:
    """Name the owner of a session for people."""
    where = "" if session.host is None else f" on {host_name(session.host)}"
    return f"run {session.run_id} (process {session.pid}{where})"


def shown_time(moment: datetime) -> str:
    """Write a moment as people read it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
