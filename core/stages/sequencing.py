"""Stage SEQUENCING: candidate sequences per group become queues (O5)."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from core.optimisation import fleet_sequences
from core.stages.grouping import load_grouping
from core.stages.session import SessionContext
from core.storage.queues import save_sequences


def sequence_session(
    engine: sa.Engine,
    context: SessionContext,
    *,
    max_rate_plans: int,
    n_sequences: int,
    now: datetime,
) -> int:
    """Generate the sequences of every group and store each as a queue; returns their number.

    Parameters
    ----------
    n_sequences
        Sequences per group, from the most promising on.
    """
    grouping = load_grouping(engine, context, max_rate_plans=max_rate_plans)
    sequences = fleet_sequences(grouping, n_sequences)
    return save_sequences(engine, context.instance_id, sequences, now=now, fence=context.fence)
