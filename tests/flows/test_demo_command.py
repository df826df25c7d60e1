"""The main job end to end, as a user runs it (S2-S5, A1-A3, R1, R2, B10)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import openpyxl
import polars as pl
import pytest

from core.reports.verification import verify_results

pytestmark = [pytest.mark.e2e, pytest.mark.prefect]

MILESTONES = [0, 20, 30, 40, 50, 90, 100]


def micros(text: str) -> int:
    return int(Decimal(text) * 1_000_000)


def test_the_demo_runs_the_main_job_and_a_second_run_starts_anew(make_demo: Callable) -> None:
    demo = make_demo(600)
    code, out, err = demo.run()
    assert (code, err) == (0, "")
    assert "Cost of one billing cycle" in out
    [session] = demo.sessions()
    assert session["State"] == "COMPLETED"
    first = (demo.folder / "assignments.parquet").read_bytes()

    code, _, err = demo.run()
    assert (code, err) == (0, "")
    assert [row["State"] for row in demo.sessions()] == ["COMPLETED", "COMPLETED"]
    assert (demo.folder / "assignments.parquet").read_bytes() == first

    for session_id in (1, 2):
        messages = demo.messages(session_id)
        progress = [message["progress"] for message in messages]
        assert [value for value in progress if value in MILESTONES] == MILESTONES
        assert progress == sorted(set(progress))
        assert [m["type"] for m in messages] == ["Progress"] * (len(messages) - 1) + ["Completed"]
        assert len({message["messageId"] for message in messages}) == len(messages)
        assert {message["sessionGuid"] for message in messages} == {
            row["SessionId"] for row in demo.sessions() if row["Id"] == session_id
        }
    assert_everything_adds_up(demo)


def assert_everything_adds_up(demo) -> None:
    """SIM costs add up to groups, units and totals to the micro-unit, in every output."""
    summary = demo.summary()
    verified = verify_results(demo.folder)
    assert [unit.unit_id for unit in verified] == [unit["unit_id"] for unit in summary["units"]]
    rows = pl.read_parquet(demo.folder / "assignments.parquet")
    priced = rows.filter(pl.col("unit_id").is_not_null())
    assert rows.height == summary["devices"]
    assert rows.height - priced.height == summary["unpriced"] > 0
    assert priced["current_cost_micros"].sum() == micros(summary["baseline_cost"])
    assert priced["recommended_cost_micros"].sum() == micros(summary["optimized_cost"])
    assert priced["savings_micros"].sum() == micros(summary["savings"]) > 0
    for part in ("rate", "overage"):
        assert priced[f"current_{part}_micros"].sum() == micros(summary[f"baseline_{part}_cost"])
        assert priced[f"recommended_{part}_micros"].sum() == micros(
            summary[f"optimized_{part}_cost"]
        )
    for group in summary["groups"]:
        own = priced.filter(pl.col("group_id") == group["group_id"])
        assert own.height == group["devices"]
        assert own["current_cost_micros"].sum() == micros(group["baseline_cost"])
        assert own["recommended_cost_micros"].sum() == micros(group["optimized_cost"])
    for unit in summary["units"]:
        own = priced.filter(pl.col("unit_id") == unit["unit_id"])
        assert own["recommended_cost_micros"].sum() == micros(unit["optimized_cost"])
        cost, bound = micros(unit["optimized_cost"]), micros(unit["lower_bound"])
        assert bound <= cost
        assert unit["gap_percent"] == pytest.approx(100 * (cost - bound) / bound, abs=1e-4)
    assert micros(summary["lower_bound"]) == sum(
        micros(unit["lower_bound"]) for unit in summary["units"]
    )

    [instance] = demo.query("SELECT * FROM OptimizationInstance ORDER BY Id DESC LIMIT 1")
    assert instance["BaselineCostMicros"] == micros(summary["baseline_cost"])
    assert instance["OptimizedCostMicros"] == micros(summary["optimized_cost"])
    [stored] = demo.query(
        "SELECT SUM(r.RecommendedCostMicros) AS optimized, SUM(r.CurrentCostMicros) AS baseline, "
        "COUNT(*) AS sims FROM OptimizationM2MDeviceResult r "
        "JOIN OptimizationQueue q ON q.Id = r.QueueId "
        f"WHERE q.IsWinner = 1 AND q.InstanceId = {instance['Id']}"
    )
    assert stored == {
        "optimized": micros(summary["optimized_cost"]),
        "baseline": micros(summary["baseline_cost"]),
        "sims": priced.height,
    }
    [losers] = demo.query("SELECT COUNT(*) AS n FROM OptimizationQueue WHERE IsWinner = 0")
    assert losers["n"] == 0

    totals = demo.messages(2)[-1]["additionalData"]["totals"]
    assert totals["optimizedCost"] == summary["optimized_cost"]
    assert totals["savings"] == summary["savings"]
    assert totals["devices"] == summary["devices"]

    book = openpyxl.load_workbook(demo.folder / "report.xlsx", read_only=True)
    assert {"Summary", "Groups", "Assignments", "Rejects"} <= set(book.sheetnames)
