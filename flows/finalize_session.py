"""Flow `finalize-session`: winners, totals and reports; shortened after failure and cancel."""

from __future__ import annotations

from prefect import flow

from core.stages.finalising import FinalSummary
from tasks.finalising import discard_session_task, finalize_session_task


@flow(name="finalize-session", flow_run_name="finalize-session-{session_id}")
def finalize_session(session_id: int, attempt: int, is_stopped: bool = False) -> FinalSummary:
    """Publish what the session found, or discard what a stopped one left unpublished.

    Parameters
    ----------
    session_id
        The session, in state FINALISING, or stopped.
    attempt
        Attempt that the caller owns; a publish by a former owner changes nothing.
    is_stopped
        The session failed or was cancelled: no totals, no reports.
    """
    if is_stopped:
        return discard_session_task(session_id, attempt)
    return finalize_session_task(session_id, attempt)
