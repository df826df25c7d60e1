"""What the carrier refuses to tell, as a list or of single SIMs, and plans that SIMs have left (C7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from core.carriers.base import UsageAccess
from core.errors import CarrierProtocolError
from core.simulator.api import ControlCenterApi
from core.simulator.faults import Fault, FaultKind
from core.storage.devices import load_devices
from core.storage.sync_rejects import load_rejects
from tests.faults.small_account import (
    NOW,
    small_account,
    small_fleet,
)
from tests.sync.acts import (
    REQUEST,
    refusing,
    served,
    sim_calls,
    sims_on,
    stored_bytes,
    synchronise,
    usage_of,
    use,
    used,
)


def test_usage_on_a_plan_that_nobody_names_any_more_is_read_all_through_the_cycle(engine):
    account = small_account()
    left = sims_on(account, "FLEX-5MB")
    known = REQUEST.known_rate_plans - {"FLEX-5MB"}
    with served(account) as server:
        synchronise(server, engine, known_rate_plans=known)
        for row in account.listed(0, None, None).tolist():
            if account.fields(row)[2] == "FLEX-5MB":
                account.change(row, {"ratePlan": "START-2MB"}, NOW)
        for request in ({}, {"since": NOW - timedelta(hours=1), "reads_usage": False}, {}):
            use(account, left[0], 50_000)
            server.calls.clear()
            result = synchronise(server, engine, known_rate_plans=known, **request)
        asked = [call for call in server.calls if "FLEX-5MB" in call]
    assert {i: stored_bytes(engine, i) for i in left} == {i: used(account, i) for i in left}
    assert (len(asked), result.flags) == (1, {})


def leave(account, plan):
    """Put every SIM of a plan on another one."""
    for row in account.listed(0, None, None).tolist():
        if account.fields(row)[2] == plan:
            account.change(row, {"ratePlan": "FLEX-5MB"}, NOW)


@pytest.mark.parametrize("others", ["stay", "leave"])
def test_of_a_sim_that_left_a_plan_whose_usage_is_refused_all_usage_counts(engine, others):
    account = small_account()
    leavers = sims_on(account, "START-20MB")[: 3 if others == "stay" else None]
    with served(account, refusing("START-20MB")) as server:
        if others == "leave":
            synchronise(server, engine)
            leave(account, "START-20MB")
        for iccid in leavers:
            account.change(account.row_of(iccid), {"ratePlan": "FLEX-5MB"}, NOW)
            use(account, iccid, 7000)
        result = synchronise(server, engine)
        assert {i: stored_bytes(engine, i) for i in leavers} == {
            i: used(account, i) for i in leavers
        }
        account.grow(100)
        later = NOW + timedelta(days=1)
        result = synchronise(server, engine, now=later, since=NOW + timedelta(hours=1))
    assert result.flags == {}
    stored = usage_of(engine, 1).drop_nulls()
    assert stored["usage_bytes"].to_list() == [used(account, iccid) for iccid in stored["iccid"]]


def test_a_refused_plan_on_which_no_sim_was_seen_costs_no_call_per_sim(engine):
    account = small_account()
    leave(account, "START-20MB")
    with served(account, refusing("START-20MB")) as server:
        result = synchronise(server, engine)
        assert (sim_calls(server), result.warnings) == ([], ())


@pytest.mark.parametrize("plan", ["MISSPELT", "START-20MB"])
def test_a_past_cycle_is_given_up_only_for_a_refused_plan_that_matters(engine, plan):
    known = REQUEST.known_rate_plans | {"MISSPELT"}
    api = refusing(plan, lambda query: query["cycleStartDate"] == "2026-09-01")
    with served(small_account(), api) as server:
        result = synchronise(server, engine, reads_history=True, known_rate_plans=known)
    is_given_up = plan == "START-20MB"
    said = ["from 2026-09-01 was left as it is" in warning for warning in result.warnings]
    assert said == [True] * is_given_up
    assert (usage_of(engine, 2)["usage_bytes"].count() == 0) == is_given_up


def test_a_plan_of_the_catalogue_that_the_carrier_does_not_know_costs_no_call_per_sim(engine):
    account = small_account()
    account.change(account.row_of(sims_on(account, "FLEX-5MB")[0]), {"ratePlan": "START-2MB"}, NOW)
    known = REQUEST.known_rate_plans | {"MISSPELT"}
    with served(account) as server:
        result = synchronise(server, engine, known_rate_plans=known)
        assert sim_calls(server) == []
    assert result.warnings == ()


ASKS = {"prorated_communication_plans": frozenset({"Trial Kits"})}
INCREMENTAL = {"since": NOW - timedelta(hours=1)}


def test_an_activation_date_that_could_not_be_read_is_asked_for_again_until_it_is(engine):
    fault = Fault(kind=FaultKind.SERVER_ERROR, matching="GET /rws/api/v1/devices/89", times=4)
    account = small_account()
    with served(account, faults=[fault]) as server:
        first = synchronise(server, engine, reads_usage=False, **ASKS)
        assert first.rejects == {"no_details": 2}
        left = load_rejects(engine, first.run_id)["iccid"].to_list()
        for times, n_rejects in ((2, 1), (0, 0)):
            server.script([replace(fault, times=times)] if times else [])
            result = synchronise(server, engine, reads_usage=False, **ASKS, **INCREMENTAL)
            assert result.activations == (2 if times else 1)
            assert sum(result.rejects.values()) == n_rejects
            assert (result.duplicates, result.removed) == (0, 0)
        last = synchronise(server, engine, reads_usage=False, **ASKS, **INCREMENTAL)
    assert (last.activations, last.devices) == (0, 0)
    stored = load_devices(engine, 1, 1)
    assert stored.height == 56
    for iccid in left:
        activated = datetime.fromtimestamp(account.activated_ms[account.row_of(iccid)] / 1000, UTC)
        row = stored.row(by_predicate=pl.col("iccid") == iccid, named=True)
        fields = (row["iccid"], row["status"], row["rate_plan"], row["communication_plan"])
        assert (fields, row["activated_date"]) == (
            account.fields(account.row_of(iccid)),
            activated.date(),
        )


class BrokenSims(ControlCenterApi):
    """Redirects the calls for single SIMs' usage."""

    def handle(self, method, target, body):
        reply = super().handle(method, target, body)
        return replace(reply, status=302) if "/ctdUsages" in target else reply


@pytest.mark.parametrize("plans", [("START-2MB", "FLEX-5MB"), ("START-20MB",)])
@pytest.mark.parametrize("is_essential", [True, False])
def test_where_no_sims_usage_can_be_read_the_run_ends(engine, is_essential, plans):
    fleet = small_fleet().filter(pl.col("rate_plan").is_in(plans))
    small = fleet if len(plans) > 1 else fleet.head(4)
    access = UsageAccess.BY_RATE_PLAN if is_essential else UsageAccess.PER_SIM
    with (
        served(small_account(small), BrokenSims, is_essential=is_essential) as server,
        pytest.raises(CarrierProtocolError),
    ):
        synchronise(server, engine, usage_access=access)
    assert load_devices(engine, 1, 1).is_empty()


def test_where_only_a_refused_plans_sims_cannot_be_read_they_are_left_as_they_were(engine):
    account = small_account()

    class Broken(BrokenSims, refusing("START-20MB")):
        pass

    with served(account, Broken) as server:
        result = synchronise(server, engine)
    (warning,) = [text for text in result.warnings if "was left as it was" in text]
    assert "on rate plan 'START-20MB', which the carrier refuses as a list" in warning
    assert {stored_bytes(engine, iccid) for iccid in sims_on(account, "START-20MB")} == {None}
