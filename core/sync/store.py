"""Where a sync puts what it read: staging per run, published as one whole (C5).

The sync knows the database only through :class:`DeviceStore`. Whatever is staged belongs to a run
and is invisible to everybody else until :meth:`DeviceStore.publish`; :meth:`DeviceStore.fail`
leaves the device tables as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, Protocol

import polars as pl

from core.sync.progress import SyncProgress

DEVICE_STAGE_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "status": pl.String(),
    "rate_plan": pl.String(),
    "communication_plan": pl.String(),
    "activated_date": pl.Date(),  # null: not told by the list
    "asks_activation": pl.Boolean(),  # whether its activation date is needed and not told
    "position": pl.Int64(),  # order of modification within the run; the largest of a SIM wins
}
"""Columns of :meth:`DeviceStore.stage_devices`."""

USAGE_STAGE_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "rate_plan": pl.String(),  # the plan it was used on; "": all of the cycle, whatever the plan
    "zone": pl.String(),
    "usage_bytes": pl.Int64(),  # or UNREADABLE
    "sms_count": pl.Int64(),
    "voice_seconds": pl.Int64(),
}
"""Columns of :meth:`DeviceStore.stage_usage`."""

UNREADABLE = -1
"""Staged bytes of a row that cannot be read: what else its SIM used in the period is a part only."""

ACTIVATION_STAGE_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "activated_date": pl.Date(),
}
"""Columns of :meth:`DeviceStore.stage_activation`."""

REJECT_SCHEMA: dict[str, pl.DataType] = {
    "source": pl.String(),  # devices | usage | flag (unusual usage; the reason says whether it was taken over)
    "page": pl.Int64(),  # page number of the carrier, from 1
    "row": pl.Int64(),  # row within the page, from 1
    "column": pl.String(),
    "value": pl.String(),
    "reason": pl.String(),  # missing_value, bad_iccid, bad_check_digit, out_of_range, ...
    "raw": pl.String(),  # the row as the carrier sent it, JSON
    "iccid": pl.String(),  # the SIM; null where the row has no good ICCID
}
"""Columns of :meth:`DeviceStore.add_rejects`."""


USAGE_SUM_SCHEMA: dict[str, pl.DataType] = {
    "period_id": pl.Int64(),
    "match_key": pl.String(),
    "iccid": pl.String(),
    "usage_bytes": pl.Int64(),
    "sms_count": pl.Int64(),
    "voice_seconds": pl.Int64(),
    "known_bytes": pl.Int64(),  # of the same period, before this run; null: none known
    "before_bytes": pl.Int64(),  # of the period before; null: none known
    "problem": pl.String(),  # one of USAGE_PROBLEMS
}
"""Columns of :meth:`DeviceStore.unusual_usage`."""

USAGE_PROBLEMS = ("unreadable", "impossible", "fell", "spike")
"""What is wrong with a SIM's staged usage: a row was rejected, the sum is beyond what a SIM can use, it is
below what was known of the period, or far above that of the period before."""


OnProgress = Callable[[str, int], None]
"""Is told what is being read, as "SIMs listed", and how much of it so far; the number never falls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A billing period and the day it begins."""

    id: int
    start: date


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """What a run has staged: good SIMs, pages, rejects by reason.

    Rows that are flagged and not rejected are in ``flags``; ``known_devices`` are the provider's SIMs
    before the publish.
    """

    devices: int
    pages: int
    rejects: dict[str, int]
    flags: dict[str, int]
    known_devices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishCounts:
    """What one publish changed.

    Attributes
    ----------
    devices
        SIMs written, each once.
    duplicates
        Staged device rows that a later row of the same SIM replaced.
    usage_rows
        SIMs whose usage of the period was written.
    removed
        SIMs marked as gone because a full run did not see them.
    kept
        SIMs that were known before and whose rows were rejected in a full run: the carrier has them,
        so that they keep what was known of them.
    """

    devices: int
    duplicates: int
    usage_rows: int
    removed: int
    kept: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRun:
    """A complete sync of a provider.

    Attributes
    ----------
    listed_from
        When its list was begun, on the carrier's clock; what was modified since then is for the
        next incremental run. None where the carrier's lists tell no modification.
    device_count
        SIMs that it published.
    account
        Names the account at the carrier; empty: the run does not tell.
    """

    run_id: int
    kind: str
    started_at: datetime
    listed_from: datetime | None
    device_count: int
    account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHistory:
    """What came before a sync.

    Attributes
    ----------
    last, last_full
        The newest complete runs.
    has_failed_since
        Whether the newest run that has ended failed.
    unfinished_kind
        Kind of a run that nobody has closed; None: there is none.
    """

    last: PublishedRun | None
    last_full: PublishedRun | None
    has_failed_since: bool
    unfinished_kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a run is to do, as far as it decides whether a run that broke off may be continued.

    Attributes
    ----------
    since
        None: a full run; else an incremental one of what was modified since then.
    page_size
        Rows per page: page numbers mean nothing under another one.
    account
        Names the account at the carrier: what was staged of another one is not continued.
    """

    service_provider_id: int
    period_id: int
    since: datetime | None
    page_size: int
    account: str = ""
    session_id: int | None = None

    @property
    def kind(self) -> Literal["full", "incremental"]:
        """Whether the run covers the whole account."""
        return "full" if self.since is None else "incremental"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRun:
    """A process's hold on a run: writes of an attempt that was taken over fail.

    Attributes
    ----------
    attempt
        1, and one more for each process that continued it.
    since
        As in the request; of a continued incremental run that of its beginning.
    staged_rows
        Device rows that are staged already, with repeats.
    progress
        How far it has come.
    """

    id: int
    attempt: int
    since: datetime | None
    staged_rows: int
    progress: SyncProgress


class DeviceStore(Protocol):
    """Staging and publishing of device data; every ``now`` is aware and in UTC.

    A SIM is known by its ICCID in either form, with or without check digit, in what is staged as in
    what is stored (C4, :func:`core.carriers.iccid.match_keys`); the form of the newest device row is
    the one that is kept. What a page holds, its rejects and how far the run has come are written in
    one transaction, so that a process that dies leaves a run that another one can continue (C5).
    """

    def open_run(self, request: RunRequest, *, now: datetime) -> SyncRun:
        """Continue the provider's run that broke off, if it was the same request, or open one.

        Raises
        ------
        SyncBusyError
            If a run of the provider is at work in another process.
        """
        ...

    def stage_devices(
        self, run: SyncRun, rows: pl.DataFrame, rejects: pl.DataFrame, progress: SyncProgress
    ) -> None:
        """Add rows of ``DEVICE_STAGE_SCHEMA``; a SIM may come again with a larger position."""
        ...

    def stage_usage(
        self,
        run: SyncRun,
        rows: pl.DataFrame,
        rejects: pl.DataFrame,
        progress: SyncProgress,
        *,
        period_id: int,
    ) -> None:
        """Add rows of ``USAGE_STAGE_SCHEMA``; the same SIM, rate plan and zone again is replaced."""
        ...

    def stage_activation(self, run: SyncRun, rows: pl.DataFrame, rejects: pl.DataFrame) -> None:
        """Note rows of ``ACTIVATION_STAGE_SCHEMA``; their SIMs are not asked for again."""
        ...

    def save_progress(self, run: SyncRun, progress: SyncProgress) -> None:
        """Note how far the run has come.

        A full run of which the carrier lists a part only sees no SIM as gone.
        """
        ...

    def close_staging(self, run: SyncRun) -> None:
        """Note that everything is staged, so that what is left to do is the publish."""
        ...

    def used_rate_plans(self, run: SyncRun) -> list[str]:
        """Distinct rate plans of the staged SIMs and of those that are published, ascending."""
        ...

    def plans_read(self, run: SyncRun, period_id: int) -> set[str]:
        """Rate plans whose usage in a period the account's last run that read it has read."""
        ...

    def without_whole_usage(
        self, run: SyncRun, iccids: Sequence[str], *, period_id: int
    ) -> list[str]:
        """Leave out the SIMs whose usage of the whole cycle is staged."""
        ...

    def iccids_without_usage(
        self, run: SyncRun, rate_plan: str, *, period_id: int
    ) -> Iterator[list[str]]:
        """SIMs on a rate plan whose whole usage of the cycle is not staged yet, in slices."""
        ...

    def iccids_unlisted(self, run: SyncRun, *, period_id: int) -> Iterator[list[str]]:
        """SIMs with staged usage of a period of which no row was staged, published or rejected."""
        ...

    def stage_unanswered(self, run: SyncRun) -> None:
        """Stage the known SIMs whose activation date the last run asked for in vain, to be asked again."""
        ...

    def iccids_to_ask(self, run: SyncRun) -> Iterator[list[str]]:
        """Staged SIMs whose activation date is needed and was not asked for yet, in slices."""
        ...

    def unusual_usage(self, run: SyncRun) -> Iterator[pl.DataFrame]:
        """Read SIMs with a problem in their staged usage in parts, in the order of ``USAGE_PROBLEMS``.

        Columns ``USAGE_SUM_SCHEMA``. Usage of a SIM's whole cycle counts alone, as at the publish.
        """
        ...

    def drop_period(self, run: SyncRun, period_id: int, progress: SyncProgress) -> None:
        """Take back all the staged usage of one billing period; ``progress`` is that without it."""
        ...

    def drop_usage(self, run: SyncRun, sums: pl.DataFrame, rejects: pl.DataFrame) -> None:
        """Take back the staged usage of SIMs in the period of their sum, and keep the rejects."""
        ...

    def counts(self, run: SyncRun) -> RunCounts:
        """Count what the run has staged so far."""
        ...

    def publish(self, run: SyncRun, *, today: date, now: datetime) -> PublishCounts:
        """Make the run's data the provider's data in one transaction; idempotent.

        Parameters
        ----------
        today
            The account's local day: on it a SIM was used whose usage has grown (U1).
        """
        ...

    def fail(self, run: SyncRun, *, error: str, now: datetime) -> None:
        """Close the run as ``failed`` and clear its staging; the device tables stay untouched."""
        ...

    def history(self, service_provider_id: int) -> RunHistory:
        """Tell what came before: it decides between a full and an incremental run (C6)."""
        ...

    def unsynced_periods(self, service_provider_id: int, before_period_id: int) -> list[Period]:
        """Billing periods before one, newest first, whose usage was not read after their end."""
        ...
