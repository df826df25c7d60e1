"""A database that an older version made is upgraded with all its rows (D1)."""

from __future__ import annotations

import pytest

from core.storage.engine import open_engine
from core.storage.migrate import upgrade
from tests.faults.killing import DEFINITIONS, check_integrity, fingerprint
from tests.faults.old_databases import REVISIONS, column_defaults, make_database, rows
from tests.faults.small_account import query

EMPTIED = {"0005": ("JasperDeviceStaging", "JasperUsageStaging"), "0006": ("RatePlanChange",)}
"""Tables that a revision makes anew: staging of runs that begin anew, and one that nobody wrote."""


def upgraded(found, revision, defaults):
    """What the rows of a database at ``revision`` must have become.

    Values that were there stay, new columns have their defaults, new tables are empty.
    """
    found = {
        table: [columns | row for row in found.get(table, [])]
        for table, columns in defaults.items()
    }
    for newer in REVISIONS[REVISIONS.index(revision) + 1 :]:
        for table in EMPTIED.get(newer, ()):
            found[table] = []
    if revision < "0005":
        assert [row["Status"] for row in found["DeviceSyncRun"]] == ["published", "running"]
        found["DeviceSyncRun"][1]["Status"] = "failed"  # its staging is gone
    return found


@pytest.fixture(scope="module")
def newest(tmp_path_factory):
    """A database that was made by this version."""
    return make_database(tmp_path_factory.mktemp("newest") / "newest.db", REVISIONS[-1])


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgrade_of_an_older_database_keeps_its_rows_and_a_second_one_does_nothing(
    revision, newest, tmp_path
):
    database = make_database(tmp_path / "old.db", revision)
    before = rows(database)
    assert all(len(found) == 2 for found in before.values())
    engine = open_engine(f"sqlite:///{database}")
    done = REVISIONS.index(revision) + 1
    told = upgrade(engine)
    assert (told.applied, told.pending) == (REVISIONS[:done], REVISIONS[done:])
    assert rows(database) == upgraded(before, revision, column_defaults(newest))
    assert query(database, DEFINITIONS) == query(newest, DEFINITIONS)
    check_integrity(database)
    once = fingerprint(database)
    assert upgrade(engine).pending == ()
    assert fingerprint(database) == once
    engine.dispose()
