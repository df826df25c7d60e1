"""What the simulated Control Center answers, without any HTTP: target and body in, status and JSON out.

Paths, parameters, error codes and shapes follow the public documentation of Cisco Control Center's
REST API, version 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import TypeVar
from urllib.parse import parse_qsl, unquote
from zoneinfo import ZoneInfo

from core.simulator.account import STATUSES, Ints, SimulatedAccount
from core.simulator.cycles import midnight, utc_bounds
from core.simulator.iccids import other_form
from core.simulator.options import SimulatorOptions
from core.simulator.params import (
    effective_day,
    json_object,
    milliseconds,
    parse_time,
    plain_day,
    refuse_unknown,
    whole,
)
from core.simulator.payloads import (
    DeviceRows,
    cycle_usage,
    device_details,
    rate_plan_entry,
    unknown_type_entries,
    usage_zones,
)
from core.simulator.reply import ApiError, Reply, error_reply, html_reply, json_reply
from core.simulator.versions import (
    newest_version,
    rows_on_version,
    usage_on_version,
    version_asked_for,
)
from core.simulator.zones import usage_in_zone

__all__ = ["API_ROOT", "ApiError", "ControlCenterApi", "Reply", "error_reply", "html_reply"]

API_ROOT = "/rws/api/v1"
MAX_EFFECTIVE_DAYS = 180
_YEAR = timedelta(days=366)
_EDITABLE = re.compile(
    r"status|ratePlan|communicationPlan|customer|deviceID|modemID|overageLimitOverride"
    r"|accountCustom([1-9]|10)|operatorCustom[1-5]|customerCustom[1-5]|effectiveDate"
)

Query = Mapping[str, str]
Rows = TypeVar("Rows", Ints, list[dict[str, object]])


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
        self._zone = ZoneInfo(options.time_zone)
        if options.iccid_digits is not None:
            account.use_iccid_forms(options.iccid_digits)

    def handle(self, method: str, target: str, body: bytes) -> Reply:
        """Answer one call; ``target`` is path and query as they stand in the request line."""
        path, _, query_text = target.partition("?")
        if not path.startswith(f"{API_ROOT}/"):
            return html_reply(404)
        parts = [unquote(part) for part in path[len(API_ROOT) + 1 :].split("/")]
        query = dict(parse_qsl(query_text, keep_blank_values=True))
        self._advance()
        try:
            return self._route(method, parts, query, body)
        except ApiError as error:
            return error_reply(error.status, error.code, error.message)
        finally:
            if self._options.usage_growth_percent:
                self._account.grow(self._options.usage_growth_percent)

    def _advance(self) -> None:
        """Let happen what has become due: roll-overs and scheduled changes, in their order."""
        now = self._clock()
        if self._options.rolls_over:
            with self._account.lock:
                while now >= (after := utc_bounds(self._account.cycle, self._zone)[1]):
                    self._account.apply_due(after - timedelta(milliseconds=1))
                    self._account.roll_over()
        self._account.apply_due(now)

    def _route(self, method: str, parts: list[str], query: Query, body: bytes) -> Reply:
        if method == "GET":
            refuse_unknown(query, parts)
        match (method, parts):
            case ("GET", ["devices"]):
                return self._list_devices(query)
            case ("GET", ["devices", iccid]):
                return self._about_one(device_details(self._account, self._row(iccid)))
            case ("PUT", ["devices", iccid]):
                return self._edit_device(iccid, body)
            case ("GET", ["devices", iccid, "ctdUsages"]):
                return self._about_one(cycle_usage(self._account, self._row(iccid)))
            case ("GET", ["devices", iccid, "usageInZone"]):
                return self._usage_in_zone(iccid, query)
            case ("GET", ["usages"]):
                return self._usage_by_plan(query)
            case ("GET", ["rateplans"]):
                return self._rate_plans(query)
            case ("GET", ["echo", word]):
                return json_reply({"param": word})
            case _:
                return html_reply(404)

    def _list_devices(self, query: Query) -> Reply:
        since, till = self._window(query)
        status = query.get("status")
        if status is not None and status not in STATUSES:
            raise ApiError(400, "10000005", "Invalid SIM status.")
        with self._account.lock:
            rows = self._account.listed(
                milliseconds(since), None if till is None else milliseconds(till), status
            )
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
        since = parse_time(query["modifiedSince"])
        till = parse_time(query["modifiedTill"]) if query.get("modifiedTill") else None
        if self._options.strict_dates:
            now = self._clock()
            if since > now:
                raise ApiError(400, "10002119", "ModifiedSince is in the future.")
            if since < now - _YEAR:
                raise ApiError(400, "10000045", "ModifiedSince is more than one year old.")
        return since, till

    def _page(self, rows: Rows, query: Query) -> tuple[Rows, bool, int]:
        size = self._page_size(query)
        number = whole(query.get("pageNumber", "1"), "10000007", "Invalid pageNumber.")
        if number < 1:
            raise ApiError(400, "10000007", "Invalid pageNumber.")
        first = (number - 1) * size
        if first >= len(rows) and number > 1 and self._options.past_end == "error":
            raise ApiError(400, "10000007", "Invalid pageNumber.")
        return rows[first : first + size], first + size >= len(rows), number

    def _page_size(self, query: Query) -> int:
        largest = self._options.max_page_size
        size = whole(query.get("pageSize", str(min(50, largest))), "10000006", "Invalid pageSize.")
        if not 1 <= size <= largest:
            raise ApiError(400, "10000006", "Invalid pageSize.")
        return size

    def _usage_in_zone(self, iccid: str, query: Query) -> Reply:
        self._check_role(is_allowed=not self._options.is_essential)
        row = self._row(iccid)
        with self._account.lock:
            answer = usage_in_zone(
                self._account, row, query, options=self._options, now=self._clock()
            )
        return self._about_one(answer)

    def _usage_by_plan(self, query: Query) -> Reply:
        self._check_role(is_allowed=not self._options.is_essential)
        plan = query.get("ratePlanName")
        if not plan:
            raise ApiError(400, "10000011", "One or more required fields are missing.")
        if not self._account.knows_plan(plan):
            raise ApiError(400, "10000013", "Invalid rate plan.")
        with self._account.lock:
            start = self._cycle_start(query)
            version = version_asked_for(plan, query.get("ratePlanVersion"), self._options)
            on_plan = self._account.rows_on_plan(plan, start)
            rows = rows_on_version(plan, on_plan, version, self._options)
            page, is_last, number = self._page(rows, query)
            is_last = is_last or self._options.always_says_last
            used = self._account.plan_usage_columns(plan, page, start)
            usage = usage_on_version(plan, used, version, self._options)
            zones = usage_zones(self._account.iccid[page].tolist(), usage)
        return Reply(
            status=200,
            body=b'{"ratePlanName":%b,"pageNumber":%d,"zones":[%b],"lastPage":%b}'
            % (json.dumps(plan).encode(), number, zones, b"true" if is_last else b"false"),
        )

    def _cycle_start(self, query: Query) -> date:
        text = query.get("cycleStartDate")
        start = self._account.cycle.start_date if text is None else plain_day(text)
        if self._account.cycle_from(start) is None:
            raise ApiError(400, "10000032", "CycleStartDate is not one of the last three cycles.")
        return start

    def _rate_plans(self, query: Query) -> Reply:
        self._check_role(is_allowed=self._options.is_account_admin)
        entries = [
            rate_plan_entry(number, plan, newest_version(plan.code, self._options))
            for number, plan in enumerate(self._account.rate_plans.values())
        ]
        if self._options.has_unknown_plan_types:
            first_plan = next(iter(self._account.rate_plans.values()))
            entries += unknown_type_entries(len(entries), first_plan)
        chosen, is_last, number = self._page(entries, query)
        return json_reply(
            {
                "operatorName": "Simulated Operator",
                "operatorId": "1",
                "timeStamp": f"{self._clock():%Y-%m-%dT%H:%M:%S}.000Z",
                "pageNumber": number,
                "ratePlans": chosen,
                "lastPage": is_last or self._options.always_says_last,
            }
        )

    def _check_role(self, *, is_allowed: bool) -> None:
        if not is_allowed:
            raise ApiError(400, "10000030", "Your role does not have access to this API function.")

    def _about_one(self, answer: dict[str, object], status: int = 200) -> Reply:
        """Answer about one SIM, whose ICCID may have the other form than in lists."""
        if self._options.iccid_digits == "both":
            answer["iccid"] = other_form(str(answer["iccid"]))
        return json_reply(answer, status)

    def _row(self, iccid: str) -> int:
        row = self._account.row_of(iccid)
        if row is None:
            raise ApiError(404, "20000001", "Resource not found - Invalid ICCID.")
        return row

    def _edit_device(self, iccid: str, body: bytes) -> Reply:
        row = self._row(iccid)
        fields = json_object(body)
        for name in fields:
            if not _EDITABLE.fullmatch(name):
                raise ApiError(400, "10000028", f"Invalid request: unrecognized field {name}.")
        at = self._effective(fields.pop("effectiveDate", None))
        if not fields:
            raise ApiError(400, "10000011", "One or more required fields are missing.")
        self._check_values(fields)
        delay = self._options.async_seconds
        if at is None and delay is not None:
            at = self._clock() + timedelta(seconds=delay)
        if at is None:
            self._account.change(row, fields, self._clock())
        else:
            self._account.schedule(row, fields, at)
        own_form = self._account.fields(row)[0]
        shown = own_form if self._options.iccid_digits == "both" else iccid
        return self._about_one({"iccid": shown}, 200 if delay is None else 202)

    def _check_values(self, fields: Mapping[str, object]) -> None:
        if "status" in fields and fields["status"] not in STATUSES:
            raise ApiError(400, "10000005", "Invalid SIM status.")
        if "ratePlan" in fields and not self._account.publishes_plan(fields["ratePlan"]):
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
        day = effective_day(str(value))
        today = self._clock().astimezone(self._zone).date()
        if day < today:
            raise ApiError(400, "10000028", "Invalid request: effectiveDate is in the past.")
        if day == today:
            return None
        if (day - today).days > MAX_EFFECTIVE_DAYS:
            raise ApiError(
                400, "10000028", "Invalid request: effectiveDate is over 180 days ahead."
            )
        return midnight(day, self._zone)
