"""Ctrl-C that is not lost.

A KeyboardInterrupt is raised wherever the main thread happens to be. Inside a callback or a
destructor of a library it would be printed and forgotten, and the run goes on or waits for something that
never comes; elsewhere a library turns it into an error of its own. Here the interrupt is also noted:
stages ask for it when they begin and end, it is raised again while the run does not end, and an
error that follows it counts as the interrupt that it was.

While a module is imported or a line is logged it waits, for a few seconds at most: raised there it may
leave a lock taken that every thread of the process needs, and the run hangs in a thread of Prefect that
has to import something, too.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REPEAT_SECONDS = 15.0
"""Time that a run gets to end, told once; tidying up takes a few seconds."""

POSTPONE_SECONDS = 5.0
"""Time that an import or a line of the log gets to end; whoever takes longer is interrupted."""

_RETRY_SECONDS = 0.05

_LOCKING = frozenset({"<frozen importlib._bootstrap>", logging.__file__})
"""Code that takes locks of the whole process, such that an interrupt in between leaves them taken."""

_noted = [False]
_postponed_until: list[float | None] = [None]
"""Nothing with a lock: a second Ctrl-C may come while the first is being noted."""


def was_interrupted() -> bool:
    """Whether Ctrl-C came since :func:`insistent_interrupts` began; whoever asks acts on it.

    What was postponed is not raised any more then: it would come in the middle of tidying up.
    """
    if _noted[0]:
        _postponed_until[0] = None
    return _noted[0]


def check_interrupt() -> None:
    """Raise KeyboardInterrupt if Ctrl-C came since :func:`insistent_interrupts` began."""
    if was_interrupted():
        raise KeyboardInterrupt


@contextmanager
def insistent_interrupts(repeat_seconds: float = REPEAT_SECONDS) -> Iterator[None]:
    """Note every Ctrl-C of the block, and repeat it until the block ends; for the main thread."""
    _noted[0], _postponed_until[0] = False, None
    interrupts = _Interrupts(repeat_seconds)
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, interrupts.note)
        threading.Thread(target=interrupts.repeat, name="interrupts", daemon=True).start()
        with _swallowed_unprinted():
            yield
        if _postponed_until[0] is not None:
            check_interrupt()
    except Exception as error:
        if was_interrupted():
            raise KeyboardInterrupt from error
        raise
    finally:
        interrupts.is_over = True  # from here on nothing is raised that would keep the handler
        signal.signal(signal.SIGINT, before)
        _noted[0], _postponed_until[0] = False, None
        if interrupts.is_late:
            raise KeyboardInterrupt


class _Interrupts:
    """What comes of Ctrl-C in one block.

    Attributes
    ----------
    is_over, is_late
        Whether the block has ended, and Ctrl-C came after that.
    """

    def __init__(self, repeat_seconds: float) -> None:
        self.is_over = self.is_late = False
        self._repeat_seconds = repeat_seconds
        self._thread_id = threading.get_ident()

    def note(self, _signum: int, frame: FrameType | None) -> None:
        """Raise the interrupt, or postpone it; the handler of the signal."""
        if self.is_over:
            self.is_late = True
            return
        if _is_locking(frame):
            until = _postponed_until[0]
            if until is None:
                until = _postponed_until[0] = time.monotonic() + POSTPONE_SECONDS
            _noted[0] = True
            if time.monotonic() < until:
                return
        _noted[0] = True
        _postponed_until[0] = None
        raise KeyboardInterrupt

    def repeat(self) -> None:
        """Send the signal again while the block does not end, soon if it was postponed."""
        repeat_at: float | None = None
        while not self.is_over:
            time.sleep(_RETRY_SECONDS)  # in which what was sent last arrives
            if not _noted[0]:
                continue
            now = time.monotonic()
            repeat_at = repeat_at or now + self._repeat_seconds
            is_due = now >= repeat_at or _postponed_until[0] is not None
            if is_due and not self.is_over:
                repeat_at = now + self._repeat_seconds
                signal.pthread_kill(self._thread_id, signal.SIGINT)


def _is_locking(frame: FrameType | None) -> bool:
    """Whether a function on the stack may be about to take or give back a lock of the process."""
    while frame is not None:
        if frame.f_code.co_filename in _LOCKING:
            return True
        frame = frame.f_back
    return False


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
