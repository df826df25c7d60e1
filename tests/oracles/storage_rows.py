"""The model of sessions, slots, messages and results as rows of the tables, to compare the two."""

from __future__ import annotations

from datetime import timedelta

from tests.oracles.storage_model import TENANT

TABLES = {
    "sessions": "SELECT Id, ServiceProviderId, TenantId, IsDryRun, State, Progress, FailedInState, "
    "OwnerRunId, OwnerPid, Attempt, HeartbeatAt FROM OptimizationSession ORDER BY Id",
    "outbox": "SELECT SessionId, Sequence, Type, Progress, Attempts, LastError, SentAt IS NOT NULL, "
    "ParkedAt IS NOT NULL FROM AmopOutbox ORDER BY Id",
    "slots": "SELECT ServiceProviderId, LocalDate, Hour, ClaimedBy, SessionId FROM RunSlot "
    "ORDER BY 1, 2, 3",
    "results": "SELECT OptimizationSessionId, GroupedAt IS NOT NULL, SequencedAt IS NOT NULL, "
    "PublishedAt IS NOT NULL, (SELECT COUNT(*) FROM OptimizationUnit u WHERE u.InstanceId = i.Id), "
    "(SELECT COUNT(*) FROM OptimizationQueue q WHERE q.InstanceId = i.Id AND IsWinner), "
    "(SELECT COUNT(*) FROM OptimizationQueue q WHERE q.InstanceId = i.Id AND NOT IsResult) "
    "FROM OptimizationInstance i ORDER BY 1",
}


def check_outbox(rows):
    """Numbers from 1 without gaps; what has ended comes before what waits."""
    sessions = {}
    for session, sequence, _, _, _, _, is_sent, is_parked in rows:
        sessions.setdefault(session, []).append((sequence, bool(is_sent or is_parked)))
    sessions.pop(None, None)
    for found in sessions.values():
        assert [sequence for sequence, _ in found] == list(range(1, len(found) + 1))
        over = [is_over for _, is_over in found]
        assert over == sorted(over, reverse=True)


def as_rows(model, start, n_groups, results):
    """The model as rows of the tables; how many candidates a group has is the case's own."""
    candidates = {row[0]: row[-1] for row in results}
    return {
        "sessions": [
            (
                number,
                s["provider"],
                TENANT[s["provider"]],
                s["dry"],
                s["state"],
                s["progress"],
                s["failed_in"],
                s["run"],
                s["pid"],
                s["attempt"],
                f"{start + timedelta(seconds=s['beat']):%Y-%m-%d %H:%M:%S.%f}",
            )
            for number, s in model.sessions.items()
        ],
        "outbox": [
            (
                m["session"],
                m["sequence"],
                m["type"],
                m["progress"],
                m["attempts"],
                m["note"],
                m["end"] == "sent",
                m["end"] == "parked",
            )
            for m in model.outbox
        ],
        "slots": sorted((*key, slot["run"], slot["session"]) for key, slot in model.slots.items()),
        "results": [
            (
                session,
                found["grouped"],
                found["sequenced"],
                found["published"],
                len(found["units"]),
                n_groups if found["published"] else 0,
                0 if found["published"] or not found["sequenced"] else candidates[session],
            )
            for session, found in sorted(model.results.items())
        ],
    }
