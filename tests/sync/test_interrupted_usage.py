"""What a process that died has staged of usage: continued, or not taken over (C6, C7)."""

from __future__ import annotations

import pytest

from core.simulator.api import ApiError, ControlCenterApi
from core.simulator.spoil import content_of, with_content
from core.storage.device_store import SqlDeviceStore
from core.sync.run import sync_devices
from tests.faults.small_account import (
    NOW,
    opened_client,
    small_account,
)
from tests.sync.acts import (
    REQUEST,
    refusing,
    served,
    sim_calls,
    synchronise,
    usage_of,
    used,
)


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


def test_a_past_cycle_that_was_given_up_is_read_from_its_beginning_by_the_next_process(
    engine, new_engine
):
    is_refused = [True]
    api = refusing("START-20MB", lambda q: is_refused[0] and q["cycleStartDate"] == "2026-09-01")
    with served(small_account(), api) as server:
        with pytest.raises(KeyboardInterrupt):
            synchronise(server, engine, store=Dying, reads_history=True)
        is_refused[0] = False
        assert synchronise(server, engine, reads_history=True).attempt == 2
        other = new_engine("other")
        synchronise(server, other, reads_history=True)
    expected = usage_of(other, 2)
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


def test_a_process_that_died_on_an_older_version_of_a_plan_is_continued(engine, new_engine):
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
        other = new_engine("other")
        run(other)
    expected = usage_of(other, 1)
    assert usage_of(engine, 1).equals(expected)
    assert expected["usage_bytes"].count() > 40


def test_a_run_that_goes_on_says_again_what_was_read_sim_by_sim(engine):
    with served(small_account(), refusing("START-20MB")) as server:
        with pytest.raises(KeyboardInterrupt):
            synchronise(server, engine, store=Dying)
        result = synchronise(server, engine)
    assert result.attempt == 2
    assert "usage of rate plan 'START-20MB' was read SIM by SIM" in result.summary()
