"""Flow `generate-sequences`: candidate sequences of rate plans per group."""

from __future__ import annotations

from prefect import flow

from tasks.sequencing import generate_sequences_task


@flow(name="generate-sequences", flow_run_name="generate-sequences-session-{session_id}")
def generate_sequences(session_id: int, attempt: int) -> int:
    """Store the candidate sequences of a session's groups as queues; returns their number.

    Parameters
    ----------
    session_id
        The session, in state SEQUENCING.
    attempt
        Attempt of the session that this run belongs to.
    """
    return generate_sequences_task(session_id, attempt)
