"""Hands the plan changes that a session recommends over to whoever applies them (C7, P2).

Nothing is sent to the carrier: each change becomes a journal row of status ``proposed``.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from core.errors import InputError
from core.storage import audit
from core.storage.audit import AuditEvent, Author
from core.storage.changes import (
    CompletedSession,
    ProposalCounts,
    count_recommendations,
    insert_proposals,
    last_completed_session,
)
from core.storage.engine import reading, writing
from core.storage.retry import retried


@retried
def propose_changes(
    engine: sa.Engine, provider_id: int, period_id: int, *, now: datetime, author: Author
) -> ProposalCounts:
    """Propose the plan changes of the provider's last completed session of a billing period.

    A SIM is proposed if it still has the plan that the session found it on and another one is
    recommended. One whose plan was changed outside is left alone and counted (P3). Doing it again
    adds only what is missing. One transaction, with an audit event where anything was proposed.

    Raises
    ------
    InputError
        If the period has no completed session, the last one was a dry run, or its results were
        purged.
    """
    with writing(engine) as connection:
        session = _session_to_hand_over(connection, provider_id, period_id)
        counts = count_recommendations(connection, session.id, provider_id)
        insert_proposals(connection, session.id, provider_id, now)
        if counts.proposed:
            event = AuditEvent(
                occurred_at=now,
                actor=author.actor,
                source=author.source,
                run_id=author.run_id,
                action="changes.proposed",
                subject=f"session {session.id}",
                tenant_id=session.tenant_id,
                service_provider_id=provider_id,
                session_id=session.id,
                details={
                    "proposed": counts.proposed,
                    "already_proposed": counts.already_proposed,
                    "unchanged": counts.unchanged,
                    "changed_outside": counts.changed_outside,
                },
            )
            audit.append(connection, event)
    return counts


@retried
def require_recommendations(engine: sa.Engine, provider_id: int, period_id: int) -> None:
    """Refuse a hand-over that :func:`propose_changes` would refuse, before the work for it is done.

    Raises
    ------
    InputError
        As there.
    """
    with reading(engine) as connection:
        _session_to_hand_over(connection, provider_id, period_id)


def _session_to_hand_over(
    connection: sa.Connection, provider_id: int, period_id: int
) -> CompletedSession:
    session = last_completed_session(connection, provider_id, period_id)
    if session is None:
        raise InputError(
            f"provider {provider_id} has no completed session of billing period {period_id}, so "
            f"nothing is recommended: run `carrier-opt run {provider_id}` first"
        )
    if session.is_dry_run:
        raise InputError(
            f"session {session.id}, the last of provider {provider_id} and billing period "
            f"{period_id}, was a dry run, whose changes are not handed over: run again without "
            "dry_run"
        )
    if session.results_purged_at is not None:
        raise InputError(
            f"the results of session {session.id}, the last of provider {provider_id} and billing "
            f"period {period_id}, were purged on {session.results_purged_at:%Y-%m-%d}: run "
            f"`carrier-opt run {provider_id}` again"
        )
    return session
