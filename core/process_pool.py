"""The process pool that pure computation runs in."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import resource_tracker
from typing import Any


class _Pool(ProcessPoolExecutor):
    """Starts its processes, which happens as work comes in, with Ctrl-C blocked.

    They inherit that, so that none ends in a traceback while it is still loading. A Ctrl-C meanwhile
    reaches the parent afterwards.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        resource_tracker.ensure_running()  # else the first start would do that, and unblock Ctrl-C
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Make a pool whose processes leave Ctrl-C to the parent and end when it ends, however it ends.

    Parameters
    ----------
    workers
        Number of processes; 0 means one per core.
    """
    return _Pool(
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
