"""Rate plans and communication plans from files: what is used, what is rejected and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.domain import CommunicationPlan, OverageTier, RatePlan
from core.errors import InputError
from core.files.communication_plans import read_communication_plans
from core.files.rate_plans import read_rate_plans

HEADER = "code,monthly_rate,included_mb,overage_rate,overage_block_mb,is_pooled"
GOOD = "P1,1.5,10,0.25,1,no"


@pytest.fixture
def plans(tmp_path: Path):
    """Read rate plans from lines of CSV."""

    def read(*lines: str, header: str = HEADER, mb_bytes: int = 1 << 20):
        path = tmp_path / "plans.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        return read_rate_plans(path, mb_bytes=mb_bytes)

    return read


@pytest.fixture
def lists(tmp_path: Path):
    """Read communication plans from lines of CSV, where P1 and P2 are usable and PX is refused."""

    def read(*lines: str):
        path = tmp_path / "comm.csv"
        path.write_text("\n".join(["name,rate_plan_codes", *lines]) + "\n")
        return read_communication_plans(path, rate_plan_codes={"P1", "P2"}, refused_codes={"PX"})

    return read


def problems(frame) -> list[tuple]:
    return list(frame.select("row", "column", "value", "reason").iter_rows())


def test_a_plan_with_the_required_columns_only(plans):
    found = plans(GOOD)
    assert found.plans == (
        RatePlan(
            code="P1",
            monthly_rate_micros=1_500_000,
            included_bytes=10 * 1024 * 1024,
            overage_rate_micros=250_000,
            overage_block_bytes=1024 * 1024,
            is_pooled=False,
        ),
    )
    assert found.rejects.is_empty()


def test_a_plan_with_every_column(plans):
    header = (
        HEADER + ",name,is_prorated,plan_type,included_sms,sms_rate,included_voice_minutes,"
        "voice_rate,regulatory_fee,pool_group"
    )
    (plan,) = plans(GOOD + ",Small,YES,data,5,0.01,3.0,0.02,0.5,G", header=header).plans
    assert plan.name == "Small"
    assert plan.is_prorated
    assert plan.plan_type == "data"
    assert (plan.included_sms, plan.sms_rate_micros) == (5, 10_000)
    assert (plan.included_voice_minutes, plan.voice_rate_micros) == (3, 20_000)
    assert plan.regulatory_fee_micros == 500_000
    assert plan.pool_group == "G"


def test_volumes_are_in_the_megabytes_asked_for(plans):
    (plan,) = plans("P1,1,1.5,1,0.1,no", mb_bytes=1_000_000).plans
    assert (plan.included_bytes, plan.overage_block_bytes) == (1_500_000, 100_000)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("YES", True), ("1", True), ("False", False), ("no", False), ("0", False)],
)
def test_booleans(plans, text, value):
    assert plans(f"P1,1,1,1,1,{text}").plans[0].is_pooled is value


def test_plans_are_sorted_by_code(plans):
    found = plans("b,1,1,1,1,no", "a,1,1,1,1,no", "C,1,1,1,1,no")
    assert [plan.code for plan in found.plans] == ["C", "a", "b"]


@pytest.mark.parametrize(
    ("line", "column", "value", "reason"),
    [
        (",1,1,1,1,no", "code", None, "missing_value"),
        ("PX,,1,1,1,no", "monthly_rate", None, "missing_value"),
        ("PX,1,1,1,1,", "is_pooled", None, "missing_value"),
        ("PX,free,1,1,1,no", "monthly_rate", "free", "not_a_number"),
        ("PX,1,1,nan,1,no", "overage_rate", "nan", "not_a_number"),
        ("PX,-0.01,1,1,1,no", "monthly_rate", "-0.01", "negative"),
        ("PX,1,-1,1,1,no", "included_mb", "-1", "negative"),
        ("PX,100001,1,1,1,no", "monthly_rate", "100001", "out_of_range"),
        ("PX,1,1e12,1,1,no", "included_mb", "1e12", "out_of_range"),
        ("PX,1,1,1,1,perhaps", "is_pooled", "perhaps", "not_a_boolean"),
        ("PX,1,1,0,1,no", "overage_rate", "0", "invalid_rate_plan"),
        ("PX,1,1,1,0,no", "overage_block_mb", "0", "invalid_rate_plan"),
        ("PX,1,1,0.0000001,1,no", "overage_rate", "0.0000001", "invalid_rate_plan"),
        ("P1,1,1,1,1,no", "code", "P1", "duplicate_rate_plan"),
    ],
)
def test_a_plan_that_cannot_be_used_is_rejected_with_its_cell(plans, line, column, value, reason):
    found = plans(GOOD, line)
    assert [plan.code for plan in found.plans] == ["P1"]
    assert problems(found.rejects) == [(3, column, value, reason)]
    assert found.refused_codes == ({"PX"} if line.startswith("PX") else set())


@pytest.mark.parametrize(
    ("cell", "reason"),
    [("1.5", "not_a_whole_number"), ("-1", "negative"), ("1e10", "out_of_range")],
)
def test_counts_are_whole_numbers(plans, cell, reason):
    found = plans(GOOD + ",", f"PX,1,1,1,1,no,{cell}", header=HEADER + ",included_sms")
    assert problems(found.rejects) == [(3, "included_sms", cell, reason)]


def test_the_first_valid_row_of_a_code_counts(plans):
    found = plans("P1,x,1,1,1,no", "P1,2,1,1,1,no", "P1,3,1,1,1,no")
    assert [plan.monthly_rate_micros for plan in found.plans] == [2_000_000]
    assert found.rejects["reason"].to_list() == ["not_a_number", "duplicate_rate_plan"]
    assert not found.refused_codes


def test_a_file_without_a_usable_plan_is_refused(plans):
    with pytest.raises(InputError, match=r"nothing usable: all 1 rows are rejected.*row 2.*'0'"):
        plans("P1,1,1,0,1,no")
    with pytest.raises(InputError, match="no rows below the header"):
        plans()


B8_HEADER = f"{HEADER},overage_cap,overage_tiers,min_devices,max_devices"


def test_tiers_cap_and_limits_of_devices(plans):
    found = plans(
        GOOD + ",12.5, 0=0.30 ;1.5=0.20;1e3 = 0.1,0,7", "P2,1,1,1,1,no,0,,,0", header=B8_HEADER
    )
    first, second = found.plans
    assert first.overage_cap_micros == 12_500_000
    assert first.overage_tiers == (
        OverageTier(from_bytes=0, rate_micros=300_000),
        OverageTier(from_bytes=3 << 19, rate_micros=200_000),
        OverageTier(from_bytes=1000 << 20, rate_micros=100_000),
    )
    assert (first.min_devices, first.max_devices) == (0, 7)
    assert (second.overage_cap_micros, second.overage_tiers) == (0, ())
    assert (second.min_devices, second.max_devices) == (None, 0)


def test_tiers_are_in_the_megabytes_asked_for(plans):
    (plan,) = plans(GOOD + ",1.5=1", header=f"{HEADER},overage_tiers", mb_bytes=10**6).plans
    assert plan.overage_tiers[0].from_bytes == 1_500_000


def test_empty_cells_are_no_tiers_no_cap_and_no_limits(plans):
    (plan,) = plans(GOOD + ",,,,", header=B8_HEADER).plans
    assert (plan.overage_cap_micros, plan.overage_tiers) == (None, ())
    assert (plan.min_devices, plan.max_devices) == (None, None)


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("overage_cap", "none", "not_a_number"),
        ("overage_cap", "-1", "negative"),
        ("overage_cap", "100001", "out_of_range"),
        ("overage_tiers", "cheap", "invalid_rate_plan"),
        ("overage_tiers", "5", "invalid_rate_plan"),
        ("overage_tiers", "5=", "invalid_rate_plan"),
        ("overage_tiers", "=1", "invalid_rate_plan"),
        ("overage_tiers", "5=1=2", "invalid_rate_plan"),
        ("overage_tiers", "5=1;", "invalid_rate_plan"),
        ("overage_tiers", "5=1;;6=2", "invalid_rate_plan"),
        ("overage_tiers", "5=1;x=2", "not_a_number"),
        ("overage_tiers", "5=1;6=nan", "not_a_number"),
        ("overage_tiers", "-5=1", "negative"),
        ("overage_tiers", "5=-1", "negative"),
        ("overage_tiers", "1e12=1", "out_of_range"),
        ("overage_tiers", "5=100001", "out_of_range"),
        ("overage_tiers", "5=0", "invalid_rate_plan"),
        ("overage_tiers", "6=1;5=2", "invalid_rate_plan"),
        ("overage_tiers", "5=1;5.0=2", "invalid_rate_plan"),
        ("min_devices", "1.5", "not_a_whole_number"),
        ("max_devices", "-1", "negative"),
        ("max_devices", "many", "not_a_number"),
    ],
)
def test_a_bad_tier_cap_or_limit_rejects_the_plan(plans, column, cell, reason):
    found = plans(GOOD + ",", f"PX,1,1,1,1,no,{cell}", header=f"{HEADER},{column}")
    assert problems(found.rejects) == [(3, column, cell, reason)]
    assert found.refused_codes == {"PX"}


def test_a_plan_with_more_devices_at_least_than_at_most_is_rejected(plans):
    found = plans(GOOD + ",,", "PX,1,1,1,1,no,3,2", header=f"{HEADER},min_devices,max_devices")
    assert problems(found.rejects) == [(3, "min_devices", "3", "invalid_rate_plan")]


def test_whether_a_pooled_plan_may_have_a_cap_is_not_asked_of_the_file(plans):
    found = plans("P1,1,1,1,1,yes,5,5=0.5,,", header=B8_HEADER)
    assert found.rejects.is_empty()


def test_communication_plans_keep_their_lists_in_order_without_repeats(lists):
    found = lists("B,P2; P1 ;;P2", "A,P1")
    assert found.plans == (
        CommunicationPlan(name="A", rate_plan_codes=("P1",)),
        CommunicationPlan(name="B", rate_plan_codes=("P2", "P1")),
    )
    assert found.warnings.count == 0


def test_codes_that_cannot_be_used_are_warned_of(lists):
    found = lists('A,"P1,P2;P9"', "B,PX;P1", "C,")
    first, *others = found.warnings.listed
    assert "lists 'P1,P2', which is not in the rate plans; codes are separated by ';'" in first
    assert others == [
        "comm.csv: communication plan 'A' lists 'P9', which is not in the rate plans",
        "comm.csv: communication plan 'A' lists no usable rate plan: its SIMs are rejected",
        "comm.csv: communication plan 'B' lists rate plan 'PX', whose row is rejected",
        "comm.csv: communication plan 'C' lists no usable rate plan: its SIMs are rejected",
    ]


def test_a_communication_plan_without_name_or_named_twice_is_rejected(lists):
    found = lists("A,P1", ",P1", "A,P2")
    assert problems(found.rejects) == [
        (3, "name", None, "missing_value"),
        (4, "name", "A", "duplicate_communication_plan"),
    ]
    assert found.plans[0].rate_plan_codes == ("P1",)


def test_a_file_without_communication_plans_is_refused(lists):
    with pytest.raises(InputError, match="nothing usable"):
        lists()
