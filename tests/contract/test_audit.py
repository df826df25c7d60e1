"""The audit log: read back in order, found by session and run, never changed (D5)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from core.storage import audit
from core.storage.audit import AuditEvent
from core.storage.engine import reading, writing
from core.storage.schema import audit_event
from tests.contract.accounts import NOW
from tests.contract.probes import supports

FIRST = AuditEvent(
    occurred_at=NOW,
    actor="Zoë",
    source="cli",
    action="test.done",
    subject="it's \u6e2c\u8a66 \U0001f4f6",
    details={"b": [1, None], "a": {"text": 'quoted "so"'}},
)
SECOND = AuditEvent(
    occurred_at=NOW.replace(microsecond=123456),
    actor="system",
    source="system",
    action="test.done",
    subject="again",
    tenant_id=1,
    service_provider_id=2,
    session_id=(1 << 63) - 1,
    run_id="run-1",
)


@pytest.fixture
def log(engine):
    with writing(engine) as connection:
        audit.append(connection, FIRST)
        audit.append(connection, SECOND)
    return engine


def test_events_read_back_as_they_were_written_oldest_first(log):
    assert audit.load_events(log) == [FIRST, SECOND]
    assert audit.load_events(log, SECOND.session_id) == [SECOND]
    assert audit.load_events(log, 5) == []


def test_whether_a_run_left_anything_is_told(log):
    assert audit.has_events(log, "run-1")
    assert not audit.has_events(log, "RUN-1")
    assert not audit.has_events(log, "run-2")


def test_a_source_that_nobody_knows_is_refused(log):
    event = AuditEvent(occurred_at=NOW, actor="x", source="fax", action="a.b", subject="s")
    with pytest.raises(sa.exc.IntegrityError), writing(log) as connection:
        audit.append(connection, event)


@pytest.mark.parametrize(
    "statement",
    [sa.update(audit_event).values(Actor="x"), sa.delete(audit_event)],
    ids=["changed", "deleted"],
)
def test_events_cannot_be_changed_or_deleted(log, statement):
    if not supports(log, "triggers"):
        pytest.skip("this database makes no triggers")
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), writing(log) as connection:
        connection.execute(statement)
    assert audit.load_events(log) == [FIRST, SECOND]


def test_a_probe_leaves_nothing_behind_and_says_no_to_what_is_not_there(log, monkeypatch):
    monkeypatch.setitem(
        supports.__globals__["ATTEMPTS"], "what nobody has", lambda _: ["CREATE UNICORN x"]
    )
    assert not supports(log, "what nobody has")
    for _ in range(2):
        assert supports(log, "triggers")
    with reading(log) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(audit_event)).scalar() == 2
