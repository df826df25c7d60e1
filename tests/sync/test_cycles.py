"""A billing period that is not the carrier's cycle, or not yet, and the first day of a cycle (C7)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from core.carriers.base import UsageAccess
from core.domain import BillingCycle
from core.errors import CarrierProtocolError, UnknownCycleError
from core.storage.devices import load_devices
from tests.faults.small_account import (
    NOW,
    small_account,
)
from tests.sync.acts import (
    refusing,
    served,
    sim_calls,
    sims_on,
    stored_bytes,
    synchronise,
    use,
    used,
)

FROM_27 = BillingCycle(start_date=date(2026, 10, 27), end_date=date(2026, 11, 26))
NOVEMBER = BillingCycle(start_date=date(2026, 11, 1), end_date=date(2026, 11, 30))
MIDNIGHT = datetime(2026, 11, 1, tzinfo=UTC)


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
