"""Child processes of the embedded mode, each of which ends with its parent.

The parent keeps a pipe to the child's standard input open; when the parent goes, however it goes
(Ctrl-C, an error, SIGKILL), the pipe closes and the child leaves. Children run in a session of
their own, so that Ctrl-C on the terminal reaches the parent alone, which then still has a server to
talk to while it cleans up.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_TIMEOUT_S = 5.0
"""Time that a child gets to leave by itself before it is killed."""


class ChildProcess:
    """``python -m cli.child ARGUMENTS`` as a context manager.

    Parameters
    ----------
    arguments
        Role of the child and its arguments, see :func:`run`.
    log_path
        File that takes the child's output.
    """

    def __init__(self, arguments: Sequence[str], *, log_path: Path) -> None:
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "cli.child", *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.log_path = log_path

    @property
    def exit_code(self) -> int | None:
        """The child's exit code, or None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End the child and wait for it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def free_port() -> int:
    """Find a TCP port on loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _leave_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _serve_prefect(port: str) -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    application = create_app(ephemeral=True, final=True)
    uvicorn.run(application, host="127.0.0.1", port=int(port), log_level="error")


def run(arguments: Sequence[str]) -> None:
    """Be a child: ``prefect PORT`` or ``simulate-carrier OPTIONS…``."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    role, *rest = arguments  # role: prefect or simulate-carrier
    if role == "prefect":
        _serve_prefect(*rest)
    else:
        import typer

        from cli.simulate import simulate_carrier

        app = typer.Typer()
        app.command("simulate-carrier")(simulate_carrier)
        app(rest)


if __name__ == "__main__":
    run(sys.argv[1:])
