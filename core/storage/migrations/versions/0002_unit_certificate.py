"""The certificate of a solve unit (O3)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("OptimizationUnit", sa.Column("Certificate", sa.Unicode(), nullable=True))
