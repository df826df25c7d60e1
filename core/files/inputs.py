"""Reads the files of `carrier-opt optimize` into a fleet, a catalogue and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from core.billing.tariff import pooling_refusal
from core.domain import BillingCycle, CommunicationPlan, Constraints, RatePlan, TaxRate
from core.errors import InputError
from core.files.communication_plans import CommunicationPlanFile, read_communication_plans
from core.files.constraints import locked_warnings, read_constraints
from core.files.devices import Catalogue, read_devices
from core.files.rate_plans import RatePlanFile, read_rate_plans
from core.files.rejects import combine_rejects, reject_lines
from core.files.taxes import jurisdiction_warnings, read_taxes, unused_jurisdiction_note
from core.files.warnings import Warnings, combine_warnings

MAX_TOLD_PROBLEMS = 5
"""Rejects, and warnings, of the plans that are told where they leave no SIM usable."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """Everything that an optimisation reads from files.

    Attributes
    ----------
    fleet
        Columns of :data:`core.fleet.FLEET_SCHEMA`, sorted by ICCID, at least one row.
    rate_plans
        Usable plans, sorted by code, at least one.
    communication_plans
        Sorted by name; None without that file: then every plan is open to every SIM.
    taxes
        Sorted by jurisdiction and name; None without that file: then no tax is computed.
    constraints
        Those of the constraints file; locked SIMs of the devices file are marked in ``fleet``.
    rejects
        Columns of :data:`core.files.rejects.REJECT_SCHEMA`.
    warnings
        Oddities of rows that are used nevertheless.
    notes
        What was ignored and why.
    """

    fleet: pl.DataFrame
    rate_plans: tuple[RatePlan, ...]
    communication_plans: tuple[CommunicationPlan, ...] | None
    rejects: pl.DataFrame
    warnings: Warnings
    notes: tuple[str, ...]
    taxes: tuple[TaxRate, ...] | None = None
    constraints: Constraints = field(default_factory=Constraints)


def read_inputs(
    devices: Path,
    rate_plans: Path,
    communication_plans: Path | None = None,
    constraints: Path | None = None,
    *,
    taxes: Path | None = None,
    cycle: BillingCycle | None,
    mb_bytes: int,
) -> Inputs:
    """Read and validate CSV, Parquet or xlsx files, in any mixture.

    Parameters
    ----------
    taxes
        Percentages by jurisdiction; without it, a note says that jurisdictions are not used.
    constraints
        A YAML file (:func:`core.files.constraints.read_constraints`).
    cycle
        Dates of the billing cycle; None ignores activation dates.
    mb_bytes
        Bytes of one MB (B1), at least 1.

    Raises
    ------
    InputError
        If a file cannot be read, lacks a column, or has no usable row.
    NotAvailableError
        If a column is filled whose meaning is not part of this version.
    """
    plan_file = read_rate_plans(rate_plans, mb_bytes=mb_bytes)
    _require_poolable(rate_plans, plan_file)
    codes = frozenset(plan.code for plan in plan_file.plans)
    asked = read_constraints(constraints, rate_plan_codes=codes) if constraints else Constraints()
    list_file = None
    if communication_plans is not None:
        list_file = read_communication_plans(
            communication_plans, rate_plan_codes=codes, refused_codes=plan_file.refused_codes
        )
    tax_file = read_taxes(taxes) if taxes is not None else None
    catalogue = Catalogue(
        usable_codes=codes,
        refused_codes=plan_file.refused_codes,
        communication_plans=list_file.plans if list_file else None,
        problems=_plan_problems(plan_file, list_file),
    )
    device_file = read_devices(devices, catalogue=catalogue, cycle=cycle, mb_bytes=mb_bytes)
    files = (device_file, plan_file, list_file, tax_file)
    parts = [part for part in files if part is not None]
    jurisdictions = device_file.fleet["jurisdiction"]
    known_taxes = tax_file.taxes if tax_file else None
    untaxed = jurisdiction_warnings(devices.name, jurisdictions, known_taxes)
    unused = unused_jurisdiction_note(devices.name, jurisdictions, known_taxes)
    return Inputs(
        fleet=device_file.fleet,
        rate_plans=plan_file.plans,
        communication_plans=list_file.plans if list_file else None,
        rejects=combine_rejects([part.rejects for part in parts]),
        warnings=combine_warnings(
            [
                *(part.warnings for part in (list_file, tax_file) if part is not None),
                untaxed,
                device_file.warnings,
                *(
                    [locked_warnings(constraints.name, asked, device_file.fleet)]
                    if constraints
                    else []
                ),
            ]
        ),
        notes=(*(note for part in parts for note in part.notes), *unused),
        taxes=known_taxes,
        constraints=asked,
    )


def _require_poolable(path: Path, plan_file: RatePlanFile) -> None:
    """Refuse a pooled plan that cannot be one: in file use all plans that say so are pooled (B4, B8)."""
    for plan in plan_file.plans:
        refusal = pooling_refusal(plan)
        if refusal:
            raise InputError(f"{path}, row {plan_file.row_of[plan.code]}: {refusal}")


def _plan_problems(plan_file: RatePlanFile, list_file: CommunicationPlanFile | None) -> list[str]:
    """Lines that tell the first rejects and warnings of the plans; none where all is well."""
    frames = [plan_file.rejects, *([list_file.rejects] if list_file else [])]
    lines = reject_lines(combine_rejects(frames), MAX_TOLD_PROBLEMS)
    if list_file:
        lines += [f"  {text}" for text in list_file.warnings.listed[:MAX_TOLD_PROBLEMS]]
    return ["What is wrong with the plans:", *lines] if lines else []
