"""What the carrier reported: staging per synchronisation run, devices, usage."""

from __future__ import annotations

import sqlalchemy as sa

from core.storage.column_types import BIG_ID, LONG_TEXT, UtcDateTime, key_text
from core.storage.schema.base import life, metadata

device_sync_run = sa.Table(
    "DeviceSyncRun",
    metadata,
    sa.Column("Id", BIG_ID, primary_key=True),
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id"), nullable=False),
    sa.Column("OptimizationSessionId", sa.ForeignKey("OptimizationSession.Id")),
    sa.Column("Kind", key_text(16), nullable=False),  # full, incremental (C6)
    sa.Column("Status", key_text(16), nullable=False),
    sa.Column("BillingPeriodId", sa.ForeignKey("BillingPeriod.Id")),  # whose usage it reads
    sa.Column("Attempt", sa.Integer, nullable=False, server_default="1"),
    sa.Column("OwnerHost", key_text(128)),  # core.sessions.process.host_identity
    sa.Column("OwnerPid", sa.Integer),
    sa.Column("HeartbeatAt", UtcDateTime),  # the last page that was staged
    sa.Column("ModifiedSince", UtcDateTime),  # of an incremental run: SIMs modified since then
    sa.Column("ListedFrom", UtcDateTime),  # its list was begun then, on the carrier's clock (C6)
    sa.Column("PageSize", sa.Integer),
    sa.Column("AccountKey", key_text(64)),  # hash of address and user: staging is of this account
    sa.Column("Progress", LONG_TEXT),  # core.sync.progress, to continue a run that broke off
    sa.Column("StartedAt", UtcDateTime, nullable=False),
    sa.Column("FinishedAt", UtcDateTime),
    sa.Column(
        "StagedCount", sa.BigInteger, nullable=False, server_default="0"
    ),  # rows, with repeats
    sa.Column("DeviceCount", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("DuplicateCount", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("UsageCount", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("RemovedCount", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column(
        "KeptCount", sa.BigInteger, nullable=False, server_default="0"
    ),  # rejected, but known
    sa.Column("RejectCount", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("PagesFetched", sa.Integer, nullable=False, server_default="0"),
    sa.Column("LastPage", sa.Integer),  # page of the list that was staged last
    sa.Column("ErrorMessage", LONG_TEXT),
    sa.Column("StagedAt", UtcDateTime),  # everything is staged; null: it is not, or not known
    sa.CheckConstraint("Status IN ('running', 'published', 'failed')", name="Status"),
    # Query: a provider's runs by status, newest first (sync_runs.load_history).
    sa.Index("IX_DeviceSyncRun_Provider_Status", "ServiceProviderId", "Status", "StartedAt"),
    sqlite_autoincrement=True,
)
"""One synchronisation; its staging is invisible until it is published (C5)."""

jasper_device_staging = sa.Table(
    "JasperDeviceStaging",
    metadata,
    sa.Column("DeviceSyncRunId", sa.ForeignKey("DeviceSyncRun.Id"), primary_key=True),
    sa.Column("MatchKey", key_text(64), primary_key=True),  # of both forms of the ICCID (C4)
    sa.Column("ICCID", key_text(64), nullable=False),
    sa.Column("Position", sa.BigInteger, nullable=False),  # the largest is the newest (C2)
    sa.Column("Status", key_text(64), nullable=False),
    sa.Column("RatePlan", key_text(128)),
    sa.Column("CommunicationPlan", key_text(256)),
    sa.Column("ActivatedDate", sa.Date),
    sa.Column("AsksActivation", sa.Boolean, nullable=False),  # needed, and not asked for yet (B2)
    sqlite_with_rowid=False,
)
"""The newest row per SIM that a run has seen."""

jasper_usage_staging = sa.Table(
    "JasperUsageStaging",
    metadata,
    sa.Column("DeviceSyncRunId", sa.ForeignKey("DeviceSyncRun.Id"), primary_key=True),
    sa.Column("BillingPeriodId", sa.ForeignKey("BillingPeriod.Id"), primary_key=True),
    sa.Column("MatchKey", key_text(64), primary_key=True),  # of both forms of the ICCID (C4)
    sa.Column("RatePlan", key_text(128), primary_key=True),  # "": the SIM's whole cycle
    sa.Column("Zone", key_text(128), primary_key=True),
    sa.Column("ICCID", key_text(64), nullable=False),
    sa.Column("UsageBytes", sa.BigInteger, nullable=False),
    sa.Column("SmsCount", sa.BigInteger, nullable=False),
    sa.Column("VoiceSeconds", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Usage as a run has read it, per SIM, rate plan and zone; no row where none was reported (U1)."""

device_sync_reject = sa.Table(
    "DeviceSyncReject",
    metadata,
    sa.Column("Id", BIG_ID, primary_key=True),
    sa.Column("DeviceSyncRunId", sa.ForeignKey("DeviceSyncRun.Id"), nullable=False),
    sa.Column("Source", key_text(16), nullable=False),  # devices, usage, flag
    sa.Column("Page", sa.Integer),
    sa.Column("RowNumber", sa.BigInteger),
    sa.Column("ColumnName", key_text(64)),
    sa.Column("Value", LONG_TEXT),
    sa.Column("Reason", key_text(64), nullable=False),
    sa.Column("Raw", LONG_TEXT),
    sa.Column("ICCID", key_text(64)),  # the SIM; null where the row has no good one
    # Query: the rejects of a run (sync_rejects.load_rejects), and those of some of its pages.
    sa.Index("IX_DeviceSyncReject_Run", "DeviceSyncRunId", "Source", "Page"),
)
"""A row of the carrier that was not taken over, and why (C4)."""

device = sa.Table(
    "Device",
    metadata,
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id"), primary_key=True),
    sa.Column("ICCID", key_text(64), primary_key=True),
    sa.Column("Status", key_text(64), nullable=False),
    sa.Column("RatePlan", key_text(128)),  # code; may be missing from the catalogue (B9)
    sa.Column("CommunicationPlan", key_text(256)),
    sa.Column("ActivatedDate", sa.Date),
    sa.Column("CustomerId", sa.ForeignKey("Customer.Id")),
    sa.Column("OptimizationGroupId", sa.ForeignKey("OptimizationGroup.Id")),
    sa.Column("Jurisdiction", key_text(128)),
    *life(),
    sa.Column("LastSyncRunId", sa.ForeignKey("DeviceSyncRun.Id"), nullable=False),
    sa.Column("ModifiedDate", UtcDateTime, nullable=False),
    sqlite_with_rowid=False,
)
"""A SIM as last published; ``IsDeleted`` where a full run no longer saw it."""

device_usage = sa.Table(
    "DeviceUsage",
    metadata,
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id"), primary_key=True),
    sa.Column("BillingPeriodId", sa.ForeignKey("BillingPeriod.Id"), primary_key=True),
    sa.Column("ICCID", key_text(64), primary_key=True),
    sa.Column("UsageBytes", sa.BigInteger, nullable=False),
    sa.Column("SmsCount", sa.BigInteger, nullable=False),
    sa.Column("VoiceSeconds", sa.BigInteger, nullable=False),
    sa.Column("DaysWithUsage", sa.Integer),  # days on which a run saw it grow; null: unknown (U1)
    sa.Column("LastGrowthDate", sa.Date),
    sa.Column("ReportedAt", UtcDateTime, nullable=False),
    sqlite_with_rowid=False,
)
"""Usage of a SIM in a billing period; no row where none was reported."""
