"""``carrier-opt optimize``: from files to files, without database or Prefect."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.paths import path_option
from core.domain import (
    WALK_STRATEGIES,
    BillingCycle,
    BillingPolicy,
    ChargeType,
    PoolScope,
    ProrationBasis,
    Strategy,
    UsageBasis,
)
from core.errors import DataError, InfeasibleError, InputError, NotAvailableError
from core.reports.device_sheets import DeviceSheets

if TYPE_CHECKING:
    from core.files.inputs import Inputs
    from core.optimiser.result import SolveParams
    from core.outcome import Outcome

MAX_SEQUENCES = 64
"""Candidate sequences per group in file use (O5)."""

SIMS_PER_WORKER = 500_000
"""SIMs that make one more process worth its start."""


class FilePortal(StrEnum):
    """Kinds of optimisation in file use (K1)."""

    M2M = "m2m"
    MOBILITY = "mobility"


def optimize(
    *,
    devices: Annotated[Path, path_option("Devices: CSV, Parquet or xlsx.")],
    rate_plans: Annotated[Path, path_option("Rate plans: CSV, Parquet or xlsx.")],
    out: Annotated[Path, path_option("Folder for the results; made if missing.")],
    communication_plans: Annotated[
        Path | None,
        path_option(
            "Rate plans per communication plan; if left out, every SIM may have every plan."
        ),
    ] = None,
    taxes: Annotated[
        Path | None,
        path_option("Percentage taxes by jurisdiction of the SIM; without it none are computed."),
    ] = None,
    constraints: Annotated[
        Path | None, path_option("Locked SIMs, limits and least savings: YAML.")
    ] = None,
    cycle_start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day of the billing cycle.")
    ] = None,
    cycle_end: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day of the billing cycle.")
    ] = None,
    pool_scope: Annotated[
        PoolScope, typer.Option(help="Which SIMs on pooled plans share their allowance.")
    ] = PoolScope.PLAN,
    charge_type: Annotated[
        ChargeType, typer.Option(help="Which charges are minimised.")
    ] = ChargeType.RATE_AND_OVERAGE,
    usage_basis: Annotated[
        UsageBasis, typer.Option(help="Usage that counts; projected is not available yet.")
    ] = UsageBasis.ACTUAL,
    portal: Annotated[
        FilePortal, typer.Option(help="Kind of optimisation; mobility is not available yet.")
    ] = FilePortal.M2M,
    proration_basis: Annotated[
        ProrationBasis, typer.Option(help="How prorated plans shrink; thirty needs cycle dates.")
    ] = ProrationBasis.CYCLE,
    mb_bytes: Annotated[int, typer.Option(min=1, max=1 << 30, help="Bytes of one MB.")] = 1 << 20,
    max_rate_plans: Annotated[
        int,
        typer.Option(
            min=1, max=64, help="Rate plans a group may have; groups with more are skipped."
        ),
    ] = 15,
    skip_lower_cost_check: Annotated[
        bool,
        typer.Option(
            "--skip-lower-cost-check", help="Take the best changed assignment even without saving."
        ),
    ] = False,
    device_sheets: Annotated[
        DeviceSheets, typer.Option(help="SIMs in the workbook: auto lists up to 100,000.")
    ] = DeviceSheets.AUTO,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="certified (the default), or a walk of the legacy method to compare with.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=256, help="Processes that optimise; 0 chooses.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of randomised parts.")] = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop without results if any row is rejected.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print summary.json instead of a table.")
    ] = False,
) -> None:
    """Find the cheapest rate plans for a fleet in files, and write a report.

    The results are report.xlsx, assignments.parquet, certificate.json, rejects.csv, summary.json.
    """
    started = time.perf_counter()
    _refuse_unavailable(
        {
            "--usage-basis projected": usage_basis is UsageBasis.PROJECTED,
            "--portal mobility": portal is FilePortal.MOBILITY,
        }
    )
    chosen = _strategy(strategy)
    policy = BillingPolicy(
        cycle=_cycle(cycle_start, cycle_end, proration_basis),
        pool_scope=pool_scope,
        charge_type=charge_type,
        proration_basis=proration_basis,
    )

    from cli.optimize_view import (
        progress_bar,
        show_files,
        show_input_problems,
        show_summary,
        show_warnings,
        skipped_warnings,
        strict_message,
    )
    from core.files.inputs import read_inputs
    from core.files.warnings import combine_warnings
    from core.optimiser.result import SolveParams
    from core.reports.constraint_remarks import constraint_remarks
    from core.reports.meta import ReportMeta
    from core.reports.results import check_out_dir, write_results

    check_out_dir(out, filter(None, [devices, rate_plans, communication_plans, taxes, constraints]))
    with progress_bar("reading"):
        inputs = read_inputs(
            devices, rate_plans, communication_plans,
            taxes=taxes, constraints=constraints, cycle=policy.cycle, mb_bytes=mb_bytes,
        )  # fmt: skip
    if strict and inputs.rejects.height:
        raise InputError(strict_message(inputs.rejects))
    show_input_problems(inputs)
    params = SolveParams(
        strategies=(chosen,) if chosen in WALK_STRATEGIES else None,
        is_certified=chosen not in WALK_STRATEGIES,
        skip_lower_cost_check=skip_lower_cost_check,
        seed=seed,
    )
    outcome = _optimised(inputs, policy, params, max_rate_plans=max_rate_plans, workers=workers)
    skipped = skipped_warnings(outcome, max_rate_plans)
    show_warnings(skipped)
    meta = ReportMeta(
        generated_at=datetime.now(tz=UTC),
        elapsed_seconds=time.perf_counter() - started,
        period=f"{policy.cycle.start_date} to {policy.cycle.end_date}" if policy.cycle else None,
        usage_basis=usage_basis,
        charge_type=charge_type,
        pool_scope=pool_scope,
        cycle=policy.cycle,
        mb_bytes=mb_bytes,
        device_sheets=device_sheets,
        warnings=combine_warnings([skipped, inputs.warnings]),
        notes=inputs.notes,
        remarks=constraint_remarks(outcome, inputs.rate_plans, inputs.constraints),
        walk=chosen if chosen in WALK_STRATEGIES else None,
    )
    with progress_bar("writing"):
        paths = write_results(outcome, inputs.rejects, out, meta=meta)
    if json_output:
        sys.stdout.buffer.write(paths.summary.read_bytes())
        return
    show_summary(outcome, meta.walk)
    show_files(paths)


def _refuse_unavailable(is_asked: dict[str, bool]) -> None:
    for option, asked in is_asked.items():
        if asked:
            raise NotAvailableError(option)


def _strategy(name: str | None) -> Strategy | None:
    if name is None:
        return None
    allowed = [strategy.value for strategy in (Strategy.CERTIFIED, *WALK_STRATEGIES)]
    if name not in allowed:
        raise InputError(f"--strategy {name}: allowed are {', '.join(allowed)}")
    return Strategy(name)


def _cycle(
    start: datetime | None, end: datetime | None, proration_basis: ProrationBasis
) -> BillingCycle | None:
    if start is None and end is None:
        if proration_basis is ProrationBasis.THIRTY:
            raise InputError(
                "--proration-basis thirty needs the billing cycle: add --cycle-start and --cycle-end"
            )
        return None
    if start is None or end is None:
        missing = "--cycle-start" if start is None else "--cycle-end"
        raise InputError(
            f"{missing} is missing: give both dates of the billing cycle, or neither, and every "
            "SIM counts as active for the whole cycle"
        )
    try:
        return BillingCycle(start_date=start.date(), end_date=end.date())
    except ValueError as error:
        raise InputError(f"--cycle-start and --cycle-end: {error}") from error


def _optimised(
    inputs: Inputs,
    policy: BillingPolicy,
    params: SolveParams,
    *,
    max_rate_plans: int,
    workers: int,
) -> Outcome:
    """Optimise; what cannot be priced or kept lies in the files, and so is an error of the input."""
    from cli.optimize_view import progress_bar
    from core.optimisation import optimise_fleet

    chosen = workers or max(1, min(os.cpu_count() or 1, inputs.fleet.height // SIMS_PER_WORKER))
    try:
        with progress_bar("optimising") as on_progress:
            return optimise_fleet(
                inputs.fleet,
                inputs.rate_plans,
                inputs.communication_plans,
                policy,
                params,
                max_rate_plans=max_rate_plans,
                max_sequences=MAX_SEQUENCES,
                workers=chosen,
                constraints=inputs.constraints,
                on_progress=on_progress,
                taxes=inputs.taxes,
            )
    except (DataError, InfeasibleError) as error:
        raise InputError(str(error)) from error
