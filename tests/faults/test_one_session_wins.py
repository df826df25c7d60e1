"""200 threads in 8 processes want one session at one moment, and one gets it (S2, S3)."""

from __future__ import annotations

import json
import os

import pytest

from core.sessions.process import host_identity
from tests.faults.processes import PROCESSES
from tests.faults.session_child import contend
from tests.faults.small_account import copy_of, make_database, query

N_PROCESSES, N_THREADS = 8, 25


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A database with tenant 1, its provider 1 and period 1."""
    return make_database(tmp_path_factory.mktemp("template") / "template.db")


def all_at_once(database):
    """What became of each of the runs."""
    start, said = PROCESSES.Barrier(N_PROCESSES), PROCESSES.SimpleQueue()
    processes = [
        PROCESSES.Process(target=contend, args=(database, f"run-{n}", N_THREADS, start, said))
        for n in range(N_PROCESSES)
    ]
    for process in processes:
        process.start()
    found = [outcome for _ in processes for outcome in said.get()]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len({run_id for run_id, *_ in found}) == N_PROCESSES * N_THREADS
    return found


def one_wins(database, report, *, attempt):
    """Hold that one run got session 1 and every other one was told of it; return the winner."""
    found = all_at_once(database)
    assert [outcome for outcome in found if outcome[1] == "broke"] == []
    [(winner, _, *won)] = [outcome for outcome in found if outcome[1] == "won"]
    assert won == [1, attempt]
    busy = [outcome[2:] for outcome in found if outcome[1] == "busy"]
    assert len(busy) == N_PROCESSES * N_THREADS - 1
    for session_id, text in busy:
        assert session_id == 1
        assert "is busy: session 1 of service provider" in text
        assert f"as run {winner} (process " in text
    report(f"attempt {attempt} at a session: 1 of {len(found)} runs got it, {len(busy)} were told")
    return winner


def working_sessions(database):
    return query(
        database,
        "SELECT Id, OwnerRunId, Attempt, State FROM OptimizationSession WHERE State NOT IN "
        "('COMPLETED', 'COMPLETED_WITH_ERRORS', 'FAILED', 'CANCELLED')",
    )


def events(database):
    return query(database, "SELECT Action, RunId FROM AuditEvent WHERE SessionId = 1 ORDER BY Id")


MESSAGES = "SELECT SessionId, Sequence, Milestone, Progress FROM AmopOutbox"


def test_of_200_runs_at_once_one_opens_the_session_and_the_others_are_told_which(
    template, tmp_path, report
):
    database = copy_of(template, tmp_path)
    winner = one_wins(database, report, attempt=1)
    assert working_sessions(database) == [(1, winner, 1, "PENDING")]
    assert query(database, "SELECT COUNT(*) FROM OptimizationSession") == [(1,)]
    assert query(database, MESSAGES) == [(1, 1, "0", 0)]
    assert events(database) == [("session.opened", winner)]


def leave_dead_session(database):
    """A session whose process has ended, with the heartbeat that it had a moment before."""
    start, said = PROCESSES.Barrier(1), PROCESSES.SimpleQueue()
    process = PROCESSES.Process(target=contend, args=(database, "dead", 1, start, said))
    process.start()
    assert said.get() == [("dead-0", "won", 1, 1)]
    process.join(60)
    [(host, pid)] = query(database, "SELECT OwnerHost, OwnerPid FROM OptimizationSession")
    assert (host, pid) == (host_identity(), process.pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_of_200_runs_that_meet_a_dead_owner_one_takes_the_session_over(template, tmp_path, report):
    database = copy_of(template, tmp_path)
    leave_dead_session(database)
    winner = one_wins(database, report, attempt=2)
    assert working_sessions(database) == [(1, winner, 2, "PENDING")]
    assert query(database, "SELECT COUNT(*) FROM OptimizationSession") == [(1,)]
    assert query(database, MESSAGES) == [(1, 1, "0", 0)]
    assert events(database) == [("session.opened", "dead-0"), ("session.taken_over", winner)]
    [(details,)] = query(
        database, "SELECT Details FROM AuditEvent WHERE Action = 'session.taken_over'"
    )
    assert "run dead-0" in json.loads(details)["told"]
