"""What a synchronisation warns about beside the rows that it rejects or flags."""

from __future__ import annotations

from collections.abc import Collection

from core.sync.store import DeviceStore, PublishCounts, RunCounts, SyncRun
from core.sync.validation import USAGE_FELL, USAGE_UNREADABLE

REMOVED_PERCENT, FALLEN_PERCENT, UNREADABLE_PERCENT, FEW = 10, 5, 5, 10
"""Shares of SIMs that are gone, whose usage fell, or was not to be read, above which it may be a fault.

``FEW`` SIMs never are.
"""


def before_usage(store: DeviceStore, run: SyncRun, known_rate_plans: Collection[str]) -> list[str]:
    """Warn about what the list of SIMs tells."""
    return [*_unlisted_before(run), *_unknown_plans(store, run, known_rate_plans)]


def after_publish(
    counted: RunCounts, counts: PublishCounts, *, accepts_lower_usage: bool
) -> list[str]:
    """Warn about what was published."""
    warnings = [*_removed(counted, counts), *_unreadable(counted, counts)]
    if not accepts_lower_usage:
        warnings += _fallen(counted, counts)
    if counts.kept:
        warnings.append(
            f"{counts.kept:,} known SIMs whose rows were rejected keep what was known of them"
        )
    return warnings


def _removed(counted: RunCounts, counts: PublishCounts) -> list[str]:
    if not _is_many(counts.removed, counted.known_devices, REMOVED_PERCENT):
        return []
    warning = (
        f"{counts.removed:,} of {counted.known_devices:,} known SIMs were not listed and are marked as "
        "gone: check the account at the carrier; SIMs that the next full synchronisation lists "
        "(`carrier-opt sync --full`) are taken back"
    )
    return [warning]


def _fallen(counted: RunCounts, counts: PublishCounts) -> list[str]:
    n_fell = counted.flags.get(USAGE_FELL, 0)
    n_told = counts.usage_rows + n_fell
    if not _is_many(n_fell, n_told, FALLEN_PERCENT):
        return []
    warning = (
        f"the carrier tells less usage than before of {n_fell:,} of {n_told:,} SIMs, which keep the "
        "larger figures: check some of them at the carrier, and if its figures are right, take them "
        "with `carrier-opt sync --accept-lower-usage`"
    )
    return [warning]


def _unreadable(counted: RunCounts, counts: PublishCounts) -> list[str]:
    n_unreadable = counted.flags.get(USAGE_UNREADABLE, 0)
    n_told = counts.usage_rows + n_unreadable
    if not _is_many(n_unreadable, n_told, UNREADABLE_PERCENT):
        return []
    warning = (
        f"usage of {n_unreadable:,} of {n_told:,} SIMs could not be read and stays as it was known: the "
        "rejected rows of the run have what the carrier sent"
    )
    return [warning]


def _is_many(number: int, total: int, percent: int) -> bool:
    return number > FEW and number * 100 > total * percent


def _unlisted_before(run: SyncRun) -> list[str]:
    if run.progress.unlisted_before is None:
        return []
    warning = (
        f"the carrier lists only SIMs modified since {run.progress.unlisted_before:%Y-%m-%d}: SIMs "
        "modified before stay as they were known and unknown ones are found by their usage only; "
        "ask the carrier to list the whole account"
    )
    return [warning]


def _unknown_plans(
    store: DeviceStore, run: SyncRun, known_rate_plans: Collection[str]
) -> list[str]:
    if not known_rate_plans:
        return []
    unknown = [p for p in store.used_rate_plans(run) if p not in known_rate_plans]
    if not unknown:
        return []
    listed = ", ".join(unknown[:10]) + (" ..." if len(unknown) > 10 else "")
    warning = (
        f"rate plans that are not in the catalogue leave their SIMs unpriced: {listed}; "
        "add them with `carrier-opt plans import`"
    )
    return [warning]
