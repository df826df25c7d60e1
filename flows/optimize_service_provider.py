"""Flow `optimize-service-provider`: one optimisation of one provider for one billing period.

What happens in which order; the stages are flows of their own, the work is in the tasks.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed
from pydantic import BaseModel, Field

from core import bootstrap
from core.domain import ChargeType, Portal, UsageBasis
from core.errors import InputError, SessionBusyError
from core.sessions.lifecycle import Author, RunRequest, SessionState, parse_parameters
from core.settings import load_settings
from core.stages.schedule import find_target, scheduled_start
from core.stages.session import load_context
from flows.finalize_session import finalize_session
from flows.generate_sequences import generate_sequences
from flows.group_devices import group_devices
from flows.optimize_batches import optimize_batches
from flows.refusal import tell_refusal, tell_wrong_types
from flows.sync_devices import sync_devices
from tasks.session import SessionRun, session_run

LOG = logging.getLogger(__name__)

MESSAGE_TIMEOUT_S = 10.0
"""Time that a finished run gives its last messages; what is left goes out with the next run."""


class Override(BaseModel):
    """Permission to run although a rule forbids it (S1)."""

    token_id: str = Field(description="Id of a one-time token; never the token itself.")
    reason: str = Field(description="Why the rule does not apply; kept in the audit log.")


@flow(
    name="optimize-service-provider",
    flow_run_name="optimize-provider-{service_provider_id}",
    on_failure=[tell_wrong_types],
)
def optimize_service_provider(
    service_provider_id: Annotated[
        int, Field(ge=1, description="The carrier account to optimise.")
    ],
    billing_period_id: Annotated[
        int | None, Field(description="Billing period; empty: the one that holds today.")
    ] = None,
    tenant_id: Annotated[
        int | None, Field(description="Refuse to run if the provider is not this tenant's.")
    ] = None,
    optimization_session_id: Annotated[
        int | None, Field(description="Continue this session, whose run died.")
    ] = None,
    kind: Annotated[Portal, Field(description="Kind of optimisation.")] = Portal.M2M,
    customer_id: Annotated[
        int | None, Field(description="Customer, for the kind customer.")
    ] = None,
    has_synced: Annotated[
        bool, Field(description="The devices are synchronised already: skip it.")
    ] = False,
    full_sync: Annotated[
        bool | None, Field(description="Read the whole account again; empty: as needed.")
    ] = None,
    usage_basis: Annotated[
        UsageBasis | None, Field(description="Usage so far, or expected at cycle end.")
    ] = None,
    charge_type: Annotated[
        ChargeType, Field(description="Charges to minimise.")
    ] = ChargeType.RATE_AND_OVERAGE,
    skip_lower_cost_check: Annotated[
        bool, Field(description="Accept the best changed assignment even if it saves nothing.")
    ] = False,
    rate_plan_sequences: Annotated[
        list[list[str]] | None, Field(description="Sequences of plan codes to use instead.")
    ] = None,
    apply_changes: Annotated[
        bool | None, Field(description="Apply the changes; empty: the provider's policy.")
    ] = None,
    dry_run: Annotated[
        bool, Field(description="Optimise and report, marked DRY RUN; change nothing outside.")
    ] = False,
    override: Annotated[Override | None, Field(description="Lift a rule, with a token.")] = None,
    additional_data: Annotated[
        dict[str, Any] | None, Field(description="Echoed unchanged in every AMOP message.")
    ] = None,
) -> dict[str, Any] | State[Any]:
    """Fetch a provider's SIMs, find the cheapest plans, report, and tell AMOP 2.0.

    Returns what the session ended with: ids, state, totals, and the folder of the reports.
    """
    parameters = {name: value for name, value in locals().items() if value is not None}
    run, author = _this_run()
    settings = load_settings()
    engine = bootstrap.open_database(settings)
    with ExitStack() as stack:
        sender = stack.enter_context(bootstrap.outbox_sender(engine, settings))
        stack.callback(sender.drain, MESSAGE_TIMEOUT_S)
        try:
            request = parse_parameters(**parameters)
            provider, period = find_target(engine, request)
            request = request.for_period(period.id)
            start = stack.enter_context(
                scheduled_start(
                    engine,
                    provider,
                    period,
                    is_scheduled=author.source == "cron",
                    run_id=run,
                    window_days=settings.window_days,
                )
            )
            if not start.is_due:
                return Completed(name="NotDue", message=start.reason)
            # The heartbeat of this run stands for its subflows, which would wait a second each.
            stack.enter_context(temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}))
            session = stack.enter_context(
                session_run(
                    engine,
                    settings,
                    sender,
                    request,
                    tenant_id=provider.tenant_id,
                    flow_run_id=run,
                    author=author,
                    on_stop=_finalize_stopped,
                )
            )
        except (InputError, SessionBusyError) as error:
            tell_refusal(engine, error, run, author, additional_data)
            raise
        start.bind(session.session_id)
        return _optimise(session, request)


def _optimise(session: SessionRun, request: RunRequest) -> dict[str, Any]:
    """Take a session from its first to its last state; what an earlier attempt finished is kept."""
    session_id, attempt = session.session_id, session.handle.attempt
    instance = load_context(session.engine, session_id, attempt).instance
    is_grouped = instance is not None and instance.grouped_at is not None
    is_sequenced = instance is not None and instance.sequenced_at is not None
    is_published = instance is not None and instance.published_at is not None

    session.enter(SessionState.SYNCING)
    if not (request.has_synced or is_grouped):
        session.devices = sync_devices(session_id, attempt).devices
    session.enter(SessionState.GROUPING, milestone=20)
    if not is_grouped:
        session.devices = group_devices(session_id, attempt).devices
    session.enter(SessionState.SEQUENCING, milestone=30)
    if not is_sequenced:
        generate_sequences(session_id, attempt)
    session.enter(SessionState.OPTIMISING, milestone=40)
    session.report(50)

    def on_progress(finished: int, units: int) -> None:
        session.report(50 + 39 * finished // units, f"{finished} of {units} solve units")

    if not is_published:
        optimize_batches(session_id, attempt, on_progress)
    session.enter(SessionState.FINALISING, milestone=90)
    final = finalize_session(session_id, attempt)
    session.complete(final.totals, error_message=final.error_message)
    return {
        "session_id": session_id,
        "session_guid": session.handle.session_guid,
        "state": session.handle.state.value,
        "taken_over_from": session.handle.taken_over_from,
        "totals": final.totals,
        "report_dir": final.report_dir,
    }


def _finalize_stopped(session_id: int, attempt: int) -> None:
    finalize_session(session_id, attempt, is_stopped=True)


def _this_run() -> tuple[str, Author]:
    """Tell this flow run's id, and who started it."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        msg = "optimize-service-provider runs as a Prefect flow"
        raise RuntimeError(msg)
    run = context.flow_run
    source = "cron" if run.auto_scheduled else "api" if run.deployment_id else "cli"
    created_by = run.created_by.display_value if run.created_by else None
    return str(run.id), Author(actor=created_by or source, source=source, run_id=str(run.id))
