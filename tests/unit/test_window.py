"""When scheduled runs are due and which slot they take (S1)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain import BillingCycle
from core.errors import InputError
from core.sessions.window import NO_HOUR, RunWindow, Slot, check_due, load_time_zone

NEW_YORK = ZoneInfo("America/New_York")
PROVIDER = 7


def window(
    *,
    start=date(2026, 11, 1),
    end=date(2026, 11, 30),
    zone=NEW_YORK,
    start_hour=2,
    window_days=8,
):
    return RunWindow(
        cycle=BillingCycle(start_date=start, end_date=end),
        time_zone=zone,
        start_hour=start_hour,
        window_days=window_days,
    )


def local(year, month, day, hour, minute=0, *, zone=NEW_YORK, fold=0):
    return datetime(year, month, day, hour, minute, tzinfo=zone, fold=fold)


def test_the_window_is_the_last_eight_days():
    # 30 - 8 + 1 = 23: the 23rd is the first of eight days.
    assert window().first_date == date(2026, 11, 23)
    assert not check_due(window(), PROVIDER, local(2026, 11, 22, 23, 59)).is_due
    assert check_due(window(), PROVIDER, local(2026, 11, 23, 2)).is_due


def test_a_period_shorter_than_the_window_is_all_window():
    short = window(start=date(2026, 11, 28))
    assert short.first_date == date(2026, 11, 28)
    assert not check_due(short, PROVIDER, local(2026, 11, 27, 12)).is_due
    assert check_due(short, PROVIDER, local(2026, 11, 28, 12)).is_due


def test_no_run_is_due_before_the_start_hour():
    early = check_due(window(), PROVIDER, local(2026, 11, 24, 1, 59))
    assert not early.is_due
    assert "runs start at 02:00" in early.reason
    assert check_due(window(), PROVIDER, local(2026, 11, 24, 2)).is_due


def test_no_run_is_due_after_the_period():
    late = check_due(window(), PROVIDER, local(2026, 12, 1, 2))
    assert not late.is_due
    assert "ended on 2026-11-30" in late.reason


def test_a_day_before_the_last_has_one_slot():
    morning = check_due(window(), PROVIDER, local(2026, 11, 29, 2))
    evening = check_due(window(), PROVIDER, local(2026, 11, 29, 23, 59))
    assert morning.slot == evening.slot
    assert morning.slot == Slot(
        service_provider_id=PROVIDER, local_date=date(2026, 11, 29), hour=NO_HOUR
    )


def test_the_last_day_has_a_slot_an_hour():
    slots = [check_due(window(), PROVIDER, local(2026, 11, 30, hour)).slot for hour in range(24)]
    assert slots[:2] == [None, None]
    assert [slot.hour for slot in slots[2:]] == list(range(2, 24))


def test_dates_and_hours_are_the_providers():
    # 2026-11-23 04:30 UTC is still the 22nd, 23:30, in New York, and the 23rd, 13:30, in Tokyo.
    now = datetime(2026, 11, 23, 4, 30, tzinfo=UTC)
    assert not check_due(window(), PROVIDER, now).is_due
    tokyo = check_due(window(zone=ZoneInfo("Asia/Tokyo")), PROVIDER, now)
    assert tokyo.slot.local_date == date(2026, 11, 23)


def test_an_hour_that_clocks_show_twice_is_one_slot():
    # On 1 November 2026 New York's clocks go from 01:59 back to 01:00.
    october = window(start=date(2026, 10, 2), end=date(2026, 11, 1), start_hour=1)
    first = check_due(october, PROVIDER, local(2026, 11, 1, 1, 30))
    second = check_due(october, PROVIDER, local(2026, 11, 1, 1, 30, fold=1))
    assert first.slot == second.slot
    assert first.slot.hour == 1


def test_a_start_hour_that_the_clock_skips_means_the_moment_after_it():
    # On 8 March 2026 New York's clocks go from 01:59 to 03:00; 07:00 UTC is 03:00 there.
    march = window(start=date(2026, 2, 9), end=date(2026, 3, 8), start_hour=2)
    assert not check_due(march, PROVIDER, datetime(2026, 3, 8, 6, 59, tzinfo=UTC)).is_due
    due = check_due(march, PROVIDER, datetime(2026, 3, 8, 7, 0, tzinfo=UTC))
    assert due.slot.hour == 3


def test_a_day_whose_midnight_is_skipped_still_has_its_slot():
    # In Cairo 24 April 2026 begins at 01:00; 22:00 UTC of the 23rd is that moment.
    cairo = window(
        start=date(2026, 4, 1), end=date(2026, 4, 24), zone=ZoneInfo("Africa/Cairo"), start_hour=0
    )
    before = check_due(cairo, PROVIDER, datetime(2026, 4, 23, 21, 59, tzinfo=UTC))
    after = check_due(cairo, PROVIDER, datetime(2026, 4, 23, 22, 0, tzinfo=UTC))
    assert before.slot.local_date == date(2026, 4, 23)
    assert (after.slot.local_date, after.slot.hour) == (date(2026, 4, 24), 1)


@given(
    zone=st.sampled_from(
        ["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo"]
    ),
    end=st.dates(min_value=date(2025, 1, 1), max_value=date(2028, 12, 31)),
    start_hour=st.integers(0, 23),
    window_days=st.integers(1, 31),
)
def test_a_full_period_has_one_slot_a_day_and_one_an_hour_on_its_last(
    zone, end, start_hour, window_days
):
    """Ticks every 30 minutes through the whole period, as plain counting has it."""
    start = end - timedelta(days=29)
    rule = window(
        start=start, end=end, zone=ZoneInfo(zone), start_hour=start_hour, window_days=window_days
    )
    tick = datetime(start.year, start.month, start.day, tzinfo=UTC) - timedelta(days=2)
    slots = set()
    for _ in range(34 * 48):
        found = check_due(rule, PROVIDER, tick)
        assert found.is_due == (found.slot is not None)
        slots.add(found.slot)
        tick += timedelta(minutes=30)
    slots.discard(None)
    ordinary = sorted(slot.local_date for slot in slots if slot.hour == NO_HOUR)
    n_days = min(window_days, 30)
    expected = [end - timedelta(days=back) for back in range(n_days - 1, 0, -1)]
    # A day on which clocks skip its last hours could lack its slot; none of these zones has one,
    # but with start hour 23 a skipped 23rd hour would.
    assert ordinary == expected
    last = {slot.hour for slot in slots if slot.local_date == end}
    assert NO_HOUR not in last
    assert last <= set(range(start_hour, 24))
    assert len(last) >= 24 - start_hour - 1  # one hour may be skipped by the clock


def test_a_moment_without_a_time_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        check_due(window(), PROVIDER, datetime(2026, 11, 24, 2))  # noqa: DTZ001


@pytest.mark.parametrize("changes", [{"start_hour": 24}, {"start_hour": -1}, {"window_days": 0}])
def test_an_impossible_window_is_refused(changes):
    with pytest.raises(ValueError, match="must"):
        window(**changes)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "America"])
def test_an_unknown_time_zone_is_refused_with_an_example(name):
    with pytest.raises(InputError, match="America/New_York"):
        load_time_zone(name)


def test_a_known_time_zone_is_found():
    assert load_time_zone("America/New_York") == NEW_YORK


def test_a_slot_reads_well():
    assert str(Slot(service_provider_id=7, local_date=date(2026, 11, 30), hour=3)) == (
        "provider 7, 2026-11-30 03:00"
    )
    assert str(Slot(service_provider_id=7, local_date=date(2026, 11, 29), hour=NO_HOUR)) == (
        "provider 7, 2026-11-29"
    )
