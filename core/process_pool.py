"""The process pool that pure computation runs in."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Make a pool whose processes leave Ctrl-C to the parent and end when it ends, however it ends.

    Parameters
    ----------
    workers
        Number of processes; 0 means one per core.
    """
    return ProcessPoolExecutor(
        max_workers=workers or os.cpu_count() or 1,
        # A fork would copy locks that other threads hold.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
    )


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)
