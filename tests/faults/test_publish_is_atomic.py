"""Death at every statement of every write of results: what is there is whole, a rerun ends the same.

The database's own answer to a statement is replaced by an exception, once, at the k-th statement,
for every k: that is what a killed process leaves behind, as far as the database can tell.
"""

from __future__ import annotations

import shutil

import polars as pl
import pytest
from sqlalchemy import event

from core.storage.device_store import SqlDeviceStore
from core.storage.devices import load_devices
from core.storage.engine import open_engine
from core.sync.store import (
    DEVICE_STAGE_SCHEMA,
    REJECT_SCHEMA,
    USAGE_STAGE_SCHEMA,
    RunRequest,
)
from tests.faults.results_case import (
    NOW,
    STEPS,
    contents,
    make_case,
    make_results_database,
    whole_or_nothing,
)


class DeathError(Exception):
    """The process dies at this statement."""


@pytest.fixture(scope="module")
def case():
    return make_case()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_results_database(tmp_path_factory.mktemp("template") / "template.db")


@pytest.fixture
def open_copy(template, tmp_path):
    engines = []

    def make():
        path = tmp_path / f"{len(engines)}.db"
        shutil.copy(template, path)
        engines.append(open_engine(f"sqlite:///{path}"))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


def dies_at(engine, k, act):
    """Run ``act`` and die at its k-th statement; whether it got that far."""
    left = [k]

    def strike(*_rest):
        left[0] -= 1
        if left[0] == 0:
            raise DeathError

    event.listen(engine, "before_cursor_execute", strike)
    try:
        act(engine)
    except DeathError:
        return True
    finally:
        event.remove(engine, "before_cursor_execute", strike)
    return False


@pytest.mark.parametrize("was_done", [False, True], ids=["first time", "done before"])
@pytest.mark.parametrize("step", range(len(STEPS)), ids=[step.__name__ for step in STEPS])
def test_death_at_any_statement_leaves_whole_states_and_a_rerun_ends_the_same(
    case, open_copy, monkeypatch, step, was_done
):
    monkeypatch.setattr("core.storage.bulk.SLICE_ROWS", 4)  # several slices, so several commits
    clean = open_copy()
    for act in STEPS:
        act(case, clean)
    expected = contents(clean)
    engine = open_copy()
    for act in STEPS[: step + was_done]:
        act(case, engine)
    k = 1
    while dies_at(engine, k, lambda e: STEPS[step](case, e)):
        whole_or_nothing(engine, case)
        k += 1
    assert k > (1 if was_done else 5)
    for act in STEPS[step + 1 :]:
        act(case, engine)
    whole_or_nothing(engine, case)
    assert contents(engine) == expected


def test_a_publish_that_dies_changes_no_row(case, open_copy):
    engine = open_copy()
    for act in STEPS[:-1]:
        act(case, engine)
    before = contents(engine)
    k = 1
    while dies_at(engine, k, case.publish):
        assert contents(engine) == before
        k += 1
    assert k > 8


def test_death_at_any_statement_of_a_device_publish_changes_no_row(open_copy):
    engine = open_copy()
    store = SqlDeviceStore(engine)

    def staged(rows, usage):
        request = RunRequest(service_provider_id=1, period_id=1, since=None, page_size=50)
        run = store.open_run(request, now=NOW)
        rejects = pl.DataFrame(schema=REJECT_SCHEMA)
        frame = [(i, "ACTIVATED", plan, "C", None, False, n) for n, (i, plan) in enumerate(rows)]
        devices = pl.DataFrame(frame, schema=DEVICE_STAGE_SCHEMA, orient="row")
        store.stage_devices(run, devices, rejects, run.progress)
        frame = [(i, "A", "", n_bytes, 0, 0) for i, n_bytes in usage]
        used = pl.DataFrame(frame, schema=USAGE_STAGE_SCHEMA, orient="row")
        store.stage_usage(run, used, rejects, run.progress, period_id=1)
        return run

    def publish_run(run):
        store.publish(run, today=NOW.date(), now=NOW)

    publish_run(staged([("1", "A"), ("2", "A")], [("1", 5)]))
    run = staged([("2", "B"), ("3", "B")], [("1", 7), ("3", 9)])
    before = contents(engine)
    k = 1
    while dies_at(engine, k, lambda _: publish_run(run)):
        assert contents(engine) == before
        k += 1
    assert k > 8
    found = load_devices(engine, 1, 1)
    assert found.select("iccid", "rate_plan", "usage_bytes").rows() == [
        ("2", "B", None),
        ("3", "B", 9),
    ]
