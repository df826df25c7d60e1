"""Stage FINALISING: winners, totals, reports; or the clean-up of a stopped session (R1, R2)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from core.errors import DataError
from core.files.rejects import REJECT_SCHEMA
from core.outcome import Outcome
from core.reports.meta import ReportMeta
from core.reports.results import write_results
from core.reports.summary import gap_percent, savings_percent
from core.stages.grouping import load_grouping
from core.stages.session import SessionContext
from core.storage.device_store import SqlDeviceStore
from core.storage.instances import end_instances
from core.storage.legacy_ids import RunStatus
from core.storage.outcomes import load_outcome
from core.storage.results import publish
from core.storage.snapshot import load_snapshot
from core.storage.sync_rejects import load_rejects
from core.units import micros_to_text

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalSummary:
    """What a session ended with.

    Attributes
    ----------
    totals
        For AMOP's Completed message (A2).
    error_message
        Names the groups that had to be left out; None if there is none.
    report_dir
        Folder of the report files.
    """

    totals: dict[str, Any]
    error_message: str | None
    report_dir: str


def finalise_session(
    engine: sa.Engine,
    context: SessionContext,
    *,
    report_dir: Path,
    max_rate_plans: int,
    now: datetime,
) -> FinalSummary:
    """Publish the winners, remove what lost, and write the reports; doing it again changes nothing.

    Parameters
    ----------
    max_rate_plans
        As the session was grouped with (V3).

    Raises
    ------
    StorageError
        If a unit has no stored result.
    FencedOffError
        If the session has another owner by now.
    """
    outcome = load_outcome(engine, context.instance_id)
    publish(engine, context.instance_id, outcome, now=now, fence=context.fence)
    skipped = [group.group_id for group in outcome.groups if group.status == "skipped"]
    outcome = _with_grouping(engine, context, outcome, max_rate_plans)
    _write_reports(engine, context, outcome, report_dir, now)
    return FinalSummary(
        totals=_totals(outcome, report_dir),
        error_message=_skipped_message(skipped),
        report_dir=str(report_dir),
    )


def discard_session(engine: sa.Engine, context: SessionContext, *, now: datetime) -> FinalSummary:
    """Mark the instance of a stopped session as ended and remove its unpublished results."""
    end_instances(engine, context.session_id, status=RunStatus.COMPLETE_WITH_ERRORS, now=now)
    return FinalSummary(totals={}, error_message=None, report_dir="")


def _write_reports(
    engine: sa.Engine, context: SessionContext, outcome: Outcome, folder: Path, now: datetime
) -> None:
    _, listed = load_snapshot(engine, context.instance_id)
    meta = ReportMeta(
        generated_at=now,
        elapsed_seconds=(now - context.started_at).total_seconds(),
        provider=context.provider.name,
        period=f"{context.period.start_date} to {context.period.end_date}",
        session_id=str(context.session_id),
        currency=context.provider.currency,
        is_dry_run=context.request.dry_run,
        charge_type=context.request.charge_type,
        pool_scope=context.provider.pool_scope,
        cycle=context.period.cycle,
        mb_bytes=context.provider.mb_bytes,
        listed=listed.select("iccid", "reason"),
    )
    write_results(outcome, _rejects(engine, context), folder, meta=meta)


def _with_grouping(
    engine: sa.Engine, context: SessionContext, outcome: Outcome, max_rate_plans: int
) -> Outcome:
    """Add what ``certificate.json`` needs; a session that is done does not fail for its plans' sake."""
    try:
        grouping = load_grouping(engine, context, max_rate_plans=max_rate_plans)
    except DataError as error:
        LOG.warning("certificate.json is left out: %s", error)
        return outcome
    return replace(outcome, grouping=grouping)


def _rejects(engine: sa.Engine, context: SessionContext) -> pl.DataFrame:
    """Rows that the newest published sync rejected or flagged, in the shape of the reject list."""
    run = SqlDeviceStore(engine).history(context.provider.id).last
    if run is None:
        return pl.DataFrame(schema=REJECT_SCHEMA)
    return (
        load_rejects(engine, run.run_id)
        .with_columns(
            file=pl.when(pl.col("source") == "flag")
            .then(pl.lit("carrier usage, flagged"))
            .otherwise(pl.format("carrier {}, page {}", "source", "page"))
        )
        .select(pl.col(name).cast(dtype) for name, dtype in REJECT_SCHEMA.items())
    )


def _skipped_message(skipped: list[str]) -> str | None:
    if not skipped:
        return None
    return (
        f"{len(skipped)} groups have more rate plans than allowed and keep their plans: "
        f"{', '.join(skipped[:20])}"
    )


def _totals(outcome: Outcome, report_dir: Path) -> dict[str, Any]:
    """Totals of A2: money as decimal strings with six places."""
    baseline, optimized = outcome.baseline.objective_micros, outcome.optimized.objective_micros
    return {
        "devices": outcome.devices,
        "baselineCost": micros_to_text(baseline),
        "optimizedCost": micros_to_text(optimized),
        "savings": micros_to_text(outcome.savings_micros),
        "savingsPercent": savings_percent(baseline, optimized),
        "gapPercent": gap_percent(optimized, outcome.lower_bound_micros),
        "planChanges": outcome.plan_changes,
        "reportUrl": (report_dir.resolve() / "report.xlsx").as_uri(),
    }
