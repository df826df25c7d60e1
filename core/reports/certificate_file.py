"""``certificate.json``: with ``assignments.parquet`` all that proves a run (O3).

The same run gives the same bytes: keys are sorted, and no time is told. Prices, volumes and counts are
JSON integers; costs, bounds and multipliers may exceed 2**53 and are decimal strings.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from core.domain import BillingPolicy
from core.grouping import Grouping, iter_problems
from core.optimiser.certificate import Certificate
from core.outcome import ASSIGNMENT_SCHEMA, Outcome
from core.problem import INDIVIDUAL, NO_LIMIT, Problem
from core.reports.certificate_reader import FORMAT

_HASH_FORMAT = b"carrier-opt fleet input 2\n"

_RESULT_COLUMNS = ("recommended_rate_plan", "reason", "next_best_rate_plan")
"""Columns that the run finds, beside all amounts."""

INPUT_COLUMNS = tuple(
    name
    for name in ASSIGNMENT_SCHEMA
    if not name.endswith("_micros") and name not in _RESULT_COLUMNS
)
"""Columns of ``assignments.parquet`` that are input of the run, or follow from it alone."""


def write_certificates(path: Path, outcome: Outcome, grouping: Grouping) -> None:
    """Write the file of an outcome.

    Parameters
    ----------
    grouping
        That of the outcome.
    """
    text = json.dumps(_document(outcome, grouping), sort_keys=True, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def fleet_hash(assignments: pl.DataFrame) -> str:
    """SHA-256 of the input columns of all SIMs, 64 hexadecimal digits.

    Hashed are, column after column in the order of ``INPUT_COLUMNS``: a line with its name and the
    number of rows; one byte a row that says whether there is a value; and the values, missing ones
    as 0 or empty. Texts are their lengths in bytes as 64-bit integers, then all texts in UTF-8;
    dates are days since 1970; all numbers are little-endian with 64 bits.

    Parameters
    ----------
    assignments
        Columns of ``ASSIGNMENT_SCHEMA``, sorted by ICCID.
    """
    digest = hashlib.sha256(_HASH_FORMAT)
    for name in INPUT_COLUMNS:
        column = assignments[name]
        digest.update(f"{name} {len(column)}\n".encode())
        digest.update(column.is_not_null().cast(pl.UInt8).to_numpy().tobytes())
        if column.dtype == pl.String:
            texts = column.fill_null("")
            digest.update(texts.str.len_bytes().cast(pl.Int64).to_numpy().astype("<i8").tobytes())
            digest.update("".join(texts.to_list()).encode())
            continue
        numbers = column.to_physical().cast(pl.Int64).fill_null(0)
        digest.update(numbers.to_numpy().astype("<i8").tobytes())
    return digest.hexdigest()


def _document(outcome: Outcome, grouping: Grouping) -> dict[str, Any]:
    problems = {problem.unit_id: problem for problem in iter_problems(grouping)}
    return {
        "format": FORMAT,
        "product_version": version("carrier-opt"),
        "policy": _policy(grouping.policy),
        "rate_plans": [
            asdict(plan) for plan in sorted(grouping.rate_plans, key=lambda plan: plan.code)
        ],
        "pools": pools_of(grouping),
        "min_saving_micros": grouping.constraints.min_saving_micros,
        "taxes": None if outcome.taxes is None else [asdict(each.tax) for each in outcome.taxes],
        "groups": [asdict(group) for group in grouping.groups],
        "units": [
            {
                "unit_id": unit.unit_id,
                "baseline_micros": str(unit.baseline.objective_micros),
                "cost_micros": str(unit.optimized.objective_micros),
                "constraints": _constraints(problems[unit.unit_id]),
                "certificate": _certificate(unit.certificate, grouping),
            }
            for unit in outcome.units
        ],
        "devices": outcome.devices,
        "unpriced": outcome.unpriced,
        "input_hash": fleet_hash(outcome.assignments),
    }


def pools_of(grouping: Grouping) -> list[list[str]]:
    """Plan codes of each pool, in the order of the pools' numbers."""
    pools: dict[int, list[str]] = {}
    for code, pool in zip(grouping.tariff.codes, grouping.plan_pool.tolist(), strict=True):
        if pool != INDIVIDUAL:
            pools.setdefault(pool, []).append(code)
    return [pools[number] for number in sorted(pools)]


def _policy(policy: BillingPolicy) -> dict[str, Any]:
    cycle = policy.cycle
    return {
        "cycle_start": cycle.start_date.isoformat() if cycle else None,
        "cycle_end": cycle.end_date.isoformat() if cycle else None,
        "pool_scope": policy.pool_scope.value,
        "charge_type": policy.charge_type.value,
        "proration_basis": policy.proration_basis.value,
        "uses_proration": policy.uses_proration,
        "pooling_enabled": policy.pooling_enabled,
    }


def _constraints(problem: Problem) -> dict[str, Any]:
    limits = zip(
        problem.tariff.codes, problem.min_sims.tolist(), problem.max_sims.tolist(), strict=True
    )
    return {
        "plans": {
            code: {"min": least, "max": None if most == NO_LIMIT else most}
            for code, least, most in limits
            if (least, most) != (0, NO_LIMIT)
        },
        "max_changes": problem.max_changes,
        "min_saving_per_change_micros": problem.min_saving_per_change_micros,
    }


def _certificate(certificate: Certificate | None, grouping: Grouping) -> dict[str, Any] | None:
    if certificate is None:
        return None
    plans = zip(grouping.tariff.codes, certificate.plan_multipliers, strict=True)
    return {
        "scale_bits": certificate.scale_bits,
        "pool_multipliers": [str(value) for value in certificate.pool_multipliers],
        "plan_multipliers": {code: str(value) for code, value in plans if value},
        "change_multiplier": str(certificate.change_multiplier),
        "bound_micros": str(certificate.bound_micros),
        "cost_micros": str(certificate.cost_micros),
        "input_hash": certificate.input_hash,
    }
