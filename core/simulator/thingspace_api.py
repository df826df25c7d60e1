"""What a simulated ThingSpace answers: target, tokens and body in, status and JSON out.

Paths and shapes follow public descriptions of Verizon's ThingSpace API; names of error codes beyond
their first two parts, and how long things take, are made up. The account is the same as the simulated
Control Center's, seen another way: groups are its communication plans, states its statuses.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote

import numpy as np

from core.simulator.account import SimulatedAccount
from core.simulator.reply import ApiError, Reply, error_reply, html_reply, json_reply
from core.simulator.thingspace_rows import (
    device_entry,
    plan_entry,
    row_after,
    usage_history,
)

TOKEN_PATH = "/api/ts/v1/oauth2/token"  # noqa: S105
API_ROOT = "/api/m2m/v1/"
MAX_DEVICES = 2000
CHANGES_PER_MONTH = 4
INPUT = "UnifiedWebService.INPUT_INVALID"
FAILED = "UnifiedWebService.REQUEST_FAILED"
DEAD_SESSION = f"{FAILED}.SessionToken.Expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingSpaceOptions:
    """Switches of the simulated ThingSpace; key, secret and password protect nothing.

    Attributes
    ----------
    token_seconds, session_seconds
        How long tokens live.
    change_seconds
        How long a plan change is pending.
    usage_rows
        Rows of usage per answer; the real API has 500.
    retry_after_s
        What ``Retry-After`` says with 429.
    """

    client_key: str = "simulator"
    client_secret: str = field(default="simulated-key", repr=False)
    account_name: str = "0000123456-00001"
    username: str = "simulated-user"
    password: str = field(default="simulated-password", repr=False)
    token_seconds: float = 3600.0
    session_seconds: float = 1200.0
    change_seconds: float = 5.0
    usage_rows: int = 500
    retry_after_s: int = 1


@dataclass(slots=True, kw_only=True)
class _Request:
    """A plan change under way."""

    row: int
    rate_plan: str
    due: datetime
    status: str = "Pending"
    fault: str | None = None


class ThingSpaceApi:
    """The REST API of one account."""

    def __init__(
        self, account: SimulatedAccount, options: ThingSpaceOptions, clock: Callable[[], datetime]
    ) -> None:
        self._account = account
        self._options = options
        self._clock = clock
        self._tokens: dict[str, datetime] = {}  # of both kinds -> when it dies
        self._requests: dict[str, _Request] = {}
        self._changes: dict[tuple[int, int, int], int] = {}  # row, year, month -> plan changes

    def answer(self, method: str, target: str, authorization: str, body: bytes) -> Reply:
        """Answer one call, let in or not.

        Parameters
        ----------
        authorization
            The headers ``Authorization`` and ``VZ-M2M-Token``, with a line feed between.
        """
        path = target.partition("?")[0]
        header, _, session = authorization.partition("\n")
        try:
            with self._account.lock:
                self._carry_out_due()
                if path == TOKEN_PATH:
                    return self._grant(method, header, body)
                if not path.startswith(API_ROOT):
                    return html_reply(404)
                parts = [unquote(part) for part in path[len(API_ROOT) :].split("/")]
                self._check_token(header.removeprefix("Bearer "), f"{FAILED}.BearerToken.Expired")
                if (method, parts) == ("POST", ["session", "login"]):
                    return self._log_in(body)
                self._check_token(session, DEAD_SESSION)
                return self._route(method, parts, body)
        except ApiError as error:
            return error_reply(error.status, error.code, error.message)

    def _route(self, method: str, parts: list[str], body: bytes) -> Reply:
        match (method, parts):
            case ("POST", ["devices", "actions", "list"]):
                return self._list_devices(_json_object(body))
            case ("POST", ["devices", "usage", "actions", "list"]):
                return self._usage(_json_object(body))
            case ("PUT", ["devices", "actions", "plan"]):
                return self._change_plan(_json_object(body))
            case ("GET", ["plans", name]):
                self._check_account(name)
                return json_reply([plan_entry(plan) for plan in self._account.rate_plans.values()])
            case ("GET", ["accounts", name]):
                self._check_account(name)
                return json_reply({"accountName": name, "isProvisioningAllowed": True})
            case ("GET", ["accounts", name, "requests", number, "status"]):
                self._check_account(name)
                return self._request_status(number)
            case _:
                return html_reply(404)

    def _grant(self, method: str, header: str, body: bytes) -> Reply:
        pair = f"{self._options.client_key}:{self._options.client_secret}"
        if header != f"Basic {base64.b64encode(pair.encode()).decode()}":
            return json_reply({"error": "invalid_client"}, 401)
        form = parse_qs(body.decode("ascii", "replace"))
        if method != "POST" or form.get("grant_type") != ["client_credentials"]:
            return json_reply({"error": "unsupported_grant_type"}, 400)
        seconds = self._options.token_seconds
        token = self._new_token("bearer", seconds)
        return json_reply(
            {"access_token": token, "token_type": "Bearer", "expires_in": int(seconds)}
        )

    def _log_in(self, body: bytes) -> Reply:
        given = _json_object(body)
        if (given.get("username"), given.get("password")) != (
            self._options.username,
            self._options.password,
        ):
            raise ApiError(401, f"{FAILED}.LoginFailed", "The user name or password is wrong.")
        return json_reply(
            {"sessionToken": self._new_token("session", self._options.session_seconds)}
        )

    def _new_token(self, kind: str, seconds: float) -> str:
        token = f"{kind}-{len(self._tokens) + 1:06}"
        self._tokens[token] = self._clock() + timedelta(seconds=seconds)
        return token

    def _check_token(self, token: str, code: str) -> None:
        dies = self._tokens.get(token)
        if dies is None or self._clock() >= dies:
            raise ApiError(401, code, "The token is missing, unknown or has expired.")

    def _check_account(self, name: object) -> None:
        if name != self._options.account_name:
            raise ApiError(400, f"{INPUT}.AccountName", "The account name is unknown.")

    def _list_devices(self, asked: dict[str, Any]) -> Reply:
        self._check_account(asked.get("accountName", self._options.account_name))
        if "deviceId" in asked:
            row = self._account.row_of(_iccid([asked["deviceId"]]))
            rows = [] if row is None else [row]
            has_more = False
        else:
            size = _whole(asked.get("maxNumberOfDevices", MAX_DEVICES), "MaxNumberOfDevices")
            if not 1 <= size <= MAX_DEVICES:
                raise ApiError(400, f"{INPUT}.MaxNumberOfDevices", "1 to 2000 devices, please.")
            first = row_after(_whole(asked.get("largestDeviceIdSeen", 0), "LargestDeviceIdSeen"))
            listed = np.sort(self._account.listed(0, None, None))
            listed = listed[np.searchsorted(listed, first) :]
            rows = listed[:size].tolist()
            has_more = len(listed) > size
        name = self._options.account_name
        devices = [device_entry(self._account, row, name) for row in rows]
        return json_reply({"hasMoreData": has_more, "devices": devices})

    def _usage(self, asked: dict[str, Any]) -> Reply:
        row = self._row(asked.get("deviceId"))
        earliest, latest = (_time(asked.get(name)) for name in ("earliest", "latest"))
        rows = usage_history(self._account, row, self._clock(), earliest, latest)
        n = self._options.usage_rows
        return json_reply({"hasMoreData": len(rows) > n, "usageHistory": rows[:n]})

    def _change_plan(self, asked: dict[str, Any]) -> Reply:
        plan = asked.get("servicePlan")
        devices = asked.get("devices")
        if not self._account.publishes_plan(plan):
            raise ApiError(400, f"{INPUT}.ServicePlan", "The service plan is unknown.")
        if not isinstance(devices, list) or len(devices) != 1 or not isinstance(devices[0], dict):
            raise ApiError(400, f"{INPUT}.Devices", "The simulator changes one device at a time.")
        identifiers = devices[0].get("deviceIds")
        row = self._row(identifiers[0] if isinstance(identifiers, list) and identifiers else None)
        now = self._clock()
        month = (row, now.year, now.month)
        n_changes = self._changes.get(month, 0)
        if n_changes >= CHANGES_PER_MONTH:
            raise ApiError(400, f"{FAILED}.PlanChanges", "4 plan changes a month are allowed.")
        self._changes[month] = n_changes + 1
        number = f"request-{len(self._requests) + 1:06}"
        due = now + timedelta(seconds=self._options.change_seconds)
        self._requests[number] = _Request(row=row, rate_plan=str(plan), due=due)
        return json_reply({"requestId": number})

    def _carry_out_due(self) -> None:
        now = self._clock()
        for request in self._requests.values():
            if request.status != "Pending" or now < request.due:
                continue
            if self._account.fields(request.row)[1] == "ACTIVATED":
                self._account.change(request.row, {"ratePlan": request.rate_plan}, now)
                request.status = "Success"
            else:
                request.status = "Failed"
                request.fault = "The device is not active, or is suspended."

    def _request_status(self, number: str) -> Reply:
        request = self._requests.get(number)
        if request is None:
            raise ApiError(404, f"{INPUT}.RequestId", "The request is unknown.")
        told: dict[str, object] = {"requestId": number, "status": request.status}
        if request.fault is not None:
            told["faultResponse"] = {"faultcode": FAILED, "faultstring": request.fault}
        return json_reply(told)

    def _row(self, identifier: object) -> int:
        row = self._account.row_of(_iccid([identifier]))
        if row is None:
            raise ApiError(400, f"{INPUT}.DeviceId", "The device is unknown.")
        return row


def _iccid(identifiers: list[object]) -> str:
    for identifier in identifiers:
        if isinstance(identifier, dict) and str(identifier.get("kind")).lower() == "iccid":
            return str(identifier.get("id"))
    raise ApiError(400, f"{INPUT}.DeviceId", "Name the device by an id of kind iccid.")


def _whole(value: object, name: str) -> int:
    if re.fullmatch(r"\d{1,18}", str(value)):
        return int(str(value))
    raise ApiError(400, f"{INPUT}.{name}", f"{name} is not a whole number.")


def _time(value: object) -> datetime:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except ValueError:
        raise ApiError(400, f"{INPUT}.Date", "Dates are like 2026-10-01T00:00:00Z.") from None


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ApiError(400, f"{INPUT}.Body", "The body is not a JSON object.")
    return value
