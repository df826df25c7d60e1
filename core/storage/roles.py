"""Rights in a SQL Server database: one role that works, one that migrates (least privilege).

The working role changes rows and never the schema: it may not delete what is kept, nor change the
audit log. The rights are listed here once; the script for administrators is spelt from them, and the
tests of the repositories run on SQLite under the same rights.
"""

from __future__ import annotations

from core.storage.device_procedure import NAME as PUBLISH_PROCEDURE
from core.storage.schema import metadata

RUNTIME_ROLE = "carrier_opt_runtime"
MIGRATION_ROLE = "carrier_opt_migrations"

READ_ONLY = ("alembic_version", "vwOptimizationSession", "vwOptimizationSessionRunning")
"""What the working role reads beside the tables."""

APPEND_ONLY = ("AuditEvent",)

EMPTIED = (
    "RunSlot",
    "DeviceSyncReject",
    "JasperDeviceStaging",
    "JasperUsageStaging",
    "OptimizationInstance",
    "OptimizationUnit",
    "OptimizationCommGroup",
    "OptimizationCommGroup_CommPlan",
    "OptimizationCommGroup_RatePlan",
    "OptimizationQueue",
    "OptimizationQueue_RatePlan",
    "OptimizationSimCard",
    "OptimizationM2MDeviceResult",
    "OptimizationMobilityDeviceResult",
)
"""Tables that the working role deletes rows of: staging, what a rerun makes anew, what is purged."""


_SCHEMA_RIGHTS = ("ALTER", "REFERENCES", "SELECT", "INSERT", "UPDATE", "DELETE")


def runtime_rights() -> dict[str, tuple[str, ...]]:
    """Rights of the working role by table or view."""
    rights: dict[str, tuple[str, ...]] = dict.fromkeys(READ_ONLY, ("SELECT",))
    for name in sorted(metadata.tables):
        if name in APPEND_ONLY:
            rights[name] = ("SELECT", "INSERT")
        elif name in EMPTIED:
            rights[name] = ("SELECT", "INSERT", "UPDATE", "DELETE")
        else:
            rights[name] = ("SELECT", "INSERT", "UPDATE")
    return rights


def roles_sql(schema: str = "dbo") -> str:
    """Spell the script that makes both roles and gives them their rights; for an administrator.

    Parameters
    ----------
    schema
        Where the tables are.
    """
    lines = [
        "-- Run by an administrator after `carrier-opt db upgrade`, and again after each upgrade.",
        "-- Then add the logins' users: ALTER ROLE carrier_opt_runtime ADD MEMBER [user];",
        f"-- No statement names the schema: ALTER USER [user] WITH DEFAULT_SCHEMA = [{schema}];",
        *_role(RUNTIME_ROLE),
        *(
            f"GRANT {', '.join(rights)} ON [{schema}].[{name}] TO [{RUNTIME_ROLE}];"
            for name, rights in runtime_rights().items()
        ),
        f"GRANT EXECUTE ON [{schema}].[{PUBLISH_PROCEDURE}] TO [{RUNTIME_ROLE}];",
        *_role(MIGRATION_ROLE),
        f"GRANT CREATE TABLE, CREATE VIEW, CREATE PROCEDURE TO [{MIGRATION_ROLE}];",
        f"GRANT {', '.join(_SCHEMA_RIGHTS)} ON SCHEMA::[{schema}] TO [{MIGRATION_ROLE}];",
    ]
    return "\n".join(lines) + "\n"


def _role(name: str) -> list[str]:
    return [
        f"IF DATABASE_PRINCIPAL_ID('{name}') IS NULL",
        f"    CREATE ROLE [{name}];",
    ]
