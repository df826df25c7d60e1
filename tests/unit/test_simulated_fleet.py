"""The simulated fleet looks like a real one, and the same seed makes the same one."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import polars as pl
import pytest

from core.carriers.iccid import iccid_problems
from core.domain import BillingCycle
from core.eligibility import invalid_rate_plans
from core.simulator.export import device_rows, export_account
from core.simulator.fleet import SIMULATED_FLEET_SCHEMA, current_cycle, make_fleet
from core.simulator.tariffs import (
    LEGACY_PLAN,
    MB,
    UNPUBLISHED_PLAN,
    list_fee,
    simulated_communication_plans,
    simulated_rate_plans,
)

CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
EXAMPLE = Path(__file__).parents[2] / "examples" / "fleet-2000"


@pytest.fixture(scope="module")
def fleet():
    """20,000 SIMs: enough for shares to be near their means."""
    return make_fleet(20_000, 1, CYCLE)


def test_the_same_seed_makes_the_same_fleet_and_another_seed_another():
    first = make_fleet(700, 3, CYCLE)
    assert first.equals(make_fleet(700, 3, CYCLE))
    assert not first.equals(make_fleet(700, 4, CYCLE))


def test_about_nine_in_ten_sims_are_active(fleet):
    share = (fleet["status"] == "ACTIVATED").mean()
    assert 0.88 < share < 0.93
    assert fleet["status"].n_unique() == 8


def test_between_a_tenth_and_half_of_each_kind_use_nothing(fleet):
    active = fleet.filter(pl.col("status") == "ACTIVATED").drop_nulls("communication_plan")
    shares = active.group_by("communication_plan").agg((pl.col("usage_bytes") == 0).mean())
    assert len(shares) == 6
    assert shares["usage_bytes"].is_between(0.08, 0.53).all()


def test_usage_is_heavy_tailed(fleet):
    usage = fleet["usage_bytes"].sort(descending=True)
    assert usage[:200].sum() > 0.3 * usage.sum()  # one SIM in a hundred
    assert usage.max() > 100 * usage.mean()
    assert usage.min() == 0


def test_few_rows_are_broken_and_each_kind_of_damage_occurs(fleet):
    problems = iccid_problems(fleet["iccid"])
    n_broken = (
        problems.is_not_null().sum()
        + fleet["rate_plan"].null_count()
        + fleet["communication_plan"].null_count()
    )
    assert 0.001 < n_broken / fleet.height < 0.004
    small = make_fleet(500, 9, CYCLE)
    small_problems = iccid_problems(small["iccid"]).value_counts()
    assert dict(small_problems.drop_nulls().rows()) == {"bad_iccid": 2, "bad_check_digit": 1}
    assert small["rate_plan"].null_count() == small["communication_plan"].null_count() == 1


def test_iccids_are_unique_in_both_lengths(fleet):
    assert fleet["iccid"].n_unique() == fleet.height
    lengths = fleet.filter(iccid_problems(fleet["iccid"]).is_null())["iccid"].str.len_chars()
    assert set(lengths) == {19, 20}
    assert fleet["iccid"].str.starts_with("8901").mean() > 0.99


def test_times_are_in_order_and_none_lies_after_the_present():
    now = datetime(2026, 10, 9, 15, tzinfo=UTC)
    fleet = make_fleet(5_000, 1, CYCLE, as_of=now)
    now_ms = int(now.timestamp() * 1000)
    start_ms = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1000)
    assert (fleet["updated_ms"] <= now_ms).all()
    assert (fleet["added_ms"] <= fleet["updated_ms"]).all()
    activated = fleet.drop_nulls("activated_ms")
    assert (activated["activated_ms"] <= activated["updated_ms"]).all()
    recent = activated.filter(pl.col("activated_ms") >= start_ms)
    assert 0.01 < recent.height / fleet.height < 0.06
    assert set(fleet.filter(pl.col("activated_ms").is_null())["status"]) == {
        "INVENTORY", "ACTIVATION_READY", "TEST_READY",
    }  # fmt: skip


def test_sims_sit_on_plans_of_their_list_or_on_a_known_exception(fleet):
    lists = {plan.name: set(plan.rate_plan_codes) for plan in simulated_communication_plans()}
    rows = fleet.drop_nulls(["rate_plan", "communication_plan"])
    pairs = rows.select("communication_plan", "rate_plan").unique().rows()
    outside = {plan for name, plan in pairs if plan not in lists[name]}
    assert outside == {LEGACY_PLAN, UNPUBLISHED_PLAN}
    assert 0.001 < (rows["rate_plan"] == UNPUBLISHED_PLAN).mean() < 0.006


def test_the_catalogue_can_be_billed_and_its_ladder_is_concave():
    plans = simulated_rate_plans()
    assert invalid_rate_plans(plans) == {}
    assert len({plan.code for plan in plans}) == len(plans)
    sizes = (1, 5, 10, 25, 50, 100, 250, 500, 1024, 2048, 5120)
    fees = [list_fee(size) for size in sizes]
    assert (fees[0], fees[-1]) == (Decimal("0.95"), Decimal("25.85"))  # 0.95, 25.86 before rounding
    per_mb = [fee / size for fee, size in zip(fees, sizes, strict=True)]
    assert fees == sorted(fees)
    assert per_mb == sorted(per_mb, reverse=True)


def test_communication_plans_make_four_groups_in_three_units():
    plans = {plan.code: plan for plan in simulated_rate_plans()}
    comms = simulated_communication_plans()
    groups = {frozenset(plan.rate_plan_codes) for plan in comms}
    assert (len(comms), len(groups)) == (6, 4)
    east, west = comms[0].rate_plan_codes, comms[1].rate_plan_codes
    assert (east != west, set(east) == set(west)) == (True, True)
    pools = [{c for c in group if plans[c].is_pooled} for group in groups]
    linked = [(a, b) for i, a in enumerate(pools) for b in pools[:i] if a & b]
    assert len(linked) == 1  # four groups, one link: three units
    assert any(plans[c].is_prorated for group in groups for c in group)
    assert max(map(len, groups)) <= 15


def test_a_cheaper_choice_of_metered_plans_saves_a_quarter_or_more(fleet):
    """Individual plans can be priced by hand: every SIM alone, ceil of started blocks (B3)."""
    plans = {plan.code: plan for plan in simulated_rate_plans()}
    eligible = simulated_communication_plans()[2].rate_plan_codes

    def cost(code: str, usage: int) -> int:
        plan = plans[code]
        over = max(0, usage - plan.included_bytes)
        blocks = -(-over // plan.overage_block_bytes)
        return plan.monthly_rate_micros + blocks * plan.overage_rate_micros

    rows = fleet.filter(
        (pl.col("communication_plan") == "Point of Sale") & (pl.col("status") == "ACTIVATED")
    ).filter(pl.col("rate_plan").is_in(list(plans)))
    today = sum(cost(c, u) for c, u in rows.select("rate_plan", "usage_bytes").iter_rows())
    best = sum(min(cost(c, u) for c in eligible) for u in rows["usage_bytes"])
    assert 0.25 < 1 - best / today < 0.5


@pytest.mark.parametrize("n", [0, 1, 7])
def test_tiny_fleets_have_the_same_columns(n):
    fleet = make_fleet(n, 1, CYCLE)
    assert fleet.height == n
    assert fleet.schema == pl.Schema(SIMULATED_FLEET_SCHEMA)


def test_impossible_sizes_seeds_and_times_are_refused():
    with pytest.raises(ValueError, match="devices"):
        make_fleet(-1, 1, CYCLE)
    with pytest.raises(ValueError, match="seed"):
        make_fleet(1, -1, CYCLE)
    with pytest.raises(ValueError, match="before the cycle"):
        make_fleet(1, 1, CYCLE, as_of=datetime(2026, 9, 30, tzinfo=UTC))


def test_the_cycle_is_the_calendar_month():
    assert current_cycle(date(2028, 2, 5)) == BillingCycle(
        start_date=date(2028, 2, 1), end_date=date(2028, 2, 29)
    )


def test_exported_megabytes_give_every_byte_back(fleet):
    rows = device_rows(fleet)
    kept = fleet.filter(pl.col("status") == "ACTIVATED")["usage_bytes"].to_list()
    back = [int((Decimal(text) * MB).to_integral_value(ROUND_HALF_UP)) for text in rows["usage_mb"]]
    assert back == kept


def test_the_example_is_what_the_documented_command_writes(tmp_path):
    export_account(
        tmp_path,
        make_fleet(2000, 1, CYCLE),
        simulated_rate_plans(),
        simulated_communication_plans(),
    )
    for name in ("devices.csv", "rate_plans.csv", "communication_plans.csv"):
        assert (tmp_path / name).read_bytes() == (EXAMPLE / name).read_bytes(), name
