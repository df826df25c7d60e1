"""Memory of a process together with its children, sampled while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SAMPLE_SECONDS = 0.1


class Peak:
    """Largest sum seen so far, in MiB; pages that processes share count once."""

    def __init__(self) -> None:
        self.mib = 0.0


@contextmanager
def sampled_peak(pid: int) -> Iterator[Peak]:
    """Sample a process and its descendants until the block ends.

    What lives shorter than a tenth of a second may be missed.
    """
    peak, is_over = Peak(), threading.Event()

    def sample() -> None:
        while not is_over.wait(SAMPLE_SECONDS):
            peak.mib = max(peak.mib, sum(map(_share_mib, _tree(pid))))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()


def _tree(root: int) -> list[int]:
    """Ids of a process and all of its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = (
                stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
            )
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def _share_mib(pid: int) -> float:
    """Read the part of memory that a process answers for; 0 once it has gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
