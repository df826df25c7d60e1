"""An upgrade that is killed leaves the database as it was, and the next one ends the same (D1).

From no tables and from every older revision, with rows in every table; alone, and at the side of
another upgrade. Every moment is tried by `make faults`.
"""

from __future__ import annotations

import shutil
from collections import Counter

import pytest

from core.storage.engine import open_engine
from core.storage.migrate import status, upgrade
from tests.faults.killing import (
    DEFINITIONS,
    check_integrity,
    fingerprint,
    seen_until_killed,
    start_writer,
    was_killed,
)
from tests.faults.old_databases import REVISIONS, make_database
from tests.faults.processes import PROCESSES
from tests.faults.small_account import query
from tests.faults.storage_child import KINDS, act_and_hold, count_moments

OLDER = (None, *REVISIONS[:-1])


class Old:
    """A database at an older revision, and what becomes of it."""

    def __init__(self, revision, folder):
        self.folder = folder
        self.path = make_database(folder / "old.db", revision)
        self.before = fingerprint(self.path)
        self.clean = shutil.copy(self.path, folder / "clean.db")
        self.moments = count_moments(self.clean, upgrade)
        self.after = fingerprint(self.clean)

    def copy(self, name):
        return shutil.copy(self.path, self.folder / f"{name}.db")

    def finish(self, database):
        """Upgrade what is left: the end is that of a clean run."""
        check_integrity(database)
        engine = open_engine(f"sqlite:///{database}")
        upgrade(engine)
        assert status(engine).is_current
        engine.dispose()
        assert fingerprint(database) == self.after

    def kill(self, kind, number):
        """Kill an upgrade; whether all of it or none was left."""
        database = self.copy(f"{kind}-{number}")
        killed, seen = seen_until_killed(database, upgrade, (kind, number), DEFINITIONS)
        assert killed, (kind, number)
        left = fingerprint(database)
        assert left in (self.before, self.after)
        known = [query(path, DEFINITIONS) for path in (self.path, self.clean)]
        assert seen in (known[:1], known)
        self.finish(database)
        return "all" if left == self.after else "none"


@pytest.fixture(scope="module", params=OLDER, ids=lambda revision: f"from {revision or 'nothing'}")
def old(request, tmp_path_factory):
    return Old(request.param, tmp_path_factory.mktemp("old"))


def test_an_upgrade_killed_in_the_middle_leaves_nothing_of_it(old, report):
    for kind, share in (("statement", 0.5), ("statement", 0.95), ("commit", 1.0)):
        assert old.kill(kind, max(1, round(old.moments[kind] * share))) == "none"
        report.count("upgrades killed at a", kind)


@pytest.mark.full
def test_an_upgrade_killed_at_any_moment_leaves_all_or_nothing_of_it(old, report):
    counts = Counter()
    for kind in KINDS:
        for number in range(1, old.moments[kind] + 1):
            counts[kind, old.kill(kind, number)] += 1
    assert counts["end", "all"] == 1
    report(f"upgrade killed at each moment; what was left: {dict(counts)}")


def two_at_once(old, number):
    """Start two upgrades at once, of which one is killed at a statement if it comes so far."""
    database, barrier = old.copy(f"two-{number}"), PROCESSES.Barrier(2)
    mortal = start_writer(database, upgrade, "statement", number, barrier)
    other = start_writer(database, upgrade, "statement", 0, barrier)
    killed = was_killed(mortal)
    assert not was_killed(other)
    assert fingerprint(database) == old.after
    return "killed" if killed else "had nothing to do"


def test_of_two_upgrades_at_once_one_is_killed_and_the_other_one_succeeds(old, report):
    report.count("one of two upgrades", two_at_once(old, round(old.moments["statement"] * 0.7)))


@pytest.mark.full
def test_of_two_upgrades_at_once_one_is_killed_at_any_statement(old, report):
    counts = Counter(two_at_once(old, n) for n in range(1, old.moments["statement"] + 1))
    report(f"one of two upgrades at once: {dict(counts)}")


def test_an_upgrade_that_waits_for_one_that_is_killed_does_all_of_it(old):
    database, reached = old.copy("held"), PROCESSES.Barrier(2)
    moment = ("statement", round(old.moments["statement"] * 0.8))
    holder = PROCESSES.Process(
        target=act_and_hold, args=(database, upgrade, *moment, reached), daemon=True
    )
    holder.start()
    reached.wait(60)
    started = PROCESSES.Barrier(2)
    waiting = start_writer(database, upgrade, "statement", 0, started)
    started.wait(60)
    assert fingerprint(database) == old.before
    holder.kill()
    assert was_killed(holder)
    assert not was_killed(waiting)
    assert fingerprint(database) == old.after
