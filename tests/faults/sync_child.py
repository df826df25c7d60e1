"""A synchronisation in a process of its own, which kills itself (SIGKILL) at a given moment."""

from __future__ import annotations

import os
import signal
from datetime import UTC, date, datetime

from pydantic import SecretStr
from sqlalchemy import event

from core.carriers.control_center import control_center_capabilities, open_control_center
from core.carriers.credentials import Credentials
from core.carriers.http import RetryPolicy
from core.domain import BillingCycle
from core.storage.device_store import SqlDeviceStore
from core.storage.engine import open_engine
from core.sync.run import SyncRequest, sync_devices

CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
REQUEST = SyncRequest(
    service_provider_id=1,
    period_id=1,
    cycle=CYCLE,
    prorated_communication_plans=frozenset({"Trial Kits"}),
)


def synchronise(url, database, *, page_size=50, at_call=0, at_statement=0):
    """Synchronise; die before the call or the database statement of that number, from 1."""
    engine = open_engine(f"sqlite:///{database}")
    left = [at_call, at_statement]

    def strike(which):
        left[which] -= 1
        if left[which] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(engine, "before_cursor_execute", lambda *_: strike(1))
    with open_control_center(
        url,
        Credentials(username=SecretStr("simulator"), api_key=SecretStr("simulated-key")),
        capabilities=control_center_capabilities(page_size=page_size, requests_per_second=None),
        retry=RetryPolicy(attempts=3, wait_initial_s=0, wait_max_s=0, wait_jitter_s=0),
        clock=lambda: NOW,
    ) as client:
        send = client._http._client.send

        def counted(*args, **more):
            strike(0)
            return send(*args, **more)

        client._http._client.send = counted
        try:
            return sync_devices(client, SqlDeviceStore(engine), REQUEST, clock=lambda: NOW)
        finally:
            engine.dispose()
