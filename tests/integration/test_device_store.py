"""Device staging and publish on SQLite, also against a plain model of what should be there (C5)."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import StorageError
from core.storage.audit import Author
from core.storage.catalogue_changes import add_period, add_provider
from core.storage.devices import SqlDeviceStore, load_devices, load_rejects
from core.storage.engine import open_engine, reading, writing
from core.storage.migrate import upgrade
from core.storage.records import ProviderSettings
from core.storage.schema import (
    device,
    device_sync_run,
    device_usage,
    jasper_device_staging,
    jasper_usage_staging,
)
from core.sync.store import (
    ACTIVATION_STAGE_SCHEMA,
    DEVICE_STAGE_SCHEMA,
    REJECT_SCHEMA,
    USAGE_STAGE_SCHEMA,
    DeviceStore,
    PublishCounts,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PROVIDER, OTHER_PROVIDER, PERIOD, NEXT_PERIOD = 1, 2, 1, 2


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A database with two providers, to be copied."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    author = Author(actor="test")
    for name in ("Acme", "Other"):
        provider = ProviderSettings(
            name=name,
            tenant="T",
            integration="jasper",
            base_url="https://rest.example.com",
            credential_ref="env:ACME",
            time_zone="UTC",
        )
        add_provider(engine, provider, now=NOW, author=author)
    for start, end in (
        (date(2026, 11, 1), date(2026, 11, 30)),
        (date(2026, 12, 1), date(2026, 12, 31)),
    ):
        add_period(engine, PROVIDER, start, end, now=NOW, author=author)
    engine.dispose()
    return path


def open_copy(template, folder):
    shutil.copy(template, folder / "devices.db")
    return open_engine(f"sqlite:///{folder / 'devices.db'}")


@pytest.fixture
def engine(template, tmp_path):
    engine = open_copy(template, tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine) -> DeviceStore:
    return SqlDeviceStore(engine)


def start(store, kind="full", now=NOW, provider=PROVIDER):
    return store.start_run(service_provider_id=provider, kind=kind, session_id=None, now=now)


def devices(*rows):
    """Rows of iccid, rate plan, position; the rest is the same for all."""
    return pl.DataFrame(
        [(iccid, "ACTIVATED", plan, "C1", None, position) for iccid, plan, position in rows],
        schema=DEVICE_STAGE_SCHEMA,
        orient="row",
    )


def usage(*rows):
    return pl.DataFrame([(*row, 0, 0) for row in rows], schema=USAGE_STAGE_SCHEMA, orient="row")


def rejects(*rows):
    return pl.DataFrame(rows, schema=REJECT_SCHEMA, orient="row")


def publish(store, run, period=PERIOD, now=NOW):
    return store.publish(run, period_id=period, now=now)


LONG, SHORT = "89014103270100000058", "8901410327010000005"
"""One SIM's number with and without its check digit."""

OTHER_SIM, MISTYPED = "8901410327010000004", "89014103270100000057"


def stored(engine, period=PERIOD, provider=PROVIDER):
    found = load_devices(engine, provider, period)
    return found.select("iccid", "rate_plan", "usage_bytes").rows()


def count(engine, table):
    with reading(engine) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def synced(store, *rows, kind="full", usages=(), now=NOW):
    run = start(store, kind, now)
    store.stage_devices(run, devices(*rows))
    store.stage_usage(run, usage(*usages))
    return publish(store, run, now=now)


def test_published_devices_come_back_with_their_usage(engine, store):
    run = start(store)
    staged = pl.DataFrame(
        [
            ("2", "ACTIVATED", "A", "C1", date(2026, 11, 9), 1),
            ("1", "TEST", None, None, None, 2),
        ],
        schema=DEVICE_STAGE_SCHEMA,
        orient="row",
    )
    store.stage_devices(run, staged)
    store.stage_usage(
        run, pl.DataFrame([("2", 1 << 40, 3, 61)], schema=USAGE_STAGE_SCHEMA, orient="row")
    )
    assert load_devices(engine, PROVIDER, PERIOD).is_empty()
    counts = publish(store, run)
    assert counts == PublishCounts(devices=2, duplicates=0, usage_rows=1, removed=0)
    assert load_devices(engine, PROVIDER, PERIOD).rows(named=True) == [
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


def test_the_row_with_the_largest_position_wins_in_whatever_order_rows_arrive(engine, store):
    run = start(store)
    store.stage_devices(run, devices(("1", "new", 7), ("1", "old", 3)))
    store.stage_devices(run, devices(("1", "older", 1), ("2", "first", 2)))
    store.stage_devices(run, devices(("2", "second", 9)))
    assert publish(store, run) == PublishCounts(devices=2, duplicates=3, usage_rows=0, removed=0)
    assert load_devices(engine, PROVIDER, PERIOD)["rate_plan"].to_list() == ["new", "second"]


def test_a_page_that_is_staged_twice_changes_nothing(engine, store):
    run = start(store)
    for _ in range(2):
        store.stage_devices(run, devices(("1", "A", 1), ("2", "B", 2)))
    assert publish(store, run).devices == 2
    assert load_devices(engine, PROVIDER, PERIOD)["rate_plan"].to_list() == ["A", "B"]


def test_usage_on_several_plans_adds_up(engine, store):
    run = start(store)
    store.stage_devices(run, devices(("1", "A", 1)))
    store.stage_usage(run, usage(("1", 5), ("1", 7)))
    store.stage_usage(run, usage(("1", 100)))
    assert publish(store, run).usage_rows == 1
    assert load_devices(engine, PROVIDER, PERIOD)["usage_bytes"].to_list() == [112]


def test_an_incremental_run_changes_what_it_saw_and_nothing_else(engine, store):
    synced(store, ("1", "A", 1), ("2", "A", 2), usages=[("1", 10), ("2", 20)])
    counts = synced(
        store, ("2", "B", 1), ("3", "B", 2), kind="incremental", usages=[("2", 50), ("3", 0)]
    )
    assert counts == PublishCounts(devices=2, duplicates=0, usage_rows=2, removed=0)
    found = load_devices(engine, PROVIDER, PERIOD)
    assert found.select("iccid", "rate_plan", "usage_bytes").rows() == [
        ("1", "A", 10),
        ("2", "B", 50),
        ("3", "B", 0),
    ]


def test_a_full_run_marks_the_devices_it_did_not_see_and_takes_them_back(engine, store):
    synced(store, ("1", "A", 1), ("2", "A", 2))
    assert synced(store, ("2", "A", 1)).removed == 1
    assert load_devices(engine, PROVIDER, PERIOD)["iccid"].to_list() == ["2"]
    assert count(engine, device) == 2
    assert synced(store, ("2", "A", 1)).removed == 0
    synced(store, ("1", "B", 1), kind="incremental")
    assert load_devices(engine, PROVIDER, PERIOD)["iccid"].to_list() == ["1", "2"]


def test_a_provider_does_not_touch_the_devices_of_another(engine, store):
    synced(store, ("1", "A", 1))
    run = start(store, provider=OTHER_PROVIDER)
    store.stage_devices(run, devices(("1", "Z", 1), ("9", "Z", 2)))
    assert publish(store, run).removed == 0
    assert load_devices(engine, PROVIDER, PERIOD)["rate_plan"].to_list() == ["A"]
    assert load_devices(engine, OTHER_PROVIDER, PERIOD)["iccid"].to_list() == ["1", "9"]


def test_usage_belongs_to_its_billing_period(engine, store):
    synced(store, ("1", "A", 1), usages=[("1", 10)])
    run = start(store)
    store.stage_devices(run, devices(("1", "A", 1)))
    store.stage_usage(run, usage(("1", 3)))
    publish(store, run, period=NEXT_PERIOD)
    assert load_devices(engine, PROVIDER, PERIOD)["usage_bytes"].to_list() == [10]
    assert load_devices(engine, PROVIDER, NEXT_PERIOD)["usage_bytes"].to_list() == [3]


def test_activation_dates_of_staged_devices_are_kept_by_later_runs_that_tell_none(engine, store):
    run = start(store)
    store.stage_devices(run, devices(("1", "A", 1), ("2", "A", 2)))
    dates = [("1", date(2026, 11, 5)), ("9", date(2026, 11, 6)), ("2", None)]
    store.stage_activation(run, pl.DataFrame(dates, schema=ACTIVATION_STAGE_SCHEMA, orient="row"))
    store.stage_devices(run, devices(("1", "A", 5)))
    publish(store, run)
    synced(store, ("1", "A", 1), ("2", "A", 2))
    found = load_devices(engine, PROVIDER, PERIOD)
    assert found["activated_date"].to_list() == [date(2026, 11, 5), None]


def test_a_published_run_published_again_tells_the_same_counts_and_changes_nothing(engine, store):
    run = start(store)
    store.stage_devices(run, devices(("1", "A", 1), ("1", "B", 2)))
    store.stage_usage(run, usage(("1", 5)))
    first = publish(store, run)
    synced(store, ("1", "C", 1), kind="incremental", now=NOW + timedelta(hours=1))
    assert publish(store, run, now=NOW + timedelta(hours=2)) == first
    assert load_devices(engine, PROVIDER, PERIOD)["rate_plan"].to_list() == ["C"]


def test_a_failed_run_changes_nothing_and_leaves_no_staging(engine, store):
    synced(store, ("1", "A", 1))
    run = start(store)
    store.stage_devices(run, devices(("1", "B", 1)))
    store.add_rejects(run, rejects(("devices", 1, 2, "iccid", "x", "bad_iccid", "{}")))
    store.fail(run, error="the carrier is down", now=NOW)
    store.fail(run, error="again", now=NOW)
    assert count(engine, jasper_device_staging) == 0
    assert load_devices(engine, PROVIDER, PERIOD)["rate_plan"].to_list() == ["A"]
    assert load_rejects(engine, run).height == 1
    with reading(engine) as connection:
        row = connection.execute(
            sa.select(device_sync_run).where(device_sync_run.c.Id == run)
        ).one()
    assert (row.Status, row.ErrorMessage, row.FinishedAt) == ("failed", "the carrier is down", NOW)
    with pytest.raises(StorageError, match="has failed and cannot be published"):
        publish(store, run)


@pytest.mark.parametrize("end", ["publish", "fail"])
def test_nothing_can_be_staged_in_a_closed_run(store, end):
    run = start(store)
    store.stage_devices(run, devices(("1", "A", 1)))
    if end == "publish":
        publish(store, run)
    else:
        store.fail(run, error="x", now=NOW)
    for stage, frame in (
        (store.stage_devices, devices(("1", "B", 2))),
        (store.stage_usage, usage(("1", 1))),
        (store.stage_activation, pl.DataFrame(schema=ACTIVATION_STAGE_SCHEMA)),
    ):
        with pytest.raises(StorageError, match="not running: nothing can be staged"):
            stage(run, frame)


def test_an_unknown_run_is_named(store):
    with pytest.raises(StorageError, match="synchronisation run 77 is unknown"):
        publish(store, 77)


def test_a_full_run_without_any_device_does_not_empty_the_account(engine, store):
    assert synced(store).devices == 0
    synced(store, ("1", "A", 1))
    with pytest.raises(StorageError, match="staged no device, but 1 are known"):
        publish(store, start(store))
    assert load_devices(engine, PROVIDER, PERIOD).height == 1


def test_rejects_are_kept_once_in_order(engine, store):
    run = start(store)
    first = ("devices", 1, 2, "iccid", "x", "bad_iccid", '{"iccid": "x"}')
    second = ("usage", None, None, None, None, "out_of_range", "{}")
    store.add_rejects(run, rejects(second, first))
    store.add_rejects(run, rejects(first))
    store.add_rejects(run, rejects(second, second))
    assert load_rejects(engine, run).rows() == [second, first]
    with reading(engine) as connection:
        counted = connection.execute(sa.select(device_sync_run.c.RejectCount)).scalar_one()
    assert counted == 2


def test_staged_plans_and_iccids_are_those_of_the_newest_rows(store):
    run = start(store)
    store.stage_devices(run, devices(("3", "A", 1), ("1", "B", 2), ("2", "A", 3), ("3", "C", 4)))
    store.stage_devices(run, devices(("4", None, 5)))
    assert store.staged_rate_plans(run) == ["A", "B", "C"]
    assert list(store.staged_iccids(run, None)) == [["1", "2", "3", "4"]]
    assert list(store.staged_iccids(run, ["A", "C"])) == [["2", "3"]]
    assert list(store.staged_iccids(run, [])) == []


def test_staged_iccids_come_in_slices(store, monkeypatch):
    monkeypatch.setattr("core.storage.devices.ICCID_SLICE", 2)
    run = start(store)
    store.stage_devices(run, devices(*((f"{n}", "A", n) for n in range(5))))
    assert list(store.staged_iccids(run, None)) == [["0", "1"], ["2", "3"], ["4"]]


@pytest.mark.parametrize(("older", "newer"), [(LONG, SHORT), (SHORT, LONG)])
def test_both_forms_of_a_number_are_one_staged_sim_in_the_form_of_the_newest_row(
    engine, store, older, newer
):
    run = start(store)
    store.stage_devices(run, devices((older, "old", 1), (OTHER_SIM, "A", 2)))
    dates = [(newer, date(2026, 11, 5))]
    store.stage_activation(run, pl.DataFrame(dates, schema=ACTIVATION_STAGE_SCHEMA, orient="row"))
    store.stage_devices(run, devices((newer, "new", 3)))
    store.stage_devices(run, devices((older, "late", 0)))
    store.stage_usage(run, usage((older, 5), (MISTYPED, 1000)))
    store.stage_usage(run, usage((newer, 7)))
    assert store.staged_rate_plans(run) == ["A", "new"]
    assert list(store.staged_iccids(run, None)) == [[OTHER_SIM, newer]]
    store.stage_usage(run, usage((older, 100)))
    counts = publish(store, run)
    assert counts == PublishCounts(devices=2, duplicates=2, usage_rows=2, removed=0)
    assert stored(engine) == [(OTHER_SIM, "A", None), (newer, "new", 112)]
    found = load_devices(engine, PROVIDER, PERIOD)
    assert found["activated_date"].to_list() == [None, date(2026, 11, 5)]


@pytest.mark.parametrize("kind", ["full", "incremental"])
@pytest.mark.parametrize(("before", "now"), [(LONG, SHORT), (SHORT, LONG)])
def test_a_stored_sim_is_found_by_the_other_form_and_its_usage_goes_along(
    engine, store, before, now, kind
):
    synced(store, (before, "A", 1), (OTHER_SIM, "A", 2), usages=[(before, 10), (OTHER_SIM, 20)])
    with writing(engine) as connection:
        connection.execute(sa.update(device).values(Jurisdiction="NY"))
    run = start(store, kind)
    store.stage_devices(run, devices((now, "B", 1), (OTHER_SIM, "B", 2)))
    store.stage_usage(run, usage((before, 50)))
    counts = publish(store, run, period=NEXT_PERIOD)
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
        row |= {"BillingPeriodId": NEXT_PERIOD}  # of DeviceUsage, under one form only
        connection.execute(sa.insert(device_usage).values(**row))
    synced(store, (SHORT, "B", 1), kind="incremental", usages=[(told, 8)])
    assert stored(engine) == [(SHORT, "B", 8)]
    assert stored(engine, NEXT_PERIOD) == [(SHORT, "B", 5)]


def test_a_provider_keeps_its_form_when_another_tells_the_same_sim_in_the_other(engine, store):
    synced(store, (LONG, "A", 1), usages=[(LONG, 5)])
    run = start(store, provider=OTHER_PROVIDER)
    store.stage_devices(run, devices((SHORT, "Z", 1)))
    store.stage_usage(run, usage((SHORT, 9)))
    publish(store, run)
    assert stored(engine) == [(LONG, "A", 5)]
    assert stored(engine, provider=OTHER_PROVIDER) == [(SHORT, "Z", 9)]


def test_a_run_that_was_broken_off_is_failed_by_the_next_and_leaves_no_staging(engine, store):
    broken, other = start(store), start(store, provider=OTHER_PROVIDER)
    for run in (broken, other):
        store.stage_devices(run, devices(("1", "A", 1)))
        store.stage_usage(run, usage(("1", 5)))
    later = NOW + timedelta(hours=1)
    run = start(store, now=later)
    with reading(engine) as connection:
        runs = connection.execute(sa.select(device_sync_run)).all()
        staged = connection.execute(sa.select(jasper_device_staging.c.DeviceSyncRunId)).scalars()
        assert staged.all() == [other]
    assert {r.Id: (r.Status, r.FinishedAt) for r in runs} == {
        broken: ("failed", later),
        other: ("running", None),
        run: ("running", None),
    }
    assert runs[0].ErrorMessage.startswith("broken off")
    assert count(engine, jasper_usage_staging) == 1
    with pytest.raises(StorageError, match="is failed, not running"):
        store.stage_devices(broken, devices(("1", "A", 1)))


def test_the_last_published_run_is_the_newest_one_of_the_provider(store):
    assert store.last_published(PROVIDER) is None
    synced(store, ("1", "A", 1), now=NOW)
    synced(store, ("1", "A", 1), ("2", "A", 2), now=NOW + timedelta(days=1))
    failed = start(store, now=NOW + timedelta(days=2))
    store.fail(failed, error="x", now=NOW)
    last = store.last_published(PROVIDER)
    assert last is not None
    assert (last.kind, last.device_count) == ("full", 2)
    assert last.started_at == NOW + timedelta(days=1)
    assert store.last_published(OTHER_PROVIDER) is None


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
def test_any_series_of_runs_ends_like_the_plain_model(template, tmp_path_factory, runs):
    engine = open_copy(template, tmp_path_factory.mktemp("model"))
    store, model = SqlDeviceStore(engine), Model()
    for kind, pages, usages, end in runs:
        run = start(store, kind)
        position = 0
        for page in pages:
            rows = [(i, "ACTIVATED", p, "C", d, position + k) for k, (i, p, d) in enumerate(page)]
            position += len(page)
            store.stage_devices(run, pl.DataFrame(rows, schema=DEVICE_STAGE_SCHEMA, orient="row"))
        store.stage_usage(run, usage(*usages))
        is_empty_full = kind == "full" and position == 0 and bool(model.rows())
        if end == "fail" or is_empty_full:
            store.fail(run, error="x", now=NOW)
        else:
            publish(store, run)
            model.apply(kind, pages, usages)
        found = load_devices(engine, PROVIDER, PERIOD)
        assert found.select("iccid", "rate_plan", "activated_date", "usage_bytes").rows() == (
            model.rows()
        )
    engine.dispose()


def test_a_publish_that_dies_leaves_everything_as_it_was(engine, store):
    synced(store, ("1", "A", 1), usages=[("1", 1)])
    before = load_devices(engine, PROVIDER, PERIOD)
    run = start(store)
    store.stage_devices(run, devices(("1", "B", 1), ("2", "B", 2)))
    store.stage_usage(run, usage(("2", 5)))
    broken = SqlDeviceStore(engine)
    with pytest.raises(sa.exc.IntegrityError):
        broken.publish(run, period_id=999, now=NOW)  # no such period: fails half-way
    assert load_devices(engine, PROVIDER, PERIOD).equals(before)
    assert publish(store, run).devices == 2
    with writing(engine) as connection:
        assert connection.execute(sa.select(device.c.LastSyncRunId).distinct()).scalars().all() == [
            run
        ]
