"""Verizon ThingSpace, machine-to-machine REST API version 1 (C1, C2).

Of another shape than Control Center: two tokens instead of a password (see
:mod:`core.carriers.thingspace_auth`), lists by cursor, usage by SIM and day, plan changes whose outcome
is known later. A SIM's communication plan is the first of its device groups: ThingSpace has no such
plans, and groups are what an operator sorts devices with.

Assumed, since only public descriptions of the API were at hand, and to be asked of the carrier: the
device's number stands in ``extendedAttributes`` under ``DeviceId``; lists are in ascending order of it;
``carrierInformations`` has one entry that counts, the first; days of usage begin at midnight UTC, rows
come in order of time, and a SIM without rows used nothing; a request's status is ``Success``, ``Pending``
or ``Failed``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import quote

import polars as pl

from core.carriers.base import (
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
    ScanBookmark,
    UsageAccess,
    UsagePage,
)
from core.carriers.credentials import Credentials, account_name
from core.carriers.http import CarrierHttp, ErrorCodes, RetryPolicy
from core.carriers.http_account import HttpAccountClient
from core.carriers.json_values import (
    count,
    flag,
    frame,
    objects,
    sum_counts,
    text,
)
from core.carriers.limiter import Limiter, limiter_for
from core.carriers.thingspace_auth import ThingSpaceAuth, thingspace_login
from core.carriers.thingspace_rows import (
    API_ROOT,
    by_iccid,
    carrier_time,
    device_rows,
    largest_number,
    month_later,
)
from core.carriers.thingspace_usage import usage_rows
from core.errors import CarrierProtocolError, RejectedByCarrierError

MAX_PAGE_SIZE = 2000
"""Devices that one list call returns at most."""

CHANGES_PER_MONTH = 4
"""Plan changes that an active device may have in a month."""


def thingspace_capabilities(
    *, page_size: int = MAX_PAGE_SIZE, requests_per_second: float | None = 1.0
) -> CarrierCapabilities:
    """Return what a ThingSpace account allows.

    Parameters
    ----------
    requests_per_second
        Agreed by contract; None: unlimited, only for a simulator.
    """
    return CarrierCapabilities(
        integration="thingspace",
        page_size=min(page_size, MAX_PAGE_SIZE),
        paging=Paging.CURSOR,
        requests_per_second=requests_per_second,
        max_in_flight=None if requests_per_second is None else 1,
        plan_change=PlanChange.ASYNCHRONOUS,
        future_dated_days=0,
        changes_per_cycle=CHANGES_PER_MONTH,
        change_cutoff=timedelta(0),
        usage_access=UsageAccess.PER_SIM,
        sim_usage_tells_cycle=True,
        list_window=None,
        lists_modified_since=False,
    )


def open_thingspace(
    base_url: str,
    credentials: Credentials,
    *,
    capabilities: CarrierCapabilities | None = None,
    timeout_s: float = 30.0,
    retry: RetryPolicy | None = None,
    limiter: Limiter | None = None,
) -> ThingSpaceClient:
    """Open a client of one billing account; close it, or use it as a context manager.

    Parameters
    ----------
    credentials
        ``KEY`` and ``SECRET;ACCOUNT;USER;PASSWORD``.
    limiter
        Keeps the account's rate; None: the one that all clients of this process share.

    Raises
    ------
    InputError
        If credentials lack a part or may not be sent to the address.
    """
    capabilities = capabilities or thingspace_capabilities()
    login = thingspace_login(credentials)
    rate = capabilities.requests_per_second
    http = CarrierHttp(
        base_url,
        ThingSpaceAuth(base_url, login),
        limiter=limiter or limiter_for(account_name(base_url, credentials), rate),
        codes=ErrorCodes(),
        retry=retry,
        timeout_s=timeout_s,
    )
    return ThingSpaceClient(http, login.account, capabilities)


class ThingSpaceClient(HttpAccountClient):
    """A :class:`core.carriers.base.CarrierClient` for ThingSpace."""

    def __init__(
        self,
        http: CarrierHttp,
        account: str,
        capabilities: CarrierCapabilities,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    ) -> None:
        super().__init__(http, capabilities, clock=clock)
        self._account = account

    def device_pages(self, scan: ListScan) -> Iterator[DevicePage]:
        """List every SIM once, in ascending order of the devices' numbers (C2).

        Nothing shifts under the reader: the next page begins behind the largest number seen, and a
        device that is added meanwhile has a larger one. Every list is whole, ``scan.since`` and
        ``scan.boundaries`` have no effect, and no page tells when its SIMs were modified. A resumed scan
        goes on behind the bookmark's page. One answer does not end a list: behind a page that may be
        full another one is asked for, and an empty one is asked for twice.

        Raises
        ------
        CarrierProtocolError
            If the list does not end within ``scan.max_pages`` pages, or the numbers do not grow.
        """
        mark = scan.resume or ScanBookmark(asked_at=self._clock())
        has_more: bool | None = None
        most = 0
        for number in range((mark.page or 0) + 1, scan.max_pages + 1):
            what = f"POST /devices/actions/list, page {number}"
            largest = count(mark.cursor)
            if largest is None:
                msg = f"{what}: the bookmark {mark.cursor!r} is none of a ThingSpace list"
                raise CarrierProtocolError(msg)
            asked_at = self._clock()
            was_the_end = has_more is False
            devices, has_more = self._listed(largest, what)
            if not (devices or has_more or was_the_end):
                devices, has_more = self._listed(largest, what)
            if not devices and not has_more:
                return
            mark = replace(
                mark,
                started_at=mark.started_at or asked_at,
                page=number,
                cursor=str(largest_number(devices, largest, what, has_more=has_more)),
            )
            yield DevicePage(
                number=number,
                rows=device_rows(devices),
                raw=devices,
                modified_since=None,
                bookmark=mark,
            )
            most = max(most, len(devices))
            may_be_full = len(devices) >= min(most, self._capabilities.page_size)
            if has_more is False and not (may_be_full and mark.cursor != str(largest)):
                return
        msg = (
            f"the carrier's list of devices goes on after {scan.max_pages:,} pages, far more than the "
            "account's devices need: it may never end; ask the carrier about the list"
        )
        raise CarrierProtocolError(msg)

    def _listed(self, largest: int, what: str) -> tuple[list[dict[str, Any]], bool | None]:
        """Read the devices behind a number, and whether more follow."""
        content = self._http.post(
            f"{API_ROOT}/devices/actions/list",
            {
                "accountName": self._account,
                "largestDeviceIdSeen": largest,
                "maxNumberOfDevices": self._capabilities.page_size,
            },
        ).content
        return objects(content, "devices", what), flag(content.get("hasMoreData"))

    def device_details(self, iccid: str) -> DeviceDetails:
        """Read one SIM; ThingSpace does not tell when it was modified.

        Raises
        ------
        RejectedByCarrierError
            If the carrier knows no such SIM.
        CarrierProtocolError
            If the date of activation is none.
        """
        what = f"POST /devices/actions/list of {iccid}"
        body = {"accountName": self._account, "deviceId": by_iccid(iccid)}
        content = self._http.post(f"{API_ROOT}/devices/actions/list", body).content
        devices = objects(content, "devices", what)
        if not devices:
            raise RejectedByCarrierError(f"{what}: the account has no such device")
        activated_at = carrier_time(
            devices[0].get("lastActivationDate"), f"{what}: lastActivationDate"
        )
        fields = device_rows(devices[:1]).row(0, named=True)
        return DeviceDetails(
            iccid=fields["iccid"] or iccid,
            status=fields["status"],
            rate_plan=fields["rate_plan"],
            communication_plan=fields["communication_plan"],
            activated_at=activated_at,
            updated_at=None,
        )

    def usage_pages(
        self,
        rate_plan: str,
        cycle_start: date,  # noqa: ARG002
        *,
        max_pages: int = MIN_PAGE_LIMIT,  # noqa: ARG002
        first_page: int = 1,  # noqa: ARG002
    ) -> Iterator[UsagePage]:
        """Refuse: ThingSpace tells usage SIM by SIM only.

        Raises
        ------
        RejectedByCarrierError
            Always.
        """
        msg = f"ThingSpace has no list of the usage on rate plan {rate_plan!r}: read SIM by SIM"
        raise RejectedByCarrierError(msg)

    def sim_usage(self, iccid: str, *, cycle_start: date | None = None) -> UsagePage:
        """Add up the days of one SIM's cycle, which lasts one month: a page of one row.

        Parameters
        ----------
        cycle_start
            First day of the cycle; None: of the current month.

        Raises
        ------
        CarrierProtocolError
            If a day is no date, or the list of days does not end or advance.
        """
        first = cycle_start or self._clock().date().replace(day=1)
        start, end = (datetime.combine(day, time(), UTC) for day in (first, month_later(first)))
        data: int | None = 0
        sms: int | None = 0
        days = list(usage_rows(self._http, iccid, start, end))
        for day in days:
            data = sum_counts(data, count(day.get("bytesUsed")))
            sms = sum_counts(sms, count(day.get("smsUsed")))
        rows = frame([(iccid, "", data, sms, 0, True)], USAGE_PAGE_SCHEMA)
        return UsagePage(number=1, rows=rows, raw=({"iccid": iccid, "usageHistory": days},))

    def rate_plans(self, *, max_pages: int = RATE_PLAN_PAGE_LIMIT) -> pl.DataFrame:  # noqa: ARG002
        """List the account's rate plans, ``RATE_PLAN_SCHEMA``: one answer, without type and version."""
        path = f"{API_ROOT}/plans/{quote(self._account, safe='')}"
        content = self._http.get(path, array_key="plans").content
        plans = objects(content, "plans", f"GET {path}")
        rows = frame([(text(plan.get("code")), None, None) for plan in plans], RATE_PLAN_SCHEMA)
        return rows.unique("code", keep="last", maintain_order=True)

    def billing_cycle(self, iccid: str) -> CarrierCycle | None:  # noqa: ARG002
        """Tell nothing: ThingSpace names the cycle's end, but not its beginning."""
        return None

    def check(self) -> None:
        """Read the account, which takes both tokens, to see that address and credentials are right.

        Raises
        ------
        CarrierError
            By what is wrong.
        """
        self._http.get(f"{API_ROOT}/accounts/{quote(self._account, safe='')}")

    def change_rate_plan(
        self, iccid: str, rate_plan: str, *, effective: date | None = None
    ) -> ChangeReceipt:
        """Ask for one plan change; sent once, never repeated on doubt (C3).

        Raises
        ------
        RejectedByCarrierError
            If the carrier refuses it, or a date is given: changes happen at once.
        """
        if effective is not None:
            msg = f"ThingSpace dates no plan changes: {iccid} cannot be changed on {effective}"
            raise RejectedByCarrierError(msg)
        body = {"devices": [{"deviceIds": [by_iccid(iccid)]}], "servicePlan": rate_plan}
        content = self._http.put(f"{API_ROOT}/devices/actions/plan", body).content
        return ChangeReceipt(
            outcome=ChangeOutcome.PENDING, token=text(content.get("requestId")) or None
        )

    def poll_change(self, token: str) -> ChangeOutcome:
        """Ask what became of a pending change.

        Raises
        ------
        RejectedByCarrierError
            If the carrier has refused it by now.
        CarrierProtocolError
            If the state is an unknown one.
        """
        account = quote(self._account, safe="")
        path = f"{API_ROOT}/accounts/{account}/requests/{quote(token, safe='')}/status"
        content = self._http.get(path).content
        status = text(content.get("status")) or ""
        match status.lower():
            case "success":
                return ChangeOutcome.ACCEPTED
            case "pending":
                return ChangeOutcome.PENDING
            case "failed":
                fault = content.get("faultResponse")
                fault = fault if isinstance(fault, dict) else {}
                said = text(fault.get("faultstring")) or "no reason is told"
                msg = f"plan change {token} has failed: {said[:200]}"
                raise RejectedByCarrierError(msg, code=text(fault.get("faultcode")))
            case _:
                msg = f"GET {path}: the state {status[:40]!r} is none of Success, Pending, Failed"
                raise CarrierProtocolError(msg)
