"""Usage that cannot be what a SIM used in the period: not taken over, and said (C4 - C7)."""

from __future__ import annotations

import polars as pl
import pytest

from core.simulator.api import ControlCenterApi
from core.simulator.spoil import content_of, with_content
from core.storage.device_store import SqlDeviceStore
from core.storage.devices import load_devices
from core.storage.engine import open_engine
from core.storage.sync_rejects import load_rejects
from tests.faults.small_account import make_database, small_account, small_fleet
from tests.integration.sync_acts import (
    refusing,
    served,
    sims_on,
    stored_bytes,
    synchronise,
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
    found = load_rejects(engine, result.run_id)
    assert result.rejects == {"not_a_number": found.height}
    assert roaming <= set(found["iccid"])
    assert {iccid: stored_bytes(engine, iccid) for iccid in roaming} == before
    others = set(usage_of(engine, 1).drop_nulls()["iccid"]) - set(found["iccid"])
    assert all(stored_bytes(engine, iccid) == used(account, iccid) for iccid in others)
