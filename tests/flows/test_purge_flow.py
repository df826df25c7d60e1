"""The flow `purge-old-results`: what it takes, what it tells, and who is named in the audit log (R5)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from core.settings import load_settings
from core.storage.audit import load_events
from core.storage.engine import insert_row, writing
from core.storage.instances import find_instances
from core.storage.schema import optimization_instance, optimization_session
from tests.flows.deployment import NOW, Deployment

pytestmark = pytest.mark.prefect


def run(**parameters: Any) -> Any:
    from flows.purge_old_results import purge_old_results

    return purge_old_results(**parameters)


def add_session(deployment: Deployment, days_old: int) -> int:
    ended_at = NOW - timedelta(days=days_old)
    made = {"CreatedBy": "test", "CreatedDate": ended_at}
    with writing(deployment.engine) as connection:
        session_id = insert_row(
            connection, optimization_session, SessionId=f"{days_old}", TenantId=deployment.tenant_id,
            ServiceProviderId=deployment.provider_id, Kind="m2m", State="COMPLETED",
            Parameters="{}", TriggeredBy="test", CompletedDate=ended_at, **made,
        )  # fmt: skip
        insert_row(
            connection, optimization_instance, OptimizationSessionId=session_id,
            ServiceProviderId=deployment.provider_id, TenantId=deployment.tenant_id,
            BillingPeriodId=deployment.period_id, PortalType=0, IntegrationId=1, RunStatusId=2,
            RunStartTime=ended_at, **made,
        )  # fmt: skip
    return session_id


def test_the_flow_purges_by_the_setting_or_its_parameter_and_counts_in_a_dry_run(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARRIER_OPT_RETENTION_DAYS", "40")
    load_settings.cache_clear()
    oldest, old, young = (add_session(deployment, days) for days in (50, 30, 10))
    assert run(dry_run=True)["rows"] == {"OptimizationInstance": 1}
    assert load_events(deployment.engine, oldest) == []
    assert run()["sessions"] == 1
    assert [len(find_instances(deployment.engine, n)) for n in (oldest, old, young)] == [0, 1, 1]
    assert run(older_than_days=20)["rows"] == {"OptimizationInstance": 1}
    assert [len(find_instances(deployment.engine, n)) for n in (oldest, old, young)] == [0, 0, 1]
    [event] = load_events(deployment.engine, oldest)
    assert (event.action, event.source) == ("session.purged", "cli")
    assert event.run_id


def test_the_flow_describes_each_parameter() -> None:
    from prefect.utilities.callables import parameter_schema

    from flows.purge_old_results import purge_old_results

    properties = parameter_schema(purge_old_results).properties
    assert set(properties) == {"older_than_days", "dry_run"}
    assert [name for name, shown in properties.items() if not shown.get("description")] == []
