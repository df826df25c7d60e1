"""Device staging and publish, also against a plain model of what should be there (C5)."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from core.carriers.base import ScanBookmark
from core.domain import MAX_USAGE_BYTES
from core.errors import FencedOffError, StorageError, SyncBusyError
from core.storage.device_store import SqlDeviceStore
from core.storage.devices import any_iccid, load_devices
from core.storage.engine import reading, writing
from core.storage.schema import (
    device,
    device_sync_run,
    device_usage,
    jasper_device_staging,
    jasper_usage_staging,
)
from core.storage.sync_rejects import load_rejects
from core.sync.progress import SyncProgress
from core.sync.store import (
    ACTIVATION_STAGE_SCHEMA,
    DEVICE_STAGE_SCHEMA,
    REJECT_SCHEMA,
    USAGE_STAGE_SCHEMA,
    USAGE_SUM_SCHEMA,
    DeviceStore,
    PublishCounts,
    RunHistory,
    RunRequest,
)
from tests.contract.accounts import UNKNOWN, accounts_of, add_accounts

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PROVIDER, OTHER_PROVIDER, PERIOD, NEXT_PERIOD = 1, 2, 1, 11
"""Numbers of :mod:`tests.contract.accounts`."""


@pytest.fixture
def engine(engine):
    add_accounts(engine)
    return engine


@pytest.fixture
def store(engine) -> DeviceStore:
    return SqlDeviceStore(engine)


def start(store, kind="full", now=NOW, provider=PROVIDER, period=PERIOD, page_size=50, account=""):
    accounts = accounts_of(store._engine)
    request = RunRequest(
        service_provider_id=accounts.provider(provider),
        period_id=accounts.period(period),
        since=None if kind == "full" else NOW - timedelta(days=1),
        page_size=page_size,
        account=account,
    )
    return store.open_run(request, now=now)


def device_frame(rows):
    """Rows of iccid, status, rate plan, communication plan, activation date, position."""
    full = [(*row[:5], False, row[5]) for row in rows]
    return pl.DataFrame(full, schema=DEVICE_STAGE_SCHEMA, orient="row")


def devices(*rows):
    """Rows of iccid, rate plan, position; the rest is the same for all."""
    return device_frame((i, "ACTIVATED", plan, "C1", None, position) for i, plan, position in rows)


ZONES = itertools.count()


def usage(*rows):
    """Rows of iccid, bytes, each in a zone of its own."""
    full = [(iccid, "A", f"{next(ZONES)}", n_bytes, 0, 0) for iccid, n_bytes in rows]
    return pl.DataFrame(full, schema=USAGE_STAGE_SCHEMA, orient="row")


def stage_devices(store, run, frame, rejected=None, progress=None):
    store.stage_devices(
        run, frame, rejects() if rejected is None else rejected, progress or run.progress
    )


def stage_usage(store, run, frame, period=PERIOD):
    period_id = accounts_of(store._engine).period(period)
    store.stage_usage(run, frame, rejects(), run.progress, period_id=period_id)


def stage_dates(store, run, *rows):
    frame = pl.DataFrame(rows, schema=ACTIVATION_STAGE_SCHEMA, orient="row")
    store.stage_activation(run, frame, rejects())


def rejects(*rows):
    full = [(*row, None) if len(row) == 7 else row for row in rows]
    return pl.DataFrame(full, schema=REJECT_SCHEMA, orient="row")


def publish(store, run, now=NOW, today=None):
    return store.publish(run, today=today or NOW.date(), now=now)


LONG, SHORT = "89014103270100000058", "8901410327010000005"
"""One SIM's number with and without its check digit."""

OTHER_SIM, MISTYPED = "8901410327010000004", "89014103270100000057"


def published(engine, period=PERIOD, provider=PROVIDER):
    accounts = accounts_of(engine)
    return load_devices(engine, accounts.provider(provider), accounts.period(period))


def stored(engine, period=PERIOD, provider=PROVIDER):
    found = published(engine, period, provider)
    return found.select("iccid", "rate_plan", "usage_bytes").rows()


def count(engine, table):
    with reading(engine) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def synced(store, *rows, kind="full", usages=(), now=NOW):
    run = start(store, kind, now)
    stage_devices(store, run, devices(*rows))
    stage_usage(store, run, usage(*usages))
    return publish(store, run, now=now)


def test_published_devices_come_back_with_their_usage(engine, store):
    run = start(store)
    staged = device_frame(
        [
            ("2", "ACTIVATED", "A", "C1", date(2026, 11, 9), 1),
            ("1", "TEST", None, None, None, 2),
        ]
    )
    stage_devices(store, run, staged)
    stage_usage(
        store,
        run,
        pl.DataFrame([("2", "A", "", 1 << 40, 3, 61)], schema=USAGE_STAGE_SCHEMA, orient="row"),
    )
    assert published(engine).is_empty()
    counts = publish(store, run)
    assert counts == PublishCounts(devices=2, duplicates=0, usage_rows=1, removed=0)
    assert published(engine).rows(named=True) == [
        {
            "iccid": "1",
            "status": "TEST",
            "rate_plan": None,
            "communication_plan": None,
            "usage_bytes": None,
            "sms_count": None,
            "voice_seconds": None,
            "activated_date": None,
            "is_usage_reported": False,
        },
        {
            "iccid": "2",
            "status": "ACTIVATED",
            "rate_plan": "A",
            "communication_plan": "C1",
            "usage_bytes": 1 << 40,
            "sms_count": 3,
            "voice_seconds": 61,
            "activated_date": date(2026, 11, 9),
            "is_usage_reported": True,
        },
    ]
    assert count(engine, jasper_device_staging) == count(engine, jasper_usage_staging) == 0


def test_any_one_sim_of_a_provider_is_named_if_it_has_one_that_is_not_gone(engine, store):
    provider_id = accounts_of(engine).provider(PROVIDER)
    assert any_iccid(engine, provider_id) is None
    synced(store, ("1", "A", 1), ("2", "A", 2))
    assert any_iccid(engine, provider_id) in {"1", "2"}
    synced(store, ("2", "A", 1))
    assert any_iccid(engine, provider_id) == "2"


def test_the_row_with_the_largest_position_wins_in_whatever_order_rows_arrive(engine, store):
    run = start(store)
    stage_devices(store, run, devices(("1", "new", 7), ("1", "old", 3)))
    stage_devices(store, run, devices(("1", "older", 1), ("2", "first", 2)))
    stage_devices(store, run, devices(("2", "second", 9)))
    assert publish(store, run) == PublishCounts(devices=2, duplicates=3, usage_rows=0, removed=0)
    assert published(engine)["rate_plan"].to_list() == ["new", "second"]


def test_a_page_that_is_staged_twice_changes_nothing(engine, store):
    run = start(store)
    for _ in range(2):
        stage_devices(store, run, devices(("1", "A", 1), ("2", "B", 2)))
    assert publish(store, run).devices == 2
    assert published(engine)["rate_plan"].to_list() == ["A", "B"]


def test_usage_on_several_plans_adds_up(engine, store):
    run = start(store)
    stage_devices(store, run, devices(("1", "A", 1)))
    stage_usage(store, run, usage(("1", 5), ("1", 7)))
    stage_usage(store, run, usage(("1", 100)))
    assert publish(store, run).usage_rows == 1
    assert published(engine)["usage_bytes"].to_list() == [112]


def test_an_incremental_run_changes_what_it_saw_and_nothing_else(engine, store):
    synced(store, ("1", "A", 1), ("2", "A", 2), usages=[("1", 10), ("2", 20)])
    counts = synced(
        store, ("2", "B", 1), ("3", "B", 2), kind="incremental", usages=[("2", 50), ("3", 0)]
    )
    assert counts == PublishCounts(devices=2, duplicates=0, usage_rows=2, removed=0)
    found = published(engine)
    assert found.select("iccid", "rate_plan", "usage_bytes").rows() == [
        ("1", "A", 10),
        ("2", "B", 50),
        ("3", "B", 0),
    ]


def test_a_full_run_marks_the_devices_it_did_not_see_and_takes_them_back(engine, store):
    synced(store, ("1", "A", 1), ("2", "A", 2))
    assert synced(store, ("2", "A", 1)).removed == 1
    assert published(engine)["iccid"].to_list() == ["2"]
    assert count(engine, device) == 2
    assert synced(store, ("2", "A", 1)).removed == 0
    synced(store, ("1", "B", 1), kind="incremental")
    assert published(engine)["iccid"].to_list() == ["1", "2"]


def test_a_known_sim_whose_row_is_rejected_is_not_gone(engine, store):
    synced(store, ("1", "A", 1), ("2", "A", 2), ("3", "A", 3))
    run = start(store)
    bad = ("devices", 1, 2, "rate_plan", "", "missing_value", "{}", "2")
    stage_devices(store, run, devices(("1", "B", 1)), rejects(bad))
    counts = publish(store, run)
    assert (counts.devices, counts.removed, counts.kept) == (1, 1, 1)
    assert published(engine).select("iccid", "rate_plan").rows() == [
        ("1", "B"),
        ("2", "A"),
    ]


def test_a_provider_does_not_touch_the_devices_of_another(engine, store):
    synced(store, ("1", "A", 1))
    run = start(store, provider=OTHER_PROVIDER)
    stage_devices(store, run, devices(("1", "Z", 1), ("9", "Z", 2)))
    assert publish(store, run).removed == 0
    assert published(engine)["rate_plan"].to_list() == ["A"]
    assert published(engine, provider=OTHER_PROVIDER)["iccid"].to_list() == ["1", "9"]


def test_usage_belongs_to_its_billing_period(engine, store):
    synced(store, ("1", "A", 1), usages=[("1", 10)])
    run = start(store, period=NEXT_PERIOD)
    stage_devices(store, run, devices(("1", "A", 1)))
    stage_usage(store, run, usage(("1", 3)), NEXT_PERIOD)
    publish(store, run)
    assert published(engine)["usage_bytes"].to_list() == [10]
    assert published(engine, NEXT_PERIOD)["usage_bytes"].to_list() == [3]


def test_activation_dates_of_staged_devices_are_kept_by_later_runs_that_tell_none(engine, store):
    run = start(store)
    stage_devices(store, run, devices(("1", "A", 1), ("2", "A", 2)))
    stage_dates(store, run, ("1", date(2026, 11, 5)), ("9", date(2026, 11, 6)), ("2", None))
    stage_devices(store, run, devices(("1", "A", 5)))
    publish(store, run)
    synced(store, ("1", "A", 1), ("2", "A", 2))
    found = published(engine)
    assert found["activated_date"].to_list() == [date(2026, 11, 5), None]


def test_a_published_run_published_again_tells_the_same_counts_and_changes_nothing(engine, store):
    run = start(store)
    stage_devices(store, run, devices(("1", "A", 1), ("1", "B", 2)))
    stage_usage(store, run, usage(("1", 5)))
    first = publish(store, run)
    synced(store, ("1", "C", 1), kind="incremental", now=NOW + timedelta(hours=1))
    assert publish(store, run, now=NOW + timedelta(hours=2)) == first
    assert published(engine)["rate_plan"].to_list() == ["C"]


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


def test_a_full_run_without_any_device_does_not_empty_the_account(engine, store):
    assert synced(store).devices == 0
    synced(store, ("1", "A", 1))
    with pytest.raises(StorageError, match="staged no device, but 1 are known"):
        publish(store, start(store))
    assert published(engine).height == 1


def test_rejects_are_kept_once_in_order(engine, store):
    run = start(store)
    first = ("devices", 1, 2, "iccid", "x", "bad_iccid", '{"iccid": "x"}')
    second = ("usage", 0, 0, None, None, "out_of_range", "{}")
    flag = ("flag", 0, 0, "usage_bytes", "5", "usage_fell", "{}")
    stage_devices(store, run, devices(), rejects(second, first))
    stage_devices(store, run, devices(), rejects(first))
    stage_devices(store, run, devices(), rejects(second, second, flag))
    assert store.counts(run).rejects == {"bad_iccid": 1, "out_of_range": 1}
    assert store.counts(run).flags == {"usage_fell": 1}
    assert load_rejects(engine, run.id).drop("iccid").rows() == [second, first, flag]
    with reading(engine) as connection:
        counted = connection.execute(sa.select(device_sync_run.c.RejectCount)).scalar_one()
    assert counted == 2


def whole(*iccids):
    full = [(iccid, "", "", 1, 0, 0) for iccid in iccids]
    return pl.DataFrame(full, schema=USAGE_STAGE_SCHEMA, orient="row")


def unread(store, run, plan, period=PERIOD):
    period_id = accounts_of(store._engine).period(period)
    return list(store.iccids_without_usage(run, plan, period_id=period_id))


def unsynced(store):
    """Periods of the first provider before the next one that have to be synchronised again."""
    accounts = accounts_of(store._engine)
    found = store.unsynced_periods(accounts.provider(PROVIDER), accounts.period(NEXT_PERIOD))
    return [period.id for period in found]


def history(store, provider=PROVIDER):
    return store.history(accounts_of(store._engine).provider(provider))


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


def test_an_incremental_run_that_met_no_sim_leaves_the_next_one_where_it_was_itself(store):
    run = start(store)
    scan = ScanBookmark(asked_at=NOW, started_at=NOW, window=3, page=1)
    stage_devices(store, run, devices(("1", "A", 1)), progress=SyncProgress(scan=scan))
    publish(store, run)
    publish(store, start(store, "incremental", now=NOW + timedelta(days=1)))
    assert history(store).last.listed_from == NOW


def test_usage_of_a_period_can_be_taken_back(engine, store):
    run = start(store)
    stage_devices(store, run, devices(("1", "A", 1)))
    stage_usage(store, run, usage(("1", 7)))
    stage_usage(store, run, usage(("1", 9)), NEXT_PERIOD)
    store.drop_period(run, accounts_of(engine).period(NEXT_PERIOD))
    assert publish(store, run).usage_rows == 1


@pytest.mark.parametrize(("older", "newer"), [(LONG, SHORT), (SHORT, LONG)])
def test_both_forms_of_a_number_are_one_staged_sim_in_the_form_of_the_newest_row(
    engine, store, older, newer
):
    run = start(store)
    stage_devices(store, run, devices((older, "old", 1), (OTHER_SIM, "A", 2)))
    stage_dates(store, run, (newer, date(2026, 11, 5)))
    stage_devices(store, run, devices((newer, "new", 3)))
    stage_devices(store, run, devices((older, "late", 0)))
    stage_usage(store, run, usage((older, 5), (MISTYPED, 1000)))
    stage_usage(store, run, usage((newer, 7)))
    assert store.used_rate_plans(run) == ["A", "new"]
    assert unread(store, run, "new") == [[newer]]
    stage_usage(store, run, usage((older, 100)))
    counts = publish(store, run)
    assert counts == PublishCounts(devices=2, duplicates=2, usage_rows=2, removed=0)
    assert stored(engine) == [(OTHER_SIM, "A", None), (newer, "new", 112)]
    found = published(engine)
    assert found["activated_date"].to_list() == [None, date(2026, 11, 5)]


@pytest.mark.parametrize("kind", ["full", "incremental"])
@pytest.mark.parametrize(("before", "now"), [(LONG, SHORT), (SHORT, LONG)])
def test_a_stored_sim_is_found_by_the_other_form_and_its_usage_goes_along(
    engine, store, before, now, kind
):
    synced(store, (before, "A", 1), (OTHER_SIM, "A", 2), usages=[(before, 10), (OTHER_SIM, 20)])
    with writing(engine) as connection:
        connection.execute(sa.update(device).values(Jurisdiction="NY"))
    run = start(store, kind, period=NEXT_PERIOD)
    stage_devices(store, run, devices((now, "B", 1), (OTHER_SIM, "B", 2)))
    stage_usage(store, run, usage((before, 50)), NEXT_PERIOD)
    counts = publish(store, run)
    assert counts == PublishCounts(devices=2, duplicates=0, usage_rows=1, removed=0)
    assert stored(engine) == [(OTHER_SIM, "B", 20), (now, "B", 10)]
    assert stored(engine, NEXT_PERIOD) == [(OTHER_SIM, "B", None), (now, "B", 50)]
    assert count(engine, device) == 2
    with reading(engine) as connection:
        kept = connection.execute(sa.select(device.c.Jurisdiction)).scalars().all()
    assert kept == ["NY", "NY"]


@pytest.mark.parametrize(("known", "told"), [(LONG, SHORT), (SHORT, LONG)])
def test_usage_told_under_the_other_form_finds_a_sim_that_the_run_did_not_list(
    engine, store, known, told
):
    synced(store, (known, "A", 1))
    synced(store, (OTHER_SIM, "A", 1), kind="incremental", usages=[(told, 5), (MISTYPED, 9)])
    assert stored(engine) == [(OTHER_SIM, "A", None), (known, "A", 5)]


@pytest.mark.parametrize("told", [LONG, SHORT])
def test_a_sim_that_is_stored_under_both_forms_is_one_again_after_the_next_run(engine, store, told):
    synced(store, (LONG, "A", 1), usages=[(LONG, 5)])
    with writing(engine) as connection:
        for table in (device, device_usage):
            row = dict(connection.execute(sa.select(table)).mappings().one())
            connection.execute(sa.insert(table).values(**(row | {"ICCID": SHORT})))
        row |= {
            "BillingPeriodId": accounts_of(engine).period(NEXT_PERIOD)
        }  # of DeviceUsage, under one form only
        connection.execute(sa.insert(device_usage).values(**row))
    synced(store, (SHORT, "B", 1), kind="incremental", usages=[(told, 8)])
    assert stored(engine) == [(SHORT, "B", 8)]
    assert stored(engine, NEXT_PERIOD) == [(SHORT, "B", 5)]


def test_a_provider_keeps_its_form_when_another_tells_the_same_sim_in_the_other(engine, store):
    synced(store, (LONG, "A", 1), usages=[(LONG, 5)])
    run = start(store, provider=OTHER_PROVIDER)
    stage_devices(store, run, devices((SHORT, "Z", 1)))
    stage_usage(store, run, usage((SHORT, 9)))
    publish(store, run)
    assert stored(engine) == [(LONG, "A", 5)]
    assert stored(engine, provider=OTHER_PROVIDER) == [(SHORT, "Z", 9)]


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


ICCIDS = st.sampled_from(["1", "2", "3", "4"])
DATES = st.none() | st.sampled_from([date(2026, 11, 1), date(2026, 11, 9)])
DEVICE_ROWS = st.lists(st.tuples(ICCIDS, st.sampled_from("ABC"), DATES), max_size=6)
RUNS = st.lists(
    st.tuples(
        st.sampled_from(["full", "incremental"]),
        st.lists(DEVICE_ROWS, min_size=1, max_size=3),
        st.lists(st.tuples(ICCIDS, st.integers(0, 1 << 50)), max_size=5),
        st.sampled_from(["publish", "fail"]),
    ),
    min_size=1,
    max_size=4,
)


class Model:
    """What the device tables should hold, as plain dicts."""

    def __init__(self):
        self.known, self.usage = {}, {}

    def apply(self, kind, pages, usages):
        newest = {}
        for iccid, plan, activated in (row for page in pages for row in page):
            before = newest.get(iccid, (None, None))
            newest[iccid] = (plan, activated or before[1])
        if kind == "full":
            self.known = {key: (*row[:2], False) for key, row in self.known.items()}
        for iccid, (plan, activated) in newest.items():
            before = self.known.get(iccid, (None, None, None))
            self.known[iccid] = (plan, activated or before[1], True)
        sums = {}
        for iccid, n_bytes in usages:
            sums[iccid] = sums.get(iccid, 0) + n_bytes
        self.usage.update(sums)

    def rows(self):
        return [
            (iccid, plan, activated, self.usage.get(iccid))
            for iccid, (plan, activated, is_there) in sorted(self.known.items())
            if is_there
        ]


@given(RUNS)
@settings(max_examples=40)
def test_any_series_of_runs_ends_like_the_plain_model(databases, runs):
    with databases.fresh() as engine:
        add_accounts(engine)
        check_against_model(engine, runs)


def check_against_model(engine, runs):
    store, model = SqlDeviceStore(engine), Model()
    for kind, pages, usages, end in runs:
        run = start(store, kind)
        position = 0
        for page in pages:
            rows = [(i, "ACTIVATED", p, "C", d, position + k) for k, (i, p, d) in enumerate(page)]
            position += len(page)
            stage_devices(store, run, device_frame(rows))
        stage_usage(store, run, usage(*usages))
        is_empty_full = kind == "full" and position == 0 and bool(model.rows())
        if end == "fail" or is_empty_full:
            store.fail(run, error="x", now=NOW)
        else:
            publish(store, run)
            model.apply(kind, pages, usages)
        found = published(engine)
        assert found.select("iccid", "rate_plan", "activated_date", "usage_bytes").rows() == (
            model.rows()
        )


class DiedError(Exception):
    """What a process that dies might be, if it could tell."""


def die(*_arguments):
    raise DiedError


def test_a_publish_that_dies_leaves_everything_as_it_was(engine, store):
    synced(store, ("1", "A", 1), usages=[("1", 1)])
    before = published(engine)
    run = start(store)
    stage_devices(store, run, devices(("1", "B", 1), ("2", "B", 2)))
    stage_usage(store, run, usage(("2", 5)))
    sa.event.listen(engine, "commit", die)  # when all is written and nothing is committed
    with pytest.raises(DiedError):
        publish(store, run)
    sa.event.remove(engine, "commit", die)
    assert published(engine).equals(before)
    assert publish(store, run).devices == 2
    with writing(engine) as connection:
        assert connection.execute(sa.select(device.c.LastSyncRunId).distinct()).scalars().all() == [
            run.id
        ]


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
