"""Checks a run from its files alone: ``certificate.json`` and ``assignments.parquet`` (O3).

The solve units are made again from the rows and the catalogue in the file, and every one goes through
:mod:`core.optimiser.check`; then costs, reasons and next best plans of SIMs and sums are compared,
the least saving and the taxes of the run, and ``summary.json``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from core.billing.bill import bill
from core.billing.limits import check_limits, check_sim_ranges
from core.billing.pools import plan_pools
from core.billing.tariff import Int32Array, build_tariff, day_classes
from core.domain import BillingPolicy
from core.errors import CheckFailedError, InputError
from core.explanations import next_best, reason
from core.group_rows import group_uses
from core.grouping import Grouping, iter_problems, unit_fleets
from core.optimiser.check import check_certificate, derive
from core.optimiser.explain import explain
from core.problem import NO_LIMIT, Problem
from core.reports.certificate_file import pools_of
from core.reports.certificate_reader import CertificateFile, UnitClaim, read_certificates
from core.reports.comparison import same
from core.reports.results import result_paths
from core.reports.verified_rows import check_rows, read_rows
from core.reports.verified_run import check_min_saving, check_taxes
from core.reports.verified_summary import check_summary


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedUnit:
    """A solve unit that passed.

    Attributes
    ----------
    bound_micros
        None where no bound is claimed.
    is_skipped
        Whether all its groups were (V3): its bound is its cost, and proves nothing.
    """

    unit_id: str
    devices: int
    cost_micros: int
    bound_micros: int | None
    is_skipped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRun:
    """A run that passed, its units in the order of their ids; unpriced SIMs are in none (B9)."""

    units: list[VerifiedUnit]
    devices: int
    unpriced: int

    @property
    def bound_micros(self) -> int | None:
        """Sum of the units' bounds; None where one has none, or where all are skipped (O2)."""
        bounds = [unit.bound_micros for unit in self.units if unit.bound_micros is not None]
        is_optimised = any(not unit.is_skipped for unit in self.units)
        return sum(bounds) if is_optimised and len(bounds) == len(self.units) else None


def verify_results(out_dir: Path) -> list[VerifiedUnit]:
    """Check the files of a run, as :func:`verify_run`; give its units."""
    return verify_run(out_dir).units


def verify_run(out_dir: Path) -> VerifiedRun:
    """Check the files of a run.

    Raises
    ------
    InputError
        If a file is missing or cannot be read.
    CheckFailedError
        Naming what does not hold, and both sides.
    """
    paths = result_paths(out_dir)
    if not paths.certificate.exists() and not paths.assignments.exists():
        raise InputError(
            f"{out_dir} holds no results: run carrier-opt optimize --out {out_dir} ... first"
        )
    claimed = read_certificates(paths.certificate)
    rows = read_rows(paths.assignments)
    check_rows(claimed, rows)
    grouping = _grouping(claimed, rows)
    claims = {unit.unit_id: unit for unit in claimed.units}
    verified = [
        _verified(_limited(problem, claims[problem.unit_id]), claims[problem.unit_id], part)
        for problem, part in _units(grouping, rows)
    ]
    check_min_saving(claimed, rows)
    taxes = check_taxes(claimed, rows)
    if paths.summary.exists():
        check_summary(paths.summary, claimed, rows, taxes)
    return VerifiedRun(units=verified, devices=claimed.devices, unpriced=claimed.unpriced)


def _grouping(claimed: CertificateFile, rows: pl.DataFrame) -> Grouping:
    """Make the solve units again; values out of range are refused as in a run."""
    tariff = build_tariff(claimed.rate_plans, claimed.policy)
    fleet = rows.rename({"current_rate_plan": "rate_plan", "locked": "is_locked"})
    check_sim_ranges(fleet)
    _check_active_days(claimed.policy, rows)
    group_number = {group.group_id: k for k, group in enumerate(claimed.groups)}
    priced = fleet.filter(pl.col("unit_id").is_not_null())
    try:
        numbered = priced.with_columns(
            key=pl.col("group_id").replace_strict(group_number, return_dtype=pl.Int32),
            plan=pl.col("rate_plan").replace_strict(tariff.plan_number(), return_dtype=pl.Int32),
        )
    except pl.exceptions.PolarsError as error:
        msg = f"assignments.parquet names a group or plan that certificate.json lacks: {error}"
        raise CheckFailedError(msg) from error
    uses = group_uses(numbered, [group.rate_plans for group in claimed.groups], tariff)
    check_limits(tariff, list(uses.values()))
    grouping = Grouping(
        rate_plans=claimed.rate_plans,
        tariff=tariff,
        policy=claimed.policy,
        fleet=fleet,
        groups=claimed.groups,
        unit_ids=tuple(unit.unit_id for unit in claimed.units),
        plan_pool=plan_pools(claimed.rate_plans, tariff, claimed.policy.pool_scope),
    )
    units = sorted({group.unit_id for group in claimed.groups})
    same("the list of solve units of the groups", units, sorted(grouping.unit_ids))
    same("the list of pools", [list(pool) for pool in claimed.pools], pools_of(grouping))
    _check_groups(grouping, numbered)
    return grouping


def _check_active_days(policy: BillingPolicy, rows: pl.DataFrame) -> None:
    """Compare the days that a SIM is billed for (B2), null without cycle dates."""
    days = pl.Series([None] * rows.height, dtype=pl.Int32)
    if policy.cycle is not None:
        days = pl.Series(day_classes(rows["activated_date"], policy), dtype=pl.Int32)
    wrong = rows["active_days"].ne_missing(days)
    if wrong.any():
        row = wrong.arg_true()[0]
        raise CheckFailedError(
            f"active_days of SIM {rows['iccid'][row]} is {rows['active_days'][row]}, by its date of "
            f"activation {days[row]}"
        )


def _check_groups(grouping: Grouping, rows: pl.DataFrame) -> None:
    """Compare groups and units of the rows with those of the file."""
    found = rows.group_by("group_id", "unit_id").len().sort("group_id", "unit_id").rows()
    expected = sorted((group.group_id, group.unit_id, group.devices) for group in grouping.groups)
    if found != expected:
        wrong = min({*found} ^ {*expected})
        raise CheckFailedError(
            f"groups, units and their numbers of SIMs in assignments.parquet are others than in "
            f"certificate.json, first {wrong[0]} in {wrong[1]}"
        )
    names = {name: g.group_id for g in grouping.groups for name in g.communication_plans}
    lost = rows.filter(
        pl.col("communication_plan")
        .replace_strict(names, default=None)
        .ne_missing(pl.col("group_id"))
    )
    if lost.height:
        raise CheckFailedError(
            f"SIM {lost['iccid'][0]} is in group {lost['group_id'][0]}, and its communication plan "
            f"{lost['communication_plan'][0]!r} is not"
        )


def _units(grouping: Grouping, rows: pl.DataFrame) -> Iterator[tuple[Problem, pl.DataFrame]]:
    """Each unit with its rows."""
    parts = unit_fleets(replace(grouping, fleet=rows))
    for problem, (_, part) in zip(iter_problems(grouping), parts, strict=True):
        yield problem, part


def _limited(problem: Problem, claim: UnitClaim) -> Problem:
    least, most = problem.min_sims.copy(), problem.max_sims.copy()
    number = problem.tariff.plan_number()
    for code, (at_least, at_most) in claim.limits.items():
        least[number[code]] = at_least
        most[number[code]] = NO_LIMIT if at_most is None else at_most
    return replace(
        problem,
        min_sims=least,
        max_sims=most,
        max_changes=claim.max_changes,
        min_saving_per_change_micros=claim.min_saving_per_change_micros,
    )


def _verified(problem: Problem, claim: UnitClaim, rows: pl.DataFrame) -> VerifiedUnit:
    """Check one unit: certificate, costs with and without the changes, costs of its SIMs."""
    number = problem.tariff.plan_number()
    plans = rows["recommended_rate_plan"]
    unknown = plans.filter(~plans.is_in(list(number)))
    if len(unknown):
        raise _failed(problem, f"a SIM has rate plan {unknown[0]!r}, which the catalogue lacks")
    assignment = plans.replace_strict(number, return_dtype=pl.Int32).to_numpy()
    try:
        if claim.certificate is None:
            _require_no_least_saving(problem, assignment)
            cost = _cost_micros(problem, assignment, keeps_limits=True)
        else:
            cost = check_certificate(problem, assignment, claim.certificate).cost_micros
    except CheckFailedError as error:
        if error.row is None:
            raise
        raise CheckFailedError(f"{error} (ICCID {rows['iccid'][error.row]})") from error
    baseline = _cost_micros(problem, problem.current, keeps_limits=False)
    unit = f"the cost of solve unit {problem.unit_id}"
    sums = [int(rows[f"{side}_cost_micros"].sum()) for side in ("recommended", "current")]
    same(f"{unit} in certificate.json (micro-units)", claim.cost_micros, cost)
    same(f"{unit} today in certificate.json (micro-units)", claim.baseline_micros, baseline)
    same(f"{unit} as the sum over its SIMs (micro-units)", sums[0], cost)
    same(f"{unit} today as the sum over its SIMs (micro-units)", sums[1], baseline)
    _check_sims(problem, assignment, rows)
    _check_explanation(problem, assignment, claim, rows)
    bound = None if claim.certificate is None else claim.certificate.bound_micros
    return VerifiedUnit(
        unit_id=problem.unit_id,
        devices=problem.n_sims,
        cost_micros=cost,
        bound_micros=bound,
        is_skipped=all(group.is_fixed for group in problem.groups),
    )


def _require_no_least_saving(problem: Problem, assignment: Int32Array) -> None:
    """Refuse changes under a least saving per change without multipliers to show what they save."""
    if problem.min_saving_per_change_micros and (assignment != problem.current).any():
        raise _failed(
            problem, "SIMs change under a least saving per change, and it has no certificate"
        )


def _cost_micros(problem: Problem, assignment: Int32Array, *, keeps_limits: bool) -> int:
    """Cost of an assignment for which no bound is claimed; today's may break a limit."""
    problem = replace(problem, min_saving_per_change_micros=0)
    n_plans, n_pools = len(problem.tariff.codes), len(problem.pool_block_bytes)
    if not keeps_limits:
        none = np.zeros(n_plans, dtype=np.int64)
        problem = replace(problem, min_sims=none, max_sims=none + NO_LIMIT, max_changes=None)
    return derive(problem, assignment, 0, [0] * n_pools, [0] * n_plans, 0).cost_micros


def _check_sims(problem: Problem, assignment: Int32Array, rows: pl.DataFrame) -> None:
    """Compare every SIM's costs with its share of the bill (B10)."""
    expected = {}
    for prefix, plans in (("current", problem.current), ("recommended", assignment)):
        priced = bill(problem, plans)
        expected[f"{prefix}_rate_micros"] = priced.rate_micros
        expected[f"{prefix}_overage_micros"] = priced.overage_micros
        expected[f"{prefix}_cost_micros"] = priced.objective(problem.charge_type)
    expected["savings_micros"] = (
        expected["current_cost_micros"] - expected["recommended_cost_micros"]
    )
    for name, values in expected.items():
        _same_of_sims(problem, rows, pl.Series(name, values), "by its bill")


def _check_explanation(
    problem: Problem, assignment: Int32Array, claim: UnitClaim, rows: pl.DataFrame
) -> None:
    """Compare every SIM's reason, and its next best plan, which a unit without multipliers has not."""
    fixed = [group.group_id for group in problem.groups if group.is_fixed]
    reasons = rows.select(reason(fixed).alias("reason")).to_series()
    _same_of_sims(problem, rows, reasons, "by its plans and costs")
    explanation = explain(problem, assignment, claim.certificate)
    for column in next_best(problem.tariff.codes, [explanation]):
        _same_of_sims(problem, rows, column, "by the multipliers")


def _same_of_sims(problem: Problem, rows: pl.DataFrame, expected: pl.Series, by: str) -> None:
    """Compare a column with what it has to be."""
    name = expected.name
    wrong = rows[name].ne_missing(expected)
    if wrong.any():
        row = wrong.arg_true()[0]
        raise _failed(
            problem,
            f"{name} of SIM {rows['iccid'][row]} is {rows[name][row]}, {by} {expected[row]}",
        )


def _failed(problem: Problem, what: str) -> CheckFailedError:
    return CheckFailedError(f"solve unit {problem.unit_id} fails its check: {what}")
