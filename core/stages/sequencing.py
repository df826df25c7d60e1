"""Stage SEQUENCING: candidate sequences per group become queues (O5)."""

from __future__ import annotations

import logging
from datetime import datetime

import sqlalchemy as sa

from core.group_sequences import fleet_sequences, given_sequences
from core.grouping import Grouping
from core.stages.grouping import load_grouping
from core.stages.session import SessionContext
from core.storage.queues import save_sequences

LOG = logging.getLogger(__name__)


def sequence_session(
    engine: sa.Engine,
    context: SessionContext,
    *,
    max_rate_plans: int,
    max_sequences: int,
    now: datetime,
) -> int:
    """Find the sequences of every group and store each as a queue; returns their number.

    Sequences that the run was started with are used where they fit. A group that none of them fits
    gets generated ones, and a warning names it.

    Parameters
    ----------
    max_sequences
        Generated sequences per group, from the most promising on.

    Raises
    ------
    InputError
        If a sequence of the run fits no group.
    """
    grouping = load_grouping(engine, context, max_rate_plans=max_rate_plans)
    given = context.request.rate_plan_sequences
    if given is None:
        sequences = fleet_sequences(grouping, max_sequences)
    else:
        sequences = _given_or_generated(grouping, given, max_sequences)
    return save_sequences(engine, context.instance_id, sequences, now=now, fence=context.fence)


def _given_or_generated(
    grouping: Grouping, given: tuple[tuple[str, ...], ...], max_sequences: int
) -> dict[str, list[tuple[str, ...]]]:
    fitting = given_sequences(grouping, given)
    left = [group.group_id for group in grouping.groups if group.group_id not in fitting]
    generated = fleet_sequences(grouping, max_sequences, group_ids=left)
    for group_id in generated:
        LOG.warning("no sequence of the run fits group %s: it gets generated ones", group_id)
    found = fitting | generated
    ids = [group.group_id for group in grouping.groups]
    return {group_id: found[group_id] for group_id in ids if group_id in found}
