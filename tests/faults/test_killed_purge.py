"""A purge whose process is killed, before any of its statements, is ended rightly by the next (R5)."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import sqlite3
from contextlib import closing

import pytest

from core.storage.engine import open_engine
from core.storage.instances import find_instances
from tests.faults.purge_data import DOOMED, SESSIONS, contents, make_database, run_purge

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.faults.purge_data"])
MOMENTS = (20, 24, 27, 31, 38, 60, 90, 121, 150)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_database(tmp_path_factory.mktemp("template") / "template.db")


@pytest.fixture(scope="module")
def clean(template, tmp_path_factory):
    """What one purge that nothing disturbed leaves."""
    path = str(shutil.copy(template, tmp_path_factory.mktemp("clean") / "clean.db"))
    run_purge(path)
    return contents(path)


def dies(path, moment):
    process = PROCESSES.Process(target=run_purge, args=(path,), kwargs={"die_at_statement": moment})
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def shown(path):
    """Sessions with an instance that a reader finds, with the number of their SIMs."""
    engine = open_engine(f"sqlite:///{path}")
    cards = contents(path)["OptimizationSimCard"]
    found = {
        number: sum(row["InstanceId"] == one.id for row in cards)
        for number in SESSIONS
        for one in find_instances(engine, number)
    }
    engine.dispose()
    return found


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_purge_and_another_leave_what_one_would_have_left(
    template, clean, tmp_path, moment
):
    path = str(shutil.copy(template, tmp_path / "own.db"))
    whole = shown(path)
    assert dies(path, moment)
    assert shown(path).items() <= whole.items()  # nobody is shown a part of a session
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert contents(path) != clean
    run_purge(path)
    assert contents(path) == clean


def test_a_purge_that_is_killed_again_and_again_comes_to_its_end(template, clean, tmp_path):
    path = str(shutil.copy(template, tmp_path / "own.db"))
    n_killed = 0
    while dies(path, 45):
        n_killed += 1
        assert n_killed < 20
    assert n_killed >= 3
    assert contents(path) == clean
    events = contents(path)["AuditEvent"]
    assert [event["SessionId"] for event in events] == list(DOOMED)
    assert all(json.loads(event["Details"])["rows"]["OptimizationInstance"] for event in events)
