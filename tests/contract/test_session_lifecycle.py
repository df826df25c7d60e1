"""A session from opening to its end, as the flows drive it (S2, S3, A1-A3)."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from core.errors import (
    FencedOffError,
    IllegalTransitionError,
    InputError,
    SessionBusyError,
    SessionCancelledError,
    SessionError,
    StorageError,
)
from core.sessions.heartbeat import Heartbeat
from core.sessions.lifecycle import (
    Author,
    Owner,
    SessionState,
    advance,
    cancel,
    complete,
    enter,
    fail,
    open_session,
    parse_parameters,
    refuse,
    report_progress,
)
from core.sessions.process import host_identity, is_process_alive
from core.sessions.state import WORKING_STATES
from core.storage import audit, outbox, sessions
from core.storage.engine import reading
from tests.contract.accounts import UNKNOWN, accounts_of, add_accounts

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
MUCH_LATER = NOW + timedelta(seconds=61)
AUTHOR = Author(actor="alice", source="cli")
STAGES = WORKING_STATES[1:]


@pytest.fixture
def engine(engine):
    add_accounts(engine)
    return engine


def owner(run_id="run-1", *, host="here", pid=4711):
    return Owner(run_id=run_id, host=host, pid=pid)


def opened(engine, run_id="run-1", *, provider_id=1, period_id=None, now=NOW, **options):
    """Open a session for a provider; every process is alive unless told otherwise."""
    given_owner = options.pop("owner", None) or owner(run_id)
    alive = options.pop("alive", True)
    accounts = accounts_of(engine)
    tenant_id = accounts.tenant(options.pop("tenant", 1))
    if "tenant_id" in options:
        options["tenant_id"] = accounts.tenant(options["tenant_id"])
    request = parse_parameters(
        service_provider_id=accounts.provider(provider_id),
        billing_period_id=accounts.period(provider_id if period_id is None else period_id),
        **options,
    )
    return open_session(
        engine,
        request,
        tenant_id=tenant_id,
        owner=given_owner,
        triggered_by=AUTHOR,
        now=now,
        is_process_alive=lambda pid: alive,
    )


def load(engine, session_id):
    with reading(engine) as connection:
        return sessions.load_session(connection, session_id)


def told(engine, session_id):
    """Payloads of a session's messages in order."""
    with reading(engine) as connection:
        return [json.loads(m.payload) for m in outbox.load_messages(connection, session_id)]


def milestones(engine, session_id):
    return [(m["type"], m["progress"]) for m in told(engine, session_id)]


def told_without_session(engine):
    with reading(engine) as connection:
        waiting = outbox.load_next_messages(connection)
    return [json.loads(m.payload) for m in waiting if m.session_id is None]


def actions(engine, session_id):
    return [event.action for event in audit.load_events(engine, session_id)]


def run_until(engine, handle, last):
    """Enter the stages up to ``last`` with the milestones of A2."""
    for state, milestone in zip(STAGES, (None, 20, 30, 40, None), strict=True):
        handle = enter(engine, handle, state, now=NOW, milestone=milestone, device_count=100)
        if state is SessionState.OPTIMISING:
            for progress in (50, 60, 89):
                report_progress(engine, handle, progress, now=NOW)
        if state is SessionState.FINALISING:
            report_progress(engine, handle, 90, now=NOW)
        if state is last:
            break
    return handle


def test_a_whole_session_tells_every_milestone_in_order_once(engine):
    data = {"ticket": "A-1", "list": [1, None]}
    handle = opened(engine, additional_data=data)
    assert (handle.state, handle.attempt, handle.taken_over_from) == (SessionState.PENDING, 1, None)
    handle = run_until(engine, handle, SessionState.FINALISING)
    done = complete(engine, handle, now=LATER, totals={"devices": 100}, device_count=100)
    assert done.state is SessionState.COMPLETED

    session = load(engine, handle.session_id)
    assert session.state is SessionState.COMPLETED
    assert (session.progress, session.device_count) == (100, 100)
    assert session.completed_at == LATER
    assert session.error_message is None
    messages = told(engine, handle.session_id)
    assert [(m["type"], m["progress"], m["deviceCount"]) for m in messages] == [
        ("Progress", 0, 0),
        ("Progress", 20, 100),
        ("Progress", 30, 100),
        ("Progress", 40, 100),
        ("Progress", 50, 100),
        ("Progress", 60, 100),
        ("Progress", 89, 100),
        ("Progress", 90, 100),
        ("Completed", 100, 100),
    ]
    assert all(m["additionalData"] == data for m in messages[:-1])
    assert messages[-1]["additionalData"] == {**data, "totals": {"devices": 100}}
    assert {m["sessionGuid"] for m in messages} == {handle.session_guid}
    assert {m["sessionId"] for m in messages} == {str(handle.session_id)}
    assert actions(engine, handle.session_id) == ["session.opened", "session.completed"]


def test_a_session_with_errors_says_them_in_its_completed_message(engine):
    handle = run_until(engine, opened(engine), SessionState.FINALISING)
    complete(
        engine, handle, now=LATER, totals={}, device_count=9, error_message="G0002 not finished"
    )
    session = load(engine, handle.session_id)
    assert session.state is SessionState.COMPLETED_WITH_ERRORS
    last = told(engine, handle.session_id)[-1]
    assert (last["type"], last["errorMessage"]) == ("Completed", "G0002 not finished")


def test_a_dry_run_is_marked_in_every_message(engine):
    handle = run_until(engine, opened(engine, dry_run=True), SessionState.FINALISING)
    complete(engine, handle, now=LATER, totals={}, device_count=9)
    infos = {m["additionalInfo"] for m in told(engine, handle.session_id)}
    assert infos == {"DRY RUN"}
    assert load(engine, handle.session_id).is_dry_run


@pytest.mark.parametrize("state", WORKING_STATES)
def test_a_failure_keeps_progress_and_place_and_tells_neither(engine, state):
    handle = opened(engine, additional_data={"a": 1})
    if state is not SessionState.PENDING:
        handle = run_until(engine, handle, state)
    before = load(engine, handle.session_id)
    fail(engine, handle, now=LATER, error_message="the carrier is down")
    session = load(engine, handle.session_id)
    assert session.state is SessionState.FAILED
    assert session.failed_in is state
    assert session.progress == before.progress
    last = told(engine, handle.session_id)[-1]
    assert {k: v for k, v in last.items() if k not in ("messageId", "sentAt")} == {
        "type": "ErrorMessage",
        "sessionId": str(handle.session_id),
        "sessionGuid": None,
        "deviceCount": 0,
        "errorMessage": "the carrier is down",
        "progress": 0,
        "additionalInfo": "",
        "additionalData": {"a": 1},
    }
    assert actions(engine, handle.session_id)[-1] == "session.failed"


@pytest.mark.parametrize("by_id", [False, True])
def test_a_cancelled_session_stops_its_run(engine, by_id):
    handle = run_until(engine, opened(engine), SessionState.GROUPING)
    if by_id:
        bob = Author(actor="bob", source="ui")
        cancel(engine, handle.session_id, now=LATER, reason="stop", cancelled_by=bob)
    else:
        cancel(engine, handle, now=LATER, reason="stop")
    session = load(engine, handle.session_id)
    assert (session.state, session.failed_in) == (SessionState.CANCELLED, SessionState.GROUPING)
    assert milestones(engine, handle.session_id)[-1] == ("ErrorMessage", 0)
    event = audit.load_events(engine, handle.session_id)[-1]
    assert (event.action, event.actor) == ("session.cancelled", "bob" if by_id else "alice")
    for write in (
        lambda: enter(engine, handle, SessionState.SEQUENCING, now=LATER, milestone=30),
        lambda: advance(engine, handle, SessionState.SEQUENCING, now=LATER),
        lambda: report_progress(engine, handle, 60, now=LATER),
        lambda: fail(engine, handle, now=LATER, error_message="x"),
        lambda: complete(engine, handle, now=LATER, totals={}, device_count=1),
    ):
        with pytest.raises(SessionCancelledError, match="was cancelled: stop"):
            write()
    n_told = len(told(engine, handle.session_id))
    cancel(engine, handle, now=LATER, reason="again")
    assert len(told(engine, handle.session_id)) == n_told


def test_a_finished_session_cannot_be_cancelled(engine):
    handle = run_until(engine, opened(engine), SessionState.FINALISING)
    complete(engine, handle, now=LATER, totals={}, device_count=9)
    with pytest.raises(IllegalTransitionError, match="COMPLETED"):
        cancel(engine, handle.session_id, now=LATER, reason="x", cancelled_by=AUTHOR)
    with pytest.raises(InputError, match=f"no session {UNKNOWN}"):
        cancel(engine, UNKNOWN, now=LATER, reason="x", cancelled_by=AUTHOR)


def test_whoever_cancels_by_id_says_who_it_is(engine):
    handle = opened(engine)
    with pytest.raises(ValueError, match="who it is"):
        cancel(engine, handle.session_id, now=LATER, reason="x")


def test_stages_cannot_be_left_out_or_repeated_by_advance(engine):
    handle = opened(engine)
    with pytest.raises(IllegalTransitionError, match="PENDING cannot become GROUPING"):
        advance(engine, handle, SessionState.GROUPING, now=NOW)
    with pytest.raises(IllegalTransitionError, match="PENDING cannot become GROUPING"):
        enter(engine, handle, SessionState.GROUPING, now=NOW, milestone=20)
    handle = advance(engine, handle, SessionState.SYNCING, now=NOW)
    with pytest.raises(IllegalTransitionError, match="SYNCING cannot become SYNCING"):
        advance(engine, handle, SessionState.SYNCING, now=NOW)
    assert milestones(engine, handle.session_id) == [("Progress", 0)]
    with pytest.raises(IllegalTransitionError):
        complete(engine, handle, now=NOW, totals={}, device_count=1)
    with pytest.raises(ValueError, match="is an end"):
        advance(engine, handle, SessionState.COMPLETED, now=NOW)


def test_advance_tells_its_milestone(engine):
    handle = advance(engine, opened(engine), SessionState.SYNCING, now=NOW)
    handle = advance(
        engine, handle, SessionState.GROUPING, now=NOW, milestone=20, device_count=7, info="synced"
    )
    assert handle.state is SessionState.GROUPING
    last = told(engine, handle.session_id)[-1]
    assert (last["progress"], last["deviceCount"], last["additionalInfo"]) == (20, 7, "synced")


def test_nothing_can_be_done_in_a_failed_session(engine):
    handle = opened(engine)
    fail(engine, handle, now=NOW, error_message="x")
    with pytest.raises(IllegalTransitionError, match="is over, it is FAILED"):
        enter(engine, handle, SessionState.SYNCING, now=NOW)
    with pytest.raises(IllegalTransitionError, match="is over, it is FAILED"):
        report_progress(engine, handle, 20, now=NOW)


def test_progress_is_told_once_and_never_decreases(engine):
    handle = run_until(engine, opened(engine), SessionState.OPTIMISING)
    recorded = [report_progress(engine, handle, p, now=NOW) for p in (89, 60, 50)]
    assert recorded == [False, False, False]
    assert milestones(engine, handle.session_id)[-1] == ("Progress", 89)
    with pytest.raises(ValueError, match="0 to 99"):
        report_progress(engine, handle, 100, now=NOW)


def test_ends_can_be_repeated_by_the_same_run_without_effect(engine):
    handle = run_until(engine, opened(engine), SessionState.FINALISING)
    complete(engine, handle, now=NOW, totals={}, device_count=1)
    n_told = len(told(engine, handle.session_id))
    complete(engine, handle, now=LATER, totals={}, device_count=1)
    with pytest.raises(IllegalTransitionError):
        fail(engine, handle, now=LATER, error_message="after the end")
    assert len(told(engine, handle.session_id)) == n_told
    assert load(engine, handle.session_id).completed_at == NOW

    failed = opened(engine, "run-2")
    fail(engine, failed, now=NOW, error_message="first")
    fail(engine, failed, now=LATER, error_message="second")
    assert load(engine, failed.session_id).error_message == "first"
    assert milestones(engine, failed.session_id) == [("Progress", 0), ("ErrorMessage", 0)]


def test_a_busy_tenant_refuses_the_next_run_and_says_why(engine):
    running = run_until(engine, opened(engine), SessionState.GROUPING)
    with pytest.raises(SessionBusyError) as caught:
        opened(engine, "run-2", provider_id=2, now=LATER)
    assert caught.value.running_session_id == running.session_id
    text = str(caught.value)
    for part in (
        f"session {running.session_id}",
        f"'provider 1' (id {accounts_of(engine).provider(1)})",
        f"billing period {accounts_of(engine).period(1)}",
        "GROUPING",
        "2026-11-23 02:00:00 UTC",
        "run run-1 (process 4711 on here)",
        "start again",
    ):
        assert part in text
    assert load(engine, running.session_id).attempt == 1


def test_a_refused_run_tells_amop_without_a_session(engine):
    refuse(
        engine,
        error_message="tenant is busy",
        flow_run_id="flow-7",
        additional_data={"ticket": 1},
        triggered_by=AUTHOR,
        now=NOW,
        tenant_id=accounts_of(engine).tenant(1),
        service_provider_id=accounts_of(engine).provider(2),
    )
    (message,) = told_without_session(engine)
    del message["messageId"], message["sentAt"]
    assert message == {
        "type": "ErrorMessage",
        "sessionId": None,
        "sessionGuid": None,
        "deviceCount": 0,
        "errorMessage": "tenant is busy",
        "progress": 0,
        "additionalInfo": "flow run flow-7",
        "additionalData": {"ticket": 1},
    }
    (event,) = audit.load_events(engine)
    assert (event.action, event.run_id) == ("session.refused", "flow-7")
    refuse(
        engine,
        error_message="additional_data must be an object",
        flow_run_id="flow-8",
        additional_data="no object",
        triggered_by=AUTHOR,
        now=NOW,
    )
    assert told_without_session(engine)[-1]["additionalData"] == {}


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_a_tenant_is_free_after_any_end(engine, end):
    handle = run_until(engine, opened(engine), SessionState.FINALISING)
    if end == "completed":
        complete(engine, handle, now=NOW, totals={}, device_count=1)
    elif end == "failed":
        fail(engine, handle, now=NOW, error_message="x")
    else:
        cancel(engine, handle, now=NOW, reason="x")
    following = opened(engine, "run-2")
    assert following.session_id != handle.session_id
    assert following.taken_over_from is None


@pytest.mark.parametrize("state", WORKING_STATES)
@pytest.mark.parametrize("death", ["silent", "gone"])
def test_a_session_whose_run_died_is_taken_over_and_ends_like_a_clean_one(engine, state, death):
    handle = opened(engine)
    if state is not SessionState.PENDING:
        handle = run_until(engine, handle, state)
    now = MUCH_LATER if death == "silent" else LATER
    taken = opened(engine, "run-2", now=now, alive=death == "silent")
    assert taken.session_id == handle.session_id
    assert (taken.attempt, taken.state) == (2, state)
    for part in ("run run-1 (process 4711 on here)", f"it was {state}"):
        assert part in taken.taken_over_from
    why = "last heartbeat was at" if death == "silent" else "process 4711 on here is gone"
    assert why in taken.taken_over_from

    with pytest.raises(FencedOffError, match="belongs to run run-2"):
        run_until(engine, handle, SessionState.FINALISING)
    with pytest.raises(FencedOffError):
        fail(engine, handle, now=now, error_message="x")
    with pytest.raises(FencedOffError):
        cancel(engine, handle, now=now, reason="Ctrl-C in the old process")

    taken = run_until(engine, taken, SessionState.FINALISING)
    complete(engine, taken, now=now, totals={}, device_count=100)
    progress = [m["progress"] for m in told(engine, handle.session_id)]
    assert progress == [0, 20, 30, 40, 50, 60, 89, 90, 100]
    assert "session.taken_over" in actions(engine, handle.session_id)


def test_an_owner_that_lives_is_not_replaced(engine):
    opened(engine)
    with pytest.raises(SessionBusyError):
        opened(engine, "run-2", now=NOW + timedelta(seconds=60))


def test_a_process_number_means_nothing_on_another_host(engine):
    opened(engine)
    with pytest.raises(SessionBusyError):
        opened(engine, "run-2", owner=owner("run-2", host="elsewhere"), alive=False, now=LATER)


def test_the_same_run_in_the_same_process_continues_its_session(engine):
    first = opened(engine)
    again = opened(engine)
    assert (again.session_id, again.attempt) == (first.session_id, 2)
    with pytest.raises(SessionBusyError):
        opened(engine, owner=owner("run-1", pid=4712))


@pytest.mark.parametrize(
    "other",
    [
        {"provider_id": 2},
        {"period_id": 11},
        {"charge_type": "overage"},
        {"skip_lower_cost_check": True},
        {"rate_plan_sequences": [["A", "B"]]},
        {"dry_run": True},
    ],
)
def test_a_dead_session_for_something_else_is_given_up_and_amop_told(engine, other):
    dead = run_until(engine, opened(engine, additional_data={"a": 1}), SessionState.GROUPING)
    new = opened(engine, "run-2", now=MUCH_LATER, **other)
    assert new.session_id != dead.session_id
    assert (new.attempt, new.taken_over_from) == (1, None)
    session = load(engine, dead.session_id)
    assert (session.state, session.failed_in) == (SessionState.FAILED, SessionState.GROUPING)
    assert "abandoned by run run-1" in session.error_message
    last = told(engine, dead.session_id)[-1]
    assert (last["type"], last["additionalData"]) == ("ErrorMessage", {"a": 1})
    assert last["errorMessage"] == session.error_message
    assert actions(engine, dead.session_id)[-1] == "session.abandoned"
    with pytest.raises(FencedOffError):
        enter(engine, dead, SessionState.SEQUENCING, now=MUCH_LATER)
    with pytest.raises(FencedOffError):
        fail(engine, dead, now=MUCH_LATER, error_message="x")


def test_a_takeover_echoes_the_new_callers_data_or_else_the_old(engine):
    opened(engine, additional_data={"ticket": "old"}, has_synced=False)
    second = opened(engine, "run-2", now=MUCH_LATER)
    assert second.additional_data == {"ticket": "old"}
    third = opened(
        engine, "run-3", now=MUCH_LATER + timedelta(hours=1), additional_data={"ticket": "new"}
    )
    assert third.additional_data == {"ticket": "new"}
    assert load(engine, third.session_id).additional_data == {"ticket": "new"}


def test_a_session_is_continued_by_its_id_with_its_own_parameters(engine):
    dead = run_until(engine, opened(engine, charge_type="overage"), SessionState.OPTIMISING)
    accounts = accounts_of(engine)
    request = parse_parameters(
        service_provider_id=accounts.provider(1),
        optimization_session_id=dead.session_id,
        tenant_id=accounts.tenant(1),
    )
    handle = open_session(
        engine,
        request,
        tenant_id=accounts.tenant(1),
        owner=owner("run-2"),
        triggered_by=AUTHOR,
        now=MUCH_LATER,
        is_process_alive=lambda pid: True,
    )
    assert (handle.session_id, handle.attempt) == (dead.session_id, 2)
    assert handle.state is SessionState.OPTIMISING
    assert handle.request.charge_type == "overage"
    assert handle.billing_period_id == accounts.period(1)


def test_only_a_dead_working_session_of_the_provider_can_be_continued(engine):
    handle = opened(engine)
    accounts = accounts_of(engine)
    one, two = accounts.provider(1), accounts.provider(2)
    november, december = accounts.period(1), accounts.period(11)
    resume = {"optimization_session_id": handle.session_id}
    with pytest.raises(SessionBusyError):
        opened(engine, "run-2", now=LATER, **resume)
    with pytest.raises(InputError, match=f"service_provider_id is {two}, but .* has {one}"):
        opened(engine, "run-2", provider_id=2, now=MUCH_LATER, **resume)
    with pytest.raises(InputError, match=f"billing_period_id is {december}, but .* has {november}"):
        opened(engine, "run-2", period_id=11, now=MUCH_LATER, **resume)
    with pytest.raises(InputError, match=f"optimization_session_id is {UNKNOWN}"):
        opened(engine, "run-2", now=MUCH_LATER, optimization_session_id=UNKNOWN)
    with pytest.raises(InputError, match=f"tenant {accounts.tenant(2)} has no such session"):
        opened(engine, "run-2", tenant=2, now=MUCH_LATER, **resume)
    fail(engine, handle, now=NOW, error_message="x")
    with pytest.raises(SessionError, match="is FAILED and cannot be continued"):
        opened(engine, "run-2", now=MUCH_LATER, **resume)


def test_a_provider_of_another_tenant_is_refused(engine):
    accounts = accounts_of(engine)
    message = (
        f"tenant_id is {accounts.tenant(2)}, but service provider {accounts.provider(1)} belongs"
    )
    with pytest.raises(InputError, match=message):
        opened(engine, tenant_id=2)


def test_an_unknown_provider_or_period_is_an_error_that_says_so(engine):
    with pytest.raises(StorageError, match=f"billing period {accounts_of(engine).period(77)}"):
        opened(engine, period_id=77)
    with reading(engine) as connection:
        assert sessions.list_sessions(connection) == []
    assert told_without_session(engine) == []


def test_a_request_without_a_period_is_a_mistake_of_the_caller(engine):
    with pytest.raises(ValueError, match="billing period"):
        open_session(
            engine,
            parse_parameters(service_provider_id=accounts_of(engine).provider(1)),
            tenant_id=accounts_of(engine).tenant(1),
            owner=owner(),
            triggered_by=AUTHOR,
            now=NOW,
        )


def test_nothing_is_told_if_the_state_change_fails(engine, monkeypatch):
    handle = opened(engine)
    enter(engine, handle, SessionState.SYNCING, now=NOW)

    def broken(*_arguments, **_options):
        raise StorageError("disk full")

    monkeypatch.setattr(outbox, "append_message", broken)
    with pytest.raises(StorageError):
        enter(engine, handle, SessionState.GROUPING, now=NOW, milestone=20)
    with pytest.raises(StorageError):
        fail(engine, handle, now=NOW, error_message="x")
    monkeypatch.undo()
    session = load(engine, handle.session_id)
    assert (session.state, session.progress) == (SessionState.SYNCING, 0)
    assert milestones(engine, handle.session_id) == [("Progress", 0)]
    assert actions(engine, handle.session_id) == ["session.opened"]


def test_the_audit_log_says_who_started_a_session(engine):
    handle = opened(engine)
    (event,) = audit.load_events(engine, handle.session_id)
    assert (event.actor, event.source, event.run_id) == ("alice", "cli", "run-1")
    accounts = accounts_of(engine)
    assert event.tenant_id == accounts.tenant(1)
    assert event.service_provider_id == accounts.provider(1)
    assert event.details["charge_type"] == "rate_and_overage"
    assert load(engine, handle.session_id).triggered_by == "cli:alice"


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


def test_a_heartbeat_shows_life(engine):
    handle = opened(engine)
    clock = Clock(LATER)
    heartbeat = Heartbeat(engine, handle, 10.0, clock=clock)
    assert heartbeat.beat()
    assert load(engine, handle.session_id).heartbeat_at == LATER
    heartbeat.check()
    with pytest.raises(SessionBusyError):
        opened(engine, "run-2", now=LATER + timedelta(seconds=60))


def test_a_heartbeat_runs_beside_the_work(engine):
    handle = opened(engine)
    beaten = threading.Event()

    def clock():
        beaten.set()
        return LATER

    with Heartbeat(engine, handle, 0.001, clock=clock) as heartbeat:
        beaten.clear()
        assert beaten.wait(10)
    heartbeat.check()
    assert load(engine, handle.session_id).heartbeat_at == LATER


def test_a_heartbeat_notices_a_takeover(engine, caplog):
    handle = opened(engine)
    opened(engine, "run-2", now=MUCH_LATER)
    heartbeat = Heartbeat(engine, handle, 10.0, clock=Clock(MUCH_LATER))
    with caplog.at_level(logging.ERROR):
        assert not heartbeat.beat()
    assert "was taken from this run" in caplog.text
    with pytest.raises(FencedOffError):
        heartbeat.check()
    assert load(engine, handle.session_id).run_id == "run-2"


def test_a_heartbeat_notices_a_cancellation(engine):
    handle = opened(engine)
    heartbeat = Heartbeat(engine, handle, 10.0, clock=Clock(LATER))
    cancel(engine, handle.session_id, now=NOW, reason="stop", cancelled_by=AUTHOR)
    assert not heartbeat.beat()
    with pytest.raises(SessionCancelledError):
        heartbeat.check()


def test_a_heartbeat_ends_quietly_with_its_session(engine):
    handle = opened(engine)
    heartbeat = Heartbeat(engine, handle, 10.0, clock=Clock(LATER))
    fail(engine, handle, now=NOW, error_message="x")
    assert not heartbeat.beat()
    heartbeat.check()


def test_a_heartbeat_survives_a_short_failure_of_the_database_and_reports_a_long_one(
    engine, monkeypatch
):
    handle = opened(engine)
    clock = Clock(NOW)
    heartbeat = Heartbeat(engine, handle, 0.001, clock=clock)

    def locked(*_arguments, **_options):
        raise StorageError("database is locked")

    with heartbeat:
        monkeypatch.setattr(sessions, "touch", locked)
        assert heartbeat.beat()
        heartbeat.check()
        clock.now = MUCH_LATER
        with pytest.raises(StorageError, match="no heartbeat for 61 s"):
            heartbeat.check()
        monkeypatch.undo()
        assert heartbeat.beat()
        heartbeat.check()


def test_a_heartbeat_that_breaks_says_so(engine, monkeypatch):
    handle = opened(engine)

    def broken(*_arguments, **_options):
        raise RuntimeError("a bug")

    monkeypatch.setattr(sessions, "touch", broken)
    heartbeat = Heartbeat(engine, handle, 0.001, clock=Clock(NOW))
    with heartbeat:
        heartbeat._thread.join(10)
        with pytest.raises(StorageError, match="a bug"):
            heartbeat.check()


def test_this_process_is_alive_and_an_ended_one_is_not():
    assert is_process_alive(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet waited for
    assert not is_process_alive(child.pid)
    child.wait()
    assert not is_process_alive(child.pid)
    assert is_process_alive(1)


def test_an_owner_of_this_process_can_be_found_again():
    mine = Owner.of_this_process("run-1")
    assert mine == Owner(run_id="run-1", host=host_identity(), pid=os.getpid())
    assert len(mine.host) <= 256


def test_of_many_runs_at_once_one_gets_the_tenant(engine):
    """Threads with connections of their own, for two providers of the tenant."""
    start = threading.Barrier(8)
    winners, losers, other = [], [], []

    def run(number):
        start.wait()
        try:
            winners.append(opened(engine, f"run-{number}", provider_id=1 + number % 2))
        except SessionBusyError as exc:
            losers.append(exc)
        except Exception as exc:
            other.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other == []
    (winner,) = winners
    assert len(losers) == 7
    assert {exc.running_session_id for exc in losers} == {winner.session_id}
    assert all(f"run {winner.owner.run_id} " in str(exc) for exc in losers)
    assert milestones(engine, winner.session_id) == [("Progress", 0)]


def test_of_many_takeovers_at_once_one_succeeds(engine):
    dead = run_until(engine, opened(engine), SessionState.GROUPING)
    start = threading.Barrier(6)
    taken, busy, other = [], [], []

    def run(number):
        start.wait()
        try:
            taken.append(opened(engine, f"new-{number}", now=MUCH_LATER))
        except SessionBusyError as exc:
            busy.append(exc)
        except Exception as exc:
            other.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert other == []
    assert [handle.session_id for handle in taken] == [dead.session_id]
    assert len(busy) == 5
    assert load(engine, dead.session_id).attempt == 2
    assert actions(engine, dead.session_id).count("session.taken_over") == 1
