"""Which process this is, and whether another one still runs (S2)."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def host_identity() -> str:
    """Name the place in which process numbers are unique: host, its boot, its process namespace.

    The host's name alone is not enough: two machines may share one, and so may containers, whose
    process numbers then mean different processes.
    """
    parts = [socket.gethostname()]
    boot_id = Path("/proc/sys/kernel/random/boot_id")
    if boot_id.exists():
        parts.append(boot_id.read_text(encoding="ascii").strip()[:8])
    namespace = Path("/proc/self/ns/pid")
    if namespace.is_symlink():
        parts.append(str(namespace.readlink()).removeprefix("pid:").strip("[]"))
    return "/".join(parts)


def is_process_alive(pid: int) -> bool:
    """Whether a process of that number runs on this machine.

    A process that has ended and waits for its parent to notice (a zombie) does not. Where the
    system cannot tell, the answer is True, and only the heartbeat decides. A number that was given
    to a new process also looks alive: then the takeover waits for the heartbeat to time out.
    """
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    # "pid (command) state ...": the command may hold brackets and spaces.
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def host_name(host: str) -> str:
    """Shorten a host identity to the host's name."""
    return host.partition("/")[0]
