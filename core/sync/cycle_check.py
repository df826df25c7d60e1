"""Whether a billing period is the cycle that the carrier bills, and in which time zone (S1).

Control Center reports a cycle's boundaries in UTC, but they are midnights of the operator's zone: a
cycle from 2018-08-26 16:00 UTC on begins on August 27 in UTC+8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from core.carriers.base import CarrierCycle
from core.domain import BillingCycle

_TOLERANCE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodClock:
    """Where in a billing period the account's local day is.

    Attributes
    ----------
    clock
        Tells the time, aware.
    """

    cycle: BillingCycle
    time_zone: str
    clock: Callable[[], datetime]

    def is_open(self) -> bool:
        """Whether the period holds the local day."""
        return self.cycle.start_date <= self._today() <= self.cycle.end_date

    def has_just_begun(self) -> bool:
        """Whether it is its first day, on which the carrier may still have the cycle before."""
        return self._today() == self.cycle.start_date

    def _today(self) -> date:
        return self.clock().astimezone(ZoneInfo(self.time_zone)).date()


def local_cycle(told: CarrierCycle, time_zone: str) -> BillingCycle | None:
    """Return the cycle as days of a zone, both inclusive; None if it does not begin at midnight there."""
    zone = ZoneInfo(time_zone)
    start, end = told.start.astimezone(zone), (told.end + _TOLERANCE).astimezone(zone)
    if (start.hour, start.minute) != (0, 0) or end <= start:
        return None
    return BillingCycle(start_date=start.date(), end_date=(end - timedelta(days=1)).date())


def offset_text(told: CarrierCycle) -> str:
    """Name the offset from UTC in which the cycle would begin at midnight, such as ``UTC-05:00``."""
    minutes = (-(told.start.hour * 60 + told.start.minute)) % (24 * 60)
    minutes -= 24 * 60 if minutes > 14 * 60 else 0
    sign = "-" if minutes < 0 else "+"
    return f"UTC{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def cycle_problem(told: CarrierCycle, cycle: BillingCycle, time_zone: str) -> str | None:
    """Say how the carrier's cycle differs from a billing period; None where it does not."""
    local = local_cycle(told, time_zone)
    if local is None:
        return (
            f"the carrier's billing cycle begins {told.start:%Y-%m-%d %H:%M} UTC, which is no midnight "
            f"in {time_zone}: the account's zone may be {offset_text(told)}; correct its time_zone in a "
            "file for `carrier-opt providers import`"
        )
    if local != cycle:
        return (
            f"the carrier's billing cycle is {local.start_date} to {local.end_date}, the billing "
            f"period {cycle.start_date} to {cycle.end_date}: usage may be of another cycle; "
            "correct the period's dates with `carrier-opt periods change`"
        )
    return None
