"""Which SIMs a synchronisation still has to ask the carrier about (C7, B2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import polars as pl

from core.carriers.base import ScanBookmark
from core.sync.progress import SyncProgress
from tests.contract.accounts import accounts_of
from tests.contract.device_acts import (
    LONG,
    NEXT_PERIOD,
    NOW,
    OTHER_PROVIDER,
    OTHER_SIM,
    PERIOD,
    SHORT,
    devices,
    history,
    publish,
    rejects,
    stage_dates,
    stage_devices,
    stage_usage,
    start,
    stored,
    synced,
    unread,
    usage,
    whole,
)


def test_plans_and_iccids_are_those_of_the_newest_rows(store):
    run = start(store)
    stage_devices(store, run, devices(("3", "A", 1), ("1", "B", 2), ("2", "A", 3), ("3", "C", 4)))
    stage_devices(store, run, devices(("4", None, 5)))
    assert store.used_rate_plans(run) == ["A", "B", "C"]
    assert unread(store, run, "A") == [["2"]]
    assert unread(store, run, "C") == [["3"]]
    assert unread(store, run, "D") == []


def test_an_incremental_run_counts_in_the_sims_that_were_not_modified(store):
    synced(store, ("1", "A", 1), ("2", "A", 2), ("3", "Z", 3))
    run = start(store, "incremental")
    stage_devices(store, run, devices(("2", "B", 1), ("4", "A", 2)))
    assert store.used_rate_plans(run) == ["A", "B", "Z"]
    assert unread(store, run, "A") == [["4"], ["1"]]
    stage_usage(store, run, whole("1"))
    assert unread(store, run, "A") == [["4"]]
    assert unread(store, run, "A", NEXT_PERIOD) == [["4"], ["1"]]


def test_sims_whose_whole_usage_is_staged_are_not_asked_again_and_it_counts_alone(engine, store):
    run = start(store)
    stage_devices(store, run, devices(("1", "A", 1), ("2", "A", 2)))
    stage_usage(store, run, usage(("1", 500), ("2", 7)))
    stage_usage(store, run, whole("1"))
    assert unread(store, run, "A") == [["2"]]
    publish(store, run)
    assert stored(engine) == [("1", "A", 1), ("2", "A", 7)]


def test_iccids_come_in_slices(store, monkeypatch):
    monkeypatch.setattr("core.storage.staged_sims.ICCID_SLICE", 2)
    run = start(store)
    stage_devices(store, run, devices(*((f"{n}", "A", n) for n in range(5))))
    assert unread(store, run, "A") == [["0", "1"], ["2", "3"], ["4"]]


def test_sims_are_asked_for_their_activation_once(store):
    run = start(store)
    asks = devices(("1", "A", 1), ("2", "A", 2), ("3", "A", 3))
    asks = asks.with_columns(asks_activation=pl.col("iccid") != "3")
    stage_devices(store, run, asks)
    assert list(store.iccids_to_ask(run)) == [["1", "2"]]
    stage_dates(store, run, ("1", None))
    assert list(store.iccids_to_ask(run)) == [["2"]]


def unlisted(store, run, period=PERIOD):
    period_id = accounts_of(store._engine).period(period)
    return list(store.iccids_unlisted(run, period_id=period_id))


def test_usage_tells_of_sims_that_nobody_has_listed(store):
    synced(store, ("1", "A", 1), ("2", "A", 2))
    synced(store, ("2", "A", 1), now=NOW + timedelta(hours=1))  # 1 is gone
    run = start(store, kind="incremental", now=NOW + timedelta(hours=2))
    stage_devices(store, run, devices(("3", "A", 1)))
    bad = ("devices", 1, 2, "rate_plan", None, "missing_value", "{}", "4")
    unnamed = ("devices", 1, 3, "iccid", "5X", "bad_iccid", "{}", None)
    flagged = ("flag", 0, 0, "usage_bytes", "9", "usage_spike", "{}", "6")
    stage_devices(store, run, devices(), rejects(bad, unnamed, flagged))
    stage_usage(store, run, usage(*((iccid, 5) for iccid in ("1", "2", "3", "4", "5X", "6", "6"))))
    stage_usage(store, run, usage(("7", 5)), period=NEXT_PERIOD)
    assert unlisted(store, run) == [["1", "6"]]
    assert unlisted(store, run, NEXT_PERIOD) == [["7"]]
    stage_devices(store, run, devices(("6", "A", 0)))
    assert unlisted(store, run) == [["1"]]


def test_a_sim_under_the_other_form_of_its_number_is_no_other_sim(store):
    synced(store, (SHORT, "A", 1))
    run = start(store, kind="incremental", now=NOW + timedelta(hours=1))
    stage_devices(store, run, devices((f"{OTHER_SIM}1", "A", 1)))
    stage_usage(store, run, usage((LONG, 5), (OTHER_SIM, 5)))
    assert unlisted(store, run) == []
    alone = start(
        store, kind="full", now=NOW + timedelta(hours=2), provider=OTHER_PROVIDER, period=2
    )
    stage_usage(store, alone, usage((LONG, 5)), period=2)
    assert unlisted(store, alone, 2) == [[LONG]]  # what the other provider has does not count


def test_a_full_run_that_was_listed_in_part_removes_nothing_and_asks_about_all(engine, store):
    synced(store, ("1", "A", 1), ("2", "A", 2))
    run = start(store, now=NOW + timedelta(hours=1))
    listed_from = NOW - timedelta(days=364)
    scan = ScanBookmark(asked_at=NOW, started_at=NOW, window=2, unlisted_before=listed_from)
    run = replace(run, progress=SyncProgress(scan=scan, is_listed=True))
    stage_devices(store, run, devices(("2", "B", 1)))
    assert unread(store, run, "A") == [["1"]]
    store.close_staging(run)
    again = start(store, now=NOW + timedelta(hours=1))
    assert (again.id, again.since, again.attempt) == (run.id, None, 2)
    assert publish(store, again, now=NOW + timedelta(hours=1)).removed == 0
    assert [iccid for iccid, *_ in stored(engine)] == ["1", "2"]
    assert history(store).last_full.run_id == run.id


def test_a_full_run_of_which_nothing_was_listed_any_more_removes_nothing(engine, store):
    synced(store, ("1", "A", 1))
    run = start(store, now=NOW + timedelta(hours=1))
    scan = ScanBookmark(asked_at=NOW, started_at=NOW, window=2, unlisted_before=NOW)
    run = replace(run, progress=SyncProgress(scan=scan, is_listed=True))
    store.save_progress(run, run.progress)
    assert publish(store, run, now=NOW + timedelta(hours=1)).devices == 0
    assert [iccid for iccid, *_ in stored(engine)] == ["1"]
