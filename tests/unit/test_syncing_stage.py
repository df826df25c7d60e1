"""What stage SYNCING asks of a synchronisation (C2)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest

from core.domain import BillingCycle
from core.stages import syncing
from core.sync.store import PublishedRun, RunHistory


@pytest.mark.parametrize(
    ("device_count", "page_size", "expected"),
    [
        (None, 50, 200_000),
        (5_000_000, 50, 200_000),
        (5_000_001, 50, 200_002),
        (30_000_000, 50, 1_200_000),
        (30_000_000, 1000, 200_000),
    ],
)
def test_a_list_may_have_twice_the_pages_of_the_last_fleet_and_at_least_200_000(
    monkeypatch, device_count, page_size, expected
):
    class Store:
        def __init__(self, _engine):
            pass

        def history(self, provider_id):
            if device_count is None:
                return RunHistory(last=None, last_full=None, has_failed_since=False)
            run = PublishedRun(
                run_id=provider_id,
                kind="full",
                started_at=datetime(2026, 10, 1, tzinfo=UTC),
                listed_from=None,
                device_count=device_count,
            )
            return RunHistory(last=run, last_full=run, has_failed_since=False)

    for name in ("load_rate_plans", "load_communication_plans"):
        monkeypatch.setattr(syncing, name, lambda *_: [])
    monkeypatch.setattr(syncing, "SqlDeviceStore", Store)
    monkeypatch.setattr(syncing, "sync_devices", lambda _client, _store, request, **_: request)
    cycle = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
    provider = SimpleNamespace(
        id=7,
        time_zone="UTC",
        uses_proration=True,
        integration="jasper",
        base_url="https://rest.example.com",
        credential_ref="env:X",
    )
    period = SimpleNamespace(id=1, cycle=cycle)
    client = SimpleNamespace(
        capabilities=SimpleNamespace(page_size=page_size, lists_modified_since=True)
    )
    request = syncing.sync_provider(
        None,
        provider,
        period,
        client,
        options=syncing.SyncOptions(accept_lower_usage=True),
        now=lambda: datetime.now(tz=UTC),
    )
    assert (request.max_pages, request.accepts_lower_usage) == (expected, True)
