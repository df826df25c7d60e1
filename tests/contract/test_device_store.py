"""Device staging and publish, also against a plain model of what should be there (C5)."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import StorageError
from core.storage.device_store import SqlDeviceStore
from core.storage.devices import any_iccid
from core.storage.engine import reading, writing
from core.storage.schema import device, device_sync_run, jasper_device_staging, jasper_usage_staging
from core.storage.sync_rejects import load_rejects
from core.sync.store import USAGE_STAGE_SCHEMA, PublishCounts
from tests.contract.accounts import accounts_of, add_accounts
from tests.contract.device_acts import (
    NOW,
    OTHER_PROVIDER,
    PROVIDER,
    count,
    device_frame,
    devices,
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
