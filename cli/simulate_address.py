"""Where a simulator listens, and how it tells that it does."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@contextmanager
def listening(host: str, port: int, remedy: str) -> Iterator[None]:
    """Say what is wrong with the address if a server cannot be opened there.

    Parameters
    ----------
    remedy
        What to do if it is the port.
    """
    try:
        yield
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a name of a machine"
        is_port = isinstance(error, OSError) and error.errno != errno.EADDRNOTAVAIL
        if is_port and not isinstance(error, socket.gaierror):
            msg = f"cannot listen on {host}:{port} ({reason}): {remedy}"
        else:
            msg = f"--host {host}: is no address of this machine ({reason}); try 127.0.0.1"
        raise InputError(msg) from None


def check_ready_file(ready_file: Path | None) -> None:
    """Refuse a ready file that cannot be written, before anything is announced."""
    if ready_file is None:
        return
    if not ready_file.parent.is_dir():
        msg = f"--ready-file {ready_file}: the folder {ready_file.parent} does not exist"
        raise InputError(msg)
    if ready_file.is_dir():
        msg = f"--ready-file {ready_file}: is a folder"
        raise InputError(msg)


def write_ready(ready_file: Path | None, text: str) -> None:
    """Write the ready file, if there is one, so that it appears with all of its content."""
    if ready_file is None:
        return
    unready = ready_file.with_name(f"{ready_file.name}.part")
    try:
        unready.write_text(text, encoding="utf-8")
        unready.replace(ready_file)
    except OSError as error:
        msg = f"--ready-file {ready_file}: cannot be written ({error.strerror})"
        raise InputError(msg) from None
