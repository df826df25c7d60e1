"""An account to store rows of, with tables as full as the largest fleets make them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import polars as pl
import sqlalchemy as sa

from core.sessions.lifecycle import Author, Owner, open_session, parse_parameters
from core.simulator.fleet import current_cycle, make_fleet
from core.simulator.tariffs import simulated_communication_plans, simulated_rate_plans
from core.storage.catalogue_changes import add_period, add_provider
from core.storage.device_store import SqlDeviceStore
from core.storage.engine import insert_row, writing
from core.storage.instances import create_instance
from core.storage.legacy_ids import RunStatus
from core.storage.plan_import import replace_catalogue
from core.storage.records import PeriodRecord, ProviderRecord, ProviderSettings
from core.storage.schema import optimization_comm_group, optimization_queue
from core.sync.store import RunRequest, SyncRun

SEED = 2026
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CYCLE = current_cycle(NOW.date())
AUTHOR = Author(actor="benchmark")


def add_account(engine: sa.Engine) -> tuple[ProviderRecord, PeriodRecord]:
    """Add a provider under a name of its own, with a billing period and the simulator's plans."""
    name = f"benchmark {uuid.uuid4()}"
    settings = ProviderSettings(
        name=name, tenant=name, integration="jasper", base_url="https://carrier.example",
        credential_ref="env:UNUSED", time_zone="UTC",
    )  # fmt: skip
    provider = add_provider(engine, settings, now=NOW, author=AUTHOR)
    period = add_period(
        engine, provider.id, CYCLE.start_date, CYCLE.end_date, now=NOW, author=AUTHOR
    )
    replace_catalogue(
        engine, provider.id, simulated_rate_plans(), simulated_communication_plans(),
        now=NOW, author=AUTHOR,
    )  # fmt: skip
    return provider, period


def begin_session(engine: sa.Engine, provider: ProviderRecord, period: PeriodRecord) -> int:
    """Open a session of this process, and return its id."""
    request = parse_parameters(service_provider_id=provider.id, billing_period_id=period.id)
    handle = open_session(
        engine, request, tenant_id=provider.tenant_id, triggered_by=AUTHOR,
        owner=Owner.of_this_process("benchmark"), now=NOW,
    )  # fmt: skip
    return handle.session_id


def add_queue(engine: sa.Engine, provider: ProviderRecord, period: PeriodRecord) -> int:
    """Add a session down to one queue, and return the queue's id."""
    session_id = begin_session(engine, provider, period)
    instance_id = create_instance(
        engine, session_id=session_id, provider=provider, period=period, now=NOW,
        created_by="benchmark",
    )  # fmt: skip
    made = {"CreatedBy": "benchmark", "CreatedDate": NOW}
    with writing(engine) as connection:
        group_id = insert_row(
            connection, optimization_comm_group, InstanceId=instance_id, GroupCode="G0001",
            UnitCode="U0001", DeviceCount=0, IsSkipped=False, Status="pending", **made,
        )  # fmt: skip
        return insert_row(
            connection, optimization_queue, InstanceId=instance_id, CommPlanGroupId=group_id,
            ServiceProviderId=provider.id, UsesProration=True, UnitCode="U0001",
            RunStatusId=int(RunStatus.NOT_STARTED), **made,
        )  # fmt: skip


def sound_fleet(n_rows: int) -> pl.DataFrame:
    """Exactly ``n_rows`` SIMs of the simulator's fleet that a synchronisation would take over."""
    fleet = make_fleet(n_rows + n_rows // 50 + 100, SEED, CYCLE)
    is_sound = (
        pl.col("iccid").str.contains(r"^\d{19,20}$")
        & pl.col("rate_plan").is_not_null()
        & pl.col("communication_plan").is_not_null()
    )
    return fleet.filter(is_sound).unique("iccid", keep="first", maintain_order=True).head(n_rows)


def result_rows(fleet: pl.DataFrame, queue_id: int) -> pl.DataFrame:
    """Rows of OptimizationM2MDeviceResult, one per SIM, sorted by its key."""
    cost = pl.col("usage_bytes") % 40_000_000 + 1_000_000
    return fleet.sort("iccid").select(
        pl.lit(queue_id, dtype=pl.Int64).alias("QueueId"),
        pl.col("iccid").alias("ICCID"),
        pl.col("rate_plan").alias("CurrentRatePlan"),
        pl.col("rate_plan").alias("AssignedRatePlan"),
        pl.lit(1, dtype=pl.Int64).alias("AssignedCarrierRatePlanId"),
        *(
            cost.alias(f"{prefix}{part}Micros")
            for prefix in ("Current", "Recommended")
            for part in ("Cost", "Rate", "Overage")
        ),
        pl.lit(CYCLE.days, dtype=pl.Int64).alias("ActiveDays"),
        pl.lit("already_best").alias("Reason"),
        pl.col("rate_plan").alias("NextBestRatePlan"),
        cost.alias("NextBestReducedCostMicros"),
    )


def open_sync(engine: sa.Engine, provider: ProviderRecord, period: PeriodRecord) -> SyncRun:
    """Begin a full synchronisation."""
    request = RunRequest(
        service_provider_id=provider.id, period_id=period.id, since=None, page_size=50
    )
    return SqlDeviceStore(engine).open_run(request, now=NOW)


def listed_rows(fleet: pl.DataFrame) -> pl.DataFrame:
    """Rows as a synchronisation stages them, one per SIM."""
    return fleet.with_row_index("position").select(
        "iccid", "status", "rate_plan", "communication_plan",
        pl.col("position").cast(pl.Int64),
        pl.from_epoch("activated_ms", time_unit="ms").dt.date().alias("activated_date"),
        asks_activation=pl.lit(value=False),
    )  # fmt: skip


def staging_rows(fleet: pl.DataFrame, run_id: int) -> pl.DataFrame:
    """Rows of JasperDeviceStaging, one per SIM, in the order of a list."""
    return listed_rows(fleet).select(
        pl.lit(run_id, dtype=pl.Int64).alias("DeviceSyncRunId"),
        pl.col("iccid").alias("MatchKey"),
        pl.col("iccid").alias("ICCID"),
        pl.col("position").alias("Position"),
        pl.col("status").alias("Status"),
        pl.col("rate_plan").alias("RatePlan"),
        pl.col("communication_plan").alias("CommunicationPlan"),
        pl.col("activated_date").alias("ActivatedDate"),
        pl.col("asks_activation").alias("AsksActivation"),
    )
