"""Plan changes may be proposed (C7, P2).

No version has written a row of RatePlanChange so far, so that the table is made anew: SQLite cannot
change a condition of a table that is there.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.storage.column_types import BIG_ID, UtcDateTime, key_text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("RatePlanChange")
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
            "Status IN ('proposed', 'intended', 'applied', 'already', 'rejected', 'unknown', "
            "'rolled_back')",
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
