"""Values of ThingSpace's JSON: devices, their numbers and the times of usage."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import polars as pl

from core.carriers.base import DEVICE_PAGE_SCHEMA
from core.carriers.dates import parse_carrier_time
from core.carriers.json_values import count, frame_of_columns, text
from core.errors import CarrierProtocolError

API_ROOT = "/api/m2m/v1"


def by_iccid(iccid: str) -> dict[str, str]:
    """Name a device by its ICCID."""
    return {"id": iccid, "kind": "iccid"}


def device_rows(devices: list[dict[str, Any]]) -> pl.DataFrame:
    """Read devices into ``DEVICE_PAGE_SCHEMA``; what cannot be read is null."""
    return frame_of_columns(
        {
            "iccid": [_iccid(device) for device in devices],
            "status": [_carrier_field(device, "state") for device in devices],
            "rate_plan": [_carrier_field(device, "servicePlan") for device in devices],
            "communication_plan": [_first_group(device) for device in devices],
        },
        DEVICE_PAGE_SCHEMA,
    )


def _iccid(device: Mapping[str, Any]) -> str | None:
    for identifier in _inner(device, "deviceIds"):
        if str(identifier.get("kind")).lower() == "iccid":
            return text(identifier.get("id"))
    return None


def _carrier_field(device: Mapping[str, Any], field: str) -> str | None:
    carriers = _inner(device, "carrierInformations")
    return text(carriers[0].get(field)) if carriers else None


def _first_group(device: Mapping[str, Any]) -> str | None:
    groups = device.get("groupNames")
    return text(groups[0]) if isinstance(groups, list) and groups else None


def _inner(device: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Objects of a list inside a row; what is no such list is as good as an empty one."""
    value = device.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def largest_number(
    devices: list[dict[str, Any]], seen: int, what: str, *, has_more: bool | None
) -> int:
    """Return the largest device number so far, which must have grown if the list goes on.

    Raises
    ------
    CarrierProtocolError
        If it has not.
    """
    numbers = [
        number
        for device in devices
        for attribute in _inner(device, "extendedAttributes")
        if str(attribute.get("key")).lower() == "deviceid"
        and (number := count(attribute.get("value"))) is not None
    ]
    largest = max([seen, *numbers])
    if largest == seen and has_more is not False:
        msg = (
            f"{what}: more devices are said to follow, but none here has a DeviceId above {seen}, so "
            "that the list cannot be read on: tell the carrier"
        )
        raise CarrierProtocolError(msg)
    return largest


def carrier_time(value: object, what: str) -> datetime | None:
    """Read a time, None where there is none; ``what`` names it in the error if it is no time."""
    try:
        return parse_carrier_time(value)
    except ValueError as error:
        raise CarrierProtocolError(f"{what}: {error}") from None


def moment_of(row: Mapping[str, Any], what: str) -> datetime:
    """Read the time of a row of usage.

    Raises
    ------
    CarrierProtocolError
        If it has none.
    """
    moment = carrier_time(row.get("timestamp"), f"{what}: timestamp")
    if moment is None:
        raise CarrierProtocolError(f"{what}: a row has no timestamp")
    return moment


def month_later(day: date) -> date:
    """Return the same day of the next month, or that month's last."""
    year, month0 = divmod(day.year * 12 + day.month, 12)
    return date(year, month0 + 1, min(day.day, monthrange(year, month0 + 1)[1]))


def wire_time(moment: datetime) -> str:
    """Write a time in UTC as the API wants it, whole seconds."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"
