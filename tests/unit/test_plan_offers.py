"""Plans of the carrier's list: exactly as they say, or refused with the reason."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import replace

import pytest

from core.carriers.offered_catalogue import compare_offers
from core.carriers.plan_offers import PlanOffers, RefusedOffer, plan_of, read_plan_offers
from core.domain import OverageTier, RatePlan
from core.files.rate_plan_table import write_rate_plans
from core.files.rate_plans import read_rate_plans
from core.simulator.payloads import rate_plan_entry
from core.simulator.tariffs import simulated_rate_plans

MB = 1 << 20
ZONE = {
    "includedData": 10,
    "includedDataUnit": "MB",
    "bulkOverageEnabled": "true",
    "dataRoundingUnit": "1 KB",
    "dataRoundingFrequency": "Billing Cycle",
    "tiers": [{"tierLevel": 1, "dataOverage": 0.1, "dataOverageUnit": "MB"}],
}
ENTRY = {
    "name": "P10",
    "id": 7,
    "version": 1,
    "status": "PUBLISHED",
    "type": "Monthly - Pooled Subscriber",
    "subscriptionCharge": 2.3,
    "subscriptionChargeUnit": "USD",
    "numberOfTiers": 1,
    "tiers": [{"tierLevel": 1, "perSubscriberCharge": 2.3}],
    "dataUsage": {"useDefaultRating": "false", "zones": {"Home": ZONE}},
}
PLAN = RatePlan(
    code="P10",
    plan_type="Monthly - Pooled Subscriber",
    monthly_rate_micros=2_300_000,
    included_bytes=10 * MB,
    overage_rate_micros=100_000,
    overage_block_bytes=MB,
    is_pooled=True,
)


def entry(zone=None, **fields):
    """The plan above with other fields; those of `zone` go into its zone. None leaves a field out."""
    made = deepcopy(ENTRY)
    for target, values in ((made, fields), (made["dataUsage"]["zones"]["Home"], zone or {})):
        target.update(values)
        for name in [name for name, value in values.items() if value is None]:
            del target[name]
    return made


def read(plan, mb_bytes=MB):
    return plan_of(plan, mb_bytes=mb_bytes, currency="USD")


def tier(**fields):
    return {"tiers": [{**ZONE["tiers"][0], **fields}]}


def test_a_plan_is_read_as_it_says():
    assert read(entry()) == PLAN
    individual = read(entry(type="Monthly - Individual Subscriber"))
    assert (individual.is_pooled, individual.code) == (False, "P10")


@pytest.mark.parametrize("mb_bytes", [MB, 1_000_000])
def test_every_plan_of_the_simulated_account_is_read_as_it_is_billed(mb_bytes):
    plans = simulated_rate_plans()
    entries = [rate_plan_entry(number, plan) for number, plan in enumerate(plans)]
    found = read_plan_offers(entries, mb_bytes=mb_bytes, currency="USD")
    assert found.refused == ()
    names = (
        "code",
        "monthly_rate_micros",
        "overage_rate_micros",
        "overage_block_bytes",
        "is_pooled",
    )
    expected = sorted(plans, key=lambda plan: plan.code)
    for name in names:
        assert [getattr(p, name) for p in found.plans] == [getattr(p, name) for p in expected]
    included = [p.included_bytes * MB // mb_bytes for p in found.plans]
    assert [p.included_bytes for p in expected] == pytest.approx(included, rel=1e-12)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        # A float is its shortest decimal: 0.1 + 0.2 in binary is not 0.3.
        (entry(subscriptionCharge="12.345678", tiers=None), {"monthly_rate_micros": 12_345_678}),
        (entry(subscriptionCharge=0.29, tiers=None), {"monthly_rate_micros": 290_000}),
        (entry({"includedData": 0.3, "dataRoundingUnit": "MB"}), {"included_bytes": 314_573}),
        (entry({"includedData": 2, "includedDataUnit": "GB"}), {"included_bytes": 2048 * MB}),
        (entry(tier(dataOverageUnit="100 KB")), {"overage_block_bytes": 102_400}),
        (entry(tier(dataOverageUnit="102400 bytes")), {"overage_block_bytes": 102_400}),
        # Not in whole units: a block is the rounding unit, at its share of the price.
        (
            entry({"bulkOverageEnabled": False, **tier(dataOverage=0.1024)}),
            {"overage_block_bytes": 1024, "overage_rate_micros": 100},
        ),
        (
            entry({"bulkOverageEnabled": None, "dataRoundingUnit": MB}),
            {"overage_block_bytes": MB, "overage_rate_micros": 100_000},
        ),
    ],
)
def test_numbers_and_units_are_taken_exactly(changed, expected):
    found = read(changed)
    assert found == replace(PLAN, **expected)


def test_the_other_megabyte_makes_other_units():
    found = read(entry({"includedData": 1, "includedDataUnit": "GB"}), 1_000_000)
    assert (found.included_bytes, found.overage_block_bytes) == (10**9, 10**6)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (entry(type="Monthly - Flexible Pool"), "type 'Monthly - Flexible Pool' is not known"),
        (entry(type=None), "type None is not known"),
        (entry(name=None), "no name"),
        (entry(name="=cmd()"), "a spreadsheet would run"),
        (entry(name=" P"), "blanks at an end"),
        (entry(status="RETIRED"), "status is 'RETIRED'"),
        (entry(subscriptionCharge=None), "subscriptionCharge is missing"),
        (entry(subscriptionCharge=True), "subscriptionCharge is True, which is no number"),
        (entry(subscriptionCharge=float("nan")), "which is no number"),
        (entry(subscriptionCharge="1e999999"), "out of every range"),
        (entry(subscriptionCharge=-1), "out of range"),
        (entry(subscriptionChargeUnit="EUR"), "'EUR', the account's currency is USD"),
        (entry(subscriptionChargeUnit=None), "None, the account's currency is USD"),
        (entry(numberOfTiers=2), "number of subscribers"),
        (entry(tiers=ENTRY["tiers"] * 2), "number of subscribers"),
        (entry(tiers=[{"perSubscriberCharge": 2.2}]), "perSubscriberCharge of its tier differ"),
        (entry(dataUsage=None), "no prices of data"),
        (entry(dataUsage={**ENTRY["dataUsage"], "useDefaultRating": "true"}), "by a default"),
        (entry(dataUsage={"zones": {}}), "no zone"),
        (entry({"includedData": None}), "includedData is missing"),
        (entry({"includedDataUnit": "Mb"}), "includedDataUnit 'Mb' is not known"),
        (entry(tier(dataOverageUnit="parsec")), "dataOverageUnit 'parsec' is not known"),
        (entry(tier(dataOverageUnit=None)), "dataOverageUnit None is not known"),
        (entry(tier(dataOverage=None)), "dataOverage is missing"),
        (entry(tier(dataOverage=0)), "the overage rate must be above 0"),
        (entry({"tiers": []}), "no charge of overage"),
        (entry({"tiers": ZONE["tiers"] * 2}), "overage depends on the number of subscribers"),
        (entry({"dataRoundingFrequency": "Session"}), "rounded by 'Session'"),
        (entry({"dataRoundingUnit": None}), "dataRoundingUnit None is not known"),
        (entry({"dataRoundingUnit": "3 KB"}), "no multiple"),
        (entry({"dataRoundingUnit": "10 MB"}), "no multiple"),
        (entry({"bulkOverageEnabled": "perhaps"}), r"whole units \(bulk\)"),
        (entry({"bulkOverageEnabled": False}), "no whole number of millionths"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_reason(changed, reason):
    found = read(changed)
    assert isinstance(found, RefusedOffer)

    assert re.search(reason, found.reason), found.reason


def zones(*made):
    return entry(dataUsage={"zones": {f"Z{k}": {**ZONE, **zone} for k, zone in enumerate(made)}})


def test_zones_count_as_one_only_where_that_changes_no_bill():
    assert "Z0, Z1" in read(zones({}, tier(dataOverage=5))).reason
    assert "an allowance of their own" in read(zones({}, {})).reason
    found = read(zones({"includedData": 0}, {"includedData": 0}))
    assert (found.included_bytes, found.overage_rate_micros) == (0, 100_000)


def test_versions_of_a_name_have_to_say_the_same():
    def offers(*entries):
        return read_plan_offers(entries, mb_bytes=MB, currency="USD")

    dearer = entry(subscriptionCharge=3, tiers=None, version=2)
    assert offers(entry(), entry(version=2)).plans == (PLAN,)
    assert offers(entry(), {**dearer, "status": "RETIRED"}).plans == (PLAN,)
    assert offers({**dearer, "status": "RETIRED"}, entry()).plans == (PLAN,)
    for pair in ((entry(), dearer), (entry(type="?"), entry())):
        found = offers(*pair)
        assert found.plans == ()
        assert [r.name for r in found.refused] == ["P10"]
        assert "2 published versions" in found.refused[0].reason


def test_offers_are_compared_with_what_is_stored():
    stored = [
        replace(PLAN, code="SAME", sms_rate_micros=10, plan_type="x"),
        replace(PLAN, code="DEARER", monthly_rate_micros=1, is_prorated=True),
        replace(PLAN, code="ASLEEP", is_active=False),
        replace(PLAN, code="ODD", included_sms=5),
        replace(PLAN, code="GONE"),
        replace(PLAN, code="GONE LONG AGO", is_active=False),
    ]
    offered = [replace(PLAN, code=code) for code in ("ASLEEP", "DEARER", "NEW", "SAME")]
    refused = (RefusedOffer(name="ODD", reason="odd"), RefusedOffer(name="X", reason="odd"))
    found = compare_offers(PlanOffers(plans=tuple(offered), refused=refused), stored)
    assert [(o.plan.code, o.state.value, o.changed) for o in found.offered] == [
        ("ASLEEP", "changed", ("is_active",)),
        ("DEARER", "changed", ("monthly_rate_micros",)),
        ("NEW", "new", ()),
        ("SAME", "same", ()),
    ]
    assert found.gone == ("GONE",)
    assert found.kept == (stored[3],)
    assert [plan.code for plan in found.plans] == ["ASLEEP", "DEARER", "NEW", "ODD", "SAME"]
    assert found.plans[1] == replace(stored[1], monthly_rate_micros=2_300_000)
    assert found.plans[4] == stored[0]
    assert found.plans[0].is_active


@pytest.mark.parametrize("mb_bytes", [MB, 1_000_000])
def test_a_written_rate_plans_file_reads_back_as_it_was(tmp_path, mb_bytes):
    full = replace(
        PLAN,
        code="A, \"quoted\"",
        name="Name",
        included_bytes=10**9 + 7,
        overage_block_bytes=1,
        is_prorated=True,
        is_pooled=False,
        included_sms=3,
        sms_rate_micros=1,
        included_voice_minutes=4,
        voice_rate_micros=123_456_789,
        regulatory_fee_micros=5,
        pool_group="G",
        overage_tiers=(
            OverageTier(from_bytes=0, rate_micros=7),
            OverageTier(from_bytes=MB + 1, rate_micros=9),
        ),
        overage_cap_micros=0,
        min_devices=0,
        max_devices=12,
    )  # fmt: skip
    path = tmp_path / "plans.csv"
    write_rate_plans(path, [full, PLAN], mb_bytes)
    found = read_rate_plans(path, mb_bytes=mb_bytes)
    assert found.plans == (full, PLAN)
    assert [path.name for path in tmp_path.iterdir()] == ["plans.csv"]
