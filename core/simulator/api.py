"""What the simulated Control Center answers, without any HTTP: target and body in, status and JSON out.

Paths, parameters, error codes and shapes follow the public documentation of Cisco Control Center's
REST API, version 1. One billing cycle exists: the fleet's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import parse_qsl, unquote

from core.simulator.account import STATUSES, Ints, SimulatedAccount
from core.simulator.options import SimulatorOptions
from core.simulator.payloads import (
    DeviceRows,
    cycle_usage,
    device_details,
    rate_plan_entry,
    usage_zones,
)

API_ROOT = "/rws/api/v1"
MAX_EFFECTIVE_DAYS = 180
_YEAR = timedelta(days=366)
_EDITABLE = re.compile(
    r"status|ratePlan|communicationPlan|customer|deviceID|modemID|overageLimitOverride"
    r"|accountCustom([1-9]|10)|operatorCustom[1-5]|customerCustom[1-5]|effectiveDate"
)
_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:?\d\d)")
_NOT_FOUND_PAGE = b"<html><head><title>404 Not Found</title></head><body>Not Found</body></html>"

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer."""

    status: int
    body: bytes
    content_type: str = "application/json;charset=UTF-8"


class ApiError(Exception):
    """A refusal with the platform's error code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(message)


def error_reply(status: int, code: str | None, message: str) -> Reply:
    """Write the platform's error envelope; the code is a string and may be missing."""
    envelope = {"errorMessage": message} | ({"errorCode": code} if code else {})
    return Reply(
        status=status,
        body=json.dumps(envelope).encode("latin-1", "replace"),
        content_type="application/json;charset=ISO-8859-1",
    )


def html_reply(status: int, body: bytes = _NOT_FOUND_PAGE) -> Reply:
    """Answer with an HTML page, as the console or a proxy does."""
    return Reply(status=status, body=body, content_type="text/html")


class ControlCenterApi:
    """The REST API of one account."""

    def __init__(
        self,
        account: SimulatedAccount,
        options: SimulatorOptions,
        clock: Callable[[], datetime],
    ) -> None:
        self._account = account
        self._options = options
        self._clock = clock
        self._rows = DeviceRows(account)

    def handle(self, method: str, target: str, body: bytes) -> Reply:
        """Answer one call; ``target`` is path and query as they stand in the request line."""
        path, _, query_text = target.partition("?")
        if not path.startswith(f"{API_ROOT}/"):
            return html_reply(404)
        parts = [unquote(part) for part in path[len(API_ROOT) + 1 :].split("/")]
        query = dict(parse_qsl(query_text, keep_blank_values=True))
        self._account.apply_due(self._clock())
        try:
            return self._route(method, parts, query, body)
        except ApiError as error:
            return error_reply(error.status, error.code, error.message)

    def _route(self, method: str, parts: list[str], query: Query, body: bytes) -> Reply:
        match (method, parts):
            case ("GET", ["devices"]):
                return self._list_devices(query)
            case ("GET", ["devices", iccid]):
                return _json(device_details(self._account, self._row(iccid)))
            case ("PUT", ["devices", iccid]):
                return self._edit_device(iccid, body)
            case ("GET", ["devices", iccid, "ctdUsages"]):
                return _json(cycle_usage(self._account, self._row(iccid)))
            case ("GET", ["usages"]):
                return self._usage_by_plan(query)
            case ("GET", ["rateplans"]):
                return self._rate_plans(query)
            case ("GET", ["echo", word]):
                return _json({"param": word})
            case _:
                return html_reply(404)

    def _list_devices(self, query: Query) -> Reply:
        since, till = self._window(query)
        status = query.get("status")
        if status is not None and status not in STATUSES:
            raise ApiError(400, "10000005", "Invalid SIM status.")
        with self._account.lock:
            rows = self._account.listed(_ms(since), None if till is None else _ms(till), status)
            page, is_last, number = self._page(rows, query)
            body = self._rows.render(page)
        total = b'"totalCount":%d,' % len(rows) if self._options.has_total_count else b""
        return Reply(
            status=200,
            body=b'{"pageNumber":%d,%b"devices":[%b],"lastPage":%b}'
            % (number, total, body, b"true" if is_last else b"false"),
        )

    def _window(self, query: Query) -> tuple[datetime, datetime | None]:
        if not query.get("modifiedSince"):
            raise ApiError(400, "10000003", "ModifiedSince is required.")
        since = _parse_time(query["modifiedSince"])
        till = _parse_time(query["modifiedTill"]) if query.get("modifiedTill") else None
        if self._options.strict_dates:
            now = self._clock()
            if since > now:
                raise ApiError(400, "10002119", "ModifiedSince is in the future.")
            if since < now - _YEAR:
                raise ApiError(400, "10000045", "ModifiedSince is more than one year old.")
        return since, till

    def _page(self, rows: Ints, query: Query) -> tuple[Ints, bool, int]:
        size = self._page_size(query)
        number = _whole(query.get("pageNumber", "1"), "10000007", "Invalid pageNumber.")
        if number < 1:
            raise ApiError(400, "10000007", "Invalid pageNumber.")
        first = (number - 1) * size
        if first >= len(rows) and number > 1 and self._options.past_end == "error":
            raise ApiError(400, "10000007", "Invalid pageNumber.")
        return rows[first : first + size], first + size >= len(rows), number

    def _page_size(self, query: Query) -> int:
        largest = self._options.max_page_size
        size = _whole(query.get("pageSize", str(min(50, largest))), "10000006", "Invalid pageSize.")
        if not 1 <= size <= largest:
            raise ApiError(400, "10000006", "Invalid pageSize.")
        return size

    def _usage_by_plan(self, query: Query) -> Reply:
        plan = query.get("ratePlanName")
        if not plan:
            raise ApiError(400, "10000011", "One or more required fields are missing.")
        if not self._account.knows_plan(plan):
            raise ApiError(400, "10000013", "Invalid rate plan.")
        cycle_start = query.get("cycleStartDate")
        if cycle_start is not None:
            try:
                is_ours = date.fromisoformat(cycle_start) == self._account.cycle.start_date
            except ValueError:
                raise ApiError(400, "10000012", "Invalid date format.") from None
            if not is_ours:
                raise ApiError(400, "10000032", "CycleStartDate is not one of the last three.")
        with self._account.lock:
            page, is_last, number = self._page(self._account.rows_on_plan(plan), query)
            zones = usage_zones(self._account, page)
        return Reply(
            status=200,
            body=b'{"ratePlanName":%b,"pageNumber":%d,"zones":[%b],"lastPage":%b}'
            % (json.dumps(plan).encode(), number, zones, b"true" if is_last else b"false"),
        )

    def _rate_plans(self, query: Query) -> Reply:
        plans = list(self._account.rate_plans.values())
        size = self._page_size(query)
        number = _whole(query.get("pageNumber", "1"), "10000007", "Invalid pageNumber.")
        first = (number - 1) * size
        if number < 1 or (first >= len(plans) and number > 1):
            raise ApiError(400, "10000007", "Invalid pageNumber.")
        chosen = plans[first : first + size]
        return _json(
            {
                "operatorName": "Simulated Operator",
                "operatorId": "1",
                "timeStamp": f"{self._clock():%Y-%m-%dT%H:%M:%S}.000Z",
                "pageNumber": number,
                "ratePlans": [
                    rate_plan_entry(first + offset, plan) for offset, plan in enumerate(chosen)
                ],
                "lastPage": first + size >= len(plans),
            }
        )

    def _row(self, iccid: str) -> int:
        row = self._account.row_of(iccid)
        if row is None:
            raise ApiError(404, "20000001", "Resource not found - Invalid ICCID.")
        return row

    def _edit_device(self, iccid: str, body: bytes) -> Reply:
        row = self._row(iccid)
        fields = _json_object(body)
        for name in fields:
            if not _EDITABLE.fullmatch(name):
                raise ApiError(400, "10000028", f"Invalid request: unrecognized field {name}.")
        at = self._effective(fields.pop("effectiveDate", None))
        if not fields:
            raise ApiError(400, "10000011", "One or more required fields are missing.")
        self._check_values(fields)
        if at is None:
            self._account.change(row, fields, self._clock())
        else:
            self._account.schedule(row, fields, at)
        return _json({"iccid": iccid})

    def _check_values(self, fields: Mapping[str, object]) -> None:
        if "status" in fields and fields["status"] not in STATUSES:
            raise ApiError(400, "10000005", "Invalid SIM status.")
        if "ratePlan" in fields and fields["ratePlan"] not in self._account.rate_plans:
            raise ApiError(400, "10000013", "Invalid rate plan.")
        if (
            "communicationPlan" in fields
            and fields["communicationPlan"] not in self._account.communication_plans
        ):
            raise ApiError(400, "10000014", "Invalid communication plan.")

    def _effective(self, value: object) -> datetime | None:
        """Time of a future change; None: at once."""
        if value is None:
            return None
        found = re.match(r"(\d{4}-\d\d-\d\d)(Z|[+-]\d\d:?\d\d)?$", str(value))
        if found is None:
            raise ApiError(400, "10000012", "Invalid date format.")
        day = date.fromisoformat(found[1])
        today = self._clock().date()
        if day <= today:
            return None
        if (day - today).days > MAX_EFFECTIVE_DAYS:
            raise ApiError(
                400, "10000028", "Invalid request: effectiveDate is over 180 days ahead."
            )
        return datetime.combine(day, time(), tzinfo=UTC)


def _json(value: object) -> Reply:
    return Reply(status=200, body=json.dumps(value).encode())


def _json_object(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ApiError(400, "10000023", "JSON is not well formed.")
    return value


def _whole(text: str, code: str, message: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ApiError(400, code, message) from None


def _parse_time(text: str) -> datetime:
    if not _ISO_TIME.fullmatch(text):
        raise ApiError(400, "10000012", "Invalid date format.")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ApiError(400, "10000012", "Invalid date format.") from None


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
