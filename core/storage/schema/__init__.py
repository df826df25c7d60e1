"""Every table of the system (D2), by room; ``metadata`` holds them all.

Names of tables and columns are those that operators know. Three rules hold for all of them:

- Whole numbers are the truth: money in ``...Micros`` (bigint micro-units), data in ``...Bytes``. The
  legacy names (``TotalCost``, ``CycleDataUsageMB``, ``MaxAvgUsage``) are columns that the database
  computes from them: statements that operators have go on working, nothing is stored twice, and no
  decimal or float can come out of step with the integer it shows. Nothing here reads them.
- Moments are naive UTC (:class:`core.storage.column_types.UtcDateTime` converts), dates are local.
- An index exists for a query that exists; the comment beside it names it.
"""

from __future__ import annotations

from core.storage.schema.base import metadata
from core.storage.schema.catalogue import (
    billing_period,
    carrier_credential,
    carrier_rate_plan,
    communication_plan,
    customer,
    customer_rate_plan,
    optimization_group,
    service_provider,
    tax_rate,
    tenant,
)
from core.storage.schema.devices import (
    device,
    device_sync_reject,
    device_sync_run,
    device_usage,
    jasper_device_staging,
    jasper_usage_staging,
)
from core.storage.schema.results import (
    optimization_comm_group,
    optimization_comm_group_comm_plan,
    optimization_comm_group_rate_plan,
    optimization_instance,
    optimization_m2m_device_result,
    optimization_mobility_device_result,
    optimization_queue,
    optimization_queue_rate_plan,
    optimization_sim_card,
    optimization_unit,
)
from core.storage.schema.sessions import (
    amop_outbox,
    audit_event,
    optimization_session,
    rate_plan_change,
    run_slot,
)

__all__ = [
    "amop_outbox",
    "audit_event",
    "billing_period",
    "carrier_credential",
    "carrier_rate_plan",
    "communication_plan",
    "customer",
    "customer_rate_plan",
    "device",
    "device_sync_reject",
    "device_sync_run",
    "device_usage",
    "jasper_device_staging",
    "jasper_usage_staging",
    "metadata",
    "optimization_comm_group",
    "optimization_comm_group_comm_plan",
    "optimization_comm_group_rate_plan",
    "optimization_group",
    "optimization_instance",
    "optimization_m2m_device_result",
    "optimization_mobility_device_result",
    "optimization_queue",
    "optimization_queue_rate_plan",
    "optimization_session",
    "optimization_sim_card",
    "optimization_unit",
    "rate_plan_change",
    "run_slot",
    "service_provider",
    "tax_rate",
    "tenant",
]
