"""Every invoice of docs/billing.md, read from the page and priced by the product (B1-B10)."""

from __future__ import annotations

import csv
import re
import shlex
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from core.billing.bill import bill
from core.billing.tariff import build_tariff
from core.billing.taxes import tax_sims
from core.domain import BillingCycle, BillingPolicy, ChargeType, PoolScope, ProrationBasis
from core.errors import DataError
from core.files.inputs import Inputs, read_inputs
from core.files.rate_plans import read_rate_plans
from core.grouping import group_fleet, iter_problems
from core.units import MEBIBYTE, parse_decimal, to_bytes, to_micros

PAGE = (Path(__file__).parents[2] / "docs/billing.md").read_text(encoding="utf-8")
AMOUNTS = ("fee", "overage", "cost", "recommended_cost", "tax")

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Case:
    """A table of the page, with the last plans and options above it."""

    section: str
    rows: Rows
    plans: Rows = field(default_factory=list)
    options: str = ""


def tables(text: str) -> list[Rows]:
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        header, _, *lines = [
            [cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()
        ]
        found.append([dict(zip(header, line, strict=True)) for line in lines])
    return found


def cases(column: str) -> list[Case]:
    """All tables of the page that have this column."""
    found, plans = [], []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        for part in re.split(r"^(?=Options: )", section, flags=re.MULTILINE):
            options = re.match(r"Options: `(.*)`", part)
            for rows in tables(part):
                if "code" in rows[0] and "refused" not in rows[0]:
                    plans = rows
                if column in rows[0]:
                    found.append(
                        Case(section.split()[0], rows, plans, options[1] if options else "")
                    )
    return found


def policy_of(options: str) -> BillingPolicy:
    words = shlex.split(options)
    has_pools = "--no-pooling" not in words
    given = [word for word in words if word != "--no-pooling"]
    values = dict(zip(given[::2], given[1::2], strict=True))
    dates = [values.pop(name, None) for name in ("--cycle-start", "--cycle-end")]
    policy = BillingPolicy(
        cycle=BillingCycle(
            start_date=date.fromisoformat(dates[0]), end_date=date.fromisoformat(dates[1])
        )
        if dates[0]
        else None,
        pool_scope=PoolScope(values.pop("--pool-scope", "plan")),
        proration_basis=ProrationBasis(values.pop("--proration-basis", "cycle")),
        pooling_enabled=has_pools,
    )
    assert not values, f"this test does not know {values}"
    return policy


def write(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(case: Case, folder: Path, plan_column: str = "rate_plan", **files: Path) -> Inputs:
    devices = [
        {name: value for name, value in row.items() if name not in AMOUNTS}
        | {"communication_plan": "any", "rate_plan": row[plan_column]}
        for row in case.rows
        if row["iccid"] != "**sum**"
    ]
    inputs = read_inputs(
        write(folder / "devices.csv", devices),
        write(folder / "plans.csv", case.plans),
        cycle=policy_of(case.options).cycle,
        mb_bytes=MEBIBYTE,
        **files,
    )
    assert inputs.rejects.is_empty()
    return inputs


def priced(case: Case, folder: Path, plan_column: str = "rate_plan") -> dict[str, tuple]:
    """Fee, overage and cost of each SIM in micro-units by ICCID; None where it is unpriced."""
    inputs, policy = read(case, folder, plan_column), policy_of(case.options)
    grouping = group_fleet(
        inputs.fleet, inputs.rate_plans, inputs.communication_plans, policy, max_rate_plans=15
    )
    found = dict.fromkeys(inputs.fleet["iccid"], (None, None, None))
    for problem in iter_problems(grouping):
        rows = grouping.fleet["unit_id"].to_numpy() == problem.unit_id
        result = bill(problem, problem.current)
        total = result.objective(ChargeType.RATE_AND_OVERAGE)
        columns = (result.rate_micros, result.overage_micros, total)
        for iccid, *amounts in zip(
            grouping.fleet["iccid"].to_numpy()[rows], *(c.tolist() for c in columns), strict=True
        ):
            found[iccid] = tuple(amounts)
    return found


def micros(text: str) -> int | None:
    if text == "null":
        return None
    value = Decimal(text) * 10**6
    assert value == int(value), f"{text} has more places than a micro-unit"
    return int(value)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{case.section}-{k}") for k, case in enumerate(cases("iccid"))]
)
def test_an_invoice_of_the_page_is_what_the_product_bills(case: Case, tmp_path: Path) -> None:
    *sims, total = case.rows
    assert total["iccid"] == "**sum**"
    found = priced(case, tmp_path)
    assert {row["iccid"]: tuple(micros(row[name]) for name in AMOUNTS[:3]) for row in sims} == found
    sums = [sum(filter(None, amounts)) for amounts in zip(*found.values(), strict=True)]
    assert [micros(total[name]) for name in AMOUNTS[:3]] == sums


def test_recommended_costs_of_the_page_are_what_the_product_bills(tmp_path: Path) -> None:
    (case,) = cases("recommended_cost")
    *sims, total = case.rows
    found = priced(case, tmp_path, "recommended_rate_plan")
    costs = {iccid: cost for iccid, (_, _, cost) in found.items()}
    assert {row["iccid"]: micros(row["recommended_cost"]) for row in sims} == costs
    assert micros(total["recommended_cost"]) == sum(filter(None, costs.values()))


def test_taxes_of_the_page_are_what_the_product_takes(tmp_path: Path) -> None:
    (case,), (taxes,) = cases("tax"), cases("percent")
    *sims, total = case.rows
    inputs = read(case, tmp_path, taxes=write(tmp_path / "taxes.csv", taxes.rows))
    fees, overages, _ = (
        np.array(column) for column in zip(*priced(case, tmp_path).values(), strict=True)
    )
    found = tax_sims(fees, overages, inputs.fleet["jurisdiction"], inputs.taxes or ())
    assert [micros(row["tax"]) for row in sims] == found.sim_micros.tolist()
    assert micros(total["tax"]) == sum(found.tax_micros)


def test_what_each_charge_type_minimises_is_as_the_page_says(tmp_path: Path) -> None:
    invoice = next(case for case in cases("iccid") if case.section == "B6")
    (case,) = cases("charge_type")
    fees, overages, _ = (
        np.array(column) for column in zip(*priced(invoice, tmp_path).values(), strict=True)
    )
    sums = {
        ChargeType.RATE_AND_OVERAGE: int((fees + overages).sum()),
        ChargeType.RATE: int(fees.sum()),
        ChargeType.OVERAGE: int(overages.sum()),
    }
    assert {ChargeType(r["charge_type"]): micros(r["minimised"]) for r in case.rows} == sums


def test_plans_that_the_page_calls_refused_are(tmp_path: Path) -> None:
    (case,) = cases("refused")
    for row in case.rows:
        path = write(tmp_path / "plans.csv", [{k: v for k, v in row.items() if k != "refused"}])
        plans = read_rate_plans(path, mb_bytes=MEBIBYTE).plans
        with pytest.raises(DataError, match=f"'{row['code']}' cannot be priced.*{row['refused']}"):
            build_tariff(plans, BillingPolicy())
        assert build_tariff(plans, BillingPolicy(pooling_enabled=False)).codes == (row["code"],)


def test_numbers_of_the_page_become_the_units_that_it_shows() -> None:
    (volumes,), (amounts,) = cases("MB as written"), cases("amount as written")
    for row in volumes.rows:
        unit = int(row["bytes of one MB"])
        assert to_bytes(parse_decimal(row["MB as written"]), unit) == int(row["bytes"])
    for row in amounts.rows:
        assert to_micros(parse_decimal(row["amount as written"])) == int(row["micro-units"])


def test_every_billing_rule_is_on_the_page_and_all_that_price_something_have_an_invoice() -> None:
    sections = re.findall(r"^## (B\d+) ", PAGE, re.MULTILINE)
    assert sections == [f"B{k}" for k in range(1, 12)]
    with_invoice = {case.section for case in cases("iccid")}
    assert with_invoice == {f"B{k}" for k in range(2, 11)} - {"B7"}
