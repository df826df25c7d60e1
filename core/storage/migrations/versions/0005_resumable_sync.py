"""Synchronisation runs that another process can continue; usage staged per rate plan and zone (C5)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.storage.column_types import BIG_ID, UtcDateTime, key_text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("Attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("OwnerHost", key_text(128), nullable=True),
        sa.Column("OwnerPid", sa.Integer(), nullable=True),
        sa.Column("HeartbeatAt", UtcDateTime, nullable=True),
        sa.Column("ModifiedSince", UtcDateTime, nullable=True),
        sa.Column("ListedFrom", UtcDateTime, nullable=True),
        sa.Column("PageSize", sa.Integer(), nullable=True),
        sa.Column("AccountKey", key_text(64), nullable=True),
        sa.Column("Progress", sa.Unicode(), nullable=True),
        sa.Column("KeptCount", sa.BigInteger(), server_default="0", nullable=False),
    ):
        op.add_column("DeviceSyncRun", column)
    op.add_column("DeviceUsage", sa.Column("DaysWithUsage", sa.Integer(), nullable=True))
    op.add_column("DeviceUsage", sa.Column("LastGrowthDate", sa.Date(), nullable=True))
    op.add_column("DeviceSyncReject", sa.Column("ICCID", key_text(64), nullable=True))
    op.drop_index("IX_DeviceSyncReject_Run", "DeviceSyncReject")
    op.create_index(
        "IX_DeviceSyncReject_Run", "DeviceSyncReject", ["DeviceSyncRunId", "Source", "Page"]
    )
    # Staging holds nothing but runs that have not ended; they begin anew.
    op.execute('UPDATE "DeviceSyncRun" SET "Status" = \'failed\' WHERE "Status" = \'running\'')
    op.drop_table("JasperDeviceStaging")
    op.drop_table("JasperUsageStaging")
    _create_staging()


def _create_staging() -> None:
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
        sa.Column("AsksActivation", sa.Boolean(), nullable=False),
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
        sa.Column("BillingPeriodId", sa.Integer(), nullable=False),
        sa.Column("MatchKey", key_text(64), nullable=False),
        sa.Column("RatePlan", key_text(128), nullable=False),
        sa.Column("Zone", key_text(128), nullable=False),
        sa.Column("ICCID", key_text(64), nullable=False),
        sa.Column("UsageBytes", sa.BigInteger(), nullable=False),
        sa.Column("SmsCount", sa.BigInteger(), nullable=False),
        sa.Column("VoiceSeconds", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["BillingPeriodId"],
            ["BillingPeriod.Id"],
            name=op.f("FK_JasperUsageStaging_BillingPeriodId"),
        ),
        sa.ForeignKeyConstraint(
            ["DeviceSyncRunId"],
            ["DeviceSyncRun.Id"],
            name=op.f("FK_JasperUsageStaging_DeviceSyncRunId"),
        ),
        sa.PrimaryKeyConstraint(
            "DeviceSyncRunId",
            "BillingPeriodId",
            "MatchKey",
            "RatePlan",
            "Zone",
            name=op.f("PK_JasperUsageStaging"),
        ),
        sqlite_with_rowid=False,
    )
