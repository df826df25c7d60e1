"""Flow `group-devices`: who is optimised, in which communication groups, with which plans."""

from __future__ import annotations

from prefect import flow

from core.stages.grouping import GroupingSummary
from tasks.grouping import group_devices_task


@flow(name="group-devices", flow_run_name="group-devices-session-{session_id}")
def group_devices(session_id: int, attempt: int) -> GroupingSummary:
    """Group a session's SIMs and validate the plans that the groups would use.

    Parameters
    ----------
    session_id
        The session, in state GROUPING.
    attempt
        Attempt of the session that this run belongs to.
    """
    return group_devices_task(session_id, attempt)
