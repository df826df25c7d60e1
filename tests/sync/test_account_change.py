"""A provider whose account at the carrier becomes another one (C5, C6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.stages.syncing import SyncOptions, sync_provider
from core.storage import catalogue_changes
from core.storage.audit import Author
from core.storage.catalogue import load_period, load_provider
from core.storage.devices import load_devices
from core.storage.records import ProviderSettings
from tests.faults.small_account import NOW, small_account, small_fleet
from tests.sync.acts import YEAR, client_of, served

SETTINGS = ProviderSettings(
    name="account",
    tenant="tenant",
    integration="jasper",
    base_url="http://127.0.0.1:1",
    credential_ref="env:FIRST",
    time_zone="UTC",
)


def point(engine, **changes):
    settings = [replace(SETTINGS, **changes)]
    catalogue_changes.import_providers(engine, settings, now=NOW, author=Author(actor="test"))


def synchronise(server, engine, full_sync=None, **more):
    with client_of(server, **more) as client:
        return sync_provider(
            engine,
            load_provider(engine, 1),
            load_period(engine, 1),
            client,
            options=SyncOptions(full_sync=full_sync),
            now=lambda: NOW,
        )


def stored(engine):
    return set(load_devices(engine, 1, 1)["iccid"])


@pytest.mark.parametrize(
    "change", [{"base_url": "http://127.0.0.1:2"}, {"credential_ref": "env:SECOND"}], ids=str
)
@pytest.mark.parametrize("full_sync", [None, False])
def test_another_account_is_read_as_a_whole_and_then_what_is_modified(engine, change, full_sync):
    fleet = small_fleet()
    first, second = fleet[:40], fleet[40:]
    point(engine)
    with served(small_account(first)) as server:
        assert synchronise(server, engine).kind == "full"
        assert synchronise(server, engine).kind == "incremental"
    point(engine, **change)
    with served(small_account(second)) as server:
        result = synchronise(server, engine, full_sync)
        assert (result.kind, result.removed) == ("full", 40)
        assert stored(engine) == set(second["iccid"])
        assert synchronise(server, engine, full_sync).kind == "incremental"


def test_another_account_that_is_listed_in_part_is_read_as_far_as_it_allows(engine):
    fleet = small_fleet()
    first, second = fleet[:40], fleet[40:]
    point(engine)
    with served(small_account(first)) as server:
        synchronise(server, engine)
    point(engine, credential_ref="env:SECOND")
    with served(small_account(second), strict_dates=True) as server:
        result = synchronise(server, engine, list_window=YEAR)
        assert (result.kind, result.removed) == ("full", 0)  # what is gone cannot be told
        active = second.drop_nulls("activated_ms")["iccid"]
        assert stored(engine) >= {*first["iccid"], *active}
        assert active.len() >= 10
        assert synchronise(server, engine, list_window=YEAR).kind == "incremental"
