"""The next best plan of a SIM and its reduced cost (O9)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.storage.column_types import key_text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("OptimizationM2MDeviceResult", "OptimizationMobilityDeviceResult"):
        op.add_column(table, sa.Column("NextBestRatePlan", key_text(128), nullable=True))
        op.add_column(table, sa.Column("NextBestReducedCostMicros", sa.BigInteger(), nullable=True))
