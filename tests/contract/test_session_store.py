"""Session rows and slots on a real database: guards, one working session per tenant (S1-S3)."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from core.domain import Portal
from core.errors import StorageError
from core.sessions.state import WORKING_STATES, SessionState
from core.sessions.window import NO_HOUR, Slot
from core.storage import schema, sessions
from core.storage.engine import reading, writing
from core.storage.legacy_ids import RUNNING_STATES
from core.storage.sessions import Guard, NewSession
from core.storage.slots import bind_slot, claim_slot, release_slot
from tests.contract.accounts import UNKNOWN, accounts_of, add_accounts

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
TODAY = date(2026, 11, 23)


@pytest.fixture
def engine(engine):
    add_accounts(engine)
    return engine


@pytest.fixture
def day(engine):
    """The slot of today of provider 1."""
    return slot(engine)


def slot(engine, provider_id=1, local_date=TODAY, hour=NO_HOUR):
    provider = accounts_of(engine).provider(provider_id)
    return Slot(service_provider_id=provider, local_date=local_date, hour=hour)


def insert(engine, *, tenant_id=1, provider_id=1, run_id="run-1"):
    accounts = accounts_of(engine)
    new = NewSession(
        guid=str(uuid4()),
        tenant_id=accounts.tenant(tenant_id),
        service_provider_id=accounts.provider(provider_id),
        billing_period_id=accounts.period(provider_id),
        kind=Portal.M2M,
        parameters={"charge_type": "rate", "additional_data": {"a": 1}},
        triggered_by="cli:test",
        is_dry_run=False,
        run_id=run_id,
        host="here",
        pid=4711,
        now=NOW,
    )
    with writing(engine) as connection:
        return sessions.insert_session(connection, new)


def load(engine, session_id):
    with reading(engine) as connection:
        return sessions.load_session(connection, session_id)


def working(engine, tenant_id):
    with reading(engine) as connection:
        return sessions.load_working_session(connection, accounts_of(engine).tenant(tenant_id))


def move(engine, guard, to_state, from_states):
    with writing(engine) as connection:
        return sessions.move(connection, guard, to_state, from_states=from_states, now=NOW)


def force(engine, session_id, state):
    with writing(engine) as connection:
        connection.execute(
            schema.optimization_session.update()
            .where(schema.optimization_session.c.Id == session_id)
            .values(State=state.value)
        )


def test_the_index_and_the_state_diagram_agree_on_what_is_running():
    assert tuple(state.value for state in WORKING_STATES) == RUNNING_STATES


def test_a_new_session_is_pending_and_reads_back(engine):
    session_id = insert(engine)
    session = load(engine, session_id)
    assert session.state is SessionState.PENDING
    assert session.attempt == 1
    assert session.progress == 0
    assert session.tenant_name == "tenant 1"
    assert session.service_provider_name == "provider 1"
    assert session.heartbeat_at == session.created_at == NOW
    assert session.completed_at is None
    assert session.additional_data == {"a": 1}
    assert load(engine, session_id + 1) is None


@pytest.mark.parametrize("state", list(SessionState))
def test_a_tenant_has_one_working_session(engine, state):
    first = insert(engine)
    force(engine, first, state)
    if state.is_working:
        with pytest.raises(sa.exc.IntegrityError):
            insert(engine, provider_id=2)
        assert working(engine, 1).session_id == first
    else:
        second = insert(engine, provider_id=2)
        assert working(engine, 1).session_id == second


def test_tenants_do_not_stand_in_each_others_way(engine):
    insert(engine)
    insert(engine, tenant_id=2, provider_id=3)
    accounts = accounts_of(engine)
    assert working(engine, 2).service_provider_id == accounts.provider(3)


def test_sessions_are_listed_newest_first_and_filtered(engine):
    first = insert(engine)
    force(engine, first, SessionState.COMPLETED)
    second = insert(engine, provider_id=2)
    third = insert(engine, tenant_id=2, provider_id=3)
    accounts = accounts_of(engine)
    with reading(engine) as connection:
        listed = [
            [s.session_id for s in sessions.list_sessions(connection, **chosen)]
            for chosen in (
                {},
                {"tenant_id": accounts.tenant(1)},
                {"service_provider_id": accounts.provider(2)},
                {
                    "tenant_id": accounts.tenant(2),
                    "service_provider_id": accounts.provider(1),
                },
                {"limit": 1},
            )
        ]
    assert listed == [[third, second, first], [second, first], [second], [], [third]]


@pytest.mark.parametrize(
    "wrong", [{"session_id": UNKNOWN}, {"run_id": "run-2"}, {"attempt": 2}, {"attempt": 0}]
)
def test_no_write_passes_with_a_wrong_guard(engine, wrong):
    session_id = insert(engine)
    right = {"session_id": session_id, "run_id": "run-1", "attempt": 1}
    guard = Guard(**{**right, **wrong})
    before = load(engine, session_id)
    later = NOW + timedelta(minutes=1)
    with writing(engine) as connection:
        passed = [
            sessions.touch(connection, guard, now=later, device_count=5),
            sessions.move(
                connection, guard, SessionState.SYNCING, from_states=WORKING_STATES, now=later
            ),
            sessions.raise_progress(connection, guard, 50),
            sessions.stop(
                connection, guard, SessionState.FAILED, now=later, error_message="failed"
            ),
        ]
    force(engine, session_id, SessionState.FINALISING)
    with writing(engine) as connection:
        passed.append(
            sessions.complete(
                connection,
                guard,
                SessionState.COMPLETED,
                now=later,
                device_count=5,
                error_message=None,
            )
        )
    assert passed == [False] * 5
    force(engine, session_id, SessionState.PENDING)
    assert load(engine, session_id) == before


def test_a_move_starts_only_from_the_given_states(engine):
    session_id = insert(engine)
    guard = Guard(session_id=session_id, run_id="run-1", attempt=1)
    assert not move(engine, guard, SessionState.GROUPING, [SessionState.SYNCING])
    assert move(engine, guard, SessionState.SYNCING, [SessionState.PENDING])
    assert load(engine, session_id).state is SessionState.SYNCING


def test_progress_only_grows(engine):
    guard = Guard(session_id=insert(engine), run_id="run-1", attempt=1)
    with writing(engine) as connection:
        grown = [
            sessions.raise_progress(connection, guard, progress) for progress in (20, 20, 10, 30)
        ]
    assert grown == [True, False, False, True]
    assert load(engine, guard.session_id).progress == 30


def test_a_stopped_session_remembers_where_it_was(engine):
    guard = Guard(session_id=insert(engine), run_id="run-1", attempt=1)
    move(engine, guard, SessionState.SYNCING, [SessionState.PENDING])
    with writing(engine) as connection:
        sessions.raise_progress(connection, guard, 20)
        assert sessions.stop(
            connection, guard, SessionState.FAILED, now=NOW, error_message="carrier down"
        )
        assert not sessions.stop(
            connection, guard, SessionState.CANCELLED, now=NOW, error_message="too late"
        )
    session = load(engine, guard.session_id)
    assert session.state is SessionState.FAILED
    assert session.failed_in is SessionState.SYNCING
    assert session.progress == 20
    assert session.error_message == "carrier down"
    assert session.completed_at == NOW


def take_over(engine, seen, run_id):
    with writing(engine) as connection:
        return sessions.take_over(
            connection, seen, run_id=run_id, host="there", pid=1, now=NOW + timedelta(minutes=2)
        )


def test_a_takeover_counts_the_attempt_and_fences_the_old_owner_off(engine):
    session_id = insert(engine)
    assert take_over(engine, load(engine, session_id), "run-2")
    session = load(engine, session_id)
    assert (session.run_id, session.host, session.pid, session.attempt) == ("run-2", "there", 1, 2)
    assert session.parameters == {"charge_type": "rate", "additional_data": {"a": 1}}
    old = Guard(session_id=session_id, run_id="run-1", attempt=1)
    assert not move(engine, old, SessionState.SYNCING, [SessionState.PENDING])
    new = Guard(session_id=session_id, run_id="run-2", attempt=2)
    assert move(engine, new, SessionState.SYNCING, [SessionState.PENDING])


def test_only_one_of_two_takeovers_of_the_same_sight_succeeds(engine):
    seen = load(engine, insert(engine))
    assert take_over(engine, seen, "run-2")
    assert not take_over(engine, seen, "run-3")


def test_a_sign_of_life_since_it_was_seen_stops_a_takeover(engine):
    session_id = insert(engine)
    seen = load(engine, session_id)
    guard = Guard(session_id=session_id, run_id="run-1", attempt=1)
    with writing(engine) as connection:
        assert sessions.touch(connection, guard, now=NOW + timedelta(microseconds=1))
    assert not take_over(engine, seen, "run-2")


def test_a_session_that_ended_is_not_taken_over(engine):
    session_id = insert(engine)
    seen = load(engine, session_id)
    force(engine, session_id, SessionState.CANCELLED)
    assert not take_over(engine, seen, "run-2")


def test_a_slot_is_claimed_once(engine, day):
    first = claim_slot(engine, day, claimed_by="run-1", now=NOW)
    second = claim_slot(engine, day, claimed_by="run-2", now=NOW + timedelta(minutes=1))
    assert first.is_mine
    assert not second.is_mine
    assert (second.claimed_by, second.claimed_at, second.session_id) == ("run-1", NOW, None)


def test_a_run_that_starts_again_finds_its_slot_its_own(engine, day):
    claim_slot(engine, day, claimed_by="run-1", now=NOW)
    assert claim_slot(engine, day, claimed_by="run-1", now=NOW).is_mine


def test_hours_and_providers_are_slots_of_their_own(engine, day):
    slots = [
        day,
        slot(engine, hour=3),
        slot(engine, provider_id=2),
        slot(engine, local_date=date(2026, 11, 24)),
    ]
    assert all(
        claim_slot(engine, one, claimed_by=f"run-{number}", now=NOW).is_mine
        for number, one in enumerate(slots)
    )


def test_a_slot_that_led_to_nothing_can_be_given_back(engine, day):
    claim_slot(engine, day, claimed_by="run-1", now=NOW)
    assert not release_slot(engine, day, claimed_by="run-2")
    assert release_slot(engine, day, claimed_by="run-1")
    assert claim_slot(engine, day, claimed_by="run-2", now=NOW).is_mine


def test_a_slot_that_led_to_a_session_stays_taken(engine, day):
    session_id = insert(engine)
    claim_slot(engine, day, claimed_by="run-1", now=NOW)
    assert not bind_slot(engine, day, claimed_by="run-2", session_id=session_id)
    assert bind_slot(engine, day, claimed_by="run-1", session_id=session_id)
    assert not release_slot(engine, day, claimed_by="run-1")
    assert claim_slot(engine, day, claimed_by="run-2", now=NOW).session_id == session_id


def test_a_slot_of_an_unknown_provider_is_an_error(engine, day):
    unknown = slot(engine, provider_id=99)
    with pytest.raises(StorageError, match=f"provider {unknown.service_provider_id}"):
        claim_slot(engine, unknown, claimed_by="run-1", now=NOW)


def test_of_many_claims_at_once_one_wins(engine, day):
    start = threading.Barrier(8)
    claims = []

    def claim(number):
        start.wait()
        claims.append(claim_slot(engine, day, claimed_by=f"run-{number}", now=NOW))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [each.claimed_by for each in claims if each.is_mine]
    assert len(winners) == 1
    assert {each.claimed_by for each in claims} == set(winners)
