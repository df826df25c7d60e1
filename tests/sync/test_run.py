"""One synchronisation, from a simulated carrier over HTTP into a real database (C2, C4, C5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from core.carriers.base import UsageAccess
from core.carriers.control_center import ControlCenterClient
from core.carriers.iccid import iccid_problems
from core.domain import BillingCycle
from core.errors import CarrierProtocolError, RetryableCarrierError, StorageError
from core.simulator.faults import Fault, FaultKind
from core.simulator.fleet import make_fleet
from core.simulator.tariffs import simulated_rate_plans
from core.storage.device_store import SqlDeviceStore
from core.storage.devices import load_devices
from core.storage.sync_rejects import load_rejects
from core.sync.run import SyncRequest, sync_devices
from tests.faults.small_account import CODES, CYCLE, NOW
from tests.sync.acts import YEAR, client_of

PLANS = simulated_rate_plans()
PRORATED = frozenset(plan.code for plan in PLANS if plan.is_prorated)
WHOLE_CATALOGUE = SyncRequest(
    service_provider_id=1,
    period_id=1,
    cycle=CYCLE,
    known_rate_plans=frozenset(plan.code for plan in PLANS),
    prorated_rate_plans=PRORATED,
    prorated_communication_plans=frozenset({"Trial Kits"}),
)
REQUEST = replace(WHOLE_CATALOGUE, known_rate_plans=CODES)


def whole_fleet(n):
    """SIMs on all plans, some of them with a row that is rejected."""
    return make_fleet(n, 1, CYCLE, as_of=NOW)


def fleet_of(n):
    """SIMs on eight plans, since usage is asked for plan by plan."""
    return whole_fleet(4 * n).filter(pl.col("rate_plan").is_in(CODES)).head(n)


def synchronise(
    server,
    engine,
    request=REQUEST,
    *,
    usage_access=UsageAccess.BY_RATE_PLAN,
    list_window=None,
    **more,
):
    with client_of(server, usage_access, list_window=list_window) as client:
        return sync_devices(client, SqlDeviceStore(engine), request, clock=lambda: NOW, **more)


def good_rows(fleet):
    return (
        fleet.filter(iccid_problems(fleet["iccid"]).is_null())
        .drop_nulls(["rate_plan", "communication_plan"])
        .sort("iccid")
    )


def test_the_tables_hold_every_good_sim_once_with_its_usage(serve, engine):
    fleet = whole_fleet(1500)
    result = synchronise(serve(fleet, PLANS), engine, WHOLE_CATALOGUE, list_window=YEAR)
    expected = good_rows(fleet)
    stored = load_devices(engine, 1, 1)
    fields = ["iccid", "status", "rate_plan", "communication_plan"]
    assert stored.select(fields).rows() == expected.select(fields).rows()
    reported = pl.col("activated_ms").is_not_null()
    usage = expected.select(
        "iccid",
        pl.when(reported).then("usage_bytes"),
        pl.when(reported).then(pl.col("sms_mo") + pl.col("sms_mt")).alias("sms_count"),
        pl.when(reported)
        .then(pl.col("voice_mo_seconds") + pl.col("voice_mt_seconds"))
        .alias("voice_seconds"),
    )
    assert stored.select(usage.columns).rows() == usage.rows()
    assert result.devices == expected.height
    assert result.kind == "full"
    # the carrier tells the usage of SIMs too whose rows were rejected: stored, and used by nobody
    assert result.usage_rows == fleet.drop_nulls(["activated_ms", "rate_plan"]).height
    assert result.rejects == {"bad_check_digit": 1, "bad_iccid": 2, "missing_value": 2}
    rejects = load_rejects(engine, result.run_id)
    assert rejects.height == 5
    assert rejects["raw"].str.contains('"iccid"').all()
    assert ["RETAIL-300MB" in warning for warning in result.warnings] == [True]


def test_calls_stay_near_what_the_lists_need(serve, engine):
    server = serve(whole_fleet(2000), PLANS)
    result = synchronise(server, engine, WHOLE_CATALOGUE, list_window=YEAR)
    n_lists = sum("/devices?" in call for call in server.calls)
    n_usages = sum("/usages?" in call for call in server.calls)
    assert n_lists <= 40 + 2 * 24 + 40  # pages, years since the platform began, finding the ends
    assert n_usages <= 40 + len(PLANS) + 1
    assert result.calls == len(server.calls) == n_lists + n_usages + 2 + result.activations
    assert 10 < result.activations < 80


def test_activation_dates_are_read_where_a_prorated_plan_needs_them(serve, engine):
    fleet = whole_fleet(1500)
    synchronise(serve(fleet, PLANS), engine, WHOLE_CATALOGUE)
    start_ms = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1000)
    needed = good_rows(fleet).filter(
        (pl.col("activated_ms") >= start_ms)
        & (
            pl.col("rate_plan").is_in(sorted(PRORATED))
            | (pl.col("communication_plan") == "Trial Kits")
        )
    )
    expected = dict(
        needed.select("iccid", pl.from_epoch("activated_ms", time_unit="ms").dt.date()).iter_rows()
    )
    stored = dict(load_devices(engine, 1, 1).select("iccid", "activated_date").iter_rows())
    assert len(expected) > 10
    assert {iccid: stored[iccid] for iccid in expected} == expected
    others = {d for i, d in stored.items() if i not in expected and d is not None}
    assert all(day < CYCLE.start_date for day in others)


def test_an_activation_day_is_a_day_of_the_accounts_zone(serve, engine):
    fleet = fleet_of(300)
    evening = int(datetime(2026, 10, 8, 22, tzinfo=UTC).timestamp() * 1000)
    one = fleet.filter(pl.col("rate_plan") == "START-2MB").head(1)
    one = one.with_columns(
        status=pl.lit("ACTIVATED"),
        activated_ms=pl.lit(evening),
        updated_ms=pl.lit(evening),
        added_ms=pl.lit(evening),
    )
    synchronise(serve(one), engine, replace(REQUEST, time_zone="Asia/Tokyo"))
    assert load_devices(engine, 1, 1)["activated_date"].to_list() == [date(2026, 10, 9)]


def test_doing_it_again_changes_nothing(serve, engine):
    server = serve(fleet_of(200))
    first = synchronise(server, engine)
    before = load_devices(engine, 1, 1)
    second = synchronise(server, engine)
    assert load_devices(engine, 1, 1).equals(before)
    assert second.run_id != first.run_id
    assert (second.devices, second.usage_rows, second.removed) == (
        first.devices,
        first.usage_rows,
        0,
    )


def test_a_change_at_the_carrier_arrives_and_a_sim_that_is_gone_leaves(serve, engine):
    fleet = good_rows(fleet_of(300))
    synchronise(serve(fleet), engine)
    gone, changed = fleet["iccid"][0], fleet["iccid"][1]
    smaller = serve(fleet[1:])
    row = smaller.account.row_of(changed)
    smaller.account.change(row, {"ratePlan": "FLEX-2GB"}, NOW)
    result = synchronise(smaller, engine, list_window=YEAR)
    stored = load_devices(engine, 1, 1)
    assert (result.devices, result.removed) == (fleet.height - 1, 1)
    assert gone not in set(stored["iccid"])
    assert stored.filter(pl.col("iccid") == changed)["rate_plan"].item() == "FLEX-2GB"


def test_a_sim_that_changes_while_the_list_is_read_is_stored_in_its_newest_state(serve, engine):
    server = serve(good_rows(fleet_of(600)))
    account = server.account
    row = int(account.listed(0, None, None)[60])  # among the first to be read
    iccid, _, before, _ = account.fields(row)

    def change(what, n):
        if (what, n > 0) == ("SIMs listed", True) and account.fields(row)[2] == before:
            account.change(row, {"ratePlan": "FLEX-2GB"}, NOW)

    assert before != "FLEX-2GB"
    result = synchronise(server, engine, on_progress=change)
    stored = load_devices(engine, 1, 1).filter(pl.col("iccid") == iccid)
    assert stored["rate_plan"].to_list() == ["FLEX-2GB"]
    assert result.duplicates >= 1


def test_an_incremental_run_asks_for_what_was_modified_and_removes_nothing(serve, engine):
    fleet = good_rows(fleet_of(300))
    server = serve(fleet)
    synchronise(server, engine)
    row = 7
    server.account.change(row, {"ratePlan": "FLEX-2GB"}, NOW)
    request = replace(REQUEST, since=NOW - timedelta(hours=1))
    result = synchronise(server, engine, request)
    assert (result.kind, result.devices, result.removed) == ("incremental", 1, 0)
    stored = load_devices(engine, 1, 1)
    iccid = server.account.iccid[row].decode()
    assert stored.filter(pl.col("iccid") == iccid)["rate_plan"].item() == "FLEX-2GB"
    assert stored.height == fleet.height


def test_usage_sim_by_sim_gives_the_same_tables(serve, engine, new_engine):
    server = serve(fleet_of(60))
    synchronise(server, engine)
    by_plan = load_devices(engine, 1, 1)
    second = new_engine("second")
    synchronise(server, second, usage_access=UsageAccess.PER_SIM)
    sim_by_sim = load_devices(second, 1, 1)
    never = by_plan["usage_bytes"].is_null()
    assert sim_by_sim.filter(~never).equals(by_plan.filter(~never))
    assert (sim_by_sim.filter(never)["usage_bytes"] == 0).all()  # told apart only by plan


@pytest.mark.parametrize("forms", ["both", "the other"])
def test_usage_under_both_forms_of_a_number_is_that_of_one_sim(
    serve, engine, new_engine, monkeypatch, forms
):
    fleet = good_rows(fleet_of(60)).filter(pl.col("iccid").str.len_bytes() == 20)
    server = serve(fleet)
    synchronise(server, engine)
    expected = load_devices(engine, 1, 1).select("iccid", "usage_bytes", "sms_count")
    assert expected["usage_bytes"].sum() > 0
    second = new_engine("second")
    pages = ControlCenterClient.usage_pages

    def told_again(client, *args, **kwargs):
        for page in pages(client, *args, **kwargs):
            rows = page.rows
            if forms == "both":  # the same rows again
                rows = pl.concat([rows, rows.with_columns(pl.col("iccid").str.slice(0, 19))])
                yield replace(page, rows=rows, raw=[*page.raw, *page.raw])
            else:
                yield replace(page, rows=rows.with_columns(pl.col("iccid").str.slice(0, 19)))

    monkeypatch.setattr(ControlCenterClient, "usage_pages", told_again)
    result = synchronise(server, second)
    found = load_devices(second, 1, 1).select(expected.columns)
    assert found.equals(expected)
    assert result.usage_rows == expected["usage_bytes"].count()


def test_a_sim_that_is_listed_under_both_forms_is_stored_and_asked_about_once(
    serve, engine, monkeypatch
):
    fleet = good_rows(fleet_of(300)).filter(pl.col("iccid").str.len_bytes() == 20)
    server = serve(fleet)
    once = synchronise(server, engine)
    before = load_devices(engine, 1, 1)
    pages = ControlCenterClient.device_pages

    def in_both_forms(client, scan):
        for page in pages(client, scan):
            yield replace(page, rows=page.rows.with_columns(pl.col("iccid").str.slice(0, 19)))
            yield page

    monkeypatch.setattr(ControlCenterClient, "device_pages", in_both_forms)
    twice = synchronise(server, engine)
    assert load_devices(engine, 1, 1).equals(before)
    assert once.activations > 0
    assert (twice.devices, twice.activations) == (once.devices, once.activations)
    assert twice.duplicates == once.devices + 2 * once.duplicates
    assert twice.removed == 0


def test_lists_of_devices_and_of_usage_have_the_same_page_limit(serve, engine, monkeypatch):
    limits = []
    pages = ControlCenterClient.usage_pages

    def noted(client, *args, max_pages, **more):
        limits.append(max_pages)
        return pages(client, *args, max_pages=max_pages, **more)

    monkeypatch.setattr(ControlCenterClient, "usage_pages", noted)
    synchronise(serve(fleet_of(60)), engine, replace(REQUEST, max_pages=777))
    assert set(limits) == {777}


def test_a_list_that_once_calls_its_first_page_the_last_removes_nothing(serve, engine):
    fleet = good_rows(fleet_of(300))
    this_month = pl.lit(int(NOW.timestamp() * 1000)) - 86_400_000 * 5
    server = serve(fleet.with_columns(updated_ms=this_month + pl.int_range(fleet.height) * 1000))
    request = replace(REQUEST, reads_usage=False)
    synchronise(server, engine, request, list_window=YEAR)
    n_calls = len(server.calls)
    of_the_cycle = "modifiedSince=2026-09-30T00%3A00%3A00%2B00%3A00&pageSize=50&pageNumber=1"
    server.script([Fault(kind=FaultKind.EARLY_LAST_PAGE, matching=of_the_cycle)])
    result = synchronise(server, engine, request, list_window=YEAR)
    assert any(of_the_cycle in call for call in list(server.calls)[n_calls:])
    assert (result.devices, result.removed) == (fleet.height, 0)


def test_a_list_that_is_suddenly_empty_is_no_reason_to_remove_everything(serve, engine):
    fleet = fleet_of(100)
    synchronise(serve(fleet), engine)
    with pytest.raises(CarrierProtocolError, match="had 100"):
        synchronise(serve(fleet[:0]), engine, list_window=YEAR)
    assert load_devices(engine, 1, 1).height == 100


def test_a_new_account_may_be_empty(serve, engine):
    result = synchronise(serve(fleet_of(0)), engine, list_window=YEAR)
    assert (result.devices, result.usage_rows, result.warnings) == (0, 0, ())


def test_progress_is_told_and_never_falls(serve, engine):
    told = []
    result = synchronise(
        serve(fleet_of(600)), engine, on_progress=lambda what, n: told.append((what, n))
    )
    parts = {what: [n for told_of, n in told if told_of == what] for what, _ in told}
    assert list(parts) == ["SIMs listed", "rows of usage read", "activation dates read"]
    for numbers in parts.values():
        assert numbers == sorted(numbers)
    assert all(len(set(parts[what])) >= 3 for what in ("SIMs listed", "rows of usage read"))
    assert parts["SIMs listed"][-1] == result.devices
    assert parts["rows of usage read"][-1] >= result.usage_rows
    assert parts["activation dates read"][-1] == result.activations


def test_an_interrupted_run_is_failed_and_leaves_no_trace(serve, engine):
    server = serve(fleet_of(300))
    synchronise(server, engine)
    before = load_devices(engine, 1, 1)
    server.account.change(0, {"ratePlan": "FLEX-2GB"}, NOW)

    def interrupt(_what, _n):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synchronise(server, engine, on_progress=interrupt)
    assert load_devices(engine, 1, 1).equals(before)
    last = SqlDeviceStore(engine).history(1).last
    assert last is not None
    assert last.device_count == before.height


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), RetryableCarrierError("the cause")])
def test_the_cause_of_a_failed_run_is_told_though_the_database_is_away_too(
    serve, engine, monkeypatch, caplog, cause
):
    def away(*_, **__):
        raise StorageError("the database is away")

    def fail(_what, _n):
        raise cause

    monkeypatch.setattr(SqlDeviceStore, "fail", away)
    with pytest.raises(type(cause)) as caught:
        synchronise(serve(fleet_of(60)), engine, on_progress=fail)
    assert caught.value is cause
    assert "could not be marked as failed (StorageError: the database is away)" in caplog.text


def test_an_account_without_usage_lists_is_read_sim_by_sim(serve, engine):
    fleet = fleet_of(120)
    result = synchronise(serve(fleet, is_essential=True), engine)
    assert result.devices == good_rows(fleet).height
    assert result.usage_rows == result.devices
    assert all("SIM BY SIM".lower() in warning.lower() for warning in result.warnings)


def test_usage_sim_by_sim_of_another_cycle_than_the_present_one_is_refused(serve, engine):
    september = BillingCycle(start_date=date(2026, 9, 1), end_date=date(2026, 9, 30))
    request = replace(REQUEST, cycle=september)
    with pytest.raises(CarrierProtocolError, match="cycle that runs now only"):
        synchronise(serve(fleet_of(50)), engine, request, usage_access=UsageAccess.PER_SIM)
    assert load_devices(engine, 1, 1).height == 0


def test_a_plan_of_two_versions_loses_no_usage(serve, engine):
    fleet = fleet_of(200)
    once = synchronise(serve(fleet), engine)
    plans = frozenset(code for code in fleet["rate_plan"].drop_nulls().unique() if "FLEX" in code)
    server = serve(fleet, plans_with_two_versions=tuple(sorted(plans)))
    before = load_devices(engine, 1, 1)
    twice = synchronise(server, engine)
    assert twice.usage_rows == once.usage_rows
    assert load_devices(engine, 1, 1).drop("activated_date").equals(before.drop("activated_date"))
    assert any("ratePlanVersion=1" in call for call in server.calls)


def test_usage_on_a_plan_that_its_last_sim_has_left_still_counts(serve, engine):
    fleet = good_rows(fleet_of(300))
    server = serve(fleet)
    synchronise(server, engine)
    before = load_devices(engine, 1, 1)
    for iccid in fleet.filter(pl.col("rate_plan") == "FLEX-5MB")["iccid"]:
        server.account.change(server.account.row_of(iccid), {"ratePlan": "FLEX-2GB"}, NOW)
    for _ in range(2):
        result = synchronise(server, engine)
        assert load_devices(engine, 1, 1)["usage_bytes"].equals(before["usage_bytes"])
        assert result.flags == {}


def test_usage_that_the_account_may_not_read_is_a_warning(serve, engine):
    request = replace(REQUEST, known_rate_plans=frozenset())
    result = synchronise(serve(fleet_of(20), is_account_admin=False), engine, request)
    assert result.usage_rows > 0
    [warning] = result.warnings
    assert warning.startswith("usage on older versions of rate plans is not read")
