"""Reading what a call to the simulated Control Center says: numbers, dates and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import date, datetime

from core.simulator.reply import ApiError

_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:?\d\d)")
_ZONED_DAY = re.compile(r"(\d{4}-\d\d-\d\d)(Z|[+-]\d\d:?\d\d)")
_OPTIONALLY_ZONED_DAY = re.compile(r"(\d{4}-\d\d-\d\d)(Z|[+-]\d\d:?\d\d)?")

_PAGING = frozenset({"pageSize", "pageNumber"})


def refuse_unknown(names: Iterable[str], parts: list[str]) -> None:
    """Refuse parameters that a reading call does not have; 10000028.

    Parameters
    ----------
    names
        Those of the call.
    parts
        Its path below the API's root.
    """
    known = _known_parameters(parts)
    for name in names:
        if known is not None and name not in known:
            raise ApiError(400, "10000028", f"Invalid request: unrecognized parameter {name}.")


def whole(text: str, code: str, message: str) -> int:
    """Read a whole number, or refuse with ``code``."""
    try:
        return int(text)
    except ValueError:
        raise ApiError(400, code, message) from None


def parse_time(text: str) -> datetime:
    """Read ``yyyy-MM-ddTHH:mm:ssZ``; 10000012 for anything else."""
    if not _ISO_TIME.fullmatch(text):
        raise _bad_date()
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise _bad_date() from None


def plain_day(text: str) -> date:
    """Read ``yyyy-MM-dd``, the form of ``GET /usages``."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _bad_date() from None


def zoned_day(text: str) -> date:
    """Read ``yyyy-MM-ddZ`` or ``yyyy-MM-dd+00:00``, the form of ``usageInZone``."""
    return _day_of(_ZONED_DAY, text)


def effective_day(text: str) -> date:
    """Read an ``effectiveDate``, with or without a zone."""
    return _day_of(_OPTIONALLY_ZONED_DAY, text)


def json_object(body: bytes) -> dict[str, object]:
    """Read a JSON object; 10000023 for anything else."""
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ApiError(400, "10000023", "JSON is not well formed.")
    return value


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970 UTC."""
    return int(moment.timestamp() * 1000)


def _known_parameters(parts: list[str]) -> frozenset[str] | None:
    """Parameters of a resource; None: there is no such resource."""
    match parts:
        case ["devices"]:
            return _PAGING | {"modifiedSince", "modifiedTill", "status"}
        case ["devices", _, "usageInZone"]:
            return frozenset({"cycleStartDate", "ratePlan", "zone", "isActiveRatePlan"})
        case ["usages"]:
            return _PAGING | {"ratePlanName", "ratePlanVersion", "cycleStartDate"}
        case ["rateplans"]:
            return _PAGING
        case ["devices", _] | ["devices", _, "ctdUsages"] | ["echo", _]:
            return frozenset()
        case _:
            return None


def _day_of(pattern: re.Pattern[str], text: str) -> date:
    found = pattern.fullmatch(text)
    if found is None:
        raise _bad_date()
    return plain_day(found[1])


def _bad_date() -> ApiError:
    return ApiError(400, "10000012", "Invalid date format.")
