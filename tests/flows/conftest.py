"""One Prefect server for all flow tests, and the demo as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cli.child import ChildProcess, free_port
from core.amop.receiver import AmopReceiver
from core.domain import BillingCycle
from core.settings import load_settings
from core.storage.audit import Author as AuditAuthor
from core.storage.catalogue_changes import add_period, add_provider
from core.storage.engine import open_engine
from core.storage.migrate import upgrade
from core.storage.records import ProviderSettings
from tests.flows.deployment import NOW, Deployment

STARTUP_S = 120.0


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Prefect server that lives as long as the test run."""
    home = tmp_path_factory.mktemp("prefect")
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    quiet = {
        "PREFECT_HOME": str(home),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    before = {name: os.environ.get(name) for name in quiet}
    os.environ.update(quiet)
    try:
        with ChildProcess(["prefect", str(port)], log_path=home / "server.log") as server:
            deadline = time.monotonic() + STARTUP_S
            with httpx.Client(trust_env=False, timeout=5) as client:
                while not _is_healthy(client, url):
                    assert server.exit_code is None, server.log_path.read_text()
                    assert time.monotonic() < deadline, "the Prefect server did not start"
                    time.sleep(0.2)
            yield url
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture
def prefect_client(prefect_api: str) -> Iterator[None]:
    """Flows of this process report to the server; afterwards no thread of Prefect is at work.

    Its connection for events stays open otherwise, and a ping every 20 s draws from the global
    ``random``, which Hypothesis takes for the doing of whatever strategy draws at that moment.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        temporary_settings,
    )

    with temporary_settings(
        {PREFECT_API_URL: prefect_api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    ):
        yield
        for worker in (EventsWorker, APILogWorker):
            worker.drain_all(timeout=STARTUP_S)
    for thread in threading.enumerate():
        if thread.name in ("EventsWorkerThread", "APILogWorkerThread"):
            thread.join(timeout=STARTUP_S)
            assert not thread.is_alive(), f"{thread.name} is still at work"


def _is_healthy(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


def _end_of(process: subprocess.Popen[str], *, timeout_s: float) -> tuple[int, str, str]:
    """Exit code, standard output and error of a process; one that does not end is killed."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # a process of it may hold the pipes
        out, err = process.communicate(timeout=60)
        pytest.fail(f"{process.args} did not end within {timeout_s} s:\n{out}\n{err}")
    return process.returncode, out, err


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """`carrier-opt demo` in a folder."""

    folder: Path
    api_url: str
    devices: int

    def start(self) -> subprocess.Popen[str]:
        """Start a run; whoever starts it waits for it."""
        command = [sys.executable, "-m", "cli.main", "demo"]
        return subprocess.Popen(
            [*command, "--devices", str(self.devices), "--out", str(self.folder)],
            env={**os.environ, "PREFECT_API_URL": self.api_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self) -> tuple[int, str, str]:
        """Run to the end; exit code, standard output, standard error."""
        with self.start() as process:
            return _end_of(process, timeout_s=180)

    def stop_in(self, state: str, signum: signal.Signals) -> tuple[int, str, str]:
        """Start a run and send it a signal as soon as its session is in a state."""
        known = {row["Id"] for row in self.sessions()}
        with self.start() as process:
            deadline = time.monotonic() + 120
            while not any(
                row["Id"] not in known and row["State"] == state for row in self.sessions()
            ):
                assert process.poll() is None, f"the run ended before {state}: {process.stderr}"
                assert time.monotonic() < deadline, f"no session came to {state}"
                time.sleep(0.002)
            process.send_signal(signum)
            return _end_of(process, timeout_s=60)

    def sessions(self) -> list[dict[str, Any]]:
        """Rows of OptimizationSession, oldest first; none before the database is there."""
        return self.query("SELECT * FROM OptimizationSession ORDER BY Id")

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Ask the database without any code of the product."""
        path = self.folder / "carrier-opt.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in connection.execute(sql)]
            except sqlite3.OperationalError:  # the tables are being made at this moment
                return []

    def messages(self, session_id: int) -> list[dict[str, Any]]:
        """What AMOP received of a session, in order of arrival."""
        path = self.folder / "amop-messages.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = [json.loads(line)["message"] for line in lines]
        return [message for message in found if message["sessionId"] == str(session_id)]

    def summary(self) -> dict[str, Any]:
        """The result file for programs."""
        text = (self.folder / "summary.json").read_text(encoding="utf-8")
        parsed: dict[str, Any] = json.loads(text)
        return parsed


@pytest.fixture
def make_demo(prefect_api: str, tmp_path: Path) -> Callable[[int], Demo]:
    """Make a demo with a number of SIMs in a folder of its own."""
    return lambda devices: Demo(folder=tmp_path / "demo", api_url=prefect_api, devices=devices)


@pytest.fixture
def deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_client: None
) -> Iterator[Deployment]:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    engine = open_engine(url)
    upgrade(engine)
    author = AuditAuthor(actor="test")
    provider = add_provider(
        engine,
        ProviderSettings(
            name="Account", tenant="Tenant", integration="jasper", time_zone="UTC",
            base_url="http://127.0.0.1:9", credential_ref="env:NOT_SET",
        ),
        now=NOW, author=author,
    )  # fmt: skip
    cycle = BillingCycle(start_date=NOW.date(), end_date=NOW.date() + timedelta(days=29))
    period = add_period(
        engine, provider.id, cycle.start_date, cycle.end_date, now=NOW, author=author
    )
    with AmopReceiver(tmp_path / "amop.jsonl", token=SecretStr("token")) as receiver:
        monkeypatch.setenv("CARRIER_OPT_DATABASE_URL", url)
        monkeypatch.setenv("CARRIER_OPT_OUTPUT_DIR", str(tmp_path / "out"))
        monkeypatch.setenv("AMOP_API_ENDPOINT", receiver.endpoint)
        monkeypatch.setenv("AMOP_API_KEY", "token")
        load_settings.cache_clear()
        yield Deployment(
            engine=engine,
            receiver=receiver,
            provider_id=provider.id,
            period_id=period.id,
            tenant_id=provider.tenant_id,
        )
    load_settings.cache_clear()
    engine.dispose()
