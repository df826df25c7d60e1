"""The rights of the working role (least privilege)."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from core.errors import StorageError
from core.storage.engine import writing
from core.storage.roles import MIGRATION_ROLE, RUNTIME_ROLE, roles_sql, runtime_rights
from core.storage.schema import metadata, optimization_session, tenant
from tests.contract.tsql_check import check_grammar


def test_the_working_role_may_neither_change_the_audit_log_nor_delete_what_is_kept():
    rights = runtime_rights()
    assert rights.keys() >= metadata.tables.keys()
    assert rights["AuditEvent"] == ("SELECT", "INSERT")
    kept = {
        "Tenant",
        "Device",
        "DeviceUsage",
        "OptimizationSession",
        "RatePlanChange",
        "AmopOutbox",
    }
    assert not any("DELETE" in rights[name] for name in kept)
    assert rights["alembic_version"] == ("SELECT",)


def test_the_script_grants_what_is_listed_and_parses_as_tsql():
    script = roles_sql("sales")
    found = re.findall(rf"GRANT ([A-Z, ]+) ON \[sales\]\.\[(\w+)\] TO \[{RUNTIME_ROLE}\]", script)
    granted = {name: tuple(rights.split(", ")) for rights, name in found}
    assert granted.pop("usp_Update_Jasper_Device") == ("EXECUTE",)
    assert granted == runtime_rights()
    assert f"CREATE ROLE [{MIGRATION_ROLE}]" in script
    assert check_grammar(script) is None


@pytest.mark.parametrize("table", [tenant, optimization_session], ids=lambda table: table.name)
def test_what_is_kept_cannot_be_deleted_by_the_programs(databases, table):
    if not getattr(databases.source, "has_working_role", True):
        pytest.skip("this server, or this login, cannot make a login with the working role")
    with databases.fresh() as engine, pytest.raises(StorageError), writing(engine) as connection:
        connection.execute(sa.delete(table))
