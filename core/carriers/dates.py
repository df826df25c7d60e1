"""Points in time as carriers write them, read into aware UTC.

Control Center alone uses ``2016-06-29 00:21:33.339+0000``, ``2018-09-26T03:02:18.393Z``,
``2016-11-10Z`` and milliseconds since 1970, depending on the call.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_SHAPE = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d(?:[.,]\d{1,6})?)?))?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)?",
    re.IGNORECASE,
)
_MILLISECONDS_FROM = 100_000_000_000
"""Epoch numbers from here on are milliseconds: as seconds they would lie beyond the year 5000."""

_YEARS = range(2, 9999)
"""The first and the last year are left out: another time zone may lead beyond the calendar there."""


def parse_carrier_time(value: object) -> datetime | None:
    """Read a carrier's time; without a zone it is taken as UTC.

    Returns
    -------
    datetime or None
        Aware, in UTC; None for null and empty text.

    Raises
    ------
    ValueError
        If the value is no point in time.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_epoch(value)
    text = str(value).strip()
    if text.isdecimal() and len(text) >= 9:
        return _from_epoch(int(text))
    found = _SHAPE.fullmatch(text)
    if found is None:
        msg = f"{text[:40]!r} is no date"
        raise ValueError(msg)
    day, clock, zone = found.groups()
    zone = "+00:00" if zone is None or zone.upper() in ("Z", "UTC") else zone
    clock = (clock or "00:00").replace(",", ".")
    return in_utc(datetime.fromisoformat(f"{day}T{clock}{zone}"))


def in_utc(moment: datetime) -> datetime:
    """Convert an aware time to UTC, where any zone's time and any overlap stay within the calendar.

    Raises
    ------
    ValueError
        If it is in the first or the last year there is.
    """
    if moment.year not in _YEARS:
        msg = f"{moment.isoformat()} is no date"
        raise ValueError(msg)
    return moment.astimezone(UTC)


def _from_epoch(number: float) -> datetime:
    try:
        seconds = number / 1000 if abs(number) >= _MILLISECONDS_FROM else number
        return in_utc(datetime.fromtimestamp(seconds, tz=UTC))
    except (OverflowError, OSError, ValueError):
        msg = f"{str(number)[:40]} is no date"
        raise ValueError(msg) from None
