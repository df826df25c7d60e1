"""A purge takes all results of old sessions and nothing else, and hides them first (R5)."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta

import pytest
import sqlalchemy as sa
import stamina
from sqlalchemy import event

from core.changes.proposals import propose_changes
from core.errors import InputError, SessionError, StorageError, TransientStorageError
from core.sessions.lifecycle import open_session, parse_parameters
from core.sessions.ownership import Owner
from core.stages.purging import preview_purge, purge_old_results
from core.storage.engine import open_engine, reading, writing
from core.storage.instances import find_instances, load_instance
from core.storage.outcomes import load_outcome
from core.storage.purge import BATCH_ROWS, purge
from core.storage.retry import ATTEMPTS
from core.storage.sessions import list_sessions, load_session
from tests.faults.purge_data import (
    AUTHOR,
    CUTOFF,
    DOOMED,
    NOW,
    OLD,
    SESSIONS,
    belongs_to_doomed,
    contents,
    make_database,
    run_purge,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_database(tmp_path_factory.mktemp("template") / "template.db")


@pytest.fixture
def path(template, tmp_path):
    return str(shutil.copy(template, tmp_path / "own.db"))


@pytest.fixture
def engine(path):
    engine = open_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


def purging(engine, batch_rows=5):
    return purge(engine, cutoff=CUTOFF, now=NOW, author=AUTHOR, batch_rows=batch_rows)


def instances_by_session(tables):
    return {row["OptimizationSessionId"]: row["Id"] for row in tables["OptimizationInstance"]}


def left_of(tables, doomed):
    """What has to be left of a database: its rows without the doomed ones, and the marks."""
    kept = {
        name: [r for r in rows if r not in doomed.get(name, [])] for name, rows in tables.items()
    }
    for row in kept["OptimizationSession"]:
        if row["Id"] in DOOMED:
            row["ResultsPurgedDate"] = "2026-11-20 12:00:00.000000"
    return kept


@pytest.mark.parametrize("batch_rows", [1, 5, BATCH_ROWS])
def test_only_the_rows_of_old_finished_sessions_and_runs_go(path, batch_rows):
    before = contents(path)
    expected = left_of(before, belongs_to_doomed(before))
    run_purge(path, batch_rows=batch_rows)
    after = contents(path)
    assert after.pop("AuditEvent")
    expected.pop("AuditEvent")
    assert after == expected
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_purge_goes_on_where_the_database_could_not_do_it_this_time(engine, path):
    expected = left_of(contents(path), belongs_to_doomed(contents(path)))
    n_statements = n_failed = 0

    def fail(*_):
        nonlocal n_statements, n_failed
        n_statements += 1
        if n_statements % 17 == 0:
            n_failed += 1
            raise TransientStorageError("chosen as the victim of a deadlock")

    event.listen(engine, "before_cursor_execute", fail)
    with stamina.set_testing(True, attempts=ATTEMPTS, cap=True):
        steps = list(purging(engine))
    after = contents(path)
    assert n_failed > 5
    assert len(after.pop("AuditEvent")) == sum(step.table is None for step in steps)
    expected.pop("AuditEvent")
    assert after == expected


def test_a_second_purge_finds_nothing(path):
    run_purge(path)
    assert run_purge(path) == []


def test_the_audit_log_gets_one_event_per_session_with_the_counts_of_its_tables(path):
    before = contents(path)
    doomed = belongs_to_doomed(before)
    instances = instances_by_session(before)
    session_of_queue = {
        row["Id"]: session
        for row in before["OptimizationQueue"]
        for session, instance in instances.items()
        if row["InstanceId"] == instance
    }
    expected = {number: Counter() for number in DOOMED}
    for name, rows in doomed.items():
        for row in rows:
            if name == "OptimizationInstance":
                expected[row["OptimizationSessionId"]][name] += 1
            elif "QueueId" in row:
                expected[session_of_queue[row["QueueId"]]][name] += 1
            elif "InstanceId" in row:
                session = next(s for s, i in instances.items() if i == row["InstanceId"])
                expected[session][name] += 1
    run_purge(path)
    events = contents(path)["AuditEvent"]
    assert [(e["Action"], e["SessionId"], e["Actor"], e["RunId"]) for e in events] == [
        ("session.purged", number, "test", "flow-run-1") for number in DOOMED
    ]
    told = {e["SessionId"]: Counter(json.loads(e["Details"])["rows"]) for e in events}
    assert {number: +rows for number, rows in told.items()} == expected


def test_a_preview_counts_what_the_purge_then_takes_and_changes_nothing(path, engine):
    before = contents(path)
    found = preview_purge(engine, retention_days=90, now=NOW)
    assert contents(path) == before
    counted = {name: len(rows) for name, rows in belongs_to_doomed(before).items() if rows}
    assert found.rows == counted
    assert (found.sessions, found.sync_runs) == (4, 2)
    done = purge_old_results(engine, retention_days=90, now=NOW, author=AUTHOR)
    assert done == found


def test_no_transaction_deletes_more_rows_than_it_may(engine):
    deleted = [0]
    event.listen(engine, "begin", lambda _: deleted.append(0))

    def count(_connection, cursor, statement, *_rest):
        if statement.startswith("DELETE"):
            deleted[-1] += cursor.rowcount

    event.listen(engine, "after_cursor_execute", count)
    told = [step.rows for step in purging(engine)]
    assert max(deleted) == 5
    assert [n for n in deleted if n] == [n for n in told if n]


def test_rows_of_several_owners_share_a_transaction(engine):
    steps = [s for s in purging(engine, batch_rows=50) if s.session_id == 3]
    assert len(steps) == 1 + len({s.table for s in steps if s.table})


def test_no_statement_searches_a_table(path, engine):
    seen = []
    event.listen(
        engine,
        "before_cursor_execute",
        lambda _c, _k, text, values, *_: seen.append((text, values)),
    )
    list(purging(engine))
    # Statements that begin from the sessions or runs look at those; there are few.
    of_roots = re.compile(r'(SCAN|SEARCH) "?(OptimizationSession|DeviceSyncRun|later)"?\b')
    plans = set()
    with closing(sqlite3.connect(path)) as connection:
        for text, values in seen:
            if text.startswith(("SELECT", "DELETE")):
                plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", values)
                plans |= {(text, row[3]) for row in plan}
    assert len({text for text, _ in plans}) > 30
    searched = {found for found in plans if "SCAN" in found[1] and not of_roots.match(found[1])}
    assert {plan for _, plan in searched} <= {"SCAN CONSTANT ROW"}
    assert not any("USE TEMP B-TREE FOR ORDER BY" in plan for _, plan in plans)


def test_a_reader_sees_a_session_whole_or_not_at_all_after_every_step(path, engine):
    whole = contents(path)
    instances = instances_by_session(whole)
    n_steps = 0
    for _ in purging(engine, batch_rows=10):
        n_steps += 1
        now = contents(path)
        cards = Counter(row["InstanceId"] for row in now["OptimizationSimCard"])
        for number in DOOMED:
            instance = instances[number]
            with reading(engine) as connection:
                is_marked = load_session(connection, number).results_purged_at is not None
            if is_marked:
                assert find_instances(engine, number) == []
                with pytest.raises(
                    StorageError, match=r"purged on 2026-11-20|unknown, or was purged"
                ):
                    load_outcome(engine, instance)
            else:
                assert [found.id for found in find_instances(engine, number)] == [instance]
                all_of_it = Counter(r["InstanceId"] for r in whole["OptimizationSimCard"])
                assert cards[instance] == all_of_it[instance]
        for number in (5, 6, 7):
            assert len(find_instances(engine, number)) == 1
    assert n_steps > 50


def test_a_reader_that_began_before_sees_everything_to_its_end(path, engine):
    count = sa.text("SELECT COUNT(*) FROM OptimizationSimCard")
    with reading(engine) as connection:
        before = connection.execute(count).scalar_one()
        run_purge(path)
        assert connection.execute(count).scalar_one() == before
        assert load_session(connection, 1).results_purged_at is None
        load_instance(connection, 1)


def test_a_running_session_writes_between_any_two_steps_without_waiting(path, engine):
    before = contents(path)
    running = instances_by_session(before)[7]
    n_steps = 0
    with closing(sqlite3.connect(path, timeout=0)) as other:
        for _ in purging(engine):
            n_steps += 1
            other.execute(
                "INSERT INTO OptimizationSimCard (InstanceId, ICCID) VALUES (?, ?)",
                (running, f"new {n_steps}"),
            )
            other.commit()
    after = contents(path)
    cards = [row for row in after["OptimizationSimCard"] if row["InstanceId"] == running]
    assert len(cards) == 15 + n_steps


def test_a_session_that_was_resumed_meanwhile_is_left_alone(path, engine):
    steps = purging(engine)
    first = next(steps)
    assert first.session_id == 1
    resume = "UPDATE OptimizationSession SET State = 'OPTIMISING' WHERE Id = 3"
    with writing(engine) as connection:
        connection.execute(sa.text("UPDATE OptimizationSession SET State = 'FAILED' WHERE Id = 7"))
        connection.execute(sa.text(resume))
    assert {step.session_id for step in steps} == {1, 2, 4, None}
    assert len(find_instances(engine, 3)) == 1


def test_a_session_stays_in_the_list_and_says_when_its_results_went(path, engine):
    run_purge(path)
    with reading(engine) as connection:
        found = {session.session_id: session for session in list_sessions(connection)}
    assert found.keys() == SESSIONS.keys()
    assert {number for number, s in found.items() if s.results_purged_at == NOW} == set(DOOMED)
    assert found[8].results_purged_at is None  # it had none


def test_plan_changes_of_a_purged_session_are_not_proposed(path, engine):
    propose_changes(engine, 2, 2, now=NOW, author=AUTHOR)  # before, they are
    run_purge(path)
    with pytest.raises(
        InputError, match=r"session 2, the last of .* were purged on 2026-11-20: run"
    ):
        propose_changes(engine, 2, 2, now=NOW, author=AUTHOR)


def test_a_purged_session_cannot_be_continued_and_says_why(path, engine):
    run_purge(path)
    request = parse_parameters(service_provider_id=1, optimization_session_id=3)
    with pytest.raises(SessionError, match=r"session 3 is FAILED .* purged on 2026-11-20"):
        open_session(
            engine, request, tenant_id=1, owner=Owner(run_id="r", host="h", pid=1),
            triggered_by=AUTHOR, now=NOW,
        )  # fmt: skip


def test_what_broke_off_is_finished_even_if_results_are_now_kept_for_longer(path, engine):
    steps = purging(engine)
    for step in steps:
        if step.rows:
            break
    steps.close()
    later = purge(engine, cutoff=OLD - timedelta(days=9999), now=NOW, author=AUTHOR)
    assert {step.session_id for step in later} == {1}
    assert find_instances(engine, 1) == []


def test_a_batch_of_no_rows_is_refused(engine):
    with pytest.raises(ValueError, match="batch_rows is 0: at least 1"):
        list(purging(engine, batch_rows=0))
