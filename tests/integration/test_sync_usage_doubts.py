"""Usage that cannot be what a SIM used in the period: not taken over, and said (C4 - C7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from core.carriers.base import UsageAccess
from core.domain import BillingCycle
from core.errors import CarrierProtocolError, UnknownCycleError
from core.simulator.api import ApiError, ControlCenterApi
from core.simulator.faults import Fault, FaultKind
from core.simulator.spoil import content_of, with_content
from core.storage.device_store import SqlDeviceStore
from core.storage.devices import load_devices
from core.storage.engine import open_engine
from core.storage.sync_rejects import load_rejects
from core.sync.run import sync_devices
from tests.faults.small_account import (
    NOW,
    make_database,
    opened_client,
    small_account,
    small_fleet,
)
from tests.integration.sync_acts import (
    REQUEST,
    refusing,
    served,
    sims_on,
    stored_bytes,
    synchronise,
    use,
    used,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_database(tmp_path_factory.mktemp("template") / "own.db")


@pytest.fixture
def engine(template, tmp_path):
    """A database with provider 1, its period 1 and the one before, 2."""
    (tmp_path / "own.db").write_bytes(template.read_bytes())
    engine = open_engine(f"sqlite:///{tmp_path / 'own.db'}")
    yield engine
    engine.dispose()


class Dying(SqlDeviceStore):
    """The store of a process that is killed before it publishes."""

    def publish(self, *_args, **_more):
        raise KeyboardInterrupt

    def fail(self, *_args, **_more):
        pass


class DyingUnchecked(Dying):
    """The store of a process that is killed when all usage is staged and none is checked."""

    def unusual_usage(self, _run):
        raise KeyboardInterrupt


def usage_of(engine, period):
    return load_devices(engine, 1, period).select("iccid", "usage_bytes")


def test_a_past_cycle_that_was_given_up_is_read_from_its_beginning_by_the_next_process(
    engine, template, tmp_path
):
    is_refused = [True]
    api = refusing("START-20MB", lambda q: is_refused[0] and q["cycleStartDate"] == "2026-09-01")
    with served(small_account(), api) as server:
        with pytest.raises(KeyboardInterrupt):
            synchronise(server, engine, store=Dying, reads_history=True)
        is_refused[0] = False
        assert synchronise(server, engine, reads_history=True).attempt == 2
        (tmp_path / "other.db").write_bytes(template.read_bytes())
        other = open_engine(f"sqlite:///{tmp_path / 'other.db'}")
        synchronise(server, other, reads_history=True)
    expected = usage_of(other, 2)
    other.dispose()
    assert usage_of(engine, 2).equals(expected)
    assert expected["usage_bytes"].count() > 40


class BrokenData(ControlCenterApi):
    """Tells something else than a number for what every second SIM used."""

    def handle(self, method, target, body):
        reply = super().handle(method, target, body)
        content = content_of(reply)
        if "/usages?" not in target or content is None:
            return reply
        for zone in content["zones"]:
            for row in zone["devices"][::2]:
                row["usage"]["dataUsage"] = "n/a"
        return with_content(reply, content)


@pytest.mark.parametrize("api", [BrokenData, refusing("START-20MB")])
def test_a_run_that_reads_no_usage_publishes_none_that_another_process_left(engine, api):
    account = small_account()
    with served(account) as server:
        synchronise(server, engine, reads_history=True)
    before, past = usage_of(engine, 1), usage_of(engine, 2)
    account.grow(50)
    with served(account, api) as server, pytest.raises(KeyboardInterrupt):
        synchronise(server, engine, store=DyingUnchecked, reads_history=True)
    with served(account) as server:
        result = synchronise(server, engine, reads_usage=False)
        assert (result.attempt, result.usage_rows) == (2, 0)
        assert usage_of(engine, 1).equals(before)
        assert usage_of(engine, 2).equals(past)
        synchronise(server, engine)
    stored = usage_of(engine, 1).drop_nulls()
    assert stored["usage_bytes"].to_list() == [used(account, iccid) for iccid in stored["iccid"]]


def test_a_correction_is_taken_also_where_a_process_died_that_was_not_to_take_it(engine):
    account, larger = small_account(), small_account()
    larger.grow(50)
    with served(larger) as server:
        synchronise(server, engine)
    with served(account) as server:
        with pytest.raises(KeyboardInterrupt):
            synchronise(server, engine, store=Dying)
        assert synchronise(server, engine, accepts_lower_usage=True).attempt == 2
    right = usage_of(engine, 1).drop_nulls()
    assert right["usage_bytes"].to_list() == [used(account, iccid) for iccid in right["iccid"]]


class DyingOnAnOlderVersion(Dying):
    """The store of a process that is killed after the second page of an older version's usage."""

    def stage_usage(self, run, rows, rejects, progress, **more):
        super().stage_usage(run, rows, rejects, progress, **more)
        if progress.usage.page == 2 and rows["zone"].str.starts_with("1: ").any():
            raise KeyboardInterrupt


class ShortNewest(ControlCenterApi):
    """Has one page of usage on the newest version, and an answer of its own to what is behind it."""

    def _usage_by_plan(self, query):
        if "ratePlanVersion" not in query and query["pageNumber"] != "1":
            raise ApiError(400, "10000099", "No such page.")
        return super()._usage_by_plan(query)


def test_a_process_that_died_on_an_older_version_of_a_plan_is_continued(engine, template, tmp_path):
    plans = ("START-2MB", "START-20MB", "FLEX-5MB")
    switches = {"plans_with_two_versions": plans, "splits_usage_by_version": True}

    def run(engine, store=SqlDeviceStore):
        with opened_client(server.base_url) as client:
            return sync_devices(client, store(engine), REQUEST, clock=lambda: NOW)

    with served(small_account(), ShortNewest, always_says_last=True, **switches) as server:
        with pytest.raises(KeyboardInterrupt):
            run(engine, DyingOnAnOlderVersion)
        assert run(engine).attempt == 2
        assert sim_calls(server) == []
        (tmp_path / "other.db").write_bytes(template.read_bytes())
        other = open_engine(f"sqlite:///{tmp_path / 'other.db'}")
        run(other)
    expected = usage_of(other, 1)
    other.dispose()
    assert usage_of(engine, 1).equals(expected)
    assert expected["usage_bytes"].count() > 40


def test_usage_that_was_stored_too_high_is_corrected_on_request(engine):
    account, larger = small_account(), small_account()
    larger.grow(50)
    with served(larger) as server:
        synchronise(server, engine)
    wrong = usage_of(engine, 1)
    with served(account) as server:
        result = synchronise(server, engine)
        n_fell = result.flags["usage_fell"]
        assert usage_of(engine, 1).equals(wrong)
        (warning,) = result.warnings
        assert f"of {n_fell} of {result.usage_rows + n_fell} SIMs" in warning
        assert "--accept-lower-usage" in warning
        result = synchronise(server, engine, accepts_lower_usage=True)
        assert result.flags == {"usage_fell": n_fell}
        assert result.warnings == ()
    right = usage_of(engine, 1).drop_nulls()
    assert right["usage_bytes"].to_list() == [used(account, iccid) for iccid in right["iccid"]]


def test_a_few_sims_whose_usage_fell_are_no_reason_to_warn(engine):
    account = small_account()
    larger = small_account()
    with served(account) as server:
        synchronise(server, engine)
    fleet = small_fleet()
    few = sims_on(larger, "START-2MB")[:5]
    lower = fleet.with_columns(
        usage_bytes=pl.when(pl.col("iccid").is_in(few)).then(0).otherwise("usage_bytes"),
        roaming_bytes=pl.when(pl.col("iccid").is_in(few)).then(0).otherwise("roaming_bytes"),
    )
    with served(small_account(lower)) as server:
        result = synchronise(server, engine)
    assert (result.flags, result.warnings) == ({"usage_fell": 5}, ())


def test_a_full_run_that_misses_many_sims_says_so(engine):
    fleet = small_fleet()
    with served(small_account(fleet)) as server:
        synchronise(server, engine)
    with served(small_account(fleet[10:])) as server:
        result = synchronise(server, engine)
        assert (result.removed, result.warnings) == (10, ())  # few
    with served(small_account(fleet[30:])) as server:
        result = synchronise(server, engine)
        (warning,) = result.warnings
        assert "20 of 46 known SIMs were not listed" in warning
        assert warning in result.summary()
    with served(small_account(fleet)) as server:
        assert synchronise(server, engine).warnings == ()
    assert load_devices(engine, 1, 1).height == fleet.height


class RoamingUnread(ControlCenterApi):
    """Tells something else than a number for what was used while roaming."""

    def handle(self, method, target, body):
        reply = super().handle(method, target, body)
        content = content_of(reply)
        if "/usages?" not in target or content is None:
            return reply
        for zone in content["zones"]:
            for row in zone["devices"] if "Roaming" in zone["zone"] else []:
                row["usage"]["dataUsage"] = "n/a"
        return with_content(reply, content)


def test_of_a_sim_with_a_row_that_cannot_be_read_no_part_is_taken_for_the_whole(engine):
    account = small_account(small_fleet().with_columns(roaming_bytes=pl.col("usage_bytes") // 8))
    roaming = {i for i in sims_on(account, "START-2MB") if used(account, i) >= 8}
    with served(account) as server:
        synchronise(server, engine, reads_history=False)
    before = {iccid: stored_bytes(engine, iccid) for iccid in roaming}
    account.grow(50)
    with served(account, RoamingUnread) as server:
        result = synchronise(server, engine)
    found = load_rejects(engine, result.run_id).filter(pl.col("source") == "usage")
    assert result.rejects == {"not_a_number": found.height}
    assert result.flags == {"usage_unreadable": found["iccid"].n_unique()}
    assert roaming <= set(found["iccid"])
    assert {iccid: stored_bytes(engine, iccid) for iccid in roaming} == before
    others = set(usage_of(engine, 1).drop_nulls()["iccid"]) - set(found["iccid"])
    assert all(stored_bytes(engine, iccid) == used(account, iccid) for iccid in others)


def edited(edit, base=ControlCenterApi):
    """An API of which ``edit`` changes the JSON of answers about usage, called with it and the target."""

    class Edited(base):
        def handle(self, method, target, body):
            reply = super().handle(method, target, body)
            content = content_of(reply)
            if ("/usages?" not in target and "/ctdUsages" not in target) or content is None:
                return reply
            edit(content, target)
            return with_content(reply, content)

    return Edited


def untold(zones, value):
    """Rows without usage of the SIMs in some zones."""
    usage = {"dataUsage": value, "smsMOUsage": value, "voiceMTUsage": value}
    iccids = {row["deviceId"] for zone in zones for row in zone["devices"]}
    return [{"deviceId": iccid, "usage": usage} for iccid in sorted(iccids)]


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize("where", ["another zone", "an older version"])
def test_rows_that_tell_nothing_take_no_usage_away(engine, where, value):
    seen = []

    def edit(content, target):
        seen.extend(content["zones"])
        if where == "another zone" and content["zones"]:
            rows = untold(content["zones"], value)
            content["zones"].append({"zone": "Abroad", "devices": rows})
        if "ratePlanVersion=1&" in target:
            content["zones"] = [{"zone": "US Home", "devices": untold(seen, value)}]

    account = small_account()
    plans = ("START-2MB", "START-20MB", "FLEX-5MB") if where == "an older version" else ()
    switches = {"plans_with_two_versions": plans, "versions_in_use": (2, 3)}
    with served(account, edited(edit), **switches) as server:
        result = synchronise(server, engine)
    stored = usage_of(engine, 1).drop_nulls()
    assert stored.height > 40
    assert stored["usage_bytes"].to_list() == [used(account, iccid) for iccid in stored["iccid"]]
    assert result.rejects.keys() == (set() if where == "another zone" else {"not_told"})
    assert (result.flags, result.warnings) == ({}, ())


def test_a_sim_of_which_no_row_tells_usage_has_no_usage_row(engine):
    def edit(content, _):
        for zone in content["zones"]:
            zone["devices"] = untold([zone], None)

    with served(small_account(), edited(edit)) as server:
        result = synchronise(server, engine)
    assert usage_of(engine, 1)["usage_bytes"].null_count() == 56
    assert (list(result.rejects), result.flags, result.usage_rows) == (["not_told"], {}, 0)


def test_a_sim_that_tells_nothing_by_itself_keeps_what_lists_tell_of_it(engine):
    def edit(content, _):
        for name in content:
            if name.startswith("ctd"):
                content[name] = None

    account = small_account()
    mover = sims_on(account, "START-20MB")[0]
    account.change(account.row_of(mover), {"ratePlan": "FLEX-5MB"}, NOW)
    use(account, mover, 7000)
    with served(account, edited(edit, refusing("START-20MB"))) as server:
        result = synchronise(server, engine)
        assert any(mover in call for call in sim_calls(server))
    assert (stored_bytes(engine, mover), result.flags) == (7000, {})


@pytest.mark.parametrize(("n_sims", "warns"), [(10, False), (12, True)])
@pytest.mark.parametrize("value", ["n/a", -1, 10**18])
def test_many_sims_whose_usage_cannot_be_read_are_a_warning(engine, value, n_sims, warns):
    account = small_account()
    plans = ("START-2MB", "START-20MB", "FLEX-5MB")
    spoilt = set([iccid for plan in plans for iccid in sims_on(account, plan)][:n_sims])
    assert len(spoilt) == n_sims

    def edit(content, _):
        for row in (row for zone in content["zones"] for row in zone["devices"]):
            if row["deviceId"] in spoilt:
                row["usage"]["dataUsage"] = value

    with served(account, edited(edit)) as server:
        result = synchronise(server, engine)
    stored = usage_of(engine, 1).drop_nulls()
    assert spoilt.isdisjoint(stored["iccid"])
    assert result.flags == {"usage_unreadable": n_sims}
    assert len(result.warnings) == warns
    for warning in result.warnings:
        assert f"usage of {n_sims} of {result.usage_rows + n_sims} SIMs could not be" in warning


FROM_27 = BillingCycle(start_date=date(2026, 10, 27), end_date=date(2026, 11, 26))
NOVEMBER = BillingCycle(start_date=date(2026, 11, 1), end_date=date(2026, 11, 30))
MIDNIGHT = datetime(2026, 11, 1, tzinfo=UTC)


def sim_calls(server):
    return [call for call in server.calls if "/ctdUsages" in call]


def test_a_period_that_the_carrier_has_no_cycle_of_ends_the_run_with_the_remedy(engine):
    now = datetime(2026, 10, 28, tzinfo=UTC)
    with served(small_account()) as server:
        with pytest.raises(UnknownCycleError, match=r"begins on 2026-10-27.*periods change"):
            synchronise(server, engine, now=now, cycle=FROM_27)
        assert sim_calls(server) == []
    assert load_devices(engine, 1, 1).is_empty()


def test_on_its_first_day_a_cycle_may_still_have_to_begin_at_the_carrier(engine):
    with served(small_account()) as server:
        result = synchronise(server, engine, cycle=NOVEMBER, now=MIDNIGHT + timedelta(hours=23))
        assert (result.devices, result.usage_rows, sim_calls(server)) == (56, 0, [])
        assert "is read from 2026-11-02 on" in result.warnings[-1]


def test_where_the_period_is_not_the_carriers_cycle_no_sim_is_read_by_itself(engine):
    shorter = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 30))
    account = small_account()
    comer = sims_on(account, "START-2MB")[-1]  # what it used on the other plan is a part
    account.change(account.row_of(comer), {"ratePlan": "START-20MB"}, NOW)
    use(account, comer, 7000)
    with served(account, refusing("START-20MB")) as server:
        result = synchronise(server, engine, cycle=shorter)
        assert sim_calls(server) == []
        assert "on rate plan 'START-20MB', which the carrier refuses" in result.warnings[1]
        assert "2026-10-31, the billing period" in result.warnings[1]
        assert {stored_bytes(engine, iccid) for iccid in sims_on(account, "START-20MB")} == {None}
        iccid = sims_on(account, "START-2MB")[0]
        assert stored_bytes(engine, iccid) == used(account, iccid)
    with served(account) as server:
        with pytest.raises(CarrierProtocolError, match="2026-10-31, the billing period"):
            synchronise(server, engine, cycle=shorter, usage_access=UsageAccess.PER_SIM)
        assert sim_calls(server) == []


@pytest.mark.parametrize("usage_access", list(UsageAccess))
@pytest.mark.parametrize(
    ("time_zone", "offset"), [("UTC", 0), ("Asia/Tokyo", -9), ("America/New_York", 4)]
)
def test_counters_of_single_sims_are_left_alone_on_the_first_day_of_the_cycle(
    engine, usage_access, time_zone, offset
):
    account, first = small_account(), MIDNIGHT + timedelta(hours=offset, minutes=1)
    clock = [first]
    options = {"usage_access": usage_access, "cycle": NOVEMBER, "time_zone": time_zone}
    switches = {"is_essential": True, "rolls_over": True, "time_zone": time_zone}
    with served(account, clock=lambda: clock[0] - timedelta(minutes=2), **switches) as server:
        for now in (first, first + timedelta(hours=23)):
            clock[0] = now
            result = synchronise(server, engine, now=now, **options)
            assert (result.devices, result.usage_rows, sim_calls(server)) == (56, 0, [])
            (warning,) = result.warnings
            assert "is read from 2026-11-02 on" in warning
        clock[0] = first + timedelta(hours=25)
        assert synchronise(server, engine, now=clock[0], **options).usage_rows == 56
    assert load_devices(engine, 1, 1)["usage_bytes"].sum() == 0  # of the new cycle


def test_on_the_first_day_the_carriers_cycle_is_no_reason_to_change_the_period(engine):
    early = MIDNIGHT + timedelta(hours=1)
    with served(small_account(), clock=lambda: early - timedelta(hours=2)) as server:
        result = synchronise(server, engine, cycle=NOVEMBER, now=early)
    assert "periods change" not in result.summary()


def test_on_the_first_day_only_sims_whose_usage_no_list_tells_are_left(engine):
    clock = [MIDNIGHT + timedelta(hours=1)]
    account = small_account()
    with served(account, refusing("START-20MB"), clock=lambda: clock[0], rolls_over=True) as server:
        result = synchronise(server, engine, now=clock[0], cycle=NOVEMBER, period_id=1)
        assert sim_calls(server) == []
        assert 0 < result.usage_rows <= 56 - 12
        clock[0] += timedelta(days=1)
        later = synchronise(server, engine, now=clock[0], cycle=NOVEMBER, period_id=1)
        assert later.usage_rows > result.usage_rows


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


def test_a_run_that_goes_on_says_again_what_was_read_sim_by_sim(engine):
    with served(small_account(), refusing("START-20MB")) as server:
        with pytest.raises(KeyboardInterrupt):
            synchronise(server, engine, store=Dying)
        result = synchronise(server, engine)
    assert result.attempt == 2
    assert "usage of rate plan 'START-20MB' was read SIM by SIM" in result.summary()
