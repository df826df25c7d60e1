"""Flow `sync-devices`: a provider's SIMs and their usage, from the carrier into the device tables.

A subflow of `optimize-service-provider`, and a flow of its own.

The annotations of this file are objects and not texts (no ``from __future__ import annotations``):
Prefect makes the parameters' schema from them, also where the flow was pickled.
"""

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from core import bootstrap
from core.domain import NextStep
from core.errors import CarrierOptError
from core.settings import load_settings
from core.stages.schedule import find_period
from flows.refusal import tell_refusal
from flows.this_run import this_run
from tasks.sync import follow_up_task, sync_devices_task

MESSAGE_TIMEOUT_S = 10.0
"""Time that a failed run gives its message; what is left goes out with the next run."""


@flow(name="sync-devices", flow_run_name="sync-devices-provider-{service_provider_id}")
def sync_devices(
    service_provider_id: Annotated[int, Field(ge=1)],
    billing_period_id: int | None = None,
    full_sync: bool | None = None,
    next_step: NextStep = NextStep.DEVICE_USAGE_BY_RATE_PLAN,
    session_id: int | None = None,
) -> dict[str, Any]:
    """Synchronise a provider; the device tables change as a whole or not at all.

    Returns the number of SIMs, a summary in a line, and what the next step left: files or proposals.
    The section below is in the form from which Prefect takes the descriptions of its UI.

    Args:
        service_provider_id: The carrier account.
        billing_period_id: Billing period; empty: the one that holds today.
        full_sync: Read the whole account again; empty: as needed.
        next_step: What follows: nothing but optimisable usage, an export, or proposals of plan changes.
        session_id: The session that this belongs to; empty: none.
    """
    if session_id is not None:
        return _synchronise(
            service_provider_id, billing_period_id, full_sync, next_step, session_id
        )
    try:
        return _synchronise(service_provider_id, billing_period_id, full_sync, next_step, None)
    except CarrierOptError as error:
        _tell(error)
        raise


def _synchronise(
    service_provider_id: int,
    billing_period_id: int | None,
    full_sync: bool | None,
    next_step: NextStep,
    session_id: int | None,
) -> dict[str, Any]:
    engine = bootstrap.open_database(load_settings())
    _, period = find_period(engine, service_provider_id, billing_period_id)
    result = sync_devices_task(
        service_provider_id,
        period.id,
        full_sync=full_sync,
        next_step=next_step,
        session_id=session_id,
    )
    found: dict[str, Any] = {"devices": result.devices, "summary": result.summary()}
    if next_step is NextStep.DEVICE_USAGE_BY_RATE_PLAN:
        return found
    _, author = this_run()
    return found | follow_up_task(service_provider_id, period.id, next_step, author)


def _tell(error: CarrierOptError) -> None:
    """Tell AMOP and the operators; a session tells its own failures."""
    settings = load_settings()
    engine = bootstrap.open_database(settings)
    run_id, author = this_run()
    with bootstrap.outbox_sender(engine, settings) as sender:
        tell_refusal(engine, error, run_id, author, None)
        sender.drain(MESSAGE_TIMEOUT_S)
