"""The totals for programs: every key, exact money, and what is null."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest

from core.domain import SolveStatus, Strategy, TaxBase, TaxRate
from core.files.rejects import Reject, RejectReason, no_rejects, rejects_frame
from core.files.warnings import Warnings
from core.outcome import ASSIGNMENT_SCHEMA, Cost, GroupOutcome, Outcome, TaxOutcome, UnitOutcome
from core.reports.meta import ReportMeta
from core.reports.remarks import remarks
from core.reports.summary import gap_percent, savings_percent, shown_gap_percent, summary

META = ReportMeta(generated_at=datetime(2026, 1, 31, tzinfo=UTC), elapsed_seconds=1.23456)


def cost(rate: int, overage: int) -> Cost:
    return Cost(objective_micros=rate + overage, rate_micros=rate, overage_micros=overage)


BEFORE, AFTER = cost(3_000_000, 1), cost(1_000_000, 500_000)

OPTIMISED = GroupOutcome(
    group_id="G0001", unit_id="U0001", communication_plans=("A", "B"), rate_plans=("P1", "P2"),
    devices=2, status="optimised", strategy=Strategy.CHEAPEST_PLAN_PER_SIM,
    baseline=BEFORE, optimized=AFTER, plan_changes=1,
)  # fmt: skip
SKIPPED = replace(
    OPTIMISED, group_id="G0002", status="skipped", strategy=Strategy.CURRENT_ASSIGNMENT,
    baseline=BEFORE, optimized=BEFORE, plan_changes=0,
)  # fmt: skip
UNIT = UnitOutcome(
    unit_id="U0001", group_ids=("G0001", "G0002"), devices=4, status=SolveStatus.FEASIBLE,
    strategy=Strategy.CHEAPEST_PLAN_PER_SIM, baseline=cost(6_000_000, 2),
    optimized=cost(4_000_000, 500_001), lower_bound_micros=None, legacy_best_cost_micros=None,
)  # fmt: skip


@pytest.fixture
def outcome() -> Outcome:
    return Outcome(
        assignments=pl.DataFrame(schema=ASSIGNMENT_SCHEMA), groups=(OPTIMISED, SKIPPED),
        units=(UNIT,), devices=5, unpriced=1, baseline=UNIT.baseline, optimized=UNIT.optimized,
        lower_bound_micros=None, legacy_best_cost_micros=None, plan_changes=1,
    )  # fmt: skip


def test_totals_are_exact_decimal_strings(outcome):
    found = summary(outcome, no_rejects(), META)
    assert found["baseline_cost"] == "6.000002"
    assert found["baseline_rate_cost"] == "6.000000"
    assert found["baseline_overage_cost"] == "0.000002"
    assert found["optimized_cost"] == "4.500001"
    assert found["optimized_rate_cost"] == "4.000000"
    assert found["optimized_overage_cost"] == "0.500001"
    assert found["savings"] == "1.500001"
    assert found["savings_percent"] == 25.0
    assert (found["devices"], found["unpriced"], found["plan_changes"]) == (5, 1, 1)
    assert found["elapsed_seconds"] == 1.235


def test_the_keys_that_programs_rely_on_come_first_and_in_order(outcome):
    found = summary(outcome, no_rejects(), META)
    assert list(found)[:18] == [
        "devices", "unpriced", "baseline_cost", "baseline_rate_cost", "baseline_overage_cost",
        "optimized_cost", "optimized_rate_cost", "optimized_overage_cost", "savings",
        "savings_percent", "lower_bound", "gap_percent", "plan_changes", "legacy_best_cost",
        "elapsed_seconds", "units", "groups", "rejects",
    ]  # fmt: skip
    assert list(found["units"][0])[:8] == [
        "unit_id", "group_ids", "devices", "status", "strategy", "optimized_cost", "lower_bound",
        "gap_percent",
    ]  # fmt: skip
    assert list(found["groups"][0])[:9] == [
        "group_id", "unit_id", "communication_plans", "devices", "rate_plans", "status",
        "strategy", "baseline_cost", "optimized_cost",
    ]  # fmt: skip
    assert found == json.loads(json.dumps(found))


def test_what_is_not_known_is_null(outcome):
    found = summary(outcome, no_rejects(), META)
    assert found["lower_bound"] is found["gap_percent"] is found["legacy_best_cost"] is None
    assert found["units"][0]["lower_bound"] is found["units"][0]["gap_percent"] is None
    known = replace(outcome, lower_bound_micros=4_000_000, legacy_best_cost_micros=5_000_000)
    found = summary(known, no_rejects(), META)
    assert found["lower_bound"] == "4.000000"
    assert found["gap_percent"] == 12.500025
    assert found["legacy_best_cost"] == "5.000000"


def test_a_skipped_group_has_no_strategy(outcome):
    optimised, skipped = summary(outcome, no_rejects(), META)["groups"]
    assert (optimised["status"], optimised["strategy"]) == ("optimised", "cheapest_plan_per_sim")
    assert (skipped["status"], skipped["strategy"]) == ("skipped", None)
    assert skipped["baseline_cost"] == skipped["optimized_cost"] == "3.000001"


def test_taxes_are_null_without_a_table_and_exact_with_one(outcome):
    found = summary(outcome, no_rejects(), META)
    assert (found["baseline_tax"], found["optimized_tax"], found["taxes"]) == (None, None, [])
    fee, sales = (
        TaxOutcome(
            tax=TaxRate(jurisdiction="NY", name=name, percent_millionths=percent, base=base),
            devices=2, baseline_micros=before, optimized_micros=after,
        )
        for name, percent, base, before, after in [
            ("Fee", 123_456, TaxBase.RATE, 7, 0), ("Sales", 8_250_000, TaxBase.TOTAL, 1_000_000, 5),
        ]
    )  # fmt: skip
    found = summary(replace(outcome, taxes=(fee, sales)), no_rejects(), META)
    assert (found["baseline_tax"], found["optimized_tax"]) == ("1.000007", "0.000005")
    assert found["baseline_cost"] == "6.000002"
    assert found["taxes"][1] == {
        "jurisdiction": "NY", "name": "Sales", "base": "total", "percent": "8.250000",
        "devices": 2, "baseline": "1.000000", "optimized": "0.000005",
    }  # fmt: skip


def test_rejects_listed_sims_and_warnings_are_counted(outcome):
    row = Reject(file="d", row=2, column=None, value=None, reason=RejectReason.RAGGED_ROW, raw="{}")
    listed = pl.DataFrame({"iccid": ["1", "2"], "reason": ["not_billable", "not_billable"]})
    meta = replace(META, listed=listed, warnings=Warnings(count=7, listed=("w",)))
    found = summary(outcome, rejects_frame([row, row]), meta)
    assert found["rejects"] == {"ragged_row": 2}
    assert found["listed"] == {"not_billable": 2}
    assert found["warnings"] == 7
    assert found["usage_basis"] == "actual"


@pytest.mark.parametrize(
    ("baseline", "optimized", "percent"),
    [(0, 0, 0.0), (3, 2, 33.3333), (3, 1, 66.6667), (1, 2, -100.0), (10**18, 1, 100.0)],
)
def test_savings_in_percent(baseline, optimized, percent):
    assert savings_percent(baseline, optimized) == percent


@pytest.mark.parametrize(
    ("cost_micros", "bound", "percent"),
    [(5, None, None), (0, 0, 0.0), (7, 7, 0.0), (5, 0, None), (1_000_001, 1_000_000, 0.0001)],
)
def test_gap_in_percent(cost_micros, bound, percent):
    assert gap_percent(cost_micros, bound) == percent


def test_a_gap_that_is_shown_is_rounded_up_and_never_down_to_nothing():
    assert shown_gap_percent(10**12 + 1, 10**12) == Decimal("0.0001")
    assert shown_gap_percent(7, 7) == 0
    assert shown_gap_percent(5, 0) is None
    assert shown_gap_percent(5, None) is None


def test_dropped_savings_and_constraints_are_null_where_there_are_none(outcome):
    found = summary(outcome, no_rejects(), META)
    assert (found["dropped_savings"], found["constraints"]) == (None, None)
    dropped = replace(outcome, dropped_savings_micros=1_500_000)
    assert summary(dropped, no_rejects(), META)["dropped_savings"] == "1.500000"


def test_remarks_say_what_was_left_out_assumed_and_is_not_known(outcome):
    meta = replace(META, is_dry_run=True, remarks=("by the caller",), notes=("a note",))
    texts = "\n".join(remarks(replace(outcome, legacy_best_cost_micros=1), meta))
    for words in (
        "DRY RUN", "SIMs on rate plans that are not in the catalogue: 1.",
        "more rate plans than allowed: 1, with 2 SIMs", "G0002",
        "actual usage so far", "before percentage taxes", "Confirm this with the carrier",
        "Not known: there is no lower bound", "generous reconstruction", "by the caller", "a note",
    ):  # fmt: skip
        assert words in texts
    assert "Plans are chosen before tax" not in texts
    taxed = remarks(replace(outcome, taxes=()), META)
    assert any("Plans are chosen before tax" in text for text in taxed)


@pytest.mark.parametrize(
    ("bound", "status", "expected"),
    [
        (4_500_001, SolveStatus.OPTIMAL, "No allowed choice of plans costs less than this one."),
        (
            4_009_999, SolveStatus.FEASIBLE,
            "less than 4.00: at most 0.50 (12.2196 % of that amount) more could be saved.",
        ),
        (
            4_000_001, SolveStatus.OPTIMAL,
            "more could be saved. The solver of small units found that none of it can be.",
        ),
        (0, SolveStatus.FEASIBLE, "less than 0.00: at most 4.51 more could be saved."),
    ],
)  # fmt: skip
def test_a_remark_says_how_sure_the_result_is(outcome, bound, status, expected):
    units = (replace(UNIT, lower_bound_micros=bound, status=status),)
    texts = remarks(replace(outcome, lower_bound_micros=bound, units=units), META)
    (text,) = [text for text in texts if text.startswith("How sure is this?")]
    assert text.endswith(expected)
