"""Where a sync puts what it read: staging per run, published as one whole (C5).

The sync knows the database only through :class:`DeviceStore`. Whatever is staged belongs to a run
and is invisible to everybody else until :meth:`DeviceStore.publish`; :meth:`DeviceStore.fail`
leaves the device tables as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import polars as pl

DEVICE_STAGE_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "status": pl.String(),
    "rate_plan": pl.String(),
    "communication_plan": pl.String(),
    "activated_date": pl.Date(),  # null: not told by the list
    "position": pl.Int64(),  # arrival order within the run; the largest of a SIM wins
}
"""Columns of :meth:`DeviceStore.stage_devices`."""

USAGE_STAGE_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "usage_bytes": pl.Int64(),
    "sms_count": pl.Int64(),
    "voice_seconds": pl.Int64(),
}
"""Columns of :meth:`DeviceStore.stage_usage`."""

ACTIVATION_STAGE_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "activated_date": pl.Date(),
}
"""Columns of :meth:`DeviceStore.stage_activation`."""

REJECT_SCHEMA: dict[str, pl.DataType] = {
    "source": pl.String(),  # devices | usage
    "page": pl.Int64(),  # page number of the carrier, from 1
    "row": pl.Int64(),  # row within the page, from 1
    "column": pl.String(),
    "value": pl.String(),
    "reason": pl.String(),  # missing_value, bad_iccid, bad_check_digit, out_of_range, ...
    "raw": pl.String(),  # the row as the carrier sent it, JSON
}
"""Columns of :meth:`DeviceStore.add_rejects`."""


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
    """

    devices: int
    duplicates: int
    usage_rows: int
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRun:
    """The newest complete sync of a provider."""

    run_id: int
    kind: str
    started_at: datetime
    device_count: int


class DeviceStore(Protocol):
    """Staging and publishing of device data; every ``now`` is aware and in UTC.

    A SIM is known by its ICCID in either form, with or without check digit, in what is staged as in
    what is stored (C4, :func:`core.carriers.iccid.match_keys`); the form of the newest device row is
    the one that is kept.
    """

    def start_run(
        self, *, service_provider_id: int, kind: str, session_id: int | None, now: datetime
    ) -> int:
        """Open a run of kind ``full`` or ``incremental`` and return its id; status ``running``.

        A run of the provider that is still running was broken off: it is failed and its staging
        cleared.
        """
        ...

    def stage_devices(self, run_id: int, frame: pl.DataFrame) -> None:
        """Add rows of ``DEVICE_STAGE_SCHEMA``; a SIM may come again with a larger position."""
        ...

    def stage_usage(self, run_id: int, frame: pl.DataFrame) -> None:
        """Add rows of ``USAGE_STAGE_SCHEMA``: several rows of one SIM add up.

        A SIM that changed its rate plan within the cycle has usage on each of its plans.
        """
        ...

    def stage_activation(self, run_id: int, frame: pl.DataFrame) -> None:
        """Add rows of ``ACTIVATION_STAGE_SCHEMA`` for SIMs that are staged."""
        ...

    def add_rejects(self, run_id: int, frame: pl.DataFrame) -> None:
        """Keep rows of ``REJECT_SCHEMA``; they stay when the run fails."""
        ...

    def staged_rate_plans(self, run_id: int) -> list[str]:
        """Distinct rate plans of the staged SIMs, by the newest row of each, ascending."""
        ...

    def staged_iccids(self, run_id: int, rate_plans: Sequence[str] | None) -> Iterator[list[str]]:
        """Staged SIMs whose newest row has one of these plans (None: all), in slices."""
        ...

    def publish(self, run_id: int, *, period_id: int, now: datetime) -> PublishCounts:
        """Make the run's data the provider's data in one transaction; idempotent."""
        ...

    def fail(self, run_id: int, *, error: str, now: datetime) -> None:
        """Close the run as ``failed`` and clear its staging; the device tables stay untouched."""
        ...

    def last_published(self, service_provider_id: int) -> PublishedRun | None:
        """Return the newest published run, or None before the first."""
        ...
