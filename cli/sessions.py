"""``carrier-opt sessions``: what ran, how it ended, and what AMOP 2.0 was told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.database import AsJson, Database, open_current, table_text
from core.errors import InputError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from core.storage.audit import AuditEvent
    from core.storage.outbox import OutboxMessage
    from core.storage.sessions import StoredSession

app = typer.Typer(help="Shows optimisation sessions.", no_args_is_help=True)


@app.command("list")
def list_command(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant: name or id.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="Only this service provider: name or id.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Newest sessions to show.")] = 50,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """List sessions, newest first."""
    from core.storage.catalogue import find_provider
    from core.storage.engine import reading
    from core.storage.sessions import list_sessions

    with open_current(database) as engine:
        provider_id = None if provider is None else find_provider(engine, provider).id
        tenant_id = None if tenant is None else _find_tenant(engine, tenant)
        with reading(engine) as connection:
            found = list_sessions(
                connection, tenant_id=tenant_id, service_provider_id=provider_id, limit=limit
            )
    if as_json:
        typer.echo(json.dumps([_summary(session) for session in found], indent=2))
    elif found:
        typer.echo(table_text([_LIST_HEADER, *(_list_row(session) for session in found)]))
    else:
        typer.echo("no sessions")


@app.command("show")
def show_command(
    session_id: Annotated[int, typer.Argument(metavar="ID", help="Number of the session.")],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Show one session: its state, parameters, AMOP messages and audit events."""
    from core.storage.audit import load_events
    from core.storage.engine import reading
    from core.storage.outbox import load_messages
    from core.storage.sessions import load_session

    with open_current(database) as engine:
        with reading(engine) as connection:
            session = load_session(connection, session_id)
            messages = load_messages(connection, session_id)
        events = load_events(engine, session_id)
    if session is None:
        msg = f"there is no session {session_id}; `carrier-opt sessions list` shows those there are"
        raise InputError(msg)
    if as_json:
        shown = {
            **_summary(session),
            "parameters": dict(session.parameters),
            "messages": [_message(message) for message in messages],
            "events": [_event(event) for event in events],
        }
        typer.echo(json.dumps(shown, indent=2))
        return
    typer.echo(table_text([(f"{name}:", value) for name, value in _summary(session).items()]))
    typer.echo("\nparameters: " + json.dumps(session.parameters))
    typer.echo("\nAMOP messages:")
    typer.echo(table_text([_MESSAGE_HEADER, *(_message_row(message) for message in messages)]))
    typer.echo("\nevents:")
    typer.echo(table_text([_EVENT_HEADER, *(_event_row(event) for event in events)]))


def _find_tenant(engine: sa.Engine, name_or_id: str) -> int:
    import sqlalchemy as sa

    from core.storage.engine import reading
    from core.storage.schema import tenant

    with reading(engine) as connection:
        known = connection.execute(sa.select(tenant.c.Id, tenant.c.Name).order_by(tenant.c.Id))
        names: dict[int, str] = {row.Id: row.Name for row in known}
    found = [key for key, name in names.items() if name_or_id in (str(key), name)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{key} {name!r}" for key, name in names.items()) or "none yet"
    raise InputError(f"tenant {name_or_id!r} is unknown or not the only one; known: {listed}")


def _summary(session: StoredSession) -> dict[str, object]:
    return {
        "id": session.session_id,
        "guid": session.guid,
        "tenant": session.tenant_name,
        "tenant_id": session.tenant_id,
        "provider": session.service_provider_name,
        "provider_id": session.service_provider_id,
        "billing_period_id": session.billing_period_id,
        "kind": session.kind.value,
        "dry_run": session.is_dry_run,
        "state": session.state.value,
        "failed_in": None if session.failed_in is None else session.failed_in.value,
        "progress": session.progress,
        "devices": session.device_count,
        "error_message": session.error_message,
        "triggered_by": session.triggered_by,
        "run_id": session.run_id,
        "host": session.host,
        "pid": session.pid,
        "attempt": session.attempt,
        "started_at": _iso(session.created_at),
        "heartbeat_at": _iso(session.heartbeat_at),
        "completed_at": _iso(session.completed_at),
        "results_purged_at": _iso(session.results_purged_at),
    }


_LIST_HEADER = ("ID", "STATE", "%", "DEVICES", "PROVIDER", "TENANT", "STARTED", "ENDED", "BY")


def _list_row(session: StoredSession) -> tuple[str, ...]:
    state = f"{session.state} (dry run)" if session.is_dry_run else str(session.state)
    if session.results_purged_at is not None:
        state += " (results purged)"
    return (
        str(session.session_id),
        state,
        str(session.progress),
        str(session.device_count),
        session.service_provider_name or "",
        session.tenant_name,
        _minute(session.created_at),
        _minute(session.completed_at),
        session.triggered_by,
    )


def _message(message: OutboxMessage) -> dict[str, object]:
    return {
        "sequence": message.sequence,
        "message_id": message.message_id,
        "type": message.type.value,
        "progress": message.progress,
        "created_at": _iso(message.created_at),
        "sent_at": _iso(message.sent_at),
        "attempts": message.attempts,
        "parked_at": _iso(message.parked_at),
        "last_error": message.last_error,
    }


_MESSAGE_HEADER = ("NO", "TYPE", "%", "CREATED", "SENT", "ATTEMPTS", "LAST ERROR")


def _message_row(message: OutboxMessage) -> tuple[str, ...]:
    sent = "parked" if message.parked_at is not None else _second(message.sent_at) or "waiting"
    return (
        str(message.sequence),
        message.type.value,
        str(message.progress),
        _second(message.created_at),
        sent,
        str(message.attempts),
        message.last_error or "",
    )


def _event(event: AuditEvent) -> dict[str, object]:
    return {
        "occurred_at": _iso(event.occurred_at),
        "action": event.action,
        "actor": event.actor,
        "source": event.source,
        "run_id": event.run_id,
        "details": None if event.details is None else dict(event.details),
    }


_EVENT_HEADER = ("WHEN", "WHAT", "WHO", "FROM", "RUN")


def _event_row(event: AuditEvent) -> tuple[str, ...]:
    when = _second(event.occurred_at)
    return (when, event.action, event.actor, event.source, event.run_id or "")


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%MZ}"


def _second(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
