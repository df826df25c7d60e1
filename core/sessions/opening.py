"""How a run gets its session: a new one, one whose run died, or a refusal (S2, S3).

A tenant has at most one working session. That is decided by a unique index and not by looking
first: a run tries to insert its session, and only if that fails it looks at the one in its way.
What is done about it is :mod:`core.sessions.takeover`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import sqlalchemy as sa

from core.amop import messages
from core.errors import InputError, SessionError, StorageError
from core.sessions import audit_trail
from core.sessions.ownership import (
    HEARTBEAT_TIMEOUT,
    Owner,
    SessionHandle,
)
from core.sessions.parameters import RunRequest, echoable, restore_request
from core.sessions.process import is_process_alive
from core.sessions.state import SessionState
from core.sessions.takeover import Candidate, busy_error, take_over, take_over_or_clear
from core.storage import audit, outbox
from core.storage import sessions as stored_sessions
from core.storage.audit import Author
from core.storage.engine import writing
from core.storage.retry import retried
from core.storage.sessions import NewSession, StoredSession

_TRIES = 5
"""How often a session that vanished between two looks at it is looked for again."""


def open_session(
    engine: sa.Engine,
    request: RunRequest,
    *,
    tenant_id: int,
    owner: Owner,
    triggered_by: Author,
    now: datetime,
    is_process_alive: Callable[[int], bool] = is_process_alive,
    heartbeat_timeout: timedelta = HEARTBEAT_TIMEOUT,
) -> SessionHandle:
    """Get a session for a run: insert one, take over one whose run died, or refuse.

    Parameters
    ----------
    request
        What the run is to do, with its billing period.
    tenant_id
        Tenant of the provider.
    is_process_alive
        Whether a process of that number runs on this machine.
    heartbeat_timeout
        Silence after which an owner counts as dead.

    Returns
    -------
    SessionHandle
        In state PENDING, with progress 0 told to AMOP; or, taken over, in the state where its run
        died. Then ``taken_over_from`` says from whom, and stages are entered with
        :func:`core.sessions.lifecycle.enter`.

    Raises
    ------
    SessionBusyError
        If a session of the tenant runs; the message names it and the remedy.
    InputError
        If the provider is not the tenant's, or the session to continue is unknown or another
        provider's.
    SessionError
        If the session to continue is over.
    StorageError
        If the session cannot be stored, as for an unknown provider or period.
    """
    if request.tenant_id not in (None, tenant_id):
        raise InputError(
            f"tenant_id is {request.tenant_id}, but service provider "
            f"{request.service_provider_id} belongs to tenant {tenant_id}; correct one of the two"
        )
    candidate = Candidate(
        request=request,
        tenant_id=tenant_id,
        owner=owner,
        author=replace(triggered_by, run_id=owner.run_id),
        now=now,
        heartbeat_timeout=heartbeat_timeout,
        is_alive=is_process_alive,
    )
    if request.optimization_session_id is not None:
        return _continue_session(engine, candidate, request.optimization_session_id)
    if request.billing_period_id is None:
        msg = "the request has no billing period: look up the current one before"
        raise ValueError(msg)
    for _ in range(_TRIES):
        try:
            return _insert(engine, candidate, request.billing_period_id)
        except sa.exc.IntegrityError as exc:
            in_the_way = exc
        taken_over = take_over_or_clear(engine, candidate)
        if taken_over is not None:
            return taken_over
    raise StorageError(
        f"no session can be stored for service provider {request.service_provider_id}, billing "
        f"period {request.billing_period_id} and tenant {tenant_id}: check that all three exist"
    ) from in_the_way


@retried
def refuse(
    engine: sa.Engine,
    *,
    error_message: str,
    flow_run_id: str,
    additional_data: object,
    triggered_by: Author,
    now: datetime,
    tenant_id: int | None = None,
    service_provider_id: int | None = None,
) -> None:
    """Tell AMOP that a run got no session: wrong parameters, or a busy tenant (S3, S4).

    Parameters
    ----------
    flow_run_id
        Goes to ``additionalInfo``, since there is no session to name.
    additional_data
        As the caller gave it; echoed if it is a JSON object.
    """
    message = messages.error_message(
        session_id=None,
        text=error_message,
        additional_info=f"flow run {flow_run_id}",
        additional_data=echoable(additional_data),
        now=now,
    )
    event = audit.AuditEvent(
        occurred_at=now,
        actor=triggered_by.actor,
        source=triggered_by.source,
        action="session.refused",
        subject=f"flow run {flow_run_id}",
        tenant_id=tenant_id,
        service_provider_id=service_provider_id,
        run_id=flow_run_id,
        details={"error": error_message},
    )
    with writing(engine) as connection:
        outbox.append_message(connection, message)
        audit.append(connection, event)


@retried
def _insert(engine: sa.Engine, run: Candidate, billing_period_id: int) -> SessionHandle:
    """Store a new session together with its first message."""
    guid = str(uuid4())
    new = NewSession(
        guid=guid,
        tenant_id=run.tenant_id,
        service_provider_id=run.request.service_provider_id,
        billing_period_id=billing_period_id,
        kind=run.request.kind,
        parameters=run.request.as_json(),
        triggered_by=f"{run.author.source}:{run.author.actor}",
        is_dry_run=run.request.dry_run,
        run_id=run.owner.run_id,
        host=run.owner.host,
        pid=run.owner.pid,
        now=run.now,
    )
    with writing(engine) as connection:
        session_id = stored_sessions.insert_session(connection, new)
        message = messages.progress_message(
            session_id=session_id,
            session_guid=guid,
            device_count=0,
            progress=0,
            additional_info=messages.additional_info(is_dry_run=run.request.dry_run),
            additional_data=run.request.additional_data,
            now=run.now,
        )
        outbox.append_message(connection, message, milestone="0")
        handle = SessionHandle(
            session_id=session_id,
            session_guid=guid,
            tenant_id=run.tenant_id,
            service_provider_id=run.request.service_provider_id,
            billing_period_id=billing_period_id,
            attempt=1,
            owner=run.owner,
            state=SessionState.PENDING,
            request=run.request,
            triggered_by=run.author,
        )
        audit_trail.record(
            connection,
            "session.opened",
            handle,
            author=run.author,
            now=run.now,
            details=run.request.as_json(),
        )
    return handle


@retried
def _continue_session(engine: sa.Engine, run: Candidate, session_id: int) -> SessionHandle:
    """Take over the session that the request names."""
    with writing(engine) as connection:
        found = stored_sessions.load_session(connection, session_id)
        session = _continuable(found, run, session_id)
        reason = run.why_free(session)
        if reason is None:
            raise busy_error(session)
        stored = restore_request(session.parameters)
        data = run.request.additional_data or stored.additional_data
        handle = take_over(connection, run, session, reason, replace(stored, additional_data=data))
    if handle is None:
        raise SessionError(f"session {session_id} was changed by another run at this moment")
    return handle


def _continuable(session: StoredSession | None, run: Candidate, session_id: int) -> StoredSession:
    """Return the session to continue, or refuse it in words."""
    if session is None or session.tenant_id != run.tenant_id:
        raise InputError(
            f"optimization_session_id is {session_id}: tenant {run.tenant_id} has no such session; "
            "`carrier-opt sessions list` shows those there are"
        )
    for name, wanted, found in (
        ("service_provider_id", run.request.service_provider_id, session.service_provider_id),
        ("billing_period_id", run.request.billing_period_id, session.billing_period_id),
    ):
        if wanted is not None and wanted != found:
            raise InputError(
                f"{name} is {wanted}, but session {session_id} has {found}; correct one of the two"
            )
    if session.results_purged_at is not None:
        raise SessionError(
            f"session {session_id} is {session.state} and cannot be continued: its results were purged "
            f"on {session.results_purged_at:%Y-%m-%d}; leave optimization_session_id out to start a new "
            "one"
        )
    if not session.state.is_working:
        raise SessionError(
            f"session {session_id} is {session.state} and cannot be continued: only a session whose "
            "run died while it worked can; leave optimization_session_id out to start a new one"
        )
    return session
