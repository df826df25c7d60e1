"""Ctrl-C while a module is imported or a line is logged leaves no lock that another thread waits for.

Both take locks of the whole process in plain Python. A run that was interrupted in between would not end:
a thread of Prefect that imports something, too, would wait for ever. Each case has a process of its own,
because nothing gets such a lock back.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from itertools import count

import pytest

from tasks.interrupt import insistent_interrupts
from tests.faults.moments import interrupts_at
from tests.faults.processes import PROCESSES

WAIT_S = 10.0
LOG = logging.getLogger("interrupted")


def is_import(code):
    return code.co_filename.startswith("<frozen importlib")


def is_logging(code):
    return code.co_filename == logging.__file__


def import_module(number):
    importlib.import_module(f"interrupted.module_{number}")


def import_again(number):
    sys.modules.pop(f"interrupted.module_{number}", None)
    import_module(number)


def log(number):
    LOG.warning("line %d", number)


ACTS = {"import": (is_import, import_module, import_again), "log": (is_logging, log, log)}


def interrupt_everywhere(name, folder, moments):
    """Exit code 0 if another thread could always do the same after an interrupt."""
    is_meant, act, act_again = ACTS[name]
    sys.path.insert(0, str(folder))
    LOG.addHandler(logging.FileHandler(folder / "log"))
    LOG.propagate = False
    for number in count(1):
        try:
            with insistent_interrupts(), interrupts_at(number, is_meant):
                act(number)
        except KeyboardInterrupt:
            other = threading.Thread(target=act_again, args=(number,), daemon=True)
            other.start()
            other.join(WAIT_S)
            if other.is_alive():
                os._exit(1)
        else:
            break
    moments.put(number)


@pytest.mark.parametrize("name", ACTS)
def test_an_interrupt_leaves_no_lock_of_the_process(name, tmp_path, report):
    package = tmp_path / "interrupted"
    package.mkdir()
    for number in range(1000):
        (package / f"module_{number}.py").write_text("VALUE = 1\n")
    moments = PROCESSES.SimpleQueue()
    process = PROCESSES.Process(
        target=interrupt_everywhere, args=(name, tmp_path, moments), daemon=True
    )
    process.start()
    process.join(300)
    assert process.exitcode == 0
    n_moments = moments.get()
    report(f"{name}: interrupted at {n_moments - 1} moments")
    assert n_moments > 20
