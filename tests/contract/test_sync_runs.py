"""Runs: opened, continued by another process, closed; and what came before (C5, C6)."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from core.carriers.base import ScanBookmark
from core.errors import FencedOffError, StorageError, SyncBusyError
from core.storage.engine import reading, writing
from core.storage.schema import device_sync_run, jasper_device_staging, jasper_usage_staging
from core.storage.sync_rejects import load_rejects
from core.sync.progress import SyncProgress
from core.sync.store import USAGE_SUM_SCHEMA, RunHistory
from tests.contract.accounts import UNKNOWN
from tests.contract.device_acts import (
    NEXT_PERIOD,
    NOW,
    OTHER_PROVIDER,
    PERIOD,
    count,
    devices,
    history,
    publish,
    published,
    rejects,
    stage_dates,
    stage_devices,
    stage_usage,
    start,
    synced,
    usage,
)


def test_an_incremental_run_that_met_no_sim_leaves_the_next_one_where_it_was_itself(store):
    run = start(store)
    scan = ScanBookmark(asked_at=NOW, started_at=NOW, window=3, page=1)
    stage_devices(store, run, devices(("1", "A", 1)), progress=SyncProgress(scan=scan))
    publish(store, run)
    publish(store, start(store, "incremental", now=NOW + timedelta(days=1)))
    assert history(store).last.listed_from == NOW


def test_a_failed_run_changes_nothing_and_leaves_no_staging(engine, store):
    synced(store, ("1", "A", 1))
    run = start(store)
    stage_devices(store, run, devices(("1", "B", 1)))
    bad = rejects(("devices", 1, 2, "iccid", "x", "bad_iccid", "{}"))
    stage_devices(store, run, devices(), bad)
    store.fail(run, error="the carrier is down", now=NOW)
    store.fail(run, error="again", now=NOW)
    assert count(engine, jasper_device_staging) == 0
    assert published(engine)["rate_plan"].to_list() == ["A"]
    assert load_rejects(engine, run.id).height == 1
    with reading(engine) as connection:
        row = connection.execute(
            sa.select(device_sync_run).where(device_sync_run.c.Id == run.id)
        ).one()
    assert (row.Status, row.ErrorMessage, row.FinishedAt) == ("failed", "the carrier is down", NOW)
    with pytest.raises(StorageError, match="has failed and cannot be published"):
        publish(store, run)


@pytest.mark.parametrize("end", ["publish", "fail"])
def test_nothing_can_be_staged_in_a_closed_run(store, end):
    run = start(store)
    stage_devices(store, run, devices(("1", "A", 1)))
    if end == "publish":
        publish(store, run)
    else:
        store.fail(run, error="x", now=NOW)
    for stage in (
        lambda: stage_devices(store, run, devices(("1", "B", 2))),
        lambda: stage_usage(store, run, usage(("1", 1))),
        lambda: stage_dates(store, run),
        lambda: store.save_progress(run, run.progress),
        lambda: store.drop_usage(run, pl.DataFrame(schema=USAGE_SUM_SCHEMA), rejects()),
    ):
        with pytest.raises(StorageError, match="not running: nothing can be staged"):
            stage()


def test_an_unknown_run_is_named(store):
    with pytest.raises(StorageError, match=f"synchronisation run {UNKNOWN} is unknown"):
        publish(store, replace(start(store), id=UNKNOWN))


def test_a_run_that_broke_off_is_continued_and_its_first_process_writes_no_more(engine, store):
    scan = ScanBookmark(asked_at=NOW, started_at=NOW, window=3, page=17)
    progress = SyncProgress(scan=scan).with_usage_done(PERIOD, "A")
    broken = start(store)
    stage_devices(store, broken, devices(("1", "A", 1)), progress=progress)
    run = start(store, now=NOW + timedelta(hours=5))
    assert (run.id, run.attempt, run.staged_rows) == (broken.id, 2, 1)
    assert run.progress == progress
    for write in (
        lambda: stage_devices(store, broken, devices(("1", "X", 9))),
        lambda: publish(store, broken),
    ):
        with pytest.raises(FencedOffError, match="continued by another process"):
            write()
    store.fail(broken, error="too late", now=NOW)
    stage_devices(store, run, devices(("2", "A", 2)))
    assert publish(store, run).devices == 2
    last = history(store).last
    assert (last.run_id, last.listed_from) == (run.id, NOW)


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "incremental"},
        {"period": NEXT_PERIOD},
        {"page_size": 100},
        {"account": "another"},
        {"now": NOW + timedelta(hours=7)},
    ],
    ids=str,
)
def test_another_request_fails_the_run_that_broke_off_and_leaves_no_staging(engine, store, other):
    broken, foreign = start(store), start(store, provider=OTHER_PROVIDER)
    for run in (broken, foreign):
        stage_devices(store, run, devices(("1", "A", 1)))
        stage_usage(store, run, usage(("1", 5)))
    run = start(store, **other)
    assert (run.attempt, run.id > broken.id) == (1, True)
    with reading(engine) as connection:
        runs = connection.execute(sa.select(device_sync_run)).all()
        staged_runs = connection.execute(sa.select(jasper_device_staging.c.DeviceSyncRunId))
        assert staged_runs.scalars().all() == [foreign.id]
    assert {r.Id: r.Status for r in runs} == {
        broken.id: "failed",
        foreign.id: "running",
        run.id: "running",
    }
    assert runs[0].ErrorMessage.startswith("broken off")
    assert count(engine, jasper_usage_staging) == 1
    with pytest.raises(StorageError, match="is failed, not running"):
        stage_devices(store, broken, devices(("1", "A", 1)))


def own(engine, **owner):
    with writing(engine) as connection:
        connection.execute(sa.update(device_sync_run).values(**owner))


def test_a_run_whose_process_lives_is_left_alone(engine, store):
    run = start(store)
    own(engine, OwnerPid=os.getppid())
    with pytest.raises(
        SyncBusyError, match=rf"run {run.id} of provider \d+ is at work \(process \d+ on"
    ):
        start(store)
    own(engine, OwnerPid=2**22 + 1)  # beyond the largest process number
    assert start(store).id == run.id


def test_a_run_of_another_machine_is_left_alone_until_it_has_been_silent_for_long(engine, store):
    run = start(store)
    own(engine, OwnerHost="elsewhere/1", HeartbeatAt=datetime.now(tz=UTC))
    with pytest.raises(SyncBusyError, match="on elsewhere"):
        start(store)
    own(engine, HeartbeatAt=datetime.now(tz=UTC) - timedelta(minutes=31))
    assert start(store).attempt == run.attempt + 1


def test_a_process_number_that_another_process_has_by_now_blocks_nobody(engine, store):
    run = start(store)
    silent = datetime.now(tz=UTC) - timedelta(minutes=31)
    own(engine, OwnerPid=os.getppid(), HeartbeatAt=silent)
    assert start(store).attempt == run.attempt + 1


def test_the_history_tells_the_newest_runs_of_the_provider(store):
    assert history(store) == RunHistory(last=None, last_full=None, has_failed_since=False)
    synced(store, ("1", "A", 1), now=NOW)
    synced(store, ("1", "A", 1), ("2", "A", 2), now=NOW + timedelta(days=1))
    synced(store, ("1", "A", 1), kind="incremental", now=NOW + timedelta(days=2))
    found = history(store)
    assert (found.last.kind, found.last.started_at) == ("incremental", NOW + timedelta(days=2))
    assert (found.last_full.device_count, found.has_failed_since) == (2, False)
    failed = start(store, now=NOW + timedelta(days=2))
    store.fail(failed, error="x", now=NOW)
    assert history(store) == replace(found, has_failed_since=True)
    assert history(store, OTHER_PROVIDER).last is None


@pytest.mark.parametrize(
    "write",
    [
        lambda store, run: start(store),
        lambda store, run: stage_devices(store, run, devices(("2", "A", 1))),
        lambda store, run: store.close_staging(run),
        publish,
        lambda store, run: store.fail(run, error="x", now=NOW),
    ],
    ids=["open", "stage", "close", "publish", "fail"],
)
def test_a_run_is_locked_before_anything_is_decided_by_what_it_is(store, engine, write):
    """SQLite has one writer at a time; elsewhere two processes would both find the run theirs."""
    run = start(store)
    stage_devices(store, run, devices(("1", "A", 0)))
    told = []
    event.listen(engine, "before_cursor_execute", lambda _c, _k, text, *_: told.append(text))
    write(store, run)
    of_runs = [text for text in told if "DeviceSyncRun" in text.replace("DeviceSyncRunId", "")]
    assert of_runs[0].startswith("UPDATE")
    assert next(text for text in told if not text.startswith("BEGIN")) == of_runs[0]
