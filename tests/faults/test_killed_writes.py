"""A process that is killed while it writes: readers never see a half, a rerun ends the same (D3).

Rows in bulk, three slices in one transaction; results of solve units, which are stored in slices and
counted at once. Slices are short here; `make faults` has them as long as they are, and every moment.
"""

from __future__ import annotations

import shutil
from collections import Counter
from functools import partial

import pytest

from core.storage.bulk import SLICE_ROWS
from core.storage.engine import open_engine
from tests.faults.bulk_acts import insert, merge, stage_before
from tests.faults.killing import check_integrity, fingerprint, seen_until_killed
from tests.faults.results_case import (
    STEPS,
    Case,
    contents,
    make_case,
    make_results_database,
    whole_or_nothing,
)
from tests.faults.small_account import make_database, query
from tests.faults.storage_child import KINDS, count_moments


def rerun(database, *acts):
    engine = open_engine(f"sqlite:///{database}")
    for act in acts:
        act(engine)
    engine.dispose()


BULK_PROBE = """
SELECT DeviceSyncRunId, COUNT(*), SUM(Position), COUNT(ActivatedDate) FROM JasperDeviceStaging
GROUP BY 1
"""
BULK_MOMENTS = (
    ("statement", 0.5),
    ("statement", 1.0),
    ("step", 0.2),
    ("step", 0.55),
    ("step", 0.9),
    ("commit", 1.0),
    ("end", 1.0),
)


@pytest.mark.parametrize("slice_rows", [2000, pytest.param(SLICE_ROWS, marks=pytest.mark.full)])
@pytest.mark.parametrize("write", [insert, merge])
def test_rows_in_bulk_are_there_all_or_none_whenever_the_process_is_killed(
    write, slice_rows, tmp_path, monkeypatch, report
):
    monkeypatch.setattr("core.storage.bulk.SLICE_ROWS", slice_rows)
    n_rows = slice_rows * 5 // 2
    act = partial(write, n_rows=n_rows)
    template = make_database(tmp_path / "template.db")
    rerun(template, partial(stage_before, n_rows=n_rows))
    clean = shutil.copy(template, tmp_path / "clean.db")
    moments = count_moments(clean, act)
    assert moments["statement"] >= 4  # the begin, and three slices in its transaction
    expected, rows = fingerprint(clean), query(clean, BULK_PROBE)
    for kind, share in BULK_MOMENTS:
        number = max(1, round(moments[kind] * share))
        database = shutil.copy(template, tmp_path / f"{kind}-{number}.db")
        killed, seen = seen_until_killed(database, act, (kind, number), BULK_PROBE)
        assert killed, (kind, number)
        assert seen[1:] == ([rows] if kind == "end" else [])
        check_integrity(database)
        if seen[-1] != rows:
            rerun(database, act)
        assert fingerprint(database) == expected
        report.count(f"{write.__name__} of {n_rows:,} rows, killed at a", kind)


# --- results of solve units --------------------------------------------------------------------

N_ROWS_A_SLICE = 4

RESULTS_PROBE = """
SELECT (SELECT PublishedAt IS NOT NULL FROM OptimizationInstance),
       (SELECT COUNT(*) FROM OptimizationQueue WHERE IsWinner),
       (SELECT COUNT(*) FROM OptimizationCommGroup WHERE WinningQueueId IS NOT NULL),
       (SELECT COUNT(*) FROM OptimizationQueue WHERE NOT IsWinner AND
           (SELECT PublishedAt FROM OptimizationInstance) IS NOT NULL),
       UnitCode, DeviceCount,
       (SELECT COUNT(*) FROM OptimizationM2MDeviceResult r JOIN OptimizationQueue q
            ON q.Id = r.QueueId WHERE q.UnitCode = u.UnitCode AND q.IsResult)
FROM (SELECT 0) LEFT JOIN OptimizationUnit u ORDER BY UnitCode
"""


@pytest.fixture(scope="module")
def case():
    return make_case()


@pytest.fixture(scope="module")
def results_template(tmp_path_factory):
    return make_results_database(tmp_path_factory.mktemp("results") / "template.db")


def check_views(seen, case):
    """Whatever was read is a whole state: units with all their SIMs, all winners or none."""
    n_groups = len(case.grouping.groups)
    for rows in seen:
        for is_published, winners, won_groups, losers, unit, n_sims, n_results in rows:
            assert (winners, won_groups) == ((n_groups,) * 2 if is_published else (0, 0))
            assert losers == 0
            assert unit is None or n_sims == n_results


class Results:
    """Kills a step of the results in hand and looks at what is left."""

    def __init__(self, case, template, folder, step, *, was_done=False):
        self.case, self.step, self.folder = case, step, folder
        self.act = getattr(case, STEPS[step].__name__)
        clean = shutil.copy(template, folder / "clean.db")
        rerun(clean, *[getattr(case, act.__name__) for act in STEPS[:step]])
        if was_done:
            rerun(clean, self.act)
        self.before = shutil.copy(clean, folder / "before.db")
        self.moments = count_moments(clean, self.act)
        self.finish(clean)
        self.expected = self.contents(clean)

    def finish(self, database):
        rerun(database, *[getattr(self.case, act.__name__) for act in STEPS[self.step + 1 :]])

    def contents(self, database):
        engine = open_engine(f"sqlite:///{database}")
        whole_or_nothing(engine, self.case)
        found = contents(engine)
        engine.dispose()
        return found

    def kill(self, kind, number):
        database = shutil.copy(self.before, self.folder / f"{kind}-{number}.db")
        killed, seen = seen_until_killed(database, self.act, (kind, number), RESULTS_PROBE)
        assert killed, (kind, number)
        check_views(seen, self.case)
        check_integrity(database)
        self.contents(database)
        rerun(database, self.act)
        self.finish(database)
        assert self.contents(database) == self.expected


def small_slices(monkeypatch):
    monkeypatch.setattr("core.storage.bulk.SLICE_ROWS", N_ROWS_A_SLICE)


STORE, PUBLISH = STEPS.index(Case.store), STEPS.index(Case.publish)


@pytest.mark.parametrize("step", [STORE, PUBLISH], ids=["store", "publish"])
def test_results_are_whole_whenever_the_process_that_writes_them_is_killed(
    step, case, results_template, tmp_path, monkeypatch, report
):
    small_slices(monkeypatch)
    results = Results(case, results_template, tmp_path, step)
    for kind, share in (("statement", 0.4), ("statement", 0.9), ("commit", 0.6), ("end", 0.5)):
        results.kill(kind, max(1, round(results.moments[kind] * share)))
        report.count("results killed at a", kind)


@pytest.mark.full
@pytest.mark.parametrize("was_done", [False, True], ids=["first time", "done before"])
@pytest.mark.parametrize("step", [STORE, PUBLISH], ids=["store", "publish"])
def test_results_are_whole_at_every_moment(
    step, was_done, case, results_template, tmp_path, monkeypatch, report
):
    small_slices(monkeypatch)
    results = Results(case, results_template, tmp_path, step, was_done=was_done)
    done = Counter()
    for kind in KINDS:
        for number in range(1, results.moments[kind] + 1):
            results.kill(kind, number)
            done[kind] += 1
    assert done["statement"] >= (1 if was_done else 8)
    report(f"{STEPS[step].__name__} of results, killed at each of: {dict(done)}")
