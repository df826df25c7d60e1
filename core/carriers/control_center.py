"""Cisco Control Center, REST API version 1: Jasper, POD19, T-Mobile Jasper, Rogers (C1, C2).

One adapter for many accounts, which differ in address, credentials, calls a second and page size.
Lists are ordered by modification time and carry four fields per SIM; usage is read per rate plan;
``lastPage`` ends a list, ``totalCount`` is not relied on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import polars as pl

from core.carriers.base import (
    DEVICE_PAGE_SCHEMA,
    MIN_PAGE_LIMIT,
    RATE_PLAN_PAGE_LIMIT,
    RATE_PLAN_SCHEMA,
    USAGE_PAGE_SCHEMA,
    CarrierCapabilities,
    CarrierCycle,
    ChangeOutcome,
    ChangeReceipt,
    DeviceDetails,
    DevicePage,
    ListScan,
    Paging,
    PlanChange,
    UsageAccess,
    UsagePage,
)
from core.carriers.credentials import Credentials, account_name
from core.carriers.dates import parse_carrier_time
from core.carriers.device_scan import ListedPage, scan_pages
from core.carriers.forward_pages import ForwardPage, forward_pages
from core.carriers.http import CarrierHttp, ErrorCodes, JsonReply, RetryPolicy
from core.carriers.http_account import HttpAccountClient
from core.carriers.json_values import (
    flag,
    frame,
    frame_of_columns,
    objects,
    text,
)
from core.carriers.limiter import Limiter, limiter_for
from core.carriers.plan_usage import PlanUsage, told_count, usage_numbers
from core.errors import (
    CarrierAuthError,
    CarrierProtocolError,
    RejectedByCarrierError,
    UnknownCycleError,
)

API_ROOT = "/rws/api/v1"

ERROR_CODES = ErrorCodes(
    rate_limited=frozenset({"40000029"}),
    auth=frozenset({"10000001", "10000030"}),
    retryable=frozenset({"30000001"}),
)
"""Control Center's own codes by what the caller can do."""

_PAST_END = "10000007"
_TOO_OLD = "10000045"
_NO_ROLE = "10000030"
_UNKNOWN_CYCLE = "10000032"
_UNKNOWN_CLOCK = timedelta(minutes=1)

_DEVICE_FIELDS = {
    "iccid": "iccid",
    "status": "status",
    "rate_plan": "ratePlan",
    "communication_plan": "communicationPlan",
}


def control_center_capabilities(
    *,
    integration: str = "Jasper",
    page_size: int = 50,
    requests_per_second: float | None = 5.0,
    usage_access: UsageAccess = UsageAccess.BY_RATE_PLAN,
) -> CarrierCapabilities:
    """Return what a Control Center account allows.

    Parameters
    ----------
    page_size
        50 is the platform's largest; more only for a simulator.
    requests_per_second
        Of the whole account; None: unlimited, only for a simulator.
    usage_access
        Accounts of the smallest product level lack usage by rate plan.
    """
    return CarrierCapabilities(
        integration=integration,
        page_size=page_size,
        paging=Paging.PAGE_NUMBER,
        requests_per_second=requests_per_second,
        max_in_flight=None if requests_per_second is None else 1,
        plan_change=PlanChange.SYNCHRONOUS,
        future_dated_days=180,
        changes_per_cycle=None,
        change_cutoff=timedelta(0),
        usage_access=usage_access,
        sim_usage_tells_cycle=False,
        list_window=timedelta(days=364),
    )


def open_control_center(
    base_url: str,
    credentials: Credentials,
    *,
    capabilities: CarrierCapabilities | None = None,
    timeout_s: float = 30.0,
    retry: RetryPolicy | None = None,
    limiter: Limiter | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
) -> ControlCenterClient:
    """Open a client of one account; close it, or use it as a context manager.

    Parameters
    ----------
    limiter
        Keeps the account's rate; None: the one that all clients of this process share.
    clock
        Tells the time, aware: from it windows of modification times are counted back.

    Raises
    ------
    InputError
        If credentials may not be sent to the address.
    """
    capabilities = capabilities or control_center_capabilities()
    rate = capabilities.requests_per_second
    http = CarrierHttp(
        base_url,
        httpx.BasicAuth(
            credentials.username.get_secret_value(), credentials.api_key.get_secret_value()
        ),
        limiter=limiter or limiter_for(account_name(base_url, credentials), rate),
        codes=ERROR_CODES,
        retry=retry,
        timeout_s=timeout_s,
    )
    return ControlCenterClient(http, capabilities, clock=clock)


class ControlCenterClient(HttpAccountClient):
    """A :class:`core.carriers.base.CarrierClient` for Control Center."""

    def __init__(
        self,
        http: CarrierHttp,
        capabilities: CarrierCapabilities,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    ) -> None:
        super().__init__(http, capabilities, clock=clock)
        self._plan_usage = PlanUsage(
            read_page=self._usage_page,
            read_plans=self.plan_offers,
            page_size=capabilities.page_size,
            notes=self._notes,
        )

    def device_pages(self, scan: ListScan) -> Iterator[DevicePage]:
        """List SIMs so that each is seen, also while others are being modified (C2)."""
        return scan_pages(
            self._listed,
            scan,
            page_size=self._capabilities.page_size,
            window=self._capabilities.list_window,
            now=self._clock(),
            too_old=_TOO_OLD,
        )

    def device_details(self, iccid: str) -> DeviceDetails:
        """Read one SIM.

        Raises
        ------
        RejectedByCarrierError
            If the carrier knows no such SIM.
        CarrierProtocolError
            If a date is none.
        """
        path = f"{API_ROOT}/devices/{quote(iccid, safe='')}"
        content = self._http.get(path).content
        try:
            activated_at = parse_carrier_time(content.get("dateActivated"))
            updated_at = parse_carrier_time(content.get("dateUpdated"))
        except ValueError as error:
            msg = f"GET {path}: dateActivated or dateUpdated: {error}"
            raise CarrierProtocolError(msg) from None
        return DeviceDetails(
            iccid=text(content.get("iccid")) or iccid,
            status=text(content.get("status")),
            rate_plan=text(content.get("ratePlan")),
            communication_plan=text(content.get("communicationPlan")),
            activated_at=activated_at,
            updated_at=updated_at,
        )

    def usage_pages(
        self,
        rate_plan: str,
        cycle_start: date,
        *,
        max_pages: int = MIN_PAGE_LIMIT,
        first_page: int = 1,
    ) -> Iterator[UsagePage]:
        """Read the usage that SIMs had on a rate plan in a cycle, forward until ``lastPage``.

        Usage on all versions of the plan, each as a zone of its own: see
        :class:`core.carriers.plan_usage.PlanUsage`.

        Raises
        ------
        RejectedByCarrierError
            If the plan is unknown, or the account may not read usage by rate plan.
        CarrierProtocolError
            If the list does not end within ``max_pages``, or never as pages keep coming twice or empty.
        """
        return self._plan_usage.pages(
            rate_plan, cycle_start, max_pages=max_pages, first_page=first_page
        )

    def sim_usage(self, iccid: str, *, cycle_start: date | None = None) -> UsagePage:  # noqa: ARG002
        """Read the current cycle's usage of one SIM: a page of one row; no other cycle is told."""
        content = self._http.get(f"{API_ROOT}/devices/{quote(iccid, safe='')}/ctdUsages").content
        sms, voice = (
            told_count(content.get("ctdSMSUsage")),
            told_count(content.get("ctdVoiceUsage")),
        )
        numbers = usage_numbers(content.get("ctdDataUsage"), sms, voice)
        row = (text(content.get("iccid")) or iccid, "", *numbers)
        return UsagePage(number=1, rows=frame([row], USAGE_PAGE_SCHEMA), raw=(content,))

    def rate_plans(self, *, max_pages: int = RATE_PLAN_PAGE_LIMIT) -> pl.DataFrame:
        """List the account's rate plans, ``RATE_PLAN_SCHEMA``, forward until ``lastPage``.

        Raises
        ------
        CarrierProtocolError
            If the list does not end within ``max_pages``, or never as pages keep coming twice or empty.
        """
        pages = forward_pages(
            self._rate_plan_page, max_pages=max_pages, what="the list of rate plans"
        )
        rows = pl.concat([frame([], RATE_PLAN_SCHEMA), *(page.rows for page in pages)])
        return rows.unique("code", keep="last", maintain_order=True)

    def plan_offers(self, *, max_pages: int = RATE_PLAN_PAGE_LIMIT) -> Iterator[dict[str, Any]]:
        """List the account's rate plans as the carrier sends them, with prices; one may come twice.

        :mod:`core.carriers.plan_offers` reads them.

        Raises
        ------
        CarrierProtocolError
            As :meth:`rate_plans`.
        """
        pages = forward_pages(
            self._rate_plan_page, max_pages=max_pages, what="the list of rate plans"
        )
        for page in pages:
            yield from (plan for plan in page.raw if isinstance(plan, dict))

    def change_rate_plan(
        self, iccid: str, rate_plan: str, *, effective: date | None = None
    ) -> ChangeReceipt:
        """Ask for one plan change; sent once, never repeated on doubt (C3)."""
        body: dict[str, object] = {"ratePlan": rate_plan}
        if effective is not None:
            body["effectiveDate"] = f"{effective.isoformat()}Z"
        reply = self._http.put(f"{API_ROOT}/devices/{quote(iccid, safe='')}", body)
        is_pending = reply.status == 202
        return ChangeReceipt(
            outcome=ChangeOutcome.PENDING if is_pending else ChangeOutcome.ACCEPTED
        )

    def poll_change(self, token: str) -> ChangeOutcome:
        """Control Center names no pending change: reading the SIM back tells what became of it."""
        msg = f"Control Center gives plan changes no number such as {token!r}: read the SIM back"
        raise CarrierProtocolError(msg)

    def check(self) -> None:
        """Make one harmless call, to see that address and credentials are right.

        Raises
        ------
        CarrierError
            By what is wrong.
        """
        self._http.get(f"{API_ROOT}/echo/carrier-opt")

    def billing_cycle(self, iccid: str) -> CarrierCycle | None:
        """Read the account's current billing cycle from one SIM's usage by zone.

        Boundaries are midnights of the operator's zone, told in UTC; smallest product levels lack
        the resource.

        Returns
        -------
        CarrierCycle or None
            None where the account may not read it.

        Raises
        ------
        CarrierProtocolError
            If a date is none.
        """
        path = f"{API_ROOT}/devices/{quote(iccid, safe='')}/usageInZone"
        try:
            with _refusal_of_a_role():
                content = self._http.get(path).content
        except RejectedByCarrierError:
            return None
        try:
            start = parse_carrier_time(content.get("cycleStartDate"))
            end = parse_carrier_time(content.get("cycleEndDate"))
        except ValueError as error:
            msg = f"GET {path}: cycleStartDate or cycleEndDate: {error}"
            raise CarrierProtocolError(msg) from None
        return CarrierCycle(start=start, end=end) if start and end else None

    def _listed(self, since: datetime, till: datetime | None, number: int) -> ListedPage | None:
        params = {"modifiedSince": _wire_time(since)}
        if till is not None:
            params["modifiedTill"] = _wire_time(till)
        started = time.monotonic()
        reply = self._page("/devices", params, number)
        elapsed = timedelta(seconds=time.monotonic() - started)
        if reply is None:
            return None
        devices = objects(reply.content, "devices", f"GET /devices, page {number}")
        columns = {
            name: [text(device.get(field)) for device in devices]
            for name, field in _DEVICE_FIELDS.items()
        }
        return ListedPage(
            number=number,
            rows=frame_of_columns(columns, DEVICE_PAGE_SCHEMA),
            raw=devices,
            is_last=flag(reply.content.get("lastPage")),
            asked_at=(reply.served_at or self._clock() - _UNKNOWN_CLOCK) - elapsed,
        )

    def _usage_page(self, params: Mapping[str, str], number: int) -> JsonReply | None:
        with _refusal_of_a_role():
            try:
                return self._page("/usages", params, number)
            except RejectedByCarrierError as error:
                if error.code != _UNKNOWN_CYCLE:
                    raise
                raise UnknownCycleError(str(error), code=error.code) from None

    def _rate_plan_page(self, number: int) -> ForwardPage | None:
        reply = self._page("/rateplans", {}, number)
        if reply is None:
            return None
        plans = objects(reply.content, "ratePlans", f"GET /rateplans, page {number}")
        rows = [tuple(text(plan.get(key)) for key in ("name", "type", "version")) for plan in plans]
        is_last = flag(reply.content.get("lastPage"))
        listed = frame(rows, RATE_PLAN_SCHEMA)
        return ForwardPage(
            number=number,
            rows=listed,
            raw=plans,
            keys=("code", "version"),
            is_last=is_last,
            is_full=listed.height >= self._capabilities.page_size,
        )

    def _page(self, resource: str, params: Mapping[str, str], number: int) -> JsonReply | None:
        """Read one page; None where the carrier says that there is no such page."""
        paging = {"pageSize": self._capabilities.page_size, "pageNumber": number}
        try:
            reply = self._http.get(f"{API_ROOT}{resource}", {**params, **paging})
        except RejectedByCarrierError as error:
            if error.code == _PAST_END and number > 1:
                return None
            raise
        told = reply.content.get("pageNumber")
        if isinstance(told, int) and told != number:
            msg = f"GET {resource}: asked for page {number}, the carrier answered page {told}"
            raise CarrierProtocolError(msg)
        return reply


@contextmanager
def _refusal_of_a_role() -> Iterator[None]:
    """Take an account's lack of a resource, which small ones and some roles have, for a refused call."""
    try:
        yield
    except CarrierAuthError as error:
        if error.code != _NO_ROLE:
            raise
        raise RejectedByCarrierError(str(error), code=error.code) from None


def _wire_time(moment: datetime) -> str:
    """Write a time as the list call wants it, whole seconds rounded down."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}+00:00"
