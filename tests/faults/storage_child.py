"""Writes to a database in a process of its own, which kills itself (SIGKILL) at a given moment.

A moment is the n-th of its kind, from 1: ``statement``, before the database is given it; ``commit``,
before it; ``end`` of a transaction, after its commit; ``step``, 1,000 instructions of the database's
machine, so also in the middle of a statement.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

import alembic.command
import alembic.script  # noqa: F401 - forked processes find the imports of an upgrade done
from sqlalchemy import event

from core.storage import bulk, migrate, results, unit_results  # noqa: F401 - as above
from core.storage.engine import open_engine

KINDS = ("statement", "commit", "end", "step")


def open_watched(database, pass_moment):
    """An engine that says each moment to ``pass_moment``."""
    engine = open_engine(f"sqlite:///{database}")

    def watch_steps(connection, _record):
        connection.set_progress_handler(lambda: pass_moment("step"), 1000)

    event.listen(engine, "connect", watch_steps)
    event.listen(engine, "before_cursor_execute", lambda *_: pass_moment("statement"))
    event.listen(engine, "commit", lambda _: pass_moment("commit"))
    event.listen(engine, "checkin", lambda *_: pass_moment("end"))
    return engine


def count_moments(database, act):
    """Run ``act`` to its end; how many moments of each kind it has."""
    found = Counter()

    def count(kind):
        found[kind] += 1

    engine = open_watched(database, count)
    act(engine)
    engine.dispose()
    return found


def act_until(database, act, kind, number, slice_rows, start=None):
    """Run ``act`` and die at that moment, or never for number 0; ``start``: a barrier before it."""
    bulk.SLICE_ROWS = slice_rows
    left = Counter({kind: number})

    def strike(kind_now):
        left[kind_now] -= 1
        if kind_now == kind and left[kind] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = open_watched(database, strike)
    if start is not None:
        start.wait()
    act(engine)
    engine.dispose()


def act_and_hold(database, act, kind, number, reached):
    """Run ``act`` up to that moment, pass the barrier, and wait there until somebody ends it."""
    left = Counter({kind: number})

    def hold(kind_now):
        left[kind_now] -= 1
        if kind_now == kind and left[kind] == 0:
            reached.wait()
            signal.pause()

    act(open_watched(database, hold))
