"""Fixtures of the whole suite: Hypothesis profiles, and servers that tests start for themselves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No deadline: machines are shared and kernels compile on first use. In CI the same examples every time.
settings.register_profile(
    "local", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60
)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def require_service(found: object, *, package: str) -> None:
    """Skip a test whose service is not installed, naming the package; in CI that is a failure."""
    if found:
        return
    message = f"needs the Debian package {package}: `apt-get install {package}`"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of this test run on a port of its own."""
    binary = shutil.which("redis-server")
    require_service(binary, package="redis-server")
    assert binary is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = [
        binary,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(folder),
        "--save",
        "",
    ]
    with (Path(folder) / "redis.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for_port(port, server)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(timeout=10)


def _wait_for_port(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.fail(f"the server ended with {server.returncode} before it listened")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail("the server did not listen within 20 s")


@pytest.fixture
def service_check():
    """:func:`require_service` for tests that load a library instead of starting a server."""
    return require_service


class Report:
    """What tests say at the end of the run; it travels with their results, from workers too."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def __call__(self, line: str) -> None:
        """Say a line."""
        self._properties.append(("says", line))

    def count(self, what: str, *outcomes: str) -> None:
        """Count this test's outcomes under a heading, one line for all tests together."""
        self._properties += [("counts", [what, outcome]) for outcome in outcomes]


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Says something at the end of the run, such as the counts of a matrix."""
    return Report(request.node.user_properties)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests had to report."""
    lines: list[str] = []
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for outcome in list(terminalreporter.stats.values()):
        for one in outcome:
            if getattr(one, "when", None) != "teardown":  # the last of a test, and has everything
                continue
            for name, value in one.user_properties:
                if name == "says":
                    lines.append(value)
                elif name == "counts":
                    counts[value[0]][value[1]] += 1
    lines += [
        f"{what}: " + ", ".join(f"{n:,} {outcome}" for outcome, n in found.items())
        for what, found in counts.items()
    ]
    for line in lines:
        terminalreporter.write_line(line)
