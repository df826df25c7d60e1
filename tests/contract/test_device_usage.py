"""Usage of SIMs: staged by plan, zone and period, published as sums (C4, C7, U1)."""

from __future__ import annotations

from datetime import date, timedelta

import sqlalchemy as sa

from core.domain import MAX_USAGE_BYTES
from core.storage.engine import reading
from core.storage.schema import device_usage
from core.sync.store import UNREADABLE
from tests.contract.accounts import accounts_of
from tests.contract.device_acts import (
    NEXT_PERIOD,
    NOW,
    PERIOD,
    devices,
    publish,
    published,
    rejects,
    stage_devices,
    stage_usage,
    start,
    synced,
    unsynced,
    usage,
    whole,
)


def test_usage_on_several_plans_adds_up(engine, store):
    run = start(store)
    stage_devices(store, run, devices(("1", "A", 1)))
    stage_usage(store, run, usage(("1", 5), ("1", 7)))
    stage_usage(store, run, usage(("1", 100)))
    assert publish(store, run).usage_rows == 1
    assert published(engine)["usage_bytes"].to_list() == [112]


def test_usage_belongs_to_its_billing_period(engine, store):
    synced(store, ("1", "A", 1), usages=[("1", 10)])
    run = start(store, period=NEXT_PERIOD)
    stage_devices(store, run, devices(("1", "A", 1)))
    stage_usage(store, run, usage(("1", 3)), NEXT_PERIOD)
    publish(store, run)
    assert published(engine)["usage_bytes"].to_list() == [10]
    assert published(engine, NEXT_PERIOD)["usage_bytes"].to_list() == [3]


def test_unusual_usage_is_told_the_impossible_first(store):
    gb = 1 << 30
    run = start(store)
    stage_devices(store, run, devices(*((f"{n}", "A", n) for n in range(6))))
    stage_usage(store, run, usage(("0", gb), ("1", 100), ("2", 7), ("4", 5)))
    publish(store, run)
    run = start(store, "incremental")
    stage_usage(store, run, usage(("1", 99), ("2", 7), ("5", MAX_USAGE_BYTES), ("5", 1)))
    (found,) = store.unusual_usage(run)
    assert found.select("iccid", "usage_bytes", "known_bytes").rows() == [
        ("5", MAX_USAGE_BYTES + 1, None),
        ("1", 99, 100),
    ]
    store.fail(run, error="x", now=NOW)
    run = start(store, period=NEXT_PERIOD)
    rows = [("0", 10 * gb + 1), ("1", 5 * gb), ("2", 70), ("4", gb), ("3", 99 * gb)]
    stage_usage(store, run, usage(*rows), NEXT_PERIOD)
    (found,) = store.unusual_usage(run)
    assert found.select("iccid", "before_bytes").rows() == [("0", gb), ("1", 100)]
    store.drop_usage(run, found.head(1), rejects())
    (found,) = store.unusual_usage(run)
    assert found["iccid"].to_list() == ["1"]


def problems(store, run):
    parts = list(store.unusual_usage(run))
    return [row for part in parts for row in part.select("iccid", "problem").rows()]


def test_what_is_told_of_a_whole_cycle_counts_alone_when_it_is_looked_for_the_unusual(store):
    gb = 1 << 30
    synced(store, ("1", "A", 1), ("2", "A", 2), ("3", "A", 3), usages=[("1", 1_000_000), ("2", 5)])
    run = start(store)
    stage_usage(store, run, usage(("1", 999_999), ("2", 7), ("3", gb)))
    stage_usage(store, run, whole("1", "2", "3"))  # a byte each
    assert problems(store, run) == [("1", "fell"), ("2", "fell")]
    run = start(store, period=NEXT_PERIOD)
    stage_usage(store, run, usage(("1", 99 * gb)), NEXT_PERIOD)
    stage_usage(store, run, whole("1"), NEXT_PERIOD)
    assert problems(store, run) == []


def test_a_row_that_could_not_be_read_is_a_problem_of_its_sim_in_that_period(store):
    run = start(store)
    stage_usage(store, run, usage(("1", 5), ("1", UNREADABLE), ("2", 5), ("3", UNREADABLE)))
    stage_usage(store, run, usage(("1", 5)), NEXT_PERIOD)
    (found,) = store.unusual_usage(run)
    assert found.select("iccid", "problem").rows() == [("1", "unreadable"), ("3", "unreadable")]


def test_unusual_usage_comes_in_parts_also_where_none_of_it_is_dropped(store, monkeypatch):
    for module in ("unusual_usage", "device_store"):
        monkeypatch.setattr(f"core.storage.{module}.UNUSUAL_ROWS", 2)
    gb = 1 << 30
    sims = [(f"{n}", "A", n) for n in range(9)]
    run = start(store)
    stage_devices(store, run, devices(*sims))
    stage_usage(store, run, usage(*((iccid, 10) for iccid, *_ in sims)), PERIOD)
    stage_usage(store, run, usage(*((iccid, 10) for iccid, *_ in sims)), NEXT_PERIOD)
    publish(store, run)
    run = start(store, period=NEXT_PERIOD)
    stage_usage(store, run, usage(*((f"{n}", 9) for n in range(5))))
    stage_usage(store, run, usage(*((f"{n}", 9) for n in range(3))), NEXT_PERIOD)
    stage_usage(store, run, usage(("3", UNREADABLE), ("8", 2 * gb)), NEXT_PERIOD)
    assert problems(store, run) == [
        ("3", "unreadable"),
        *((f"{n}", "fell") for n in range(5)),
        *((f"{n}", "fell") for n in range(3)),
        ("8", "spike"),
    ]


def days(engine):
    with reading(engine) as connection:
        rows = connection.execute(
            sa.select(
                device_usage.c.ICCID, device_usage.c.DaysWithUsage, device_usage.c.LastGrowthDate
            )
        )
        return [tuple(row) for row in rows]


def test_days_with_usage_are_those_on_which_it_grew(engine, store):
    day = NOW.date()
    for n, (today, n_bytes) in enumerate([(0, 0), (1, 5), (1, 9), (2, 9), (3, 10)]):
        run = start(store)
        stage_devices(store, run, devices(("1", "A", 1)))
        stage_usage(store, run, usage(("1", n_bytes)))
        publish(store, run, today=day + timedelta(days=today), now=NOW + timedelta(hours=n))
    assert days(engine) == [("1", 2, day + timedelta(days=3))]


def test_of_the_days_of_a_past_cycle_nothing_is_known(engine, store):
    assert unsynced(store) == [accounts_of(engine).period(PERIOD)]
    run = start(store, period=NEXT_PERIOD)
    stage_devices(store, run, devices(("1", "A", 1)))
    stage_usage(store, run, usage(("1", 5)), PERIOD)
    stage_usage(store, run, usage(("1", 6)), NEXT_PERIOD)
    day = date(2026, 12, 5)  # in the next period
    assert publish(store, run, today=day).usage_rows == 2
    assert sorted(days(engine), key=str) == [("1", 1, day), ("1", None, None)]
    assert unsynced(store) == [accounts_of(engine).period(PERIOD)]
    run = start(store, period=NEXT_PERIOD, now=NOW + timedelta(days=13))
    stage_usage(store, run, usage(("1", 7)), PERIOD)
    stage_devices(store, run, devices(("1", "A", 1)))
    publish(store, run, now=NOW + timedelta(days=13))  # well after the end of the first
    assert unsynced(store) == []


def test_growth_that_is_read_after_the_end_of_a_cycle_is_of_no_day(engine, store):
    last_day = date(2026, 11, 30)
    for day, n_bytes in ((date(2026, 11, 29), 5), (last_day, 9), (date(2026, 12, 1), 12)):
        is_over = day > last_day
        run = start(store, period=NEXT_PERIOD if is_over else PERIOD)
        stage_devices(store, run, devices(("1", "A", 1)))
        stage_usage(store, run, usage(("1", n_bytes)), PERIOD)
        publish(store, run, today=day)
    assert days(engine) == [("1", 2, last_day)]
    assert published(engine)["usage_bytes"].to_list() == [12]


def test_usage_of_a_period_can_be_taken_back(engine, store):
    run = start(store)
    stage_devices(store, run, devices(("1", "A", 1)))
    stage_usage(store, run, usage(("1", 7)))
    stage_usage(store, run, usage(("1", 9)), NEXT_PERIOD)
    next_period = accounts_of(engine).period(NEXT_PERIOD)
    done = run.progress.with_usage_done(accounts_of(engine).period(PERIOD), "A")
    store.drop_period(
        run, next_period, done.with_usage_done(next_period, "A").without_period(next_period)
    )
    assert start(store).progress == done
    run = start(store)
    assert publish(store, run).usage_rows == 1
