"""``GET /devices/{iccid}/usageInZone`` of the simulated Control Center."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from core.simulator.account import SimulatedAccount, UsageRow
from core.simulator.cycles import utc_bounds
from core.simulator.options import SimulatorOptions
from core.simulator.params import zoned_day
from core.simulator.payloads import HOME_ZONE, ROAMING_ZONE
from core.simulator.reply import ApiError
from core.simulator.versions import usage_on_version, versions_of_sim

_ZONES = (HOME_ZONE, ROAMING_ZONE)


def usage_in_zone(
    account: SimulatedAccount,
    row: int,
    query: Mapping[str, str],
    *,
    options: SimulatorOptions,
    now: datetime,
) -> dict[str, object]:
    """Usage of one SIM by plan, version and zone in one of the last three cycles.

    Plans that the SIM had earlier in the cycle keep what was used on them. A SIM that was not yet
    activated has no plans. Boundaries are midnights of ``options.time_zone``, written in UTC.

    Raises
    ------
    ApiError
        10000012, 10000013, 10000031 or 10000032 for a parameter that cannot be.
    """
    start = account.cycle.start_date
    if query.get("cycleStartDate"):
        start = zoned_day(query["cycleStartDate"])
    cycle = account.cycle_from(start)
    if cycle is None:
        raise ApiError(400, "10000032", "CycleStartDate is not one of the last three cycles.")
    plan_wanted, zone_wanted = query.get("ratePlan"), query.get("zone")
    if plan_wanted and not account.knows_plan(plan_wanted):
        raise ApiError(400, "10000013", "Invalid rate plan.")
    if zone_wanted and zone_wanted not in _ZONES:
        raise ApiError(400, "10000031", "Invalid Zone.")
    by_plan = account.usage_by_plan(row, start)
    if query.get("isActiveRatePlan") == "true":
        by_plan = by_plan[-1:]
    first, after = utc_bounds(cycle, ZoneInfo(options.time_zone))
    return {
        "iccid": account.fields(row)[0],
        "timeStamp": _stamp(now),
        "cycleStartDate": _stamp(first),
        "cycleEndDate": _stamp(after - timedelta(seconds=1)),
        "deviceCycleUsageInZones": {
            f"{plan}, {version}": [
                entry
                for entry in _zone_rows(plan, version, _on_version(plan, version, usage, options))
                if zone_wanted in (None, "", entry["zone"])
            ]
            for plan, usage in by_plan
            if plan_wanted in (None, "", plan)
            for version in versions_of_sim(row, plan, options)
        },
    }


def _on_version(plan: str, version: int, usage: UsageRow, options: SimulatorOptions) -> UsageRow:
    columns = np.array([[getattr(usage, name) for name in UsageRow.__slots__]])
    part = usage_on_version(plan, columns, version, options)[0].tolist()
    return UsageRow(**dict(zip(UsageRow.__slots__, part, strict=True)))


def _zone_rows(plan: str, version: int, usage: UsageRow) -> list[dict[str, object]]:
    home = _zone_row(plan, version, HOME_ZONE, max(usage.data_bytes - usage.roaming_bytes, 0))
    home |= {
        "voiceMTUsage": usage.voice_mt_seconds,
        "voiceMTUsageUnit": "seconds",
        "voiceMOUsage": usage.voice_mo_seconds,
        "voiceMOUsageUnit": "seconds",
        "smsmtusage": usage.sms_mt,
        "smsmousage": usage.sms_mo,
    }
    if not usage.roaming_bytes:
        return [home]
    return [home, _zone_row(plan, version, ROAMING_ZONE, usage.roaming_bytes)]


def _zone_row(plan: str, version: int, zone: str, data_bytes: int) -> dict[str, object]:
    return {
        "ratePlan": plan,
        "ratePlanVersion": str(version),
        "zone": zone,
        "dataUsage": data_bytes,
        "dataUsageUnit": "bytes",
        "voiceMTUsage": None,
        "voiceMTUsageUnit": None,
        "voiceMOUsage": None,
        "voiceMOUsageUnit": None,
        "smsmtusage": None,
        "smsmousage": None,
    }


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
