"""Flow `optimize-service-provider`: one optimisation of one provider for one billing period.

What happens in which order; the stages are flows of their own, the work is in the tasks.

The annotations of this file are objects and not texts (no ``from __future__ import annotations``):
Prefect makes the parameters' schema from them, also where the flow was pickled.
"""

import logging
from contextlib import ExitStack
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Completed
from pydantic import BaseModel, Field

from core import bootstrap
from core.domain import ChargeType, Portal, UsageBasis
from core.errors import InputError, SessionBusyError
from core.sessions.lifecycle import RunRequest, SessionState, parse_parameters
from core.settings import load_settings
from core.stages.grouping import is_grouped
from core.stages.schedule import find_target, scheduled_start
from core.stages.session import load_context
from flows.finalize_session import finalize_session
from flows.generate_sequences import generate_sequences
from flows.group_devices import group_devices
from flows.optimize_batches import optimize_batches
from flows.refusal import tell_refusal, tell_unstarted
from flows.sync_devices import sync_devices
from flows.this_run import this_run
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
    on_failure=[tell_unstarted],
    on_crashed=[tell_unstarted],
)
def optimize_service_provider(
    service_provider_id: Annotated[int, Field(ge=1)],
    billing_period_id: int | None = None,
    tenant_id: int | None = None,
    optimization_session_id: int | None = None,
    kind: Portal = Portal.M2M,
    customer_id: int | None = None,
    has_synced: bool = False,
    full_sync: bool | None = None,
    usage_basis: UsageBasis | None = None,
    charge_type: ChargeType = ChargeType.RATE_AND_OVERAGE,
    skip_lower_cost_check: bool = False,
    rate_plan_sequences: list[list[str]] | None = None,
    apply_changes: bool | None = None,
    dry_run: bool = False,
    override: Override | None = None,
    additional_data: dict[str, Any] | None = None,
) -> dict[str, Any] | State[Any]:
    """Fetch a provider's SIMs, find the cheapest plans, report, and tell AMOP 2.0.

    Returns what the session ended with: ids, state, totals, and the folder of the reports. The
    section below is in the form from which Prefect takes the descriptions of its UI.

    Args:
        service_provider_id: The carrier account to optimise.
        billing_period_id: Billing period; empty: the one that holds today.
        tenant_id: Refuse to run if the provider is not this tenant's.
        optimization_session_id: Continue this session, whose run died.
        kind: Kind of optimisation.
        customer_id: Customer, for the kind customer.
        has_synced: The devices are synchronised already: skip it.
        full_sync: Read the whole account again; empty: as needed.
        usage_basis: Usage so far, or expected at cycle end; empty: so far.
        charge_type: Charges to minimise.
        skip_lower_cost_check: Accept the best changed assignment even if it saves nothing.
        rate_plan_sequences: Sequences of plan codes; they replace generated ones where they fit.
        apply_changes: Apply the changes at the carrier; empty: the provider's policy.
        dry_run: Optimise and report, marked DRY RUN; change nothing outside.
        override: Lift a rule, with a one-time token.
        additional_data: Echoed unchanged in every AMOP message.
    """
    parameters = {name: value for name, value in locals().items() if value is not None}
    run, author = this_run()
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
    context = load_context(session.engine, session_id, attempt)
    instance = context.instance
    has_grouping = is_grouped(session.engine, context)
    is_sequenced = has_grouping and instance is not None and instance.sequenced_at is not None
    is_published = has_grouping and instance is not None and instance.published_at is not None

    session.enter(SessionState.SYNCING)
    info = ""
    if not (request.has_synced or has_grouping):
        synced = sync_devices(
            context.provider.id,
            billing_period_id=context.period.id,
            full_sync=request.full_sync,
            session_id=session_id,
        )
        session.devices, info = synced["devices"], synced["summary"]
    session.enter(SessionState.GROUPING, milestone=20, info=info)
    if not has_grouping:
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
