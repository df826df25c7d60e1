"""An account that lists only what was modified within a year, as newer ones do (C2, C6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from core.carriers.base import UsageAccess
from core.carriers.iccid import iccid_problems
from core.errors import (
    CarrierDownError,
    CarrierProtocolError,
    RejectedByCarrierError,
    RetryableCarrierError,
)
from core.simulator.fleet import make_fleet
from core.storage.device_store import SqlDeviceStore
from core.storage.devices import load_devices
from core.storage.sync_rejects import load_rejects
from core.sync.run import sync_devices
from tests.faults.small_account import CODES, CYCLE, NOW
from tests.sync.acts import REQUEST, YEAR, client_of

LISTED_FROM_MS = int((NOW - timedelta(days=364)).timestamp() * 1000)
NOW_MS = int(NOW.timestamp() * 1000)
FIELDS = ["iccid", "status", "rate_plan", "communication_plan"]


def fleet_of(n):
    """SIMs on a few plans, since usage is asked for plan by plan, and some with a row that is rejected.

    Two more are on a plan that nobody has entered: one that was modified within a year, and another.
    """
    everything = make_fleet(2000, 1, CYCLE, as_of=NOW)
    good = is_good(everything) & everything["communication_plan"].is_not_null()
    on_few = everything.filter(good & pl.col("rate_plan").is_in(CODES))
    ages = pl.Series([NOW_MS, LISTED_FROM_MS - 1])
    foreign = on_few.drop_nulls("activated_ms").tail(2)
    foreign = foreign.with_columns(rate_plan=pl.lit("RETAIL-300MB"), updated_ms=ages)
    bad = everything.filter(~good)
    on_one = pl.when(pl.col("rate_plan").is_not_null()).then(pl.lit("FLEX-5MB"))
    return pl.concat([on_few.head(n), foreign, bad.with_columns(rate_plan=on_one)])


def synchronise(
    server,
    engine,
    request=REQUEST,
    *,
    now=NOW,
    prepare=lambda client: None,
    usage_access=UsageAccess.BY_RATE_PLAN,
):
    with client_of(server, usage_access, now, YEAR) as client:
        prepare(client)
        return sync_devices(client, SqlDeviceStore(engine), request, clock=lambda: now)


def is_good(fleet):
    return iccid_problems(fleet["iccid"]).is_null() & fleet["rate_plan"].is_not_null()


def listed(fleet):
    recent = fleet.filter(is_good(fleet) & (pl.col("updated_ms") >= LISTED_FROM_MS))
    return recent.drop_nulls("communication_plan")


def reachable(fleet):
    """Good SIMs that were modified within a year, and those that have usage on a plan that is known.

    SIMs have usage if they were ever active.
    """
    known = [*CODES, *listed(fleet)["rate_plan"]]
    has_usage = pl.col("activated_ms").is_not_null() & pl.col("rate_plan").is_in(known)
    is_told = (pl.col("updated_ms") >= LISTED_FROM_MS) | has_usage
    good = fleet.filter(is_good(fleet) & is_told).drop_nulls("communication_plan")
    return good.sort("iccid")


def test_every_sim_that_is_listed_or_has_usage_is_stored_once_with_its_usage(serve, engine):
    fleet = fleet_of(500)
    result = synchronise(serve(fleet, strict_dates=True), engine)
    expected = reachable(fleet)
    assert listed(fleet).height < 0.8 * expected.height < 0.8 * fleet.height  # both ways matter
    stored = load_devices(engine, 1, 1)
    assert stored.select(FIELDS).rows() == expected.select(FIELDS).rows()
    usage = pl.when(pl.col("activated_ms").is_not_null()).then("usage_bytes")
    assert stored["usage_bytes"].to_list() == expected.select(usage).to_series().to_list()
    assert (result.kind, result.devices, result.removed) == ("full", expected.height, 0)
    assert "lists only SIMs modified since 2025-10-26" in result.warnings[0]
    assert load_rejects(engine, result.run_id)["raw"].n_unique() == sum(result.rejects.values())
    assert sum(result.rejects.values()) >= 3


def test_doing_it_again_changes_nothing_and_asks_for_no_sim_again(serve, engine):
    server = serve(fleet_of(150), strict_dates=True)
    first = synchronise(server, engine)
    stored = load_devices(engine, 1, 1)
    again = synchronise(server, engine)
    assert load_devices(engine, 1, 1).equals(stored)
    assert again.removed == 0
    assert again.calls < first.calls - 50  # the SIMs that were found by their usage are known now


def test_sims_that_were_known_before_stay_when_the_carrier_stops_to_list_them(serve, engine):
    fleet = fleet_of(150)
    synchronise(serve(fleet), engine)
    stored = load_devices(engine, 1, 1)
    result = synchronise(serve(fleet, strict_dates=True), engine, now=NOW + timedelta(minutes=1))
    assert load_devices(engine, 1, 1).equals(stored)
    assert (result.removed, result.devices) == (0, listed(fleet).height)


def test_a_change_at_the_carrier_arrives(serve, engine):
    server = serve(fleet_of(150), strict_dates=True)
    synchronise(server, engine)
    old = server.account.listed(0, LISTED_FROM_MS - 1, "ACTIVATED")[0]
    server.account.change(old, {"ratePlan": "FLEX-2GB"}, NOW)
    synchronise(server, engine, replace(REQUEST, since=NOW - timedelta(hours=1)))
    stored = load_devices(engine, 1, 1)
    iccid = server.account.iccid[old].decode()
    assert stored.filter(iccid=iccid)["rate_plan"].to_list() == ["FLEX-2GB"]


def test_a_run_that_dies_between_the_sims_found_by_usage_is_right_when_it_is_run_again(
    serve, engine, monkeypatch
):
    fleet = fleet_of(400)
    server = serve(fleet, strict_dates=True)
    stage, staged = SqlDeviceStore.stage_devices, []

    def dies(store, run, rows, rejects, progress):
        if run.progress.is_listed:
            staged.append(rows.height)
            if len(staged) == 3:
                raise KeyboardInterrupt
        stage(store, run, rows, rejects, progress)

    monkeypatch.setattr(SqlDeviceStore, "stage_devices", dies)
    with pytest.raises(KeyboardInterrupt):
        synchronise(server, engine)
    monkeypatch.undo()
    assert load_devices(engine, 1, 1).is_empty()
    synchronise(server, engine)
    expected = reachable(fleet)
    assert load_devices(engine, 1, 1).select(FIELDS).rows() == expected.select(FIELDS).rows()


@pytest.mark.parametrize(
    ("error", "n_warned"),
    [
        (RejectedByCarrierError("no such SIM", code="20000001", status=404), 0),
        (RetryableCarrierError("HTTP 500"), 1),
        (CarrierProtocolError("a date is none"), 1),
    ],
)
def test_a_sim_of_the_usage_that_cannot_be_read_is_passed_over(serve, engine, error, n_warned):
    fleet = fleet_of(150)
    found = reachable(fleet).join(listed(fleet), on="iccid", how="anti")
    unread, asked = found["iccid"][0], []

    def spoil(client):
        read = client.device_details

        def details(iccid):
            asked.append(iccid)
            if iccid == unread:
                raise error
            return read(iccid)

        client.device_details = details

    result = synchronise(serve(fleet, strict_dates=True), engine, prepare=spoil)
    expected = reachable(fleet).filter(pl.col("iccid") != unread)
    assert load_devices(engine, 1, 1)["iccid"].to_list() == expected["iccid"].to_list()
    assert len(asked) == len(set(asked))
    warned = [text for text in result.warnings if "could not be read; they are missing" in text]
    assert len(warned) == n_warned


def test_a_carrier_that_answers_no_more_ends_the_run_and_changes_nothing(serve, engine):
    def take_down(client):
        def details(_iccid):
            raise CarrierDownError(6, "HTTP 503")

        client.device_details = details

    server = serve(fleet_of(150), strict_dates=True)
    with pytest.raises(CarrierDownError):
        synchronise(server, engine, prepare=take_down)
    assert load_devices(engine, 1, 1).is_empty()


def test_sims_on_a_plan_that_nobody_has_entered_yet_are_found_by_the_carriers_list_of_plans(
    serve, engine
):
    is_unnamed = pl.col("rate_plan") == "START-20MB"
    old = pl.when(is_unnamed).then(LISTED_FROM_MS - 1).otherwise("updated_ms")
    fleet = fleet_of(150).with_columns(updated_ms=old)
    server = serve(fleet, strict_dates=True)
    assert "START-20MB" not in listed(fleet)["rate_plan"]
    assert "START-20MB" in reachable(fleet)["rate_plan"]
    result = synchronise(server, engine, replace(REQUEST, known_rate_plans=frozenset()))
    assert result.devices == reachable(fleet).height
    missing = synchronise(
        serve(fleet, strict_dates=True, is_account_admin=False),
        engine,
        replace(REQUEST, known_rate_plans=frozenset()),
    )
    assert "rate plans could not be listed" in " ".join(missing.warnings)


def test_an_account_in_which_nothing_is_recent_is_synchronised_again_and_again(serve, engine):
    old = LISTED_FROM_MS - 86_400_000
    fleet = fleet_of(80).with_columns(updated_ms=pl.lit(old))
    server = serve(fleet, strict_dates=True)
    first = synchronise(server, engine)
    stored = load_devices(engine, 1, 1)
    again = synchronise(server, engine)
    assert (first.devices, again.devices, again.removed) == (stored.height, 0, 0)
    assert stored.height > 60
    assert load_devices(engine, 1, 1).equals(stored)


def test_usage_sim_by_sim_is_read_of_the_known_sims_that_are_not_listed(serve, engine):
    fleet = fleet_of(80)
    synchronise(serve(fleet), engine)
    server = serve(fleet, strict_dates=True)
    server.account.grow(50)
    now = NOW + timedelta(minutes=1)
    synchronise(server, engine, now=now, usage_access=UsageAccess.PER_SIM)
    stored = load_devices(engine, 1, 1).sort("iccid")
    account = server.account
    truth = {
        account.iccid[row].decode(): account.usage(row).data_bytes for row in range(fleet.height)
    }
    assert stored["usage_bytes"].to_list() == [truth[iccid] for iccid in stored["iccid"]]


@pytest.mark.parametrize("error", [RetryableCarrierError, CarrierProtocolError])
def test_a_list_of_plans_that_cannot_be_read_is_a_warning(serve, engine, error):
    def spoil(client):
        def rate_plans():
            raise error("broken")

        client.rate_plans = rate_plans

    fleet = fleet_of(150)
    result = synchronise(serve(fleet, strict_dates=True), engine, prepare=spoil)
    assert result.devices >= listed(fleet).height
    assert "rate plans could not be listed" in " ".join(result.warnings)
