"""When a scheduled run is due, and which slot it takes (S1).

Everything is decided in the provider's own time zone: dates and hours are what a clock on the wall
there shows, so that a day with 23 or 25 hours needs no special case. An hour that a clock shows
twice is one slot; an hour that it skips is none, and a start hour inside the gap means the first
moment after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.domain import BillingCycle
from core.errors import InputError

NO_HOUR = -1
"""Hour of a slot on every day but the last: one run a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWindow:
    """When scheduled runs of one provider and billing period may start.

    Attributes
    ----------
    cycle
        The billing period in the provider's local dates, both inclusive.
    time_zone
        The provider's time zone.
    start_hour
        First local hour of a day in which a run may start, 0 to 23.
    window_days
        Number of days at the end of the period on which runs start, at least 1; a shorter period
        is all window.
    """

    cycle: BillingCycle
    time_zone: ZoneInfo
    start_hour: int
    window_days: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.start_hour <= 23:
            msg = f"the start hour is {self.start_hour}; it must be 0 to 23"
            raise ValueError(msg)
        if self.window_days < 1:
            msg = f"the window has {self.window_days} days; it must have at least 1"
            raise ValueError(msg)

    @property
    def first_date(self) -> date:
        """First local date of the window."""
        start = self.cycle.end_date - timedelta(days=self.window_days - 1)
        return max(start, self.cycle.start_date)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What a scheduled run claims before it starts, so that two triggers run once.

    Attributes
    ----------
    local_date
        Date in the provider's time zone.
    hour
        Local hour on the last day of the period, ``NO_HOUR`` on every other day.
    """

    service_provider_id: int
    local_date: date
    hour: int

    def __str__(self) -> str:
        hour = "" if self.hour == NO_HOUR else f" {self.hour:02d}:00"
        return f"provider {self.service_provider_id}, {self.local_date}{hour}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DueCheck:
    """Whether a scheduled run may start.

    Attributes
    ----------
    slot
        The slot to claim; None if no run is due.
    reason
        Why a run is due or is not, for the log and the user.
    """

    slot: Slot | None
    reason: str

    @property
    def is_due(self) -> bool:
        """Whether there is a slot to claim."""
        return self.slot is not None


def load_time_zone(name: str) -> ZoneInfo:
    """Find the time zone of an IANA name, such as ``America/New_York``.

    Raises
    ------
    InputError
        If there is no such time zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise InputError(
            f"time zone {name!r} is unknown; give an IANA name such as America/New_York or UTC"
        ) from exc


def local_now(now: datetime, time_zone: ZoneInfo) -> datetime:
    """Show ``now`` as a clock on the wall does in a time zone.

    Raises
    ------
    ValueError
        If ``now`` has no time zone of its own.
    """
    if now.tzinfo is None:
        msg = "`now` must know its time zone"
        raise ValueError(msg)
    return now.astimezone(time_zone)


def check_due(window: RunWindow, service_provider_id: int, now: datetime) -> DueCheck:
    """Decide whether a scheduled run of a provider is due, and name its slot.

    The answer does not know whether the slot is taken (that is decided by claiming it,
    :func:`core.storage.slots.claim_slot`) nor whether the tenant is busy (that is decided by
    opening the session, S3). On the last day a running session thus stands in the way of the next
    one, and a finished one does not.

    Parameters
    ----------
    now
        Any moment with a time zone.
    """
    local = local_now(now, window.time_zone)
    today, last = local.date(), window.cycle.end_date
    shown = f"it is {local:%Y-%m-%d %H:%M} in {window.time_zone.key}"
    opens = f"{window.first_date} {window.start_hour:02d}:00"
    if today < window.first_date:
        return DueCheck(slot=None, reason=f"{shown}; the window opens on {opens}")
    if today > last:
        return DueCheck(slot=None, reason=f"{shown}; the billing period ended on {last}")
    if local.hour < window.start_hour:
        return DueCheck(
            slot=None, reason=f"{shown}; runs start at {window.start_hour:02d}:00 local time"
        )
    hour = local.hour if today == last else NO_HOUR
    slot = Slot(service_provider_id=service_provider_id, local_date=today, hour=hour)
    kind = "the last day, once an hour" if today == last else "once a day"
    return DueCheck(slot=slot, reason=f"{shown}; within the window ({kind})")
