"""The metadata that every table registers with, and the columns that many tables have."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from core.storage.column_types import UtcDateTime, key_text

metadata = sa.MetaData(
    naming_convention={
        "pk": "PK_%(table_name)s",
        "fk": "FK_%(table_name)s_%(column_0_N_name)s",
        "uq": "UQ_%(table_name)s_%(column_0_N_name)s",
        "ix": "IX_%(table_name)s_%(column_0_N_name)s",
        "ck": "CK_%(table_name)s_%(constraint_name)s",
    }
)
"""All tables of the system (D2)."""


def created() -> tuple[sa.Column[Any], ...]:
    """Who made a row, and when."""
    return (
        sa.Column("CreatedBy", key_text(128), nullable=False),
        sa.Column("CreatedDate", UtcDateTime, nullable=False),
    )


def life() -> tuple[sa.Column[Any], ...]:
    """Soft deletion: ``IsActive`` may be used, ``IsDeleted`` is kept for history only."""
    return (
        sa.Column("IsActive", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("IsDeleted", sa.Boolean, nullable=False, server_default=sa.false()),
    )


def money(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    """Make a column for an amount in micro-units of the account's currency (B1)."""
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def money_view(name: str, micros: str) -> sa.Column[Any]:
    """Make a legacy-named amount, computed from its micro-units and so never out of step.

    Exact decimal on SQL Server; on SQLite a float for people to look at. Nothing in this system
    reads it.
    """
    return sa.Column(name, sa.Numeric(29, 9, asdecimal=False), sa.Computed(f"{micros} / 1000000.0"))
