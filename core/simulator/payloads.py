"""JSON as the simulated Control Center writes it, fast enough for pages of a thousand rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from core.domain import RatePlan
from core.simulator.account import Ints, SimulatedAccount
from core.simulator.tariffs import MB

HOME_ZONE = "US Home"
ROAMING_ZONE = "North America Roaming"


class DeviceRows:
    """Renders list rows: the ICCID and one prepared tail per combination of the other fields."""

    def __init__(self, account: SimulatedAccount) -> None:
        self._account = account
        self._tails: dict[int, bytes] = {}

    def render(self, rows: Ints) -> bytes:
        """Four-field rows of ``GET /devices``, separated by commas."""
        tails = [
            self._tails.get(number) or self._tail(number)
            for number in self._account.combinations(rows).tolist()
        ]
        iccids = self._account.iccid[rows].tolist()
        return b",".join(
            [b'{"iccid":"' + iccid + tail for iccid, tail in zip(iccids, tails, strict=True)]
        )

    def _tail(self, combination: int) -> bytes:
        status, plan, comm = self._account.combination_fields(combination)
        fields = {"status": status, "ratePlan": plan, "communicationPlan": comm}
        tail = b'",' + json.dumps(fields, separators=(",", ":")).encode()[1:]
        self._tails[combination] = tail
        return tail


def usage_zones(iccids: list[bytes], usage: Ints) -> bytes:
    """Render the ``zones`` of ``GET /usages``: home for every SIM, roaming for those that did.

    Parameters
    ----------
    usage
        Shape ``(len(iccids), 6)``, the columns of ``UsageRow``.
    """
    home, roaming = [], []
    for iccid, (data, away, sms_mo, sms_mt, voice_mo, voice_mt) in zip(
        iccids, usage.tolist(), strict=True
    ):
        home.append(
            b'{"deviceId":"%b","usage":{"dataUsage":%d,"smsMOUsage":%d,"smsMTUsage":%d,'
            b'"voiceMOUsage":%d,"voiceMTUsage":%d}}'
            % (iccid, data - away if data > away else 0, sms_mo, sms_mt, voice_mo, voice_mt)
        )
        if away:
            roaming.append(b'{"deviceId":"%b","usage":{"dataUsage":%d}}' % (iccid, away))
    zones = [(HOME_ZONE, home), (ROAMING_ZONE, roaming)]
    return b",".join(
        b'{"zone":"%b","devices":[%b]}' % (name.encode(), b",".join(devices))
        for name, devices in zones
        if devices
    )


def device_details(account: SimulatedAccount, row: int) -> dict[str, object]:
    """Fields of ``GET /devices/{iccid}``; dates are not ISO 8601, empty and null both occur."""
    iccid, status, plan, comm = account.fields(row)
    activated = int(account.activated_ms[row])
    tail = iccid[-10:]
    return {
        "iccid": iccid,
        "imsi": f"310410{tail[:9]}",
        "msisdn": f"1882{tail}",
        "imei": "",
        "status": status,
        "ratePlan": plan,
        "communicationPlan": comm,
        "customer": None,
        "endConsumerId": None,
        "dateActivated": control_center_date(activated) if activated >= 0 else None,
        "dateAdded": control_center_date(int(account.added_ms[row])),
        "dateUpdated": control_center_date(int(account.updated_ms[row])),
        "dateShipped": control_center_date(int(account.added_ms[row])),
        "accountId": account.account_id,
        "fixedIPAddress": None,
        "accountCustom1": "",
        "simNotes": None,
        "deviceID": None,
        "modemID": "",
        "globalSimType": "",
        **account.extra_fields.get(row, {}),
    }


def cycle_usage(account: SimulatedAccount, row: int) -> dict[str, object]:
    """Fields of ``GET /devices/{iccid}/ctdUsages``."""
    iccid, status, plan, comm = account.fields(row)
    usage = account.usage(row)
    return {
        "iccid": iccid,
        "imsi": f"310410{iccid[-10:-1]}",
        "msisdn": f"1882{iccid[-10:]}",
        "imei": "",
        "status": status,
        "ratePlan": plan,
        "communicationPlan": comm,
        "ctdDataUsage": usage.data_bytes,
        "ctdSMSUsage": usage.sms_mo + usage.sms_mt,
        "ctdVoiceUsage": usage.voice_mo_seconds + usage.voice_mt_seconds,
        "ctdSessionCount": int(usage.data_bytes > 0),
        "overageLimitReached": False,
        "overageLimitOverride": "DEFAULT",
    }


_UNKNOWN_TYPES = {
    "EVENT-100MB": "Event",
    "PREPAID-1GB": "Prepaid - Individual Terms",
    "FIXED-10GB": "Monthly - Fixed Pool",
}


def unknown_type_entries(number: int, plan: RatePlan) -> list[dict[str, object]]:
    """Plans that differ from ``plan`` in name and in a type that nobody should guess at."""
    return [
        rate_plan_entry(number + offset, plan) | {"name": name, "type": kind, "lengthOfTerm": 30}
        for offset, (name, kind) in enumerate(_UNKNOWN_TYPES.items())
    ]


def rate_plan_entry(number: int, plan: RatePlan, version: int = 1) -> dict[str, object]:
    """One plan of ``GET /rateplans``, with the fields that a client needs to price it."""
    return {
        "name": plan.code,
        "id": 100_000 + number,
        "versionId": 200_000 + number + 100_000 * (version - 1),
        "version": version,
        "status": "PUBLISHED",
        "type": "Monthly - Pooled Subscriber"
        if plan.is_pooled
        else "Monthly - Individual Subscriber",
        "subscriptionCharge": plan.monthly_rate_micros / 1_000_000,
        "subscriptionChargeUnit": "USD",
        "numberOfTiers": 1,
        "dataUsage": {
            "useDefaultRating": "false",
            "zones": {
                HOME_ZONE: {
                    "includedData": plan.included_bytes / MB,
                    "includedDataUnit": "MB",
                    "bulkOverageEnabled": True,
                    "dataRoundingUnit": plan.overage_block_bytes,
                    "dataRoundingFrequency": "Billing Cycle",
                    "tiers": [
                        {
                            "tierLevel": 1,
                            "dataOverage": plan.overage_rate_micros / 1_000_000,
                            "dataOverageUnit": f"{plan.overage_block_bytes} bytes",
                        }
                    ],
                }
            },
        },
    }


def control_center_date(milliseconds: int) -> str:
    """Write a time as ``yyyy-MM-dd HH:mm:ss.SSS+0000``."""
    moment = datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{milliseconds % 1000:03d}+0000"
