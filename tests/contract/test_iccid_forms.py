"""A SIM is one SIM under both forms of its number, with and without check digit (C4)."""

from __future__ import annotations

from datetime import date

import pytest
import sqlalchemy as sa

from core.storage.engine import reading, writing
from core.storage.schema import device, device_usage
from core.sync.store import PublishCounts
from tests.contract.accounts import accounts_of
from tests.contract.device_acts import (
    LONG,
    MISTYPED,
    NEXT_PERIOD,
    OTHER_PROVIDER,
    OTHER_SIM,
    SHORT,
    count,
    devices,
    publish,
    published,
    stage_dates,
    stage_devices,
    stage_usage,
    start,
    stored,
    synced,
    unread,
    usage,
)


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
