"""Rows of the simulated ThingSpace: devices, plans and days of usage."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from core.domain import RatePlan
from core.simulator.account import SimulatedAccount

_FIRST_NUMBER = 500_001
_STEP = 3
"""Device numbers have gaps: nobody may count on the next one."""

STATES = {
    "ACTIVATED": "active",
    "DEACTIVATED": "suspend",
    "INVENTORY": "preactive",
    "ACTIVATION_READY": "preactive",
    "TEST_READY": "preactive",
    "RETIRED": "deactive",
    "PURGED": "deactive",
    "REPLACED": "deactive",
}
"""ThingSpace's word for each of the account's statuses."""


def device_number(row: int) -> int:
    """Return the number that lists are ordered by."""
    return _FIRST_NUMBER + _STEP * row


def row_after(number: int) -> int:
    """Return the first row whose device number is larger."""
    return max(0, (number - _FIRST_NUMBER) // _STEP + 1)


def device_entry(account: SimulatedAccount, row: int, account_name: str) -> dict[str, object]:
    """One device of a list."""
    iccid, status, plan, group = account.fields(row)
    activated = int(account.activated_ms[row])
    entry: dict[str, object] = {
        "accountName": account_name,
        "carrierInformations": [
            {"carrierName": "Simulated Carrier", "servicePlan": plan, "state": STATES[status]}
        ],
        "deviceIds": [
            {"id": f"1882{iccid[-7:]}", "kind": "mdn"},
            {"id": iccid, "kind": "iccId"},
        ],
        "extendedAttributes": [
            {"key": "PrimaryPlaceOfUseCity"},
            {"key": "DeviceId", "value": str(device_number(row))},
        ],
        "groupNames": [group] if group is not None else [],
    }
    if activated >= 0:
        moment = datetime.fromtimestamp(activated / 1000, tz=UTC)
        entry["lastActivationDate"] = f"{moment:%Y-%m-%dT%H:%M:%S}Z"
    return entry


def plan_entry(plan: RatePlan) -> dict[str, object]:
    """One plan of the account."""
    return {
        "name": plan.code.replace("-", " "),
        "code": plan.code,
        "sizeKb": plan.included_bytes // 1024,
        "carrierServicePlanCode": plan.code,
    }


def usage_history(
    account: SimulatedAccount, row: int, now: datetime, earliest: datetime, latest: datetime
) -> list[dict[str, object]]:
    """Days of a SIM's usage, oldest first: the cycle's so far, shared out in whole bytes.

    A SIM that roams has two rows at the same moment.
    """
    if int(account.activated_ms[row]) < 0:
        return []
    usage = account.usage(row)
    start = account.cycle.start_date
    n_days = (min(now.date(), account.cycle.end_date) - start).days + 1
    home = usage.data_bytes - usage.roaming_bytes
    rows: list[dict[str, object]] = []
    for day in range(n_days):
        moment = datetime.combine(start + timedelta(days=day), time(), UTC)
        if not earliest <= moment <= latest:
            continue
        stamp = f"{moment:%Y-%m-%dT%H:%M:%S}Z"
        sms = _share(usage.sms_mo + usage.sms_mt, day, n_days)
        rows.append({"timestamp": stamp, "bytesUsed": _share(home, day, n_days), "smsUsed": sms})
        if usage.roaming_bytes:
            away = _share(usage.roaming_bytes, day, n_days)
            rows.append({"timestamp": stamp, "bytesUsed": away, "smsUsed": 0, "source": "roaming"})
    return rows


def _share(total: int, part: int, parts: int) -> int:
    """One of ``parts`` whole shares that add up to the total."""
    return total * (part + 1) // parts - total * part // parts
