"""Flow `sync-devices`: a provider's SIMs and their usage, from the carrier into the device tables."""

from __future__ import annotations

from prefect import flow

from core.sync.run import SyncResult
from tasks.sync import sync_devices_task


@flow(name="sync-devices", flow_run_name="sync-devices-session-{session_id}")
def sync_devices(session_id: int, attempt: int) -> SyncResult:
    """Synchronise the provider of a session; the device tables change as a whole or not at all.

    Parameters
    ----------
    session_id
        The session, in state SYNCING.
    attempt
        Attempt of the session that this run belongs to.
    """
    return sync_devices_task(session_id, attempt)
