"""First schema: every table, the operators' views, the append-only audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.storage.column_types import BIG_ID, UtcDateTime, key_text
from core.storage.engine import append_only_statements

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

VIEW_SESSION = """
CREATE VIEW vwOptimizationSession AS
SELECT Id, SessionId, TenantId, ServiceProviderId, BillingPeriodId, CustomerId, Kind, State,
       StatusId AS OptimizationSessionStatusId, Progress, DeviceCount, ErrorMessage, TriggeredBy,
       IsDryRun, Attempt, HeartbeatAt, CreatedBy, CreatedDate, CompletedDate, IsActive, IsDeleted
FROM OptimizationSession
"""

# One row per instance of a session that holds its tenant. The status columns are never null: the
# operators' query compares them, and a session that has no instance yet is running all the same.
VIEW_SESSION_RUNNING = """
CREATE VIEW vwOptimizationSessionRunning AS
SELECT s.Id AS OptimizationSessionId, s.TenantId, s.ServiceProviderId, s.BillingPeriodId, s.State,
       s.Progress, s.HeartbeatAt, s.CreatedDate, i.Id AS OptimizationInstanceId,
       COALESCE(i.RunStatusId, s.StatusId) AS OptimizationInstanceStatusId,
       COALESCE(q.RunStatusId, i.RunStatusId, s.StatusId) AS OptimizationQueueStatusId
FROM OptimizationSession s
LEFT JOIN OptimizationInstance i ON i.OptimizationSessionId = s.Id
LEFT JOIN (SELECT InstanceId, MIN(RunStatusId) AS RunStatusId FROM OptimizationQueue
           GROUP BY InstanceId) q ON q.InstanceId = i.Id
WHERE s.IsDeleted = 0
  AND s.State IN ('PENDING', 'SYNCING', 'GROUPING', 'SEQUENCING', 'OPTIMISING', 'FINALISING')
"""


def upgrade() -> None:
    _create_tables()
    op.execute(VIEW_SESSION)
    op.execute(VIEW_SESSION_RUNNING)
    for statement in append_only_statements(op.get_context().dialect.name, "AuditEvent"):
        op.execute(statement)


def _create_tables() -> None:

    op.create_table(
        "AuditEvent",
        sa.Column("Id", BIG_ID, nullable=False),
        sa.Column("OccurredAt", UtcDateTime, nullable=False),
        sa.Column("Actor", key_text(128), nullable=False),
        sa.Column("Source", key_text(16), nullable=False),
        sa.Column("Action", key_text(64), nullable=False),
        sa.Column("Subject", sa.Unicode(256), nullable=False),
        sa.Column("TenantId", sa.Integer(), nullable=True),
        sa.Column("ServiceProviderId", sa.Integer(), nullable=True),
        sa.Column("SessionId", sa.BigInteger(), nullable=True),
        sa.Column("RunId", key_text(64), nullable=True),
        sa.Column("Details", sa.Unicode(), nullable=True),
        sa.CheckConstraint(
            "Source IN ('ui', 'api', 'cron', 'cli', 'system')", name=op.f("CK_AuditEvent_Source")
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_AuditEvent")),
        sqlite_autoincrement=True,
    )
    op.create_index("IX_AuditEvent_Session", "AuditEvent", ["SessionId"], unique=False)
    op.create_index("IX_AuditEvent_Run", "AuditEvent", ["RunId"], unique=False)
    op.create_table(
        "Tenant",
        sa.Column("Id", sa.Integer(), nullable=False),
        sa.Column("Name", key_text(128), nullable=False),
        sa.Column("IsActive", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("IsDeleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_Tenant")),
        sa.UniqueConstraint("Name", name=op.f("UQ_Tenant_Name")),
    )
    op.create_table(
        "Customer",
        sa.Column("Id", sa.Integer(), nullable=False),
        sa.Column("TenantId", sa.Integer(), nullable=False),
        sa.Column("Name", key_text(256), nullable=False),
        sa.Column("IsActive", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("IsDeleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["TenantId"], ["Tenant.Id"], name=op.f("FK_Customer_TenantId")),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_Customer")),
        sa.UniqueConstraint("TenantId", "Name", name=op.f("UQ_Customer_TenantId_Name")),
    )
    op.create_table(
        "ServiceProvider",
        sa.Column("Id", sa.Integer(), nullable=False),
        sa.Column("TenantId", sa.Integer(), nullable=False),
        sa.Column("Name", key_text(128), nullable=False),
        sa.Column("Integration", key_text(32), nullable=False),
        sa.Column("Portal", key_text(16), nullable=False),
        sa.Column("BaseUrl", sa.Unicode(512), nullable=False),
        sa.Column("CredentialRef", sa.Unicode(512), nullable=False),
        sa.Column("TimeZone", key_text(64), nullable=False),
        sa.Column("OptimizationStartHour", sa.Integer(), nullable=False),
        sa.Column("BillableStatuses", sa.Unicode(512), nullable=False),
        sa.Column("UsesProration", sa.Boolean(), nullable=False),
        sa.Column("ProrationBasis", key_text(16), nullable=False),
        sa.Column("PoolScope", key_text(16), nullable=False),
        sa.Column("PoolingEnabled", sa.Boolean(), nullable=False),
        sa.Column("MbBytes", sa.Integer(), nullable=False),
        sa.Column("Currency", key_text(3), nullable=False),
        sa.Column("PageSize", sa.Integer(), nullable=False),
        sa.Column("RequestsPerSecond", sa.Float(), nullable=True),
        sa.Column("IsActive", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("IsDeleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.Column("ModifiedDate", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["TenantId"], ["Tenant.Id"], name=op.f("FK_ServiceProvider_TenantId")
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_ServiceProvider")),
        sa.UniqueConstraint("TenantId", "Name", name=op.f("UQ_ServiceProvider_TenantId_Name")),
    )
    op.create_table(
        "TaxRate",
        sa.Column("Id", sa.Integer(), nullable=False),
        sa.Column("TenantId", sa.Integer(), nullable=False),
        sa.Column("Jurisdiction", key_text(128), nullable=False),
        sa.Column("Name", key_text(128), nullable=False),
        sa.Column("PercentMillionths", sa.BigInteger(), nullable=False),
        sa.Column("Base", key_text(32), nullable=False),
        sa.Column("IsActive", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("IsDeleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["TenantId"], ["Tenant.Id"], name=op.f("FK_TaxRate_TenantId")),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_TaxRate")),
        sa.UniqueConstraint(
            "TenantId", "Jurisdiction", "Name", name=op.f("UQ_TaxRate_TenantId_Jurisdiction_Name")
        ),
    )
    op.create_table(
        "BillingPeriod",
        sa.Column("Id", sa.Integer(), nullable=False),
        sa.Column("ServiceProviderId", sa.Integer(), nullable=False),
        sa.Column("BillingPeriodStart", sa.Date(), nullable=False),
        sa.Column("BillingPeriodEnd", sa.Date(), nullable=False),
        sa.Column("IsActive", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("IsDeleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.CheckConstraint(
            "BillingPeriodEnd >= BillingPeriodStart", name=op.f("CK_BillingPeriod_Order")
        ),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"],
            ["ServiceProvider.Id"],
            name=op.f("FK_BillingPeriod_ServiceProviderId"),
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_BillingPeriod")),
        sa.UniqueConstraint(
            "ServiceProviderId",
            "BillingPeriodStart",
            name=op.f("UQ_BillingPeriod_ServiceProviderId_BillingPeriodStart"),
        ),
    )
    op.create_table(
        "CarrierRatePlan",
        sa.Column("Id", sa.Integer(), nullable=False),
        sa.Column("ServiceProviderId", sa.Integer(), nullable=False),
        sa.Column("RatePlanCode", key_text(128), nullable=False),
        sa.Column("RatePlanName", sa.Unicode(256), nullable=False),
        sa.Column("PlanType", key_text(64), nullable=True),
        sa.Column("Portal", key_text(16), nullable=False),
        sa.Column("MonthlyRateMicros", sa.BigInteger(), nullable=False),
        sa.Column("IncludedBytes", sa.BigInteger(), nullable=False),
        sa.Column("OverageRateMicros", sa.BigInteger(), nullable=False),
        sa.Column("OverageBlockBytes", sa.BigInteger(), nullable=False),
        sa.Column("IsPooled", sa.Boolean(), nullable=False),
        sa.Column("IsProrated", sa.Boolean(), nullable=False),
        sa.Column("PoolGroup", key_text(128), nullable=True),
        sa.Column("IncludedSms", sa.BigInteger(), nullable=False),
        sa.Column("SmsRateMicros", sa.BigInteger(), nullable=False),
        sa.Column("IncludedVoiceMinutes", sa.BigInteger(), nullable=False),
        sa.Column("VoiceRateMicros", sa.BigInteger(), nullable=False),
        sa.Column("RegulatoryFeeMicros", sa.BigInteger(), nullable=False),
        sa.Column("MinDevices", sa.BigInteger(), nullable=True),
        sa.Column("MaxDevices", sa.BigInteger(), nullable=True),
        sa.Column("OverageCapMicros", sa.BigInteger(), nullable=True),
        sa.Column("OverageTiers", sa.Unicode(1024), nullable=True),
        sa.Column("IsActive", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("IsDeleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.Column("ModifiedDate", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"],
            ["ServiceProvider.Id"],
            name=op.f("FK_CarrierRatePlan_ServiceProviderId"),
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_CarrierRatePlan")),
        sa.UniqueConstraint(
            "ServiceProviderId",
            "RatePlanCode",
            name=op.f("UQ_CarrierRatePlan_ServiceProviderId_RatePlanCode"),
        ),
    )
    op.create_table(
        "CommunicationPlan",
        sa.Column("Id", sa.Integer(), nullable=False),
        sa.Column("ServiceProviderId", sa.Integer(), nullable=False),
        sa.Column("Name", key_text(256), nullable=False),
        sa.Column("RatePlanIds", sa.Unicode(), nullable=False),
        sa.Column("IsActive", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("IsDeleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.Column("ModifiedDate", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"],
            ["ServiceProvider.Id"],
            name=op.f("FK_CommunicationPlan_ServiceProviderId"),
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_CommunicationPlan")),
        sa.UniqueConstraint(
            "ServiceProviderId", "Name", name=op.f("UQ_CommunicationPlan_ServiceProviderId_Name")
        ),
    )
    op.create_table(
        "CustomerRatePlan",
        sa.Column("Id", sa.Integer(), nullable=False),
        sa.Column("CustomerId", sa.Integer(), nullable=False),
        sa.Column("ServiceProviderId", sa.Integer(), nullable=False),
        sa.Column("RatePlanCode", key_text(128), nullable=False),
        sa.Column("RatePlanName", sa.Unicode(256), nullable=False),
        sa.Column("PlanType", key_text(64), nullable=True),
        sa.Column("Portal", key_text(16), nullable=False),
        sa.Column("MonthlyRateMicros", sa.BigInteger(), nullable=False),
        sa.Column("IncludedBytes", sa.BigInteger(), nullable=False),
        sa.Column("OverageRateMicros", sa.BigInteger(), nullable=False),
        sa.Column("OverageBlockBytes", sa.BigInteger(), nullable=False),
        sa.Column("IsPooled", sa.Boolean(), nullable=False),
        sa.Column("IsProrated", sa.Boolean(), nullable=False),
        sa.Column("PoolGroup", key_text(128), nullable=True),
        sa.Column("IncludedSms", sa.BigInteger(), nullable=False),
        sa.Column("SmsRateMicros", sa.BigInteger(), nullable=False),
        sa.Column("IncludedVoiceMinutes", sa.BigInteger(), nullable=False),
        sa.Column("VoiceRateMicros", sa.BigInteger(), nullable=False),
        sa.Column("RegulatoryFeeMicros", sa.BigInteger(), nullable=False),
        sa.Column("MinDevices", sa.BigInteger(), nullable=True),
        sa.Column("MaxDevices", sa.BigInteger(), nullable=True),
        sa.Column("OverageCapMicros", sa.BigInteger(), nullable=True),
        sa.Column("OverageTiers", sa.Unicode(1024), nullable=True),
        sa.Column("IsActive", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("IsDeleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.Column("ModifiedDate", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["CustomerId"], ["Customer.Id"], name=op.f("FK_CustomerRatePlan_CustomerId")
        ),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"],
            ["ServiceProvider.Id"],
            name=op.f("FK_CustomerRatePlan_ServiceProviderId"),
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_CustomerRatePlan")),
        sa.UniqueConstraint(
            "CustomerId",
            "ServiceProviderId",
            "RatePlanCode",
            name=op.f("UQ_CustomerRatePlan_CustomerId_ServiceProviderId_RatePlanCode"),
        ),
    )
    op.create_table(
        "OptimizationGroup",
        sa.Column("Id", sa.Integer(), nullable=False),
        sa.Column("ServiceProviderId", sa.Integer(), nullable=False),
        sa.Column("Name", key_text(256), nullable=False),
        sa.Column("RatePlanIds", sa.Unicode(), nullable=False),
        sa.Column("IsActive", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("IsDeleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"],
            ["ServiceProvider.Id"],
            name=op.f("FK_OptimizationGroup_ServiceProviderId"),
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_OptimizationGroup")),
        sa.UniqueConstraint(
            "ServiceProviderId", "Name", name=op.f("UQ_OptimizationGroup_ServiceProviderId_Name")
        ),
    )
    op.create_table(
        "DeviceUsage",
        sa.Column("ServiceProviderId", sa.Integer(), nullable=False),
        sa.Column("BillingPeriodId", sa.Integer(), nullable=False),
        sa.Column("ICCID", key_text(64), nullable=False),
        sa.Column("UsageBytes", sa.BigInteger(), nullable=False),
        sa.Column("SmsCount", sa.BigInteger(), nullable=False),
        sa.Column("VoiceSeconds", sa.BigInteger(), nullable=False),
        sa.Column("ReportedAt", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["BillingPeriodId"], ["BillingPeriod.Id"], name=op.f("FK_DeviceUsage_BillingPeriodId")
        ),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"],
            ["ServiceProvider.Id"],
            name=op.f("FK_DeviceUsage_ServiceProviderId"),
        ),
        sa.PrimaryKeyConstraint(
            "ServiceProviderId", "BillingPeriodId", "ICCID", name=op.f("PK_DeviceUsage")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "OptimizationSession",
        sa.Column("Id", BIG_ID, nullable=False),
        sa.Column("SessionId", sa.Unicode(36), nullable=False),
        sa.Column("TenantId", sa.Integer(), nullable=False),
        sa.Column("ServiceProviderId", sa.Integer(), nullable=True),
        sa.Column("BillingPeriodId", sa.Integer(), nullable=True),
        sa.Column("CustomerId", sa.Integer(), nullable=True),
        sa.Column("Kind", key_text(16), nullable=False),
        sa.Column("State", key_text(32), nullable=False),
        sa.Column(
            "StatusId",
            sa.Integer(),
            sa.Computed(
                "CASE State WHEN 'PENDING' THEN 0 WHEN 'SYNCING' THEN 1 WHEN 'GROUPING' THEN 1 WHEN 'SEQUENCING' THEN 1 WHEN 'OPTIMISING' THEN 1 WHEN 'FINALISING' THEN 1 WHEN 'COMPLETED' THEN 2 WHEN 'COMPLETED_WITH_ERRORS' THEN 3 WHEN 'FAILED' THEN 4 WHEN 'CANCELLED' THEN 5 END",
            ),
            nullable=True,
        ),
        sa.Column("Progress", sa.Integer(), server_default="0", nullable=False),
        sa.Column("DeviceCount", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ErrorMessage", sa.Unicode(), nullable=True),
        sa.Column("FailedInState", key_text(32), nullable=True),
        sa.Column("Parameters", sa.Unicode(), nullable=False),
        sa.Column("TriggeredBy", key_text(128), nullable=False),
        sa.Column("IsDryRun", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("OwnerRunId", key_text(64), nullable=True),
        sa.Column("OwnerHost", key_text(256), nullable=True),
        sa.Column("OwnerPid", sa.BigInteger(), nullable=True),
        sa.Column("Attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("HeartbeatAt", UtcDateTime, nullable=True),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.Column("CompletedDate", UtcDateTime, nullable=True),
        sa.Column("IsActive", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("IsDeleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.CheckConstraint(
            "State IN ('PENDING', 'SYNCING', 'GROUPING', 'SEQUENCING', 'OPTIMISING', 'FINALISING', 'COMPLETED', 'COMPLETED_WITH_ERRORS', 'FAILED', 'CANCELLED')",
            name=op.f("CK_OptimizationSession_State"),
        ),
        sa.ForeignKeyConstraint(
            ["BillingPeriodId"],
            ["BillingPeriod.Id"],
            name=op.f("FK_OptimizationSession_BillingPeriodId"),
        ),
        sa.ForeignKeyConstraint(
            ["CustomerId"], ["Customer.Id"], name=op.f("FK_OptimizationSession_CustomerId")
        ),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"],
            ["ServiceProvider.Id"],
            name=op.f("FK_OptimizationSession_ServiceProviderId"),
        ),
        sa.ForeignKeyConstraint(
            ["TenantId"], ["Tenant.Id"], name=op.f("FK_OptimizationSession_TenantId")
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_OptimizationSession")),
        sa.UniqueConstraint("SessionId", name=op.f("UQ_OptimizationSession_SessionId")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "IX_OptimizationSession_Provider",
        "OptimizationSession",
        ["ServiceProviderId", "BillingPeriodId", "CreatedDate"],
        unique=False,
    )
    op.create_index(
        "IX_OptimizationSession_Tenant",
        "OptimizationSession",
        ["TenantId", "CreatedDate"],
        unique=False,
    )
    op.create_index(
        "UX_OptimizationSession_RunningTenant",
        "OptimizationSession",
        ["TenantId"],
        unique=True,
        sqlite_where=sa.text(
            "State IN ('PENDING', 'SYNCING', 'GROUPING', 'SEQUENCING', 'OPTIMISING', 'FINALISING')"
        ),
        mssql_where=sa.text(
            "State IN ('PENDING', 'SYNCING', 'GROUPING', 'SEQUENCING', 'OPTIMISING', 'FINALISING')"
        ),
    )
    op.create_table(
        "AmopOutbox",
        sa.Column("Id", BIG_ID, nullable=False),
        sa.Column("SessionId", BIG_ID, nullable=True),
        sa.Column("SessionGuid", sa.Unicode(36), nullable=True),
        sa.Column("Sequence", sa.Integer(), nullable=False),
        sa.Column("MessageId", sa.Unicode(36), nullable=False),
        sa.Column("Type", key_text(16), nullable=False),
        sa.Column("Progress", sa.Integer(), nullable=False),
        sa.Column("Milestone", key_text(64), nullable=True),
        sa.Column("Payload", sa.Unicode(), nullable=False),
        sa.Column("CreatedAt", UtcDateTime, nullable=False),
        sa.Column("SentAt", UtcDateTime, nullable=True),
        sa.Column("Attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("LastError", sa.Unicode(), nullable=True),
        sa.Column("ParkedAt", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["SessionId"], ["OptimizationSession.Id"], name=op.f("FK_AmopOutbox_SessionId")
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_AmopOutbox")),
        sa.UniqueConstraint("MessageId", name=op.f("UQ_AmopOutbox_MessageId")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "IX_AmopOutbox_Unsent",
        "AmopOutbox",
        ["SessionId", "Sequence"],
        unique=False,
        sqlite_where=sa.text("SentAt IS NULL AND ParkedAt IS NULL"),
        mssql_where=sa.text("SentAt IS NULL AND ParkedAt IS NULL"),
    )
    op.create_index(
        "UX_AmopOutbox_Milestone",
        "AmopOutbox",
        ["SessionId", "Milestone"],
        unique=True,
        sqlite_where=sa.text("Milestone IS NOT NULL AND SessionId IS NOT NULL"),
        mssql_where=sa.text("Milestone IS NOT NULL AND SessionId IS NOT NULL"),
    )
    op.create_index(
        "UX_AmopOutbox_Sequence",
        "AmopOutbox",
        ["SessionId", "Sequence"],
        unique=True,
        sqlite_where=sa.text("SessionId IS NOT NULL"),
        mssql_where=sa.text("SessionId IS NOT NULL"),
    )
    op.create_table(
        "DeviceSyncRun",
        sa.Column("Id", BIG_ID, nullable=False),
        sa.Column("ServiceProviderId", sa.Integer(), nullable=False),
        sa.Column("OptimizationSessionId", BIG_ID, nullable=True),
        sa.Column("Kind", key_text(16), nullable=False),
        sa.Column("Status", key_text(16), nullable=False),
        sa.Column("BillingPeriodId", sa.Integer(), nullable=True),
        sa.Column("StartedAt", UtcDateTime, nullable=False),
        sa.Column("FinishedAt", UtcDateTime, nullable=True),
        sa.Column("StagedCount", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("DeviceCount", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("DuplicateCount", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("UsageCount", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("RemovedCount", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("RejectCount", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("PagesFetched", sa.Integer(), server_default="0", nullable=False),
        sa.Column("LastPage", sa.Integer(), nullable=True),
        sa.Column("ErrorMessage", sa.Unicode(), nullable=True),
        sa.CheckConstraint(
            "Status IN ('running', 'published', 'failed')", name=op.f("CK_DeviceSyncRun_Status")
        ),
        sa.ForeignKeyConstraint(
            ["BillingPeriodId"], ["BillingPeriod.Id"], name=op.f("FK_DeviceSyncRun_BillingPeriodId")
        ),
        sa.ForeignKeyConstraint(
            ["OptimizationSessionId"],
            ["OptimizationSession.Id"],
            name=op.f("FK_DeviceSyncRun_OptimizationSessionId"),
        ),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"],
            ["ServiceProvider.Id"],
            name=op.f("FK_DeviceSyncRun_ServiceProviderId"),
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_DeviceSyncRun")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "IX_DeviceSyncRun_Provider_Status",
        "DeviceSyncRun",
        ["ServiceProviderId", "Status", "StartedAt"],
        unique=False,
    )
    op.create_table(
        "OptimizationInstance",
        sa.Column("Id", BIG_ID, nullable=False),
        sa.Column("OptimizationSessionId", BIG_ID, nullable=False),
        sa.Column("ServiceProviderId", sa.Integer(), nullable=False),
        sa.Column("TenantId", sa.Integer(), nullable=False),
        sa.Column("BillingPeriodId", sa.Integer(), nullable=False),
        sa.Column("CustomerId", sa.Integer(), nullable=True),
        sa.Column("PortalType", sa.Integer(), nullable=False),
        sa.Column("IntegrationId", sa.Integer(), nullable=False),
        sa.Column("RunStatusId", sa.Integer(), nullable=False),
        sa.Column(
            "OptimizationInstanceStatusId",
            sa.Integer(),
            sa.Computed(
                "RunStatusId",
            ),
            nullable=True,
        ),
        sa.Column("RunStartTime", UtcDateTime, nullable=False),
        sa.Column("RunEndTime", UtcDateTime, nullable=True),
        sa.Column("DeviceCount", sa.BigInteger(), nullable=True),
        sa.Column("UnpricedCount", sa.BigInteger(), nullable=True),
        sa.Column("BaselineCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("BaselineRateCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("BaselineOverageCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("OptimizedCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("OptimizedRateCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("OptimizedOverageCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("LowerBoundMicros", sa.BigInteger(), nullable=True),
        sa.Column("LegacyBestCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("PlanChanges", sa.BigInteger(), nullable=True),
        sa.Column(
            "TotalCost",
            sa.Numeric(29, 9),
            sa.Computed(
                "OptimizedCostMicros / 1000000.0",
            ),
            nullable=True,
        ),
        sa.Column("CatalogueHash", key_text(64), nullable=True),
        sa.Column("GroupedAt", UtcDateTime, nullable=True),
        sa.Column("SequencedAt", UtcDateTime, nullable=True),
        sa.Column("PublishedAt", UtcDateTime, nullable=True),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["BillingPeriodId"],
            ["BillingPeriod.Id"],
            name=op.f("FK_OptimizationInstance_BillingPeriodId"),
        ),
        sa.ForeignKeyConstraint(
            ["CustomerId"], ["Customer.Id"], name=op.f("FK_OptimizationInstance_CustomerId")
        ),
        sa.ForeignKeyConstraint(
            ["OptimizationSessionId"],
            ["OptimizationSession.Id"],
            name=op.f("FK_OptimizationInstance_OptimizationSessionId"),
        ),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"],
            ["ServiceProvider.Id"],
            name=op.f("FK_OptimizationInstance_ServiceProviderId"),
        ),
        sa.ForeignKeyConstraint(
            ["TenantId"], ["Tenant.Id"], name=op.f("FK_OptimizationInstance_TenantId")
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_OptimizationInstance")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "IX_OptimizationInstance_RunStartTime",
        "OptimizationInstance",
        ["RunStartTime"],
        unique=False,
    )
    op.create_index(
        "IX_OptimizationInstance_Session",
        "OptimizationInstance",
        ["OptimizationSessionId"],
        unique=False,
    )
    op.create_table(
        "RatePlanChange",
        sa.Column("Id", BIG_ID, nullable=False),
        sa.Column("SessionId", BIG_ID, nullable=False),
        sa.Column("ServiceProviderId", sa.Integer(), nullable=False),
        sa.Column("ICCID", key_text(64), nullable=False),
        sa.Column("FromRatePlan", key_text(128), nullable=False),
        sa.Column("ToRatePlan", key_text(128), nullable=False),
        sa.Column("EffectiveDate", sa.Date(), nullable=True),
        sa.Column("Status", key_text(16), nullable=False),
        sa.Column("Attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("IntendedAt", UtcDateTime, nullable=False),
        sa.Column("FinishedAt", UtcDateTime, nullable=True),
        sa.Column("ErrorMessage", sa.Unicode(), nullable=True),
        sa.CheckConstraint(
            "Status IN ('intended', 'applied', 'already', 'rejected', 'unknown', 'rolled_back')",
            name=op.f("CK_RatePlanChange_Status"),
        ),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"],
            ["ServiceProvider.Id"],
            name=op.f("FK_RatePlanChange_ServiceProviderId"),
        ),
        sa.ForeignKeyConstraint(
            ["SessionId"], ["OptimizationSession.Id"], name=op.f("FK_RatePlanChange_SessionId")
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_RatePlanChange")),
        sa.UniqueConstraint("SessionId", "ICCID", name=op.f("UQ_RatePlanChange_SessionId_ICCID")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "RunSlot",
        sa.Column("ServiceProviderId", sa.Integer(), nullable=False),
        sa.Column("LocalDate", sa.Date(), nullable=False),
        sa.Column("Hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ClaimedBy", key_text(64), nullable=False),
        sa.Column("ClaimedAt", UtcDateTime, nullable=False),
        sa.Column("SessionId", BIG_ID, nullable=True),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"], ["ServiceProvider.Id"], name=op.f("FK_RunSlot_ServiceProviderId")
        ),
        sa.ForeignKeyConstraint(
            ["SessionId"], ["OptimizationSession.Id"], name=op.f("FK_RunSlot_SessionId")
        ),
        sa.PrimaryKeyConstraint("ServiceProviderId", "LocalDate", "Hour", name=op.f("PK_RunSlot")),
    )
    op.create_table(
        "Device",
        sa.Column("ServiceProviderId", sa.Integer(), nullable=False),
        sa.Column("ICCID", key_text(64), nullable=False),
        sa.Column("Status", key_text(64), nullable=False),
        sa.Column("RatePlan", key_text(128), nullable=True),
        sa.Column("CommunicationPlan", key_text(256), nullable=True),
        sa.Column("ActivatedDate", sa.Date(), nullable=True),
        sa.Column("CustomerId", sa.Integer(), nullable=True),
        sa.Column("OptimizationGroupId", sa.Integer(), nullable=True),
        sa.Column("Jurisdiction", key_text(128), nullable=True),
        sa.Column("IsActive", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("IsDeleted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("LastSyncRunId", BIG_ID, nullable=False),
        sa.Column("ModifiedDate", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(["CustomerId"], ["Customer.Id"], name=op.f("FK_Device_CustomerId")),
        sa.ForeignKeyConstraint(
            ["LastSyncRunId"], ["DeviceSyncRun.Id"], name=op.f("FK_Device_LastSyncRunId")
        ),
        sa.ForeignKeyConstraint(
            ["OptimizationGroupId"],
            ["OptimizationGroup.Id"],
            name=op.f("FK_Device_OptimizationGroupId"),
        ),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"], ["ServiceProvider.Id"], name=op.f("FK_Device_ServiceProviderId")
        ),
        sa.PrimaryKeyConstraint("ServiceProviderId", "ICCID", name=op.f("PK_Device")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "DeviceSyncReject",
        sa.Column("Id", BIG_ID, nullable=False),
        sa.Column("DeviceSyncRunId", BIG_ID, nullable=False),
        sa.Column("Source", key_text(16), nullable=False),
        sa.Column("Page", sa.Integer(), nullable=True),
        sa.Column("RowNumber", sa.BigInteger(), nullable=True),
        sa.Column("ColumnName", key_text(64), nullable=True),
        sa.Column("Value", sa.Unicode(), nullable=True),
        sa.Column("Reason", key_text(64), nullable=False),
        sa.Column("Raw", sa.Unicode(), nullable=True),
        sa.ForeignKeyConstraint(
            ["DeviceSyncRunId"],
            ["DeviceSyncRun.Id"],
            name=op.f("FK_DeviceSyncReject_DeviceSyncRunId"),
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_DeviceSyncReject")),
    )
    op.create_index(
        "IX_DeviceSyncReject_Run", "DeviceSyncReject", ["DeviceSyncRunId"], unique=False
    )
    op.create_table(
        "JasperDeviceStaging",
        sa.Column("DeviceSyncRunId", BIG_ID, nullable=False),
        sa.Column("MatchKey", key_text(64), nullable=False),
        sa.Column("ICCID", key_text(64), nullable=False),
        sa.Column("Position", sa.BigInteger(), nullable=False),
        sa.Column("Status", key_text(64), nullable=False),
        sa.Column("RatePlan", key_text(128), nullable=True),
        sa.Column("CommunicationPlan", key_text(256), nullable=True),
        sa.Column("ActivatedDate", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(
            ["DeviceSyncRunId"],
            ["DeviceSyncRun.Id"],
            name=op.f("FK_JasperDeviceStaging_DeviceSyncRunId"),
        ),
        sa.PrimaryKeyConstraint("DeviceSyncRunId", "MatchKey", name=op.f("PK_JasperDeviceStaging")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "JasperUsageStaging",
        sa.Column("DeviceSyncRunId", BIG_ID, nullable=False),
        sa.Column("MatchKey", key_text(64), nullable=False),
        sa.Column("ICCID", key_text(64), nullable=False),
        sa.Column("UsageBytes", sa.BigInteger(), nullable=False),
        sa.Column("SmsCount", sa.BigInteger(), nullable=False),
        sa.Column("VoiceSeconds", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["DeviceSyncRunId"],
            ["DeviceSyncRun.Id"],
            name=op.f("FK_JasperUsageStaging_DeviceSyncRunId"),
        ),
        sa.PrimaryKeyConstraint("DeviceSyncRunId", "MatchKey", name=op.f("PK_JasperUsageStaging")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "OptimizationCommGroup",
        sa.Column("Id", BIG_ID, nullable=False),
        sa.Column("InstanceId", BIG_ID, nullable=False),
        sa.Column("GroupCode", key_text(32), nullable=False),
        sa.Column("UnitCode", key_text(32), nullable=False),
        sa.Column("DeviceCount", sa.BigInteger(), nullable=False),
        sa.Column("IsSkipped", sa.Boolean(), nullable=False),
        sa.Column("Status", key_text(16), nullable=False),
        sa.Column("Strategy", key_text(64), nullable=True),
        sa.Column("WinningQueueId", sa.BigInteger(), nullable=True),
        sa.Column("BaselineCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("BaselineRateCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("BaselineOverageCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("OptimizedCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("OptimizedRateCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("OptimizedOverageCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("PlanChanges", sa.BigInteger(), nullable=True),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["InstanceId"],
            ["OptimizationInstance.Id"],
            name=op.f("FK_OptimizationCommGroup_InstanceId"),
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_OptimizationCommGroup")),
        sa.UniqueConstraint(
            "InstanceId", "GroupCode", name=op.f("UQ_OptimizationCommGroup_InstanceId_GroupCode")
        ),
    )
    op.create_table(
        "OptimizationSimCard",
        sa.Column("Id", BIG_ID, nullable=False),
        sa.Column("InstanceId", BIG_ID, nullable=False),
        sa.Column("CommGroupId", sa.BigInteger(), nullable=True),
        sa.Column("ICCID", key_text(64), nullable=False),
        sa.Column("CommunicationPlan", key_text(256), nullable=True),
        sa.Column("CarrierRatePlan", key_text(128), nullable=True),
        sa.Column("UsageBytes", sa.BigInteger(), nullable=True),
        sa.Column("IsUsageReported", sa.Boolean(), nullable=True),
        sa.Column(
            "CycleDataUsageMB",
            sa.Numeric(29, 9),
            sa.Computed(
                "CASE WHEN IsUsageReported = 1 THEN UsageBytes / 1048576.0 END",
            ),
            nullable=True,
        ),
        sa.Column("SmsCount", sa.BigInteger(), nullable=True),
        sa.Column("VoiceSeconds", sa.BigInteger(), nullable=True),
        sa.Column("ActivatedDate", sa.Date(), nullable=True),
        sa.Column("ListedReason", key_text(64), nullable=True),
        sa.ForeignKeyConstraint(
            ["InstanceId"],
            ["OptimizationInstance.Id"],
            name=op.f("FK_OptimizationSimCard_InstanceId"),
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_OptimizationSimCard")),
    )
    op.create_index(
        "IX_OptimizationSimCard_InstanceId",
        "OptimizationSimCard",
        ["InstanceId", "ICCID"],
        unique=True,
    )
    op.create_table(
        "OptimizationUnit",
        sa.Column("InstanceId", BIG_ID, nullable=False),
        sa.Column("UnitCode", key_text(32), nullable=False),
        sa.Column("DeviceCount", sa.BigInteger(), nullable=False),
        sa.Column("Status", key_text(16), nullable=False),
        sa.Column("Strategy", key_text(64), nullable=False),
        sa.Column("BaselineCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("BaselineRateCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("BaselineOverageCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("OptimizedCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("OptimizedRateCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("OptimizedOverageCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("LowerBoundMicros", sa.BigInteger(), nullable=True),
        sa.Column("LegacyBestCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("SolvedAt", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["InstanceId"], ["OptimizationInstance.Id"], name=op.f("FK_OptimizationUnit_InstanceId")
        ),
        sa.PrimaryKeyConstraint("InstanceId", "UnitCode", name=op.f("PK_OptimizationUnit")),
    )
    op.create_table(
        "OptimizationCommGroup_CommPlan",
        sa.Column("Id", BIG_ID, nullable=False),
        sa.Column("InstanceId", BIG_ID, nullable=False),
        sa.Column("CommGroupId", BIG_ID, nullable=False),
        sa.Column("CommPlanName", key_text(256), nullable=False),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["CommGroupId"],
            ["OptimizationCommGroup.Id"],
            name=op.f("FK_OptimizationCommGroup_CommPlan_CommGroupId"),
        ),
        sa.ForeignKeyConstraint(
            ["InstanceId"],
            ["OptimizationInstance.Id"],
            name=op.f("FK_OptimizationCommGroup_CommPlan_InstanceId"),
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_OptimizationCommGroup_CommPlan")),
        sa.UniqueConstraint(
            "CommGroupId",
            "CommPlanName",
            name=op.f("UQ_OptimizationCommGroup_CommPlan_CommGroupId_CommPlanName"),
        ),
    )
    op.create_index(
        "IX_OptimizationCommGroup_CommPlan_Instance",
        "OptimizationCommGroup_CommPlan",
        ["InstanceId"],
        unique=False,
    )
    op.create_table(
        "OptimizationCommGroup_RatePlan",
        sa.Column("Id", BIG_ID, nullable=False),
        sa.Column("InstanceId", BIG_ID, nullable=False),
        sa.Column("CommGroupId", BIG_ID, nullable=False),
        sa.Column("CarrierRatePlanId", sa.Integer(), nullable=True),
        sa.Column("CustomerRatePlanId", sa.Integer(), nullable=True),
        sa.Column("RatePlanCode", key_text(128), nullable=False),
        sa.Column("MaxAvgUsageBytes", sa.BigInteger(), nullable=True),
        sa.Column(
            "MaxAvgUsage",
            sa.Numeric(29, 9),
            sa.Computed(
                "MaxAvgUsageBytes / 1048576.0",
            ),
            nullable=True,
        ),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["CarrierRatePlanId"],
            ["CarrierRatePlan.Id"],
            name=op.f("FK_OptimizationCommGroup_RatePlan_CarrierRatePlanId"),
        ),
        sa.ForeignKeyConstraint(
            ["CommGroupId"],
            ["OptimizationCommGroup.Id"],
            name=op.f("FK_OptimizationCommGroup_RatePlan_CommGroupId"),
        ),
        sa.ForeignKeyConstraint(
            ["CustomerRatePlanId"],
            ["CustomerRatePlan.Id"],
            name=op.f("FK_OptimizationCommGroup_RatePlan_CustomerRatePlanId"),
        ),
        sa.ForeignKeyConstraint(
            ["InstanceId"],
            ["OptimizationInstance.Id"],
            name=op.f("FK_OptimizationCommGroup_RatePlan_InstanceId"),
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_OptimizationCommGroup_RatePlan")),
        sa.UniqueConstraint(
            "CommGroupId",
            "RatePlanCode",
            name=op.f("UQ_OptimizationCommGroup_RatePlan_CommGroupId_RatePlanCode"),
        ),
    )
    op.create_index(
        "IX_OptimizationCommGroup_RatePlan_Instance",
        "OptimizationCommGroup_RatePlan",
        ["InstanceId"],
        unique=False,
    )
    op.create_table(
        "OptimizationQueue",
        sa.Column("Id", BIG_ID, nullable=False),
        sa.Column("InstanceId", BIG_ID, nullable=False),
        sa.Column("CommPlanGroupId", BIG_ID, nullable=False),
        sa.Column("ServiceProviderId", sa.Integer(), nullable=False),
        sa.Column("UsesProration", sa.Boolean(), nullable=False),
        sa.Column("RunStatusId", sa.Integer(), nullable=False),
        sa.Column("RunStartTime", UtcDateTime, nullable=True),
        sa.Column("RunEndTime", UtcDateTime, nullable=True),
        sa.Column("UnitCode", key_text(32), nullable=False),
        sa.Column("BatchId", key_text(64), nullable=True),
        sa.Column("SequenceNumber", sa.Integer(), nullable=True),
        sa.Column("Strategy", key_text(64), nullable=True),
        sa.Column("IsResult", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("IsWinner", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("BaselineCostMicros", sa.BigInteger(), nullable=True),
        sa.Column("TotalCostMicros", sa.BigInteger(), nullable=True),
        sa.Column(
            "TotalCost",
            sa.Numeric(29, 9),
            sa.Computed(
                "TotalCostMicros / 1000000.0",
            ),
            nullable=True,
        ),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["CommPlanGroupId"],
            ["OptimizationCommGroup.Id"],
            name=op.f("FK_OptimizationQueue_CommPlanGroupId"),
        ),
        sa.ForeignKeyConstraint(
            ["InstanceId"],
            ["OptimizationInstance.Id"],
            name=op.f("FK_OptimizationQueue_InstanceId"),
        ),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"],
            ["ServiceProvider.Id"],
            name=op.f("FK_OptimizationQueue_ServiceProviderId"),
        ),
        sa.PrimaryKeyConstraint("Id", name=op.f("PK_OptimizationQueue")),
    )
    op.create_index(
        "IX_OptimizationQueue_CommPlanGroupId",
        "OptimizationQueue",
        ["CommPlanGroupId", "SequenceNumber"],
        unique=False,
    )
    op.create_index(
        "IX_OptimizationQueue_Instance",
        "OptimizationQueue",
        ["InstanceId", "UnitCode"],
        unique=False,
    )
    op.create_table(
        "OptimizationM2MDeviceResult",
        sa.Column("QueueId", BIG_ID, nullable=False),
        sa.Column("ICCID", key_text(64), nullable=False),
        sa.Column("CurrentRatePlan", key_text(128), nullable=False),
        sa.Column("AssignedRatePlan", key_text(128), nullable=False),
        sa.Column("AssignedCarrierRatePlanId", sa.Integer(), nullable=True),
        sa.Column("CurrentCostMicros", sa.BigInteger(), nullable=False),
        sa.Column("CurrentRateMicros", sa.BigInteger(), nullable=False),
        sa.Column("CurrentOverageMicros", sa.BigInteger(), nullable=False),
        sa.Column("RecommendedCostMicros", sa.BigInteger(), nullable=False),
        sa.Column("RecommendedRateMicros", sa.BigInteger(), nullable=False),
        sa.Column("RecommendedOverageMicros", sa.BigInteger(), nullable=False),
        sa.Column("ActiveDays", sa.Integer(), nullable=True),
        sa.Column("Reason", key_text(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["QueueId"],
            ["OptimizationQueue.Id"],
            name=op.f("FK_OptimizationM2MDeviceResult_QueueId"),
        ),
        sa.PrimaryKeyConstraint("QueueId", "ICCID", name=op.f("PK_OptimizationM2MDeviceResult")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "OptimizationMobilityDeviceResult",
        sa.Column("QueueId", BIG_ID, nullable=False),
        sa.Column("ICCID", key_text(64), nullable=False),
        sa.Column("CurrentRatePlan", key_text(128), nullable=False),
        sa.Column("AssignedRatePlan", key_text(128), nullable=False),
        sa.Column("AssignedCarrierRatePlanId", sa.Integer(), nullable=True),
        sa.Column("CurrentCostMicros", sa.BigInteger(), nullable=False),
        sa.Column("CurrentRateMicros", sa.BigInteger(), nullable=False),
        sa.Column("CurrentOverageMicros", sa.BigInteger(), nullable=False),
        sa.Column("RecommendedCostMicros", sa.BigInteger(), nullable=False),
        sa.Column("RecommendedRateMicros", sa.BigInteger(), nullable=False),
        sa.Column("RecommendedOverageMicros", sa.BigInteger(), nullable=False),
        sa.Column("ActiveDays", sa.Integer(), nullable=True),
        sa.Column("Reason", key_text(64), nullable=False),
        sa.Column("OptimizationGroupId", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["OptimizationGroupId"],
            ["OptimizationGroup.Id"],
            name=op.f("FK_OptimizationMobilityDeviceResult_OptimizationGroupId"),
        ),
        sa.ForeignKeyConstraint(
            ["QueueId"],
            ["OptimizationQueue.Id"],
            name=op.f("FK_OptimizationMobilityDeviceResult_QueueId"),
        ),
        sa.PrimaryKeyConstraint(
            "QueueId", "ICCID", name=op.f("PK_OptimizationMobilityDeviceResult")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "OptimizationQueue_RatePlan",
        sa.Column("QueueId", BIG_ID, nullable=False),
        sa.Column("SequenceOrder", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("CommGroup_RatePlanId", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["QueueId"],
            ["OptimizationQueue.Id"],
            name=op.f("FK_OptimizationQueue_RatePlan_QueueId"),
        ),
        sa.PrimaryKeyConstraint(
            "QueueId", "SequenceOrder", name=op.f("PK_OptimizationQueue_RatePlan")
        ),
        sqlite_with_rowid=False,
    )
