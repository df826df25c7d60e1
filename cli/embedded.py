"""Everything on one machine: a Prefect server of our own, SQLite, reports into a folder.

Nothing here is needed in a deployment, where the Prefect server, its workers and the database are
services of their own.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from cli.child import ChildProcess, free_port
from core.errors import CarrierOptError, InputError
from core.settings import load_settings

PREFECT_STARTUP_TIMEOUT_S = 120.0
"""A new Prefect database takes about 20 seconds on two cores."""


def export_environment(values: Mapping[str, str]) -> None:
    """Set environment variables for this process and its children, and read the settings anew."""
    os.environ.update(values)
    load_settings.cache_clear()


@contextmanager
def exclusive_folder(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for one run at a time.

    Raises
    ------
    InputError
        If the folder is a file, cannot be made, or another process works in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        msg = f"cannot write to {folder}: {error.strerror or error}. Choose another folder with --out."
        raise InputError(msg) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"another run works in {folder}: wait for it, stop it, or choose another --out"
            raise InputError(msg) from error
        yield


@contextmanager
def free_home(state: Path) -> Iterator[Path]:
    """Hold a folder for a Prefect database that no other run of this machine uses.

    The same few folders serve one run after the other, since a new database takes longer to start.
    """
    for number in itertools.count(1):
        home = state / f"prefect-{number}"
        with ExitStack() as stack:
            try:
                stack.enter_context(exclusive_folder(home))
            except InputError:
                if not home.is_dir():
                    raise
                continue
            yield home
            return


@contextmanager
def embedded_prefect(home: Path) -> Iterator[Callable[[], None]]:
    """Start a Prefect server for this run; yields a function that waits until it answers.

    A server that is already configured (``PREFECT_API_URL``) is used instead. The environment is
    set for code that imports Prefect afterwards.
    """
    home.mkdir(parents=True, exist_ok=True)
    quiet = {
        "PREFECT_HOME": str(home.resolve()),
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # The server is on this machine: if it does not answer soon, it is gone.
        "PREFECT_CLIENT_MAX_RETRIES": "2",
    }
    if os.environ.get("PREFECT_API_URL"):
        yield lambda: None
        return
    export_environment(quiet)
    port = free_port()
    api_url = f"http://127.0.0.1:{port}/api"
    with ChildProcess(["prefect", str(port)], log_path=home / "server.log") as server:
        export_environment({"PREFECT_API_URL": api_url})
        yield lambda: _wait_until_healthy(api_url, server)


def _wait_until_healthy(api_url: str, server: ChildProcess) -> None:
    deadline = time.monotonic() + PREFECT_STARTUP_TIMEOUT_S
    with httpx.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < deadline:
            if server.exit_code is not None:
                msg = (
                    f"the Prefect server ended with code {server.exit_code}: see {server.log_path}"
                )
                raise CarrierOptError(msg)
            with suppress(httpx.TransportError):
                if client.get(f"{api_url}/health").is_success:
                    return
            time.sleep(0.1)
    msg = f"the Prefect server did not answer within {PREFECT_STARTUP_TIMEOUT_S:.0f} s: see {server.log_path}"
    raise CarrierOptError(msg)


def wait_for_file(path: Path, child: ChildProcess, *, timeout_s: float = 60.0) -> str:
    """Wait until a child has written ``path`` and return its text.

    Raises
    ------
    CarrierOptError
        If the child ends or the time is over first.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text(encoding="utf-8").strip()):
            return text
        if child.exit_code is not None:
            msg = f"a child process ended with code {child.exit_code}: see {child.log_path}"
            raise CarrierOptError(msg)
        time.sleep(0.02)
    msg = f"a child process did not start within {timeout_s:.0f} s: see {child.log_path}"
    raise CarrierOptError(msg)
