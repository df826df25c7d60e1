"""Usage that cannot be what a SIM used in the period: not taken over, and said (C4, U1)."""

from __future__ import annotations

import polars as pl
import pytest

from core.simulator.api import ControlCenterApi
from core.simulator.spoil import content_of, with_content
from core.storage.devices import load_devices
from core.storage.sync_rejects import load_rejects
from tests.faults.small_account import (
    NOW,
    small_account,
    small_fleet,
)
from tests.sync.acts import (
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
