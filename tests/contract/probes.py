"""What a database can do, found out by trying; nothing of the attempt stays."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from core.errors import CarrierOptError
from core.storage.engine import append_only_statements
from tests.contract.tsql_check import UNCHECKED


def _triggers(dialect: str) -> list[str]:
    return append_only_statements(dialect, "Tenant")


def _procedures(_dialect: str) -> list[str]:
    return ["CREATE PROCEDURE carrier_opt_probe AS SELECT 1"]


def _roles(_dialect: str) -> list[str]:
    return [
        "CREATE ROLE carrier_opt_probe",
        "DENY DELETE ON [AuditEvent] TO carrier_opt_probe",
    ]


def _binary_collations(_dialect: str) -> list[str]:
    return ["SELECT [Name] COLLATE Latin1_General_100_BIN2 FROM [Tenant]"]


ATTEMPTS: dict[str, Callable[[str], list[str]]] = {
    "triggers": _triggers,
    "procedures": _procedures,
    "roles": _roles,
    "binary collations": _binary_collations,
}
"""Capability to the statements that need it."""


def supports(engine: sa.Engine, capability: str) -> bool:
    """Whether the statements of a capability succeed, one after the other."""
    with engine.connect().execution_options(**{UNCHECKED: True}) as connection:
        transaction = connection.begin()
        try:
            for statement in ATTEMPTS[capability](engine.dialect.name):
                connection.execute(sa.DDL(statement))
        except (sa.exc.SQLAlchemyError, CarrierOptError):
            return False
        finally:
            transaction.rollback()
    return True
