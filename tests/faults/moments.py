"""Ctrl-C at any moment at which Python looks for signals.

That is when a function begins, after a call, and when a loop goes round.
"""

from __future__ import annotations

import dis
import gc
import signal
import sys
from contextlib import contextmanager
from functools import cache
from itertools import pairwise

CALLS = ("CALL", "CALL_KW", "CALL_FUNCTION_EX")


@cache
def moments(code):
    """Offsets of bytecodes before which signals are handled."""
    found = list(dis.get_instructions(code))
    after_calls = {
        after.offset for one, after in pairwise(found) if one.opname in ("RESUME", *CALLS)
    }
    return after_calls | {one.argval for one in found if one.opname == "JUMP_BACKWARD"}


@contextmanager
def interrupts_at(number, is_meant):
    """Let Ctrl-C come at a moment of the functions that the block calls, counted from 1.

    ``is_meant`` tells by its code which of them count.
    """
    left = number

    def trace(frame, event, _):
        nonlocal left
        frame.f_trace_opcodes = True
        code = frame.f_code
        if event == "opcode" and is_meant(code) and frame.f_lasti in moments(code):
            left -= 1
            if left == 0:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    gc.disable()  # what it calls would swallow the interrupt
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
        gc.enable()
