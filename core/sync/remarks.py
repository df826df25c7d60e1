"""What a synchronisation warns about beside the rows that it rejects or flags."""

from __future__ import annotations

from collections.abc import Collection

from core.sync.store import DeviceStore, PublishCounts, SyncRun


def before_usage(store: DeviceStore, run: SyncRun, known_rate_plans: Collection[str]) -> list[str]:
    """Warn about what the list of SIMs tells."""
    return [*_unlisted_before(run), *_unknown_plans(store, run, known_rate_plans)]


def after_publish(counts: PublishCounts) -> list[str]:
    """Warn about what was published."""
    warnings = []
    if counts.kept:
        warnings.append(
            f"{counts.kept:,} known SIMs whose rows were rejected keep what was known of them"
        )
    return warnings


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
