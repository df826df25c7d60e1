"""Tells AMOP about runs that got no session: wrong parameters, or a busy tenant (S3, S4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun

from core import bootstrap
from core.errors import CarrierOptError
from core.sessions.lifecycle import Author, refuse
from core.settings import load_settings
from core.storage.audit import has_events
from tasks.session import utc_now

if TYPE_CHECKING:
    import sqlalchemy as sa

WAIT_S = 10.0


def tell_refusal(
    engine: sa.Engine, error: Exception, flow_run_id: str, author: Author, additional_data: object
) -> None:
    """Record the ErrorMessage of a refused run."""
    refuse(
        engine,
        error_message=str(error),
        flow_run_id=flow_run_id,
        additional_data=additional_data,
        triggered_by=author,
        now=utc_now(),
    )


def tell_unstarted(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 - Prefect names the arguments
    """Tell AMOP of a run that ended before the flow could (hook on failure and crash).

    Prefect refuses parameters of the wrong type or name by itself; a process may die while it
    starts. A run that opened a session, or was refused by the flow, has an audit event.
    """
    settings = load_settings()
    engine = bootstrap.open_database(settings)
    if has_events(engine, str(flow_run.id)):
        return
    error = CarrierOptError(state.message or f"the flow run ended as {state.name}")
    author = Author(actor="flow run", source="api" if flow_run.deployment_id else "cli")
    with bootstrap.outbox_sender(engine, settings) as sender:
        additional_data = flow_run.parameters.get("additional_data")
        tell_refusal(engine, error, str(flow_run.id), author, additional_data)
        sender.drain(WAIT_S)
