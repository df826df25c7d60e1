from __future__ import annotations

import signal

from core.process_pool import process_pool


def test_processes_start_with_ctrl_c_blocked_and_the_parent_goes_on_hearing_it():
    with process_pool(1) as pool:
        blocked = pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, set()).result()
    assert signal.SIGINT in blocked
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
