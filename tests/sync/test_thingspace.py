"""Usage of ThingSpace, told SIM by SIM and cycle by cycle, in a synchronisation (C7)."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest
from pydantic import SecretStr

from core.carriers.credentials import Credentials
from core.carriers.thingspace import open_thingspace, thingspace_capabilities
from core.simulator.spoil import content_of, with_content
from core.simulator.thingspace_api import ThingSpaceOptions
from core.simulator.thingspace_server import ThingSpaceServer
from core.storage.device_store import SqlDeviceStore
from core.storage.devices import load_devices
from core.sync.run import SyncRequest, sync_devices
from tests.faults.small_account import CYCLE, NOW, small_account
from tests.sync.acts import RETRY

REQUEST = SyncRequest(service_provider_id=1, period_id=1, cycle=CYCLE)


@pytest.fixture
def server():
    with ThingSpaceServer(small_account(), clock=lambda: NOW) as server:
        yield server


def synchronise(server, engine, now=NOW):
    keys = ThingSpaceOptions()
    packed = ";".join((keys.client_secret, keys.account_name, keys.username, keys.password))
    client = open_thingspace(
        server.base_url,
        Credentials(username=SecretStr(keys.client_key), api_key=SecretStr(packed)),
        capabilities=thingspace_capabilities(page_size=100, requests_per_second=None),
        retry=RETRY,
    )
    try:
        return sync_devices(client, SqlDeviceStore(engine), REQUEST, clock=lambda: now)
    finally:
        client.close()


def test_a_sim_whose_usage_breaks_the_protocol_is_passed_over_and_counted(server, engine):
    iccid = server.account.fields(30)[0]
    answer = server._thingspace_api.answer

    def without_times(method, target, authorization, body):
        reply = answer(method, target, authorization, body)
        content = content_of(reply)
        if "usage/actions/list" not in target or iccid.encode() not in body or content is None:
            return reply
        rows = [{**row, "timestamp": None} for row in content["usageHistory"] or [{}]]
        return with_content(reply, {**content, "usageHistory": rows})

    server._thingspace_api.answer = without_times
    result = synchronise(server, engine)
    assert result.usage_rows == result.devices - 1
    assert ["usage of 1 SIMs" in warning for warning in result.warnings] == [True]
    usage = load_devices(engine, 1, 1).select("iccid", "usage_bytes").rows()
    assert [sim for sim, n_bytes in usage if n_bytes is None] == [iccid]


def test_usage_that_is_told_with_its_cycle_is_read_on_the_first_day_too(server, engine):
    result = synchronise(server, engine, datetime.combine(CYCLE.start_date, time(1), tzinfo=UTC))
    assert (result.usage_rows, result.warnings) == (result.devices, ())
