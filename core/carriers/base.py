"""What the system needs of a carrier, whoever it is (C1).

A carrier is an adapter that keeps the promises of :class:`CarrierClient`, with a record of what its
API can do. Rows travel as frames, a page at a time; nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Protocol

import polars as pl

DEVICE_PAGE_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "status": pl.String(),  # the carrier's own word
    "rate_plan": pl.String(),
    "communication_plan": pl.String(),
}
"""Columns of a device page, as the carrier sent them: anything may be null or empty."""

USAGE_PAGE_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "zone": pl.String(),  # of at most 128 UTF-16 units
    "usage_bytes": pl.Int64(),
    "sms_count": pl.Int64(),
    "voice_seconds": pl.Int64(),
    "is_told": pl.Boolean(),  # false: the row has no usage of any kind, which is not 0 (U1)
}
"""Columns of a usage page; a SIM has one row per zone, and null where a number was unreadable."""

RATE_PLAN_SCHEMA: dict[str, pl.DataType] = {
    "code": pl.String(),
    "plan_type": pl.String(),
    "version": pl.String(),
}
"""Columns of the carrier's list of rate plans."""


MIN_PAGE_LIMIT = 200_000
"""Pages per list that are always read before the carrier is taken to never end (C2)."""

RATE_PLAN_PAGE_LIMIT = 1_000
"""The same for the list of rate plans, of which an account has some hundred."""


class Paging(StrEnum):
    """How lists are read."""

    PAGE_NUMBER = "page_number"
    CURSOR = "cursor"


class PlanChange(StrEnum):
    """When the outcome of a plan change is known."""

    SYNCHRONOUS = "synchronous"
    ASYNCHRONOUS = "asynchronous"


class UsageAccess(StrEnum):
    """How usage is read."""

    BY_RATE_PLAN = "by_rate_plan"
    PER_SIM = "per_sim"


class ChangeOutcome(StrEnum):
    """What the carrier said to a plan change; only reading back proves it."""

    ACCEPTED = "accepted"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeReceipt:
    """The carrier's answer to a plan change.

    Attributes
    ----------
    token
        Names a pending change to :meth:`CarrierClient.poll_change`; None where the carrier gives
        none, and then only reading the SIM back tells.
    """

    outcome: ChangeOutcome
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierCycle:
    """A billing cycle as the carrier reports it: first and last moment, aware and in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierCapabilities:
    """What an integration's API allows.

    Attributes
    ----------
    page_size
        Rows per page that are asked for.
    requests_per_second, max_in_flight
        Limits of the whole account; None: none.
    future_dated_days
        How far ahead a plan change may be dated; 0: at once only.
    changes_per_cycle
        Plan changes that one SIM may have in a cycle; None: no limit is known.
    change_cutoff
        How long before the cycle's end the last change must be sent.
    sim_usage_tells_cycle
        Whether one SIM's usage is told of a cycle that is named; else of the one that the carrier has
        now, and nothing in the answer tells which that is.
    list_window
        Longest span of modification times that one list may cover; None: any.
    lists_modified_since
        Whether a list can be of what was modified since a time: else every run is a full one.
    """

    integration: str
    page_size: int
    paging: Paging
    requests_per_second: float | None
    max_in_flight: int | None
    plan_change: PlanChange
    future_dated_days: int
    changes_per_cycle: int | None
    change_cutoff: timedelta
    usage_access: UsageAccess
    sim_usage_tells_cycle: bool
    list_window: timedelta | None
    lists_modified_since: bool = True

    def __post_init__(self) -> None:
        if self.page_size < 1:
            msg = f"a page has at least one row, not {self.page_size}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanBookmark:
    """How far a scan of the device list has come: enough to go on in another process (C2).

    Attributes
    ----------
    asked_at
        When the scan was begun, on this machine's clock; it fixes the windows.
    started_at
        When its first page was asked for, on the carrier's clock; None: no page yet. What was
        modified since then is listed again at the end, and by the next incremental run.
    window
        Number of the window of modification times that is being read, from 0; their count: the
        windows are done.
    page
        The page that was handed out last; the scan goes on with it, read once more. None: the
        window's end is still to be found. With a cursor: the running number of the page.
    low, high
        While it is: a page before that end, and one behind it, None: none is known.
    cursor
        Where a list that pages by cursor goes on; None elsewhere.
    unlisted_before
        The carrier refused to list what was modified before this time; None: it told everything.
    """

    asked_at: datetime
    started_at: datetime | None = None
    window: int = 0
    page: int | None = None
    low: int = 1
    high: int | None = None
    cursor: str | None = None
    unlisted_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DevicePage:
    """Rows of one answer to a list call.

    Attributes
    ----------
    number
        The carrier's page number, or a running number, from 1.
    rows
        ``DEVICE_PAGE_SCHEMA``; none where there is but a new bookmark to keep.
    raw
        The same rows as the carrier sent them, for the record of what was rejected.
    modified_since
        No row of the page was modified before this time; None: the carrier does not say.
    bookmark
        Where the scan goes on once this page is kept.
    sweep
        Of two rows of one SIM the newer one is that of the later sweep, and within a sweep that of
        the larger page number, whatever the order of reading.
    is_repeat
        Whether the sweep is one of what was modified meanwhile, which a continued scan begins anew.
    """

    number: int
    rows: pl.DataFrame
    raw: Sequence[object]
    modified_since: datetime | None
    bookmark: ScanBookmark
    sweep: int = 0
    is_repeat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UsagePage:
    """Rows of one answer to a usage call: ``USAGE_PAGE_SCHEMA``, and as the carrier sent them."""

    number: int
    rows: pl.DataFrame
    raw: Sequence[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceDetails:
    """One SIM in detail; ``activated_at`` and ``updated_at`` are aware, None where not told."""

    iccid: str
    status: str | None
    rate_plan: str | None
    communication_plan: str | None
    activated_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListScan:
    """What part of the account a list covers.

    Attributes
    ----------
    since
        SIMs modified before are left out; None: the whole account.
    boundaries
        Times that no page may reach across, so that ``modified_since`` tells on which side it is.
    max_pages
        Pages per list after which the carrier is taken to never end (C2).
    resume
        Go on from here; the other fields must be those of the scan that the bookmark is of.
    """

    since: datetime | None = None
    boundaries: tuple[datetime, ...] = ()
    max_pages: int = MIN_PAGE_LIMIT
    resume: ScanBookmark | None = None


class CarrierClient(Protocol):
    """One account of one carrier. Every method raises only :class:`core.errors.CarrierError`."""

    @property
    def capabilities(self) -> CarrierCapabilities:
        """What the API allows."""
        ...

    @property
    def calls(self) -> int:
        """Calls made so far, tries included."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What could not be read though nothing failed, a sentence each, for the run's warnings."""
        ...

    def device_pages(self, scan: ListScan) -> Iterator[DevicePage]:
        """List SIMs so that each is seen, also while others are being modified (C2).

        A SIM may come more than once: ``sweep`` and ``number`` of the pages tell what is newer.
        """
        ...

    def device_details(self, iccid: str) -> DeviceDetails:
        """Read one SIM."""
        ...

    def usage_pages(
        self,
        rate_plan: str,
        cycle_start: date,
        *,
        max_pages: int = MIN_PAGE_LIMIT,
        first_page: int = 1,
    ) -> Iterator[UsagePage]:
        """Read the usage that SIMs had on a rate plan in a cycle; ``max_pages`` as in a scan.

        A row may come more than once; rows with the same ICCID and zone are the same row.
        """
        ...

    def sim_usage(self, iccid: str, *, cycle_start: date | None = None) -> UsagePage:
        """Read one SIM's usage in a cycle: a page of one row.

        Without ``cycle_start``, and where the carrier tells the current cycle only: of that one.
        """
        ...

    def rate_plans(self, *, max_pages: int = RATE_PLAN_PAGE_LIMIT) -> pl.DataFrame:
        """List the account's rate plans, ``RATE_PLAN_SCHEMA``; ``max_pages`` as in a scan."""
        ...

    def billing_cycle(self, iccid: str) -> CarrierCycle | None:
        """Read the current billing cycle as the carrier keeps it; None where it does not tell."""
        ...

    def check(self) -> None:
        """Make one harmless call, to see that address and credentials are right."""
        ...

    def change_rate_plan(
        self, iccid: str, rate_plan: str, *, effective: date | None = None
    ) -> ChangeReceipt:
        """Ask for one plan change; sent once, never repeated on doubt (C3)."""
        ...

    def poll_change(self, token: str) -> ChangeOutcome:
        """Ask what became of a pending change.

        Raises
        ------
        RejectedByCarrierError
            If the carrier has refused it by now.
        """
        ...

    def close(self) -> None:
        """Give back connections."""
        ...
