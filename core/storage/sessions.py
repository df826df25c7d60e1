"""Session rows: every change is one guarded UPDATE (S2, S3).

A run that works on a session holds a :class:`Guard`: its run id and the attempt it opened or took
the session over with. Every write of it carries the guard, so that the write of an owner who has
been replaced meanwhile changes nothing. What to do about that is not decided here but in
:mod:`core.sessions`; functions that change a row say whether they did.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from core.domain import Portal
from core.sessions.state import WORKING_STATES, SessionState
from core.storage.engine import dialect_of
from core.storage.schema import optimization_session, service_provider, tenant

_SESSION = optimization_session.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What a row must hold for a write to take effect.

    Attributes
    ----------
    run_id, attempt
        Owner of the session and how often it has been opened or taken over, from 1.
    """

    session_id: int
    run_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """What a session is opened with."""

    guid: str
    tenant_id: int
    service_provider_id: int
    billing_period_id: int
    kind: Portal
    parameters: Mapping[str, object]
    triggered_by: str
    is_dry_run: bool
    run_id: str
    host: str
    pid: int
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """A session as the database holds it; times are aware UTC.

    Attributes
    ----------
    progress
        Percent last told to AMOP 2.0 while the session worked; 100 once it is completed.
    failed_in
        The state it was in when it failed or was cancelled.
    heartbeat_at
        When its owner last showed that it lives.
    results_purged_at
        Since when its results are gone (R5); None: they are there, as far as it got.
    """

    session_id: int
    guid: str
    tenant_id: int
    tenant_name: str
    service_provider_id: int | None
    service_provider_name: str | None
    billing_period_id: int | None
    kind: Portal
    state: SessionState
    progress: int
    device_count: int
    error_message: str | None
    failed_in: SessionState | None
    parameters: Mapping[str, Any]
    triggered_by: str
    is_dry_run: bool
    run_id: str | None
    host: str | None
    pid: int | None
    attempt: int
    heartbeat_at: datetime | None
    created_at: datetime
    completed_at: datetime | None
    results_purged_at: datetime | None

    @property
    def additional_data(self) -> dict[str, object]:
        """The object that every AMOP message of the session echoes (A1)."""
        return dict(self.parameters.get("additional_data") or {})


def insert_session(connection: sa.Connection, new: NewSession) -> int:
    """Store a new session in state PENDING and return its id.

    Raises
    ------
    sqlalchemy.exc.IntegrityError
        If the tenant has a working session already (S3), or tenant, provider or period are unknown.
    """
    inserted = connection.execute(
        optimization_session.insert().values(
            SessionId=new.guid,
            TenantId=new.tenant_id,
            ServiceProviderId=new.service_provider_id,
            BillingPeriodId=new.billing_period_id,
            Kind=new.kind.value,
            State=SessionState.PENDING.value,
            Parameters=json.dumps(new.parameters),
            TriggeredBy=new.triggered_by,
            IsDryRun=new.is_dry_run,
            OwnerRunId=new.run_id,
            OwnerHost=new.host,
            OwnerPid=new.pid,
            Attempt=1,
            HeartbeatAt=new.now,
            CreatedBy=new.triggered_by,
            CreatedDate=new.now,
        )
    ).inserted_primary_key
    if inserted is None:
        msg = "the database did not tell the id of the new session"
        raise RuntimeError(msg)
    return int(inserted[0])


def load_session(
    connection: sa.Connection, session_id: int, *, is_held: bool = False
) -> StoredSession | None:
    """Read one session; None if there is none of that id.

    Parameters
    ----------
    is_held
        Whether nobody may change it until the transaction ends.
    """
    statement = _select().where(_SESSION.Id == session_id)
    if is_held:
        statement = dialect_of(connection).held(statement, optimization_session)
    row = connection.execute(statement).mappings().one_or_none()
    return None if row is None else _stored(row)


def load_working_session(connection: sa.Connection, tenant_id: int) -> StoredSession | None:
    """Read the session that keeps a tenant busy; None if the tenant is free (S3)."""
    row = (
        connection.execute(_select().where(_SESSION.TenantId == tenant_id, _is_in(WORKING_STATES)))
        .mappings()
        .one_or_none()
    )
    return None if row is None else _stored(row)


def list_sessions(
    connection: sa.Connection,
    *,
    tenant_id: int | None = None,
    service_provider_id: int | None = None,
    limit: int | None = None,
) -> list[StoredSession]:
    """Read sessions, newest first, of one tenant or provider or of all."""
    query = _select().where(_SESSION.IsDeleted == sa.false())
    if tenant_id is not None:
        query = query.where(_SESSION.TenantId == tenant_id)
    if service_provider_id is not None:
        query = query.where(_SESSION.ServiceProviderId == service_provider_id)
    rows = connection.execute(query.order_by(_SESSION.Id.desc()).limit(limit)).mappings()
    return [_stored(row) for row in rows]


def touch(
    connection: sa.Connection, guard: Guard, *, now: datetime, device_count: int | None = None
) -> bool:
    """Show that the owner lives, and optionally store the number of SIMs; only while it works."""
    values: dict[str, object] = {"HeartbeatAt": now}
    if device_count is not None:
        values["DeviceCount"] = device_count
    return _update(connection, _owned(guard), _is_in(WORKING_STATES), **values)


def move(
    connection: sa.Connection,
    guard: Guard,
    to_state: SessionState,
    *,
    from_states: Iterable[SessionState],
    now: datetime,
    device_count: int | None = None,
) -> bool:
    """Bring a session into another working state."""
    values: dict[str, object] = {"State": to_state.value, "HeartbeatAt": now}
    if device_count is not None:
        values["DeviceCount"] = device_count
    return _update(connection, _owned(guard), _is_in(from_states), **values)


def raise_progress(connection: sa.Connection, guard: Guard, progress: int) -> bool:
    """Store a progress that is higher than the stored one; it never decreases (A2)."""
    return _update(connection, _owned(guard), _SESSION.Progress < progress, Progress=progress)


def complete(
    connection: sa.Connection,
    guard: Guard,
    to_state: SessionState,
    *,
    now: datetime,
    device_count: int,
    error_message: str | None,
) -> bool:
    """End a session that is FINALISING with a result."""
    return _update(
        connection,
        _owned(guard),
        _SESSION.State == SessionState.FINALISING.value,
        State=to_state.value,
        Progress=100,
        DeviceCount=device_count,
        ErrorMessage=error_message,
        HeartbeatAt=now,
        CompletedDate=now,
    )


def stop(
    connection: sa.Connection,
    guard: Guard,
    to_state: SessionState,
    *,
    now: datetime,
    error_message: str,
) -> bool:
    """End a working session without a result: FAILED or CANCELLED; its progress stays."""
    return _update(
        connection,
        _owned(guard),
        _is_in(WORKING_STATES),
        State=to_state.value,
        FailedInState=_SESSION.State,  # the state before this update
        ErrorMessage=error_message,
        CompletedDate=now,
    )


def take_over(
    connection: sa.Connection,
    seen: StoredSession,
    *,
    run_id: str,
    host: str,
    pid: int,
    now: datetime,
    parameters: Mapping[str, object] | None = None,
) -> bool:
    """Replace the owner of a working session by one with the next attempt.

    It fails if anybody changed the session since ``seen`` was read: another owner, or a heartbeat of
    the old one, who then lives.

    Parameters
    ----------
    parameters
        What the session goes on with; None: what it was opened with.
    """
    values: dict[str, object] = {
        "OwnerRunId": run_id,
        "OwnerHost": host,
        "OwnerPid": pid,
        "Attempt": seen.attempt + 1,
        "HeartbeatAt": now,
    }
    if parameters is not None:
        values["Parameters"] = json.dumps(parameters)
    is_unchanged = (
        _SESSION.HeartbeatAt.is_(None)
        if seen.heartbeat_at is None
        else _SESSION.HeartbeatAt <= seen.heartbeat_at
    )
    return _update(
        connection,
        _SESSION.Id == seen.session_id,
        _SESSION.Attempt == seen.attempt,
        is_unchanged,
        _is_in(WORKING_STATES),
        **values,
    )


def _owned(guard: Guard) -> sa.ColumnElement[bool]:
    return sa.and_(
        _SESSION.Id == guard.session_id,
        _SESSION.OwnerRunId == guard.run_id,
        _SESSION.Attempt == guard.attempt,
    )


def _is_in(states: Iterable[SessionState]) -> sa.ColumnElement[bool]:
    return _SESSION.State.in_([state.value for state in states])


def _update(
    connection: sa.Connection, *conditions: sa.ColumnElement[bool], **values: object
) -> bool:
    """Whether the one guarded UPDATE found its row."""
    statement = optimization_session.update().where(*conditions).values(**values)
    return connection.execute(statement).rowcount == 1


def _select() -> sa.Select[Any]:
    joined = optimization_session.join(tenant).outerjoin(
        service_provider, _SESSION.ServiceProviderId == service_provider.c.Id
    )
    return sa.select(
        optimization_session,
        tenant.c.Name.label("TenantName"),
        service_provider.c.Name.label("ServiceProviderName"),
    ).select_from(joined)


def _stored(row: sa.RowMapping) -> StoredSession:
    failed_in = row["FailedInState"]
    return StoredSession(
        session_id=row["Id"],
        guid=row["SessionId"],
        tenant_id=row["TenantId"],
        tenant_name=row["TenantName"],
        service_provider_id=row["ServiceProviderId"],
        service_provider_name=row["ServiceProviderName"],
        billing_period_id=row["BillingPeriodId"],
        kind=Portal(row["Kind"]),
        state=SessionState(row["State"]),
        progress=row["Progress"],
        device_count=row["DeviceCount"],
        error_message=row["ErrorMessage"],
        failed_in=None if failed_in is None else SessionState(failed_in),
        parameters=json.loads(row["Parameters"]),
        triggered_by=row["TriggeredBy"],
        is_dry_run=row["IsDryRun"],
        run_id=row["OwnerRunId"],
        host=row["OwnerHost"],
        pid=row["OwnerPid"],
        attempt=row["Attempt"],
        heartbeat_at=row["HeartbeatAt"],
        created_at=row["CreatedDate"],
        completed_at=row["CompletedDate"],
        results_purged_at=row["ResultsPurgedDate"],
    )
