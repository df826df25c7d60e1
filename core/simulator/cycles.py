"""Billing cycles of a simulated account: which came before, and when they begin in UTC."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from core.domain import BillingCycle

_DAY = timedelta(days=1)


def cycle_on(day: date, start_day: int) -> BillingCycle:
    """Return the monthly cycle that ``day`` lies in; cycles begin on ``start_day``, 1 to 28."""
    months_back = 0 if day.day >= start_day else -1
    start = add_months(day.replace(day=start_day), months_back)
    return BillingCycle(start_date=start, end_date=add_months(start, 1) - _DAY)


def shifted(cycle: BillingCycle, n: int) -> BillingCycle:
    """Return the cycle ``n`` after this one, or before it; odd lengths are shifted by days."""
    start, after = cycle.start_date, cycle.end_date + _DAY
    if add_months(start, 1) == after:
        return BillingCycle(
            start_date=add_months(start, n), end_date=add_months(start, n + 1) - _DAY
        )
    step = (after - start) * n
    return BillingCycle(start_date=start + step, end_date=cycle.end_date + step)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the moment at which ``day`` begins in ``zone``, in UTC."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def utc_bounds(cycle: BillingCycle, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return a cycle's first moment and the first one after it, in UTC."""
    return midnight(cycle.start_date, zone), midnight(cycle.end_date + _DAY, zone)


def add_months(day: date, n: int) -> date:
    """Return the same day ``n`` months on, or that month's last day."""
    year, month0 = divmod(day.year * 12 + day.month - 1 + n, 12)
    last = calendar.monthrange(year, month0 + 1)[1]
    return date(year, month0 + 1, min(day.day, last))
