"""The flow `sync-devices` by itself: what it leaves, and who is told when it fails (C3, C7)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.domain import NextStep
from core.errors import CarrierAuthError, InputError
from core.settings import load_settings
from core.simulator.account import simulated_account
from core.simulator.fleet import current_cycle
from core.simulator.server import SimulatorServer
from core.storage.audit import Author
from core.storage.catalogue_changes import add_period, add_provider
from core.storage.records import ProviderSettings
from tests.flows.deployment import NOW, Deployment

pytestmark = pytest.mark.prefect


@pytest.fixture
def carrier() -> Iterator[SimulatorServer]:
    with SimulatorServer(simulated_account(300, 1, current_cycle(NOW.date()), now=NOW)) as server:
        yield server


@pytest.fixture
def provider_id(
    deployment: Deployment,
    carrier: SimulatorServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> int:
    """A provider whose carrier is the simulator."""
    monkeypatch.setenv("SIMULATED_KEY", "simulator:simulated-key")
    monkeypatch.setenv("CARRIER_OPT_EXPORT_URL", str(tmp_path / "export"))
    load_settings.cache_clear()
    author = Author(actor="test")
    provider = add_provider(
        deployment.engine,
        ProviderSettings(
            name="Simulated", tenant="Tenant", integration="jasper", time_zone="UTC",
            base_url=carrier.base_url, credential_ref="env:SIMULATED_KEY",
            requests_per_second=None,
        ),
        now=NOW, author=author,
    )  # fmt: skip
    cycle = current_cycle(NOW.date())
    add_period(
        deployment.engine, provider.id, cycle.start_date, cycle.end_date, now=NOW, author=author
    )
    return provider.id


def synchronise(**parameters: Any) -> Any:
    from flows.sync_devices import sync_devices

    return sync_devices(**parameters)


def test_an_export_leaves_files_and_the_second_run_is_incremental(
    provider_id: int, deployment: Deployment
) -> None:
    found = synchronise(service_provider_id=provider_id, next_step=NextStep.DEVICE_USAGE_EXPORT)
    assert found["rows"] == found["devices"]
    assert pl.read_parquet(found["parquet"]).height == found["rows"]
    assert "(full)" in found["summary"]
    again = synchronise(service_provider_id=provider_id)
    assert "(incremental)" in again["summary"]
    whole = synchronise(service_provider_id=provider_id, full_sync=True)
    assert "(full)" in whole["summary"]
    assert deployment.receiver.messages() == []


def test_proposals_without_a_session_are_refused_with_the_remedy_and_told(
    provider_id: int, deployment: Deployment, carrier: SimulatorServer
) -> None:
    with pytest.raises(InputError, match="carrier-opt run"):
        synchronise(service_provider_id=provider_id, next_step=NextStep.UPDATE_DEVICE_RATE_PLAN)
    [message] = deployment.receiver.messages()
    assert message["type"] == "ErrorMessage"
    assert "no completed session" in message["errorMessage"]
    assert not any("/usages" in call for call in carrier.calls)


def test_a_carrier_that_refuses_is_told_to_amop(
    provider_id: int, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATED_KEY", "simulator:wrong")
    with pytest.raises(CarrierAuthError):
        synchronise(service_provider_id=provider_id)
    [message] = deployment.receiver.messages()
    assert (message["type"], message["sessionId"]) == ("ErrorMessage", None)
    assert "check user name, key" in message["errorMessage"]
    assert "wrong" not in message["errorMessage"]


def test_the_flow_describes_each_parameter() -> None:
    from prefect.utilities.callables import parameter_schema

    from flows.sync_devices import sync_devices

    properties = parameter_schema(sync_devices).properties
    assert set(properties) == {
        "service_provider_id", "billing_period_id", "full_sync", "next_step", "session_id",
    }  # fmt: skip
    assert [name for name, shown in properties.items() if not shown.get("description")] == []
