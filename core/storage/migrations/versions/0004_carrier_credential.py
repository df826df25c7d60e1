"""The encrypted store of carrier credentials (C8)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.storage.column_types import UtcDateTime, key_text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "CarrierCredential",
        sa.Column("ServiceProviderId", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("Token", sa.Unicode(), nullable=False),
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
        sa.Column("ModifiedDate", UtcDateTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["ServiceProviderId"],
            ["ServiceProvider.Id"],
            name=op.f("FK_CarrierCredential_ServiceProviderId"),
        ),
        sa.PrimaryKeyConstraint("ServiceProviderId", name=op.f("PK_CarrierCredential")),
    )
