"""Plan changes in the journal, and what sessions recommend against what SIMs have now (P2, P3).

Every function works within the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from core.storage.schema import (
    device,
    optimization_instance,
    optimization_m2m_device_result,
    optimization_mobility_device_result,
    optimization_queue,
    optimization_session,
    rate_plan_change,
)

PROPOSED = "proposed"
"""``RatePlanChange.Status`` of a change that is recommended and nobody has tried yet."""

_ALREADY, _UNCHANGED, _OUTSIDE = "already", "unchanged", "outside"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedSession:
    """A session whose results are published; ``results_purged_at`` says since when they are gone."""

    id: int
    tenant_id: int
    is_dry_run: bool
    results_purged_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalCounts:
    """What becomes of a session's SIMs; together all that it has optimised.

    Attributes
    ----------
    session_id
        The session whose recommendations these are.
    proposed
        SIMs that get a journal row of status ``proposed`` now.
    already_proposed
        SIMs that have a row of this session, whatever its status, and still their old plan.
    unchanged
        SIMs that have the recommended plan.
    changed_outside
        SIMs whose plan is neither that of the session's snapshot nor the recommended one, or that
        are no longer there (P3).
    """

    session_id: int
    proposed: int
    already_proposed: int
    unchanged: int
    changed_outside: int


def last_completed_session(
    connection: sa.Connection, provider_id: int, period_id: int
) -> CompletedSession | None:
    """Read the newest session of a provider and period that was completed, also with errors."""
    session = optimization_session.c
    statement = (
        sa.select(session.Id, session.TenantId, session.IsDryRun, session.ResultsPurgedDate)
        .where(
            session.ServiceProviderId == provider_id,
            session.BillingPeriodId == period_id,
            session.State.in_(("COMPLETED", "COMPLETED_WITH_ERRORS")),
            session.IsDeleted == sa.false(),
        )
        .order_by(session.CreatedDate.desc(), session.Id.desc())
        .limit(1)
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    return CompletedSession(
        id=row.Id,
        tenant_id=row.TenantId,
        is_dry_run=row.IsDryRun,
        results_purged_at=row.ResultsPurgedDate,
    )


def count_recommendations(
    connection: sa.Connection, session_id: int, provider_id: int
) -> ProposalCounts:
    """Count the SIMs of a session by what would become of them; changes nothing."""
    found = _compared(session_id, provider_id)
    statement = sa.select(found.c.Fate, sa.func.count()).group_by(found.c.Fate)
    counts = {fate: number for fate, number in connection.execute(statement)}  # noqa: C416
    return ProposalCounts(
        session_id=session_id,
        proposed=counts.get(PROPOSED, 0),
        already_proposed=counts.get(_ALREADY, 0),
        unchanged=counts.get(_UNCHANGED, 0),
        changed_outside=counts.get(_OUTSIDE, 0),
    )


def insert_proposals(
    connection: sa.Connection, session_id: int, provider_id: int, now: datetime
) -> None:
    """Add a row of status ``proposed`` for every SIM that lacks its change, in ICCID order."""
    found = _compared(session_id, provider_id)
    values = {
        "SessionId": sa.literal(session_id),
        "ServiceProviderId": sa.literal(provider_id),
        "ICCID": found.c.ICCID,
        "FromRatePlan": found.c.CurrentRatePlan,
        "ToRatePlan": found.c.AssignedRatePlan,
        "Status": sa.literal(PROPOSED),
        "IntendedAt": sa.literal(now, type_=rate_plan_change.c.IntendedAt.type),
    }
    chosen = sa.select(*values.values()).where(found.c.Fate == PROPOSED).order_by(found.c.ICCID)
    connection.execute(sa.insert(rate_plan_change).from_select(list(values), chosen))


def _compared(session_id: int, provider_id: int) -> sa.Subquery:
    """Winning results of a session beside the SIMs' plans of now: what becomes of each."""
    results = sa.union_all(
        *(
            sa.select(table.c.ICCID, table.c.CurrentRatePlan, table.c.AssignedRatePlan)
            .join(optimization_queue, optimization_queue.c.Id == table.c.QueueId)
            .join(
                optimization_instance,
                optimization_instance.c.Id == optimization_queue.c.InstanceId,
            )
            .where(
                optimization_instance.c.OptimizationSessionId == session_id,
                optimization_instance.c.ServiceProviderId == provider_id,
                optimization_queue.c.IsWinner == sa.true(),
            )
            for table in (optimization_m2m_device_result, optimization_mobility_device_result)
        )
    ).subquery("result")
    change = rate_plan_change.c
    is_journalled = (
        sa.select(sa.literal(1))
        .where(change.SessionId == session_id, change.ICCID == results.c.ICCID)
        .exists()
    )
    plan_now = device.c.RatePlan  # null as well where the SIM is gone
    fate = sa.case(
        (plan_now == results.c.AssignedRatePlan, _UNCHANGED),
        (plan_now == results.c.CurrentRatePlan, sa.case((is_journalled, _ALREADY), else_=PROPOSED)),
        else_=_OUTSIDE,
    )
    is_same_sim = sa.and_(
        device.c.ServiceProviderId == provider_id,
        device.c.ICCID == results.c.ICCID,
        device.c.IsDeleted == sa.false(),
    )
    return (
        sa.select(*results.c, fate.label("Fate"))
        .select_from(results.outerjoin(device, is_same_sim))
        .subquery("compared")
    )
