"""The outbox: what waits, who sends it, and in which order (A3)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from core.amop.messages import error_message, progress_message
from core.domain import Portal
from core.sessions.state import SessionState
from core.storage import outbox, schema, sessions
from core.storage.engine import reading, writing
from core.storage.sessions import NewSession
from tests.contract.accounts import accounts_of, add_accounts

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


@pytest.fixture
def engine(engine):
    add_accounts(engine)
    return engine


def new_session(engine, *, tenant_id=1):
    accounts = accounts_of(engine)
    provider = {1: 1, 2: 3}[tenant_id]
    new = NewSession(
        guid=str(uuid4()),
        tenant_id=accounts.tenant(tenant_id),
        service_provider_id=accounts.provider(provider),
        billing_period_id=accounts.period(provider),
        kind=Portal.M2M,
        parameters={},
        triggered_by="cli:test",
        is_dry_run=False,
        run_id="run",
        host="here",
        pid=1,
        now=NOW,
    )
    with writing(engine) as connection:
        session_id = sessions.insert_session(connection, new)
        connection.execute(
            schema.optimization_session.update()
            .where(schema.optimization_session.c.Id == session_id)
            .values(State=SessionState.CANCELLED.value)
        )  # the tenant is free for the next one
    return session_id


def progress(session_id, percent):
    return progress_message(
        session_id=session_id,
        session_guid="guid",
        device_count=5,
        progress=percent,
        additional_info="überall",
        additional_data={"a": 1},
        now=NOW,
    )


def refused(text="busy"):
    return error_message(
        session_id=None, text=text, additional_info="", additional_data={}, now=NOW
    )


def append(engine, message, milestone=None):
    with writing(engine) as connection:
        outbox.append_message(connection, message, milestone=milestone)


def heads(engine):
    with reading(engine) as connection:
        return outbox.load_next_messages(connection)


def waiting(engine, session_id=None):
    with reading(engine) as connection:
        return outbox.count_waiting(connection, session_id)


def claim(engine, message):
    with writing(engine) as connection:
        return outbox.claim_message(connection, message, sender="process 1 on here")


def end(engine, how, message, *arguments):
    """End the attempt that follows the state in which ``message`` was read."""
    with writing(engine) as connection:
        return how(connection, message.outbox_id, message.attempts + 1, *arguments)


def deliver(engine, message):
    assert claim(engine, message)
    assert end(engine, outbox.mark_sent, message, LATER)


def test_a_message_reads_back_as_it_was_made(engine):
    session_id = new_session(engine)
    message = progress(session_id, 20)
    append(engine, message, "20")
    (stored,) = heads(engine)
    assert json.loads(stored.payload) == message.payload()
    assert (stored.message_id, stored.sequence, stored.progress) == (message.message_id, 1, 20)
    assert (stored.attempts, stored.sent_at, stored.parked_at) == (0, None, None)
    assert stored.created_at == NOW
    assert stored.sent_by is None


def test_a_session_shows_its_first_waiting_message_only(engine):
    first, second = new_session(engine), new_session(engine, tenant_id=2)
    for percent in (0, 20, 30):
        append(engine, progress(first, percent), str(percent))
    append(engine, progress(second, 0), "0")
    append(engine, refused("a"))
    append(engine, refused("b"))
    assert [(m.session_id, m.progress) for m in heads(engine)] == [
        (first, 0),
        (second, 0),
        (None, 0),
        (None, 0),
    ]
    assert (waiting(engine), waiting(engine, first), waiting(engine, second)) == (6, 3, 1)
    deliver(engine, heads(engine)[0])
    assert next((m.session_id, m.progress) for m in heads(engine)) == (first, 20)
    assert waiting(engine, first) == 2


def test_a_milestone_is_recorded_once_per_session(engine):
    first, second = new_session(engine), new_session(engine)
    append(engine, progress(first, 20), "20")
    with pytest.raises(sa.exc.IntegrityError):
        append(engine, progress(first, 20), "20")
    append(engine, progress(second, 20), "20")
    append(engine, progress(first, 21))
    append(engine, progress(first, 21))
    with reading(engine) as connection:
        assert [m.sequence for m in outbox.load_messages(connection, first)] == [1, 2, 3]


def test_one_of_two_senders_gets_a_message(engine):
    append(engine, progress(new_session(engine), 0))
    (seen,) = heads(engine)
    assert claim(engine, seen)
    assert not claim(engine, seen)
    (under_way,) = heads(engine)
    assert under_way.sent_by == "process 1 on here"
    assert under_way.attempts == 1


def test_a_failed_attempt_leaves_the_message_free(engine):
    append(engine, progress(new_session(engine), 0))
    (first,) = heads(engine)
    claim(engine, first)
    assert end(engine, outbox.mark_failed, first, "HTTP 503")
    (again,) = heads(engine)
    assert (again.attempts, again.last_error, again.sent_by) == (1, "HTTP 503", None)
    assert claim(engine, again)
    assert end(engine, outbox.mark_sent, again, LATER)
    assert heads(engine) == []
    with reading(engine) as connection:
        (sent,) = outbox.load_messages(connection, first.session_id)
    assert (sent.attempts, sent.last_error, sent.sent_at) == (2, None, LATER)


def test_a_parked_message_lets_the_next_one_go(engine):
    session_id = new_session(engine)
    append(engine, progress(session_id, 0))
    append(engine, progress(session_id, 20))
    (first,) = heads(engine)
    claim(engine, first)
    assert end(engine, outbox.mark_parked, first, "HTTP 400", LATER)
    assert [m.progress for m in heads(engine)] == [20]
    assert waiting(engine) == 1
    with reading(engine) as connection:
        parked = outbox.load_messages(connection, session_id)[0]
    assert (parked.parked_at, parked.last_error, parked.sent_at) == (LATER, "HTTP 400", None)


def test_a_sender_whose_message_was_taken_from_it_cannot_end_it(engine):
    append(engine, progress(new_session(engine), 0))
    (slow,) = heads(engine)
    claim(engine, slow)
    (seen_by_other,) = heads(engine)
    assert claim(engine, seen_by_other)
    assert not end(engine, outbox.mark_failed, slow, "late")
    assert not end(engine, outbox.mark_parked, slow, "late", LATER)
    assert not end(engine, outbox.mark_sent, slow, LATER)
    assert end(engine, outbox.mark_sent, seen_by_other, LATER)
    assert not claim(engine, seen_by_other)


@settings(max_examples=25)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["append", "send", "park", "fail"])),
        max_size=25,
    )
)
def test_sessions_are_queues_that_do_not_wait_for_each_other(databases, steps):
    """Against three plain lists."""
    with databases.fresh() as engine:
        add_accounts(engine)
        check_queues(engine, steps)


def check_queues(engine, steps):
    ids = [new_session(engine) for _ in range(3)]
    queues = {session_id: [] for session_id in ids}
    counter = 0
    for which, what in steps:
        session_id = ids[which]
        if what == "append":
            counter += 1
            message = progress(session_id, counter)
            append(engine, message)
            queues[session_id].append(message.message_id)
        elif queues[session_id]:
            (head,) = [m for m in heads(engine) if m.session_id == session_id]
            assert claim(engine, head)
            if what == "fail":
                assert end(engine, outbox.mark_failed, head, "x")
                continue
            if what == "send":
                assert end(engine, outbox.mark_sent, head, LATER)
            else:
                assert end(engine, outbox.mark_parked, head, "x", LATER)
            assert head.message_id == queues[session_id].pop(0)
    found = {m.session_id: m.message_id for m in heads(engine)}
    assert found == {key: queue[0] for key, queue in queues.items() if queue}
    assert waiting(engine) == sum(map(len, queues.values()))
