"""Which flow run this is, and who started it."""

from __future__ import annotations

from prefect.context import FlowRunContext

from core.sessions.lifecycle import Author


def this_run() -> tuple[str, Author]:
    """Tell this flow run's id, and who started it.

    Raises
    ------
    RuntimeError
        Outside a flow run.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        msg = "this runs as a Prefect flow"
        raise RuntimeError(msg)
    run = context.flow_run
    source = "cron" if run.auto_scheduled else "api" if run.deployment_id else "cli"
    created_by = run.created_by.display_value if run.created_by else None
    return str(run.id), Author(actor=created_by or source, source=source, run_id=str(run.id))
