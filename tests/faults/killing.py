"""Kill a process that writes, read meanwhile, and look at what is left."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
from contextlib import closing

from core.storage import bulk
from tests.faults.processes import PROCESSES
from tests.faults.small_account import query
from tests.faults.storage_child import act_until


def start_writer(database, act, kind, number, barrier=None):
    """Start a process that does ``act`` in slices as long as here, and is killed at a moment."""
    moment = (kind, number, bulk.SLICE_ROWS, barrier)
    process = PROCESSES.Process(target=act_until, args=(database, act, *moment), daemon=True)
    process.start()
    return process


def was_killed(process):
    """Wait for its end; whether it was killed before it."""
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def seen_until_killed(database, act, moment, statement):
    """Kill a write at a moment and read all the time.

    Returns
    -------
    was_killed, seen : bool, list
        What the query told: before; then, by connections of their own, while the process ran and
        after its end, each answer once in the order of time. A reader that began before the process
        must have been told the same until the end.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as early:
        early.execute("BEGIN")
        seen = [early.execute(statement).fetchall()]
        process = start_writer(database, act, *moment)
        while True:
            process.join(0.005)
            is_over = not process.is_alive()
            found = query(database, statement)
            if found != seen[-1]:
                seen.append(found)
            if is_over:
                break
        assert early.execute(statement).fetchall() == seen[0]
        early.execute("ROLLBACK")
    return was_killed(process), seen


def check_integrity(database):
    """The file is whole and no row refers to one that is missing."""
    assert query(database, "PRAGMA integrity_check") == [("ok",)]
    assert query(database, "PRAGMA foreign_key_check") == []


DEFINITIONS = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"


def fingerprint(database):
    """Every definition, and of every table a hash of its rows with their columns."""
    found = {}
    with closing(sqlite3.connect(database)) as connection:
        definitions = connection.execute(DEFINITIONS).fetchall()
        for kind, table, *_ in definitions:
            if kind == "table":
                rows = connection.execute(f'SELECT * FROM "{table}"')
                names = [column[0] for column in rows.description]
                digest = hashlib.sha256(repr(names).encode())
                for row in sorted(map(repr, rows)):
                    digest.update(row.encode())
                found[table] = digest.hexdigest()
    return definitions, found
