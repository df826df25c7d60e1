"""What to do with the working session of a tenant when another run wants one (S2, S3).

- Its owner lives: the run is refused.
- Its owner is dead, and it is for the same provider and period and asks for the same result as the
  new run (:data:`RESULT_PARAMETERS`): the new run takes it over and continues it.
- Its owner is dead and it is for something else: it is marked FAILED and AMOP is told; then the new
  run opens its own session. Otherwise a run that died would block its tenant until somebody started
  the very same one again.

A run that takes a session over goes on with its own parameters. Its additional data replace the
session's if it has any: a scheduled run that continues a session which AMOP asked for echoes what
AMOP gave. Only a session that is continued by its id keeps the parameters it was begun with.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from core.amop import messages
from core.errors import SessionBusyError, StorageError
from core.sessions import audit_trail
from core.sessions.ownership import Owner, SessionHandle, describe_owner, shown_time, why_free
from core.sessions.parameters import RunRequest
from core.sessions.state import SessionState
from core.storage import outbox
from core.storage import sessions as stored_sessions
from core.storage.audit import Author
from core.storage.engine import writing
from core.storage.retry import retried
from core.storage.sessions import Guard, StoredSession

LOG = logging.getLogger(__name__)

RESULT_PARAMETERS = (
    "kind", "usage_basis", "charge_type", "skip_lower_cost_check", "dry_run", "has_synced",
    "full_sync", "rate_plan_sequences",
)  # fmt: skip
"""Parameters that decide what the result is. A run never continues a session in which they differ:
what the session has computed so far would be mixed with something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A run that wants a session.

    Attributes
    ----------
    tenant_id
        Tenant of the request's provider.
    author
        Who started the run, with its run id.
    is_alive
        Whether a process of that number runs on this machine.
    """

    request: RunRequest
    tenant_id: int
    owner: Owner
    author: Author
    now: datetime
    heartbeat_timeout: timedelta
    is_alive: Callable[[int], bool]

    def why_free(self, session: StoredSession) -> str | None:
        """Say why this run may take a working session; None if its owner lives."""
        return why_free(
            session,
            self.owner,
            now=self.now,
            heartbeat_timeout=self.heartbeat_timeout,
            is_alive=self.is_alive,
        )

    def wants(self, session: StoredSession) -> bool:
        """Whether the session does what this run is to do."""
        wanted = self.request.as_json()
        return (
            session.service_provider_id == self.request.service_provider_id
            and session.billing_period_id == self.request.billing_period_id
            and all(session.parameters.get(name) == wanted[name] for name in RESULT_PARAMETERS)
        )


@retried
def take_over_or_clear(engine: sa.Engine, run: Candidate) -> SessionHandle | None:
    """Deal with the tenant's working session.

    Returns
    -------
    SessionHandle | None
        The session, taken over; None if the way is free now, or something changed meanwhile: then
        the caller tries to insert its own again.

    Raises
    ------
    SessionBusyError
        If its owner lives.
    """
    with writing(engine) as connection:
        session = stored_sessions.load_working_session(connection, run.tenant_id)
        if session is None:
            return None
        reason = run.why_free(session)
        if reason is None:
            raise busy_error(session)
        if not run.wants(session):
            abandon(connection, run, session, reason)
            return None
        data = run.request.additional_data or session.additional_data
        return take_over(
            connection, run, session, reason, replace(run.request, additional_data=data)
        )


def take_over(
    connection: sa.Connection,
    run: Candidate,
    session: StoredSession,
    reason: str,
    request: RunRequest,
) -> SessionHandle | None:
    """Become the owner of a session; None if somebody else changed it meanwhile."""
    period_id = session.billing_period_id
    if period_id is None:
        raise StorageError(f"session {session.session_id} has no billing period to continue with")
    request = request.for_period(period_id)
    is_mine = stored_sessions.take_over(
        connection,
        session,
        run_id=run.owner.run_id,
        host=run.owner.host,
        pid=run.owner.pid,
        now=run.now,
        parameters=request.as_json(),
    )
    if not is_mine:
        return None
    told = (
        f"session {session.session_id} is taken over from {describe_owner(session)}, attempt "
        f"{session.attempt}, because {reason}; it was {session.state} and continues there"
    )
    handle = SessionHandle(
        session_id=session.session_id,
        session_guid=session.guid,
        tenant_id=session.tenant_id,
        service_provider_id=run.request.service_provider_id,
        billing_period_id=period_id,
        attempt=session.attempt + 1,
        owner=run.owner,
        state=session.state,
        request=request,
        triggered_by=run.author,
        taken_over_from=told,
    )
    details = {"told": told, "parameters": request.as_json()}
    audit_trail.record(
        connection, "session.taken_over", handle, author=run.author, now=run.now, details=details
    )
    return handle


def abandon(connection: sa.Connection, run: Candidate, session: StoredSession, reason: str) -> None:
    """Mark a dead session FAILED that the new run cannot continue, and tell AMOP."""
    is_mine = stored_sessions.take_over(
        connection,
        session,
        run_id=run.owner.run_id,
        host=run.owner.host,
        pid=run.owner.pid,
        now=run.now,
    )  # first: a run that is not quite dead after all is fenced off by it
    if not is_mine:
        return
    told = (
        f"session {session.session_id} was abandoned by {describe_owner(session)} while it was "
        f"{session.state}: {reason}. Start service provider {session.service_provider_id} again"
    )
    guard = Guard(
        session_id=session.session_id, run_id=run.owner.run_id, attempt=session.attempt + 1
    )
    stored_sessions.stop(connection, guard, SessionState.FAILED, now=run.now, error_message=told)
    message = messages.error_message(
        session_id=session.session_id,
        text=told,
        additional_info=messages.additional_info(is_dry_run=session.is_dry_run),
        additional_data=session.additional_data,
        now=run.now,
    )
    outbox.append_message(connection, message)
    audit_trail.record(
        connection,
        "session.abandoned",
        session,
        author=run.author,
        now=run.now,
        details={"told": told},
    )
    LOG.warning("%s", told)


def busy_error(session: StoredSession) -> SessionBusyError:
    """Make the error that names the session in the way and the remedy (S3)."""
    provider = f"{session.service_provider_name!r} (id {session.service_provider_id})"
    seen = "never" if session.heartbeat_at is None else shown_time(session.heartbeat_at)
    text = (
        f"tenant {session.tenant_name!r} (id {session.tenant_id}) is busy: session "
        f"{session.session_id} of service provider {provider}, billing period "
        f"{session.billing_period_id}, is {session.state}. It runs since "
        f"{shown_time(session.created_at)} as {describe_owner(session)}; last heartbeat: {seen}. "
        f"Wait until it has ended (`carrier-opt sessions show {session.session_id}`) or cancel that "
        "run, then start again"
    )
    return SessionBusyError(text, running_session_id=session.session_id)
