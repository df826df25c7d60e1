"""Ctrl-C between any two steps of a transaction leaves no lock behind that keeps its own process out.

Every run tries some of the moments at which the signal may come, `make faults` many more.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from core import bootstrap
from core.interrupts import release_frames
from core.sessions.lifecycle import Author, RunRequest, SessionState
from core.settings import load_settings
from core.simulator.server import SimulatorServer
from core.storage import sqlite
from core.storage.device_store import SqlDeviceStore
from core.storage.engine import open_engine, reading, writing
from core.storage.schema import device_sync_run, service_provider
from core.storage.sessions import load_session
from core.sync.run import sync_devices
from tasks.interrupt import insistent_interrupts
from tasks.session import session_run
from tests.faults.moments import interrupts_at
from tests.faults.small_account import (
    NOW,
    REQUEST,
    copy_of,
    make_database,
    opened_client,
    small_account,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_database(tmp_path_factory.mktemp("template") / "template.db")


@pytest.fixture
def open_anew(template, tmp_path, monkeypatch):
    """Opens a database as a new process does; whoever finds it locked learns that soon."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 0.2)
    path = copy_of(template, tmp_path)
    opened = []

    def start():
        for engine in opened:
            engine.dispose()
        opened.append(open_engine(f"sqlite:///{path}"))
        rename(opened[-1], "old")  # what is done once per process
        return opened[-1]

    yield start
    opened[-1].dispose()


def any_code(code):
    return True


def is_between(code):
    """Whether a function opens or closes transactions: what a traceback holds on to is opened there."""
    name = Path(code.co_filename).name
    return name in ("contextlib.py", "engine.py") or (
        name == "base.py"
        and code.co_name.strip("_").startswith(("begin", "commit", "close", "enter"))
    )


def rename(engine, name):
    with writing(engine) as connection:
        connection.execute(service_provider.update().values(Name=name))


def name_of(engine):
    with reading(engine) as connection:
        return connection.scalar(
            service_provider.select().with_only_columns(service_provider.c.Name)
        )


def is_cut_off(engine, number):
    """Rename, interrupted; afterwards nothing is locked, and the name is the old or the new one."""
    try:
        with insistent_interrupts(), interrupts_at(number, any_code):
            rename(engine, "new")
    except KeyboardInterrupt as error:
        release_frames(error)
        assert name_of(engine) in ("old", "new")
        rename(engine, "old")
        return True
    return False


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.full)])
def test_an_interrupted_transaction_locks_nobody_out(open_anew, report, step):
    number = step
    while is_cut_off(open_anew(), number):
        number += step
    report(f"a transaction interrupted at {number // step - 1:,} moments")
    assert number > 400


class Interrupted(SqlDeviceStore):
    """The store of a process that gets Ctrl-C while it notes its progress."""

    moment = (0, None)

    def save_progress(self, run, progress):
        with insistent_interrupts(), interrupts_at(*self.moment):
            super().save_progress(run, progress)


@pytest.fixture(scope="module")
def server():
    with SimulatorServer(small_account(), clock=lambda: NOW) as server:
        yield server


@pytest.mark.parametrize(
    ("step", "is_meant"),
    [
        (5, is_between),
        pytest.param(1, is_between, marks=pytest.mark.full),
        pytest.param(7, any_code, marks=pytest.mark.full),
    ],
)
def test_an_interrupted_synchronisation_is_closed(open_anew, server, report, step, is_meant):
    number = step
    while True:
        engine = open_anew()
        store = Interrupted(engine)
        store.moment = (number, is_meant)
        try:
            with opened_client(server.base_url) as client:
                sync_devices(client, store, REQUEST, clock=lambda: NOW)
        except KeyboardInterrupt:
            with reading(engine) as connection:
                runs = connection.execute(device_sync_run.select()).all()
            assert {run.Status for run in runs} == {"failed"}
            assert len(runs) == number // step
            number += step
            continue
        break
    report(f"a synchronisation interrupted at {number // step - 1:,} moments")
    assert number > 40


@pytest.mark.parametrize(
    ("step", "is_meant"),
    [
        (2, is_between),
        pytest.param(1, is_between, marks=pytest.mark.full),
        pytest.param(31, any_code, marks=pytest.mark.full),
    ],
)
def test_an_interrupted_session_is_cancelled(open_anew, report, step, is_meant):
    settings = load_settings()
    number, is_interrupted = 0, True
    while is_interrupted:
        number += step
        engine = open_anew()
        with bootstrap.outbox_sender(engine, settings) as sender:
            session_id, is_interrupted = interrupted_session(
                engine, settings, sender, interrupts_at(number, is_meant)
            )
        with reading(engine) as connection:
            state = load_session(connection, session_id).state
        assert state is SessionState.CANCELLED
    report(f"a session interrupted at {number // step - 1:,} moments")
    assert number > 40


def interrupted_session(engine, settings, sender, interrupts):
    """A session that gets Ctrl-C while it reports its progress, or else after that."""
    request = RunRequest(service_provider_id=1, billing_period_id=1)
    is_interrupted = True
    try:
        with insistent_interrupts(), session_run(
            engine, settings, sender, request, tenant_id=1, flow_run_id="run",
            author=Author(actor="test"), on_stop=lambda *_: None,
        ) as session:  # fmt: skip
            with interrupts:
                session.report(5)
            is_interrupted = False
            signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return session.session_id, is_interrupted
