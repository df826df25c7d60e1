"""What an optimisation works on and finds: instances, groups, queues, snapshot, results."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from core.storage.column_types import BIG_ID, JSON_TEXT, UtcDateTime, key_text
from core.storage.schema.base import created, metadata, money, money_view

MB_BYTES = 1024 * 1024
"""Bytes in the MB of the legacy-named columns; the byte columns beside them are the truth."""


def _totals(prefix: str) -> tuple[sa.Column[Any], ...]:
    """Objective, rate and overage part of a bill; null until it is known."""
    return (
        money(f"{prefix}CostMicros", nullable=True),
        money(f"{prefix}RateCostMicros", nullable=True),
        money(f"{prefix}OverageCostMicros", nullable=True),
    )


optimization_instance = sa.Table(
    "OptimizationInstance",
    metadata,
    sa.Column("Id", BIG_ID, primary_key=True),
    sa.Column("OptimizationSessionId", sa.ForeignKey("OptimizationSession.Id"), nullable=False),
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id"), nullable=False),
    sa.Column("TenantId", sa.ForeignKey("Tenant.Id"), nullable=False),
    sa.Column("BillingPeriodId", sa.ForeignKey("BillingPeriod.Id"), nullable=False),
    sa.Column("CustomerId", sa.ForeignKey("Customer.Id")),
    sa.Column("PortalType", sa.Integer, nullable=False),  # legacy_ids.PORTAL_TYPE
    sa.Column("IntegrationId", sa.Integer, nullable=False),  # legacy_ids.INTEGRATION_ID
    sa.Column("RunStatusId", sa.Integer, nullable=False),  # legacy_ids.RunStatus
    sa.Column("OptimizationInstanceStatusId", sa.Integer, sa.Computed("RunStatusId")),
    sa.Column("RunStartTime", UtcDateTime, nullable=False),
    sa.Column("RunEndTime", UtcDateTime),
    sa.Column("DeviceCount", sa.BigInteger),
    sa.Column("UnpricedCount", sa.BigInteger),
    *_totals("Baseline"),
    *_totals("Optimized"),
    money("LowerBoundMicros", nullable=True),
    money("LegacyBestCostMicros", nullable=True),
    sa.Column("PlanChanges", sa.BigInteger),
    money_view("TotalCost", "OptimizedCostMicros"),
    sa.Column("CatalogueHash", key_text(64)),  # plans and policy that the groups were made with
    sa.Column("GroupedAt", UtcDateTime),  # groups and snapshot are complete
    sa.Column("SequencedAt", UtcDateTime),  # the sequences of all groups are complete
    sa.Column("PublishedAt", UtcDateTime),
    *created(),
    # Query: the instances of a session (instances.find_instances).
    sa.Index("IX_OptimizationInstance_Session", "OptimizationSessionId"),
    # Query: instances older than 90 days (purge, and the operators' clean-up statements).
    sa.Index("IX_OptimizationInstance_RunStartTime", "RunStartTime"),
    sqlite_autoincrement=True,
)
"""One kind of optimisation within a session; totals of R1 are null until ``PublishedAt``."""

optimization_unit = sa.Table(
    "OptimizationUnit",
    metadata,
    sa.Column("InstanceId", sa.ForeignKey("OptimizationInstance.Id"), primary_key=True),
    sa.Column("UnitCode", key_text(32), primary_key=True),
    sa.Column("DeviceCount", sa.BigInteger, nullable=False),
    sa.Column("Status", key_text(16), nullable=False),  # core.domain.SolveStatus
    sa.Column("Strategy", key_text(64), nullable=False),
    *_totals("Baseline"),
    *_totals("Optimized"),
    money("LowerBoundMicros", nullable=True),
    money("LegacyBestCostMicros", nullable=True),
    sa.Column("SolvedAt", UtcDateTime, nullable=False),
    sa.Column("Certificate", JSON_TEXT),  # core.storage.certificates (O3); null: none
)
"""A finished solve unit (O11): the row is written last, so it says that all its results are there."""

optimization_comm_group = sa.Table(
    "OptimizationCommGroup",
    metadata,
    sa.Column("Id", BIG_ID, primary_key=True),
    sa.Column("InstanceId", sa.ForeignKey("OptimizationInstance.Id"), nullable=False),
    sa.Column("GroupCode", key_text(32), nullable=False),  # G0001
    sa.Column("UnitCode", key_text(32), nullable=False),  # U0001
    sa.Column("DeviceCount", sa.BigInteger, nullable=False),
    sa.Column("IsSkipped", sa.Boolean, nullable=False),  # more plans than allowed (V3)
    sa.Column("Status", key_text(16), nullable=False),  # pending, then as core.outcome.GroupOutcome
    sa.Column("Strategy", key_text(64)),
    sa.Column("WinningQueueId", sa.BigInteger),  # null until published; no FK: it would be circular
    *_totals("Baseline"),
    *_totals("Optimized"),
    sa.Column("PlanChanges", sa.BigInteger),
    *created(),
    # Query: the groups of an instance (outcomes.load_outcome).
    sa.UniqueConstraint("InstanceId", "GroupCode"),
)
"""Communication plans with the same set of rate plans (G1)."""

optimization_comm_group_comm_plan = sa.Table(
    "OptimizationCommGroup_CommPlan",
    metadata,
    sa.Column("Id", BIG_ID, primary_key=True),
    sa.Column("InstanceId", sa.ForeignKey("OptimizationInstance.Id"), nullable=False),
    sa.Column("CommGroupId", sa.ForeignKey("OptimizationCommGroup.Id"), nullable=False),
    sa.Column("CommPlanName", key_text(256), nullable=False),
    *created(),
    # A communication plan stands once in a group (G1).
    sa.UniqueConstraint("CommGroupId", "CommPlanName"),
    # Query: all of an instance (outcomes.load_outcome, snapshot.delete_grouping).
    sa.Index("IX_OptimizationCommGroup_CommPlan_Instance", "InstanceId"),
)

optimization_comm_group_rate_plan = sa.Table(
    "OptimizationCommGroup_RatePlan",
    metadata,
    sa.Column("Id", BIG_ID, primary_key=True),
    sa.Column("InstanceId", sa.ForeignKey("OptimizationInstance.Id"), nullable=False),
    sa.Column("CommGroupId", sa.ForeignKey("OptimizationCommGroup.Id"), nullable=False),
    sa.Column("CarrierRatePlanId", sa.ForeignKey("CarrierRatePlan.Id")),
    sa.Column("CustomerRatePlanId", sa.ForeignKey("CustomerRatePlan.Id")),
    sa.Column("RatePlanCode", key_text(128), nullable=False),
    sa.Column("MaxAvgUsageBytes", sa.BigInteger),  # null: no limit (the group's dearest plan)
    sa.Column(
        "MaxAvgUsage",
        sa.Numeric(29, 9, asdecimal=False),
        sa.Computed(f"MaxAvgUsageBytes / {MB_BYTES}.0"),
    ),
    *created(),
    # Query: the plans of a group (the operators' sequence statement); a plan stands once in it (G1).
    sa.UniqueConstraint("CommGroupId", "RatePlanCode"),
    # Query: all of an instance (queues.save_sequences, snapshot.delete_grouping).
    sa.Index("IX_OptimizationCommGroup_RatePlan_Instance", "InstanceId"),
)
"""A plan that a group's SIMs may get, with the average usage up to which it pays (O4)."""

optimization_queue = sa.Table(
    "OptimizationQueue",
    metadata,
    sa.Column("Id", BIG_ID, primary_key=True),
    sa.Column("InstanceId", sa.ForeignKey("OptimizationInstance.Id"), nullable=False),
    sa.Column("CommPlanGroupId", sa.ForeignKey("OptimizationCommGroup.Id"), nullable=False),
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id"), nullable=False),
    sa.Column("UsesProration", sa.Boolean, nullable=False),
    sa.Column("RunStatusId", sa.Integer, nullable=False),  # legacy_ids.RunStatus
    sa.Column("RunStartTime", UtcDateTime),
    sa.Column("RunEndTime", UtcDateTime),
    sa.Column("UnitCode", key_text(32), nullable=False),
    sa.Column("BatchId", key_text(64)),
    sa.Column("SequenceNumber", sa.Integer),  # place in the group's list (O5); null: no sequence
    sa.Column("Strategy", key_text(64)),
    sa.Column("IsResult", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("IsWinner", sa.Boolean, nullable=False, server_default=sa.false()),
    money("BaselineCostMicros", nullable=True),
    money("TotalCostMicros", nullable=True),
    money_view("TotalCost", "TotalCostMicros"),
    *created(),
    # Query: queues of an instance, also of some units (queues.load_sequences, results.publish).
    sa.Index("IX_OptimizationQueue_Instance", "InstanceId", "UnitCode"),
    # Query: queues of a group by sequence (result_queues.open_result_queues; the operators' costs).
    sa.Index("IX_OptimizationQueue_CommPlanGroupId", "CommPlanGroupId", "SequenceNumber"),
)
"""A candidate: a sequence of plans, or what the solver proposes. Until publish ``IsResult`` marks the
one whose device results are stored; after it only winners are left."""

optimization_queue_rate_plan = sa.Table(
    "OptimizationQueue_RatePlan",
    metadata,
    sa.Column("QueueId", sa.ForeignKey("OptimizationQueue.Id"), primary_key=True),
    sa.Column("SequenceOrder", sa.Integer, primary_key=True, autoincrement=False),  # from 1
    sa.Column("CommGroup_RatePlanId", sa.BigInteger, nullable=False),  # no FK: see below
    sqlite_with_rowid=False,
)
"""The plans of a queue's sequence, in order. No foreign key to the plans: every deletion
of one would search all rows of this table."""

optimization_sim_card = sa.Table(
    "OptimizationSimCard",
    metadata,
    sa.Column("Id", BIG_ID, primary_key=True),
    sa.Column("InstanceId", sa.ForeignKey("OptimizationInstance.Id"), nullable=False),
    sa.Column("CommGroupId", sa.BigInteger),  # null: not optimised; no FK, as above
    sa.Column("ICCID", key_text(64), nullable=False),
    sa.Column("CommunicationPlan", key_text(256)),
    sa.Column("CarrierRatePlan", key_text(128)),
    sa.Column("UsageBytes", sa.BigInteger),
    sa.Column("IsUsageReported", sa.Boolean),
    sa.Column(
        "CycleDataUsageMB",
        sa.Numeric(29, 9, asdecimal=False),
        sa.Computed(f"CASE WHEN IsUsageReported = 1 THEN UsageBytes / {MB_BYTES}.0 END"),
    ),
    sa.Column("SmsCount", sa.BigInteger),
    sa.Column("VoiceSeconds", sa.BigInteger),
    sa.Column("ActivatedDate", sa.Date),
    sa.Column("ListedReason", key_text(64)),  # why it is not optimised (E1, B9); null: it is
    # Query: the snapshot of an instance in ICCID order (snapshot.load_snapshot,
    # outcomes.load_assignments).
    sa.Index("IX_OptimizationSimCard_InstanceId", "InstanceId", "ICCID", unique=True),
)
"""The fleet as it was when it was grouped: every synchronised SIM once (E1)."""


def _device_result_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("QueueId", sa.ForeignKey("OptimizationQueue.Id"), primary_key=True),
        sa.Column("ICCID", key_text(64), primary_key=True),
        sa.Column("CurrentRatePlan", key_text(128), nullable=False),
        sa.Column("AssignedRatePlan", key_text(128), nullable=False),
        sa.Column("AssignedCarrierRatePlanId", sa.Integer),
        money("CurrentCostMicros"),
        money("CurrentRateMicros"),
        money("CurrentOverageMicros"),
        money("RecommendedCostMicros"),
        money("RecommendedRateMicros"),
        money("RecommendedOverageMicros"),
        sa.Column("ActiveDays", sa.Integer),
        sa.Column("Reason", key_text(64), nullable=False),
        sa.Column("NextBestRatePlan", key_text(128)),  # null: the SIM may have no other plan (O9)
        money("NextBestReducedCostMicros", nullable=True),
    )


optimization_m2m_device_result = sa.Table(
    "OptimizationM2MDeviceResult",
    metadata,
    *_device_result_columns(),
    sqlite_with_rowid=False,
)
"""What a SIM costs today and would cost (B10); counts only under a queue with ``IsWinner``."""

optimization_mobility_device_result = sa.Table(
    "OptimizationMobilityDeviceResult",
    metadata,
    *_device_result_columns(),
    sa.Column("OptimizationGroupId", sa.ForeignKey("OptimizationGroup.Id")),
    sqlite_with_rowid=False,
)
"""The same for Mobility (K1)."""
