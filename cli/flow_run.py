"""Runs `optimize-service-provider` in this process; what `demo` and `run` share."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import CarrierOptError

if TYPE_CHECKING:
    import sqlalchemy as sa

LOG = logging.getLogger("flows.run")

MESSAGE_TIMEOUT_S = 10.0

STATE = ".state"
"""Folder inside the output folder for what is no result: Prefect's database and logs."""


def run_flow(engine: sa.Engine, **parameters: Any) -> dict[str, Any]:
    """Run the flow; whatever stops it, no session of this process stays open.

    Raises
    ------
    CarrierOptError
        If the session failed, or the run did not start.
    """
    from core.interrupts import release_frames
    from flows.optimize_service_provider import optimize_service_provider
    from tasks.interrupt import insistent_interrupts

    try:
        with insistent_interrupts():
            result = optimize_service_provider(**parameters)
    except KeyboardInterrupt as error:
        # Prefect's own code may have been interrupted before or after the flow could clean up.
        with _deaf_to_interrupts():
            release_frames(error)
            _cancel_what_is_left(engine, "The run was interrupted by Ctrl-C.")
        _send_what_is_left(engine)
        sys.stderr.write("interrupted: no session of this run is left open\n")
        raise
    except CarrierOptError:
        raise
    except Exception as error:
        _cancel_what_is_left(engine, f"The run broke off: {type(error).__name__}.")
        _send_what_is_left(engine)
        LOG.exception("the run broke off")
        msg = f"the run broke off: {type(error).__name__}: {error} (details in the log file)"
        raise CarrierOptError(msg) from error
    if not isinstance(result, dict):
        msg = f"the run did not start: {result.message}"
        raise CarrierOptError(msg)
    return result


def read_summary(folder: Path) -> dict[str, Any]:
    """Read ``summary.json`` of a folder."""
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return summary


def log_to(path: Path) -> None:
    """Write what the system and its database library log into a file, and nothing to the terminal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    levels = dict.fromkeys(("core", "tasks", "flows"), logging.INFO)
    for room, level in {**levels, "sqlalchemy": logging.WARNING}.items():
        logger = logging.getLogger(room)
        logger.setLevel(level)
        logger.addHandler(handler)
        logger.propagate = False


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let nobody who presses Ctrl-C twice keep a session from being closed: that takes a moment."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _cancel_what_is_left(engine: sa.Engine, reason: str) -> None:
    from core.sessions.lifecycle import Author, cancel
    from core.storage.engine import reading
    from core.storage.sessions import list_sessions

    with reading(engine) as connection:
        left = [s for s in list_sessions(connection) if s.state.is_working and s.pid == os.getpid()]
    for session in left:
        cancel(
            engine,
            session.session_id,
            now=datetime.now(tz=UTC),
            reason=reason,
            cancelled_by=Author(actor="command line"),
        )


def _send_what_is_left(engine: sa.Engine) -> None:
    """Tell AMOP how the run ended, where the flow did not come to that; for a few seconds at most."""
    from core import bootstrap
    from core.settings import load_settings

    with bootstrap.outbox_sender(engine, load_settings()) as sender:
        sender.drain(MESSAGE_TIMEOUT_S)
