"""When a session's results were purged (R5)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.storage.column_types import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("OptimizationSession", sa.Column("ResultsPurgedDate", UtcDateTime, nullable=True))
