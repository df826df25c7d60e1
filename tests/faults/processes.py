"""Processes of their own for tests that kill them; one server forks them all, with imports done."""

from __future__ import annotations

import multiprocessing

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        f"tests.faults.{name}"
        for name in ("sync_child", "session_child", "storage_child", "bulk_acts", "results_case")
    ]
)
