"""Ctrl-C that is not lost.

A KeyboardInterrupt is raised wherever the main thread happens to be. Inside a callback or a
destructor of a library it would be printed and forgotten, and the run goes on or waits for something that
never comes; elsewhere a library turns it into an error of its own. Here the interrupt is also noted:
stages ask for it when they begin and end, it is raised again while the run does not end, and an
error that follows it counts as the interrupt that it was.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REPEAT_SECONDS = 15.0
"""Time that a run gets to end, told once; tidying up takes a few seconds."""

_noted = [False]
"""Nothing with a lock: a second Ctrl-C may come while the first is being noted."""


def was_interrupted() -> bool:
    """Whether Ctrl-C came since :func:`insistent_interrupts` began."""
    return _noted[0]


def check_interrupt() -> None:
    """Raise KeyboardInterrupt if Ctrl-C came since :func:`insistent_interrupts` began."""
    if was_interrupted():
        raise KeyboardInterrupt


@contextmanager
def insistent_interrupts(repeat_seconds: float = REPEAT_SECONDS) -> Iterator[None]:
    """Note every Ctrl-C of the block, and repeat it until the block ends; for the main thread."""
    _noted[0] = False
    is_over = threading.Event()
    main = threading.main_thread()

    def note(_signum: int, _frame: FrameType | None) -> None:
        _noted[0] = True
        raise KeyboardInterrupt

    def repeat() -> None:
        while not _noted[0]:
            if is_over.wait(0.2):
                return
        while not is_over.wait(repeat_seconds):
            if main.ident is not None:
                signal.pthread_kill(main.ident, signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, note)
        threading.Thread(target=repeat, name="interrupts", daemon=True).start()
        with _swallowed_unprinted():
            yield
    except Exception as error:
        if was_interrupted():
            raise KeyboardInterrupt from error
        raise
    finally:
        is_over.set()
        signal.signal(signal.SIGINT, before)
        _noted[0] = False


@contextmanager
def _swallowed_unprinted() -> Iterator[None]:
    """Print nothing where an interrupt cannot be raised: it is noted."""
    show = sys.unraisablehook

    def show_others(problem: sys.UnraisableHookArgs) -> None:
        if not isinstance(problem.exc_value, KeyboardInterrupt):
            show(problem)

    sys.unraisablehook = show_others
    try:
        yield
    finally:
        sys.unraisablehook = show
