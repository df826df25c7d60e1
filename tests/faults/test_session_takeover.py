"""Processes that are killed, stopped, or start at once (S2, S3)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, date, datetime

import pytest
from pydantic import SecretStr

from core.amop.receiver import AmopReceiver
from core.sessions.state import SessionState
from core.storage import audit, schema, sessions
from core.storage.engine import open_engine, reading, writing
from core.storage.migrate import upgrade
from tests.contract.accounts import SETTINGS

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
KEY = "api-key"

WORKER = """
import sys
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from core.amop.sender import OutboxSender
from core.errors import CarrierOptError
from core.sessions.heartbeat import Heartbeat
from core.sessions.lifecycle import *
from core.storage.engine import open_engine

database, endpoint, run_id, provider, timeout_s, lease_s, stop_at = sys.argv[1:]
engine = open_engine(database)
now = lambda: datetime.now(UTC)
step = 0


def reached():
    "Say how far this process is, and at its last step wait to be told to go on."
    global step
    step += 1
    print(f"step {step}", flush=True)
    if step == int(stop_at):
        sys.stdin.readline()


print("ready", flush=True)
sys.stdin.readline()
try:
    handle = open_session(
        engine,
        parse_parameters(service_provider_id=int(provider), billing_period_id=int(provider)),
        tenant_id=1,
        owner=Owner.of_this_process(run_id),
        triggered_by=Author(actor="test", source="cli", run_id=run_id),
        now=now(),
        heartbeat_timeout=timedelta(seconds=float(timeout_s)),
    )
    print(f"session {handle.session_id} {handle.attempt}", flush=True)
    with Heartbeat(engine, handle, 0.05), OutboxSender(
        engine, endpoint, SecretStr("api-key"), lease_s=float(lease_s)
    ) as sender:
        reached()
        handle = enter(engine, handle, SessionState.SYNCING, now=now())
        reached()
        handle = enter(engine, handle, SessionState.GROUPING, now=now(), milestone=20)
        reached()
        handle = enter(engine, handle, SessionState.SEQUENCING, now=now(), milestone=30)
        reached()
        handle = enter(engine, handle, SessionState.OPTIMISING, now=now(), milestone=40)
        for progress in (50, 70, 89):
            report_progress(engine, handle, progress, now=now())
            reached()
        handle = enter(engine, handle, SessionState.FINALISING, now=now())
        report_progress(engine, handle, 90, now=now())
        reached()
        complete(engine, handle, now=now(), totals={"devices": 1}, device_count=1)
        print("left", sender.drain(60), flush=True)
except CarrierOptError as exc:
    print(type(exc).__name__, exc, flush=True)
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A database with two tenants; provider 1 and 2 are of tenant 1, provider 3 is of tenant 2."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    made = {"CreatedBy": "test", "CreatedDate": NOW}
    with writing(engine) as connection:
        for tenant_id in (1, 2):
            row = {"Id": tenant_id, "Name": f"tenant {tenant_id}", **made}
            connection.execute(schema.tenant.insert().values(row))
        for provider_id, tenant_id in ((1, 1), (2, 1), (3, 2)):
            connection.execute(
                schema.service_provider.insert().values(
                    Id=provider_id,
                    TenantId=tenant_id,
                    Name=f"provider {provider_id}",
                    **SETTINGS,
                    **made,
                )
            )
            connection.execute(
                schema.billing_period.insert().values(
                    Id=provider_id,
                    ServiceProviderId=provider_id,
                    BillingPeriodStart=date(2026, 11, 1),
                    BillingPeriodEnd=date(2026, 11, 30),
                    **made,
                )
            )
    engine.dispose()
    return path


@pytest.fixture
def engine(template, tmp_path):
    path = tmp_path / "test.db"
    shutil.copy(template, path)
    engine = open_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


class Worker:
    """A run in a process of its own, which waits at one of its steps."""

    def __init__(
        self,
        engine,
        endpoint,
        run_id,
        *,
        provider_id=1,
        timeout_s=3600.0,
        lease_s=3600.0,
        stop_at=0,
    ):
        arguments = [str(engine.url), endpoint, run_id, provider_id, timeout_s, lease_s, stop_at]
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self):
        return self.process.stdout.readline().strip()

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def start(self):
        assert self.line() == "ready"
        self.go_on()

    def wait_for(self, wanted):
        while (line := self.line()) != wanted:
            assert line, f"the process ended before {wanted!r}"

    def rest(self):
        """Everything that it says from now on, until it ends."""
        lines = self.process.stdout.read().splitlines()
        assert self.process.wait() == 0
        return lines


@pytest.fixture
def start(engine, receiver):
    workers = []

    def started(run_id, **options):
        workers.append(Worker(engine, receiver.endpoint, run_id, **options))
        return workers[-1]

    yield started
    for worker in workers:
        worker.process.kill()
        worker.process.communicate()


@pytest.fixture
def receiver(tmp_path):
    with AmopReceiver(tmp_path / "amop.jsonl", token=SecretStr(KEY)) as running:
        yield running


def load(engine, session_id):
    with reading(engine) as connection:
        return sessions.load_session(connection, session_id)


@pytest.mark.parametrize("step", [1, 3, 6, 8])
def test_a_killed_run_is_taken_over_at_once_and_ends_like_a_clean_one(
    engine, receiver, start, step
):
    """All timeouts are an hour: what tells is that the process is gone."""
    first = start("run-1", stop_at=step)
    first.start()
    first.wait_for(f"step {step}")
    first.process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, first.process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet waited for

    second = start("run-2")
    second.start()
    said = second.rest()
    assert said[0] == "session 1 2"
    assert said[-1] == "left 0"
    session = load(engine, 1)
    assert (session.state, session.attempt) == (SessionState.COMPLETED, 2)
    progress = [message["progress"] for message in receiver.messages()]
    assert progress == [0, 20, 30, 40, 50, 70, 89, 90, 100]
    (event,) = [e for e in audit.load_events(engine, 1) if e.action == "session.taken_over"]
    assert f"process {first.process.pid} on" in event.details["told"]
    assert "is gone" in event.details["told"]


def test_a_run_that_slept_is_fenced_off_when_it_wakes_up(engine, receiver, start):
    sleeper = start("run-1", stop_at=3)
    sleeper.start()
    sleeper.wait_for("step 3")
    with writing(engine):  # or its heartbeat may take the database's write lock to sleep with it
        sleeper.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, sleeper.process.pid, os.WSTOPPED | os.WNOWAIT)

    second = start("run-2", timeout_s=0, lease_s=1)
    second.start()
    assert second.rest()[-1] == "left 0"

    sleeper.process.send_signal(signal.SIGCONT)
    sleeper.go_on()
    said = sleeper.rest()
    assert said[-1].startswith(
        "FencedOffError session 1 was taken from this run (run-1, attempt 1)"
    )
    session = load(engine, 1)
    assert (session.state, session.run_id) == (SessionState.COMPLETED, "run-2")
    progress = [message["progress"] for message in receiver.messages()]
    assert progress == [0, 20, 30, 40, 50, 70, 89, 90, 100]


def test_of_many_processes_at_once_one_gets_the_tenant(engine, receiver, start):
    workers = [start(f"run-{n}", provider_id=1 + n % 2, stop_at=1) for n in range(4)]
    for worker in workers:
        assert worker.line() == "ready"
    for worker in workers:
        worker.go_on()
    said = [worker.line() for worker in workers]
    winners = [n for n, line in enumerate(said) if line == "session 1 1"]
    assert len(winners) == 1
    losers = [line for n, line in enumerate(said) if n not in winners]
    pid = workers[winners[0]].process.pid
    for line in losers:
        assert line.startswith("SessionBusyError tenant 'tenant 1' (id 1) is busy: session 1 of")
        assert f"run run-{winners[0]} (process {pid} on" in line
    workers[winners[0]].go_on()
    assert workers[winners[0]].rest()[-1] == "left 0"
    assert load(engine, 1).state is SessionState.COMPLETED
    assert load(engine, 2) is None
    assert receiver.messages()[-1]["type"] == "Completed"
