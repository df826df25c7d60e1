"""Taxes agree with plain fractions over plain rows, to the micro-unit (B6, B10)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.billing.taxes import tax_of, tax_sims
from core.domain import BillingPolicy, ChargeType, CommunicationPlan, RatePlan, TaxBase, TaxRate
from core.errors import DataError
from core.fleet import normalise_fleet
from core.optimisation import optimise_fleet
from core.optimiser.result import SolveParams

PLACES = ["NY", "TX", "CA", "FL"]


def oracle_tax(rate: int, overage: int, tax: TaxRate) -> int:
    """One tax of one SIM; ``round`` of a fraction goes to the nearest integer, ties to even."""
    taxed = {"rate": rate, "overage": overage, "total": rate + overage}[str(tax.base)]
    return round(Fraction(taxed) * Fraction(tax.percent_millionths, 1_000_000) / 100)


def oracle(sims, taxes):
    """Sum per SIM, and per jurisdiction and name; a SIM is rate, overage and jurisdiction."""
    per_sim, per_tax = [], dict.fromkeys([(tax.jurisdiction, tax.name) for tax in taxes], 0)
    for rate, overage, place in sims:
        per_sim.append(0)
        for tax in taxes:
            if tax.jurisdiction == place:
                amount = oracle_tax(rate, overage, tax)
                per_sim[-1] += amount
                per_tax[tax.jurisdiction, tax.name] += amount
    return per_sim, per_tax


def arrays(sims):
    rate, overage, place = zip(*sims, strict=True)
    return (
        np.array(rate, dtype=np.int64),
        np.array(overage, dtype=np.int64),
        pl.Series(place, dtype=pl.String),
    )


charges = st.one_of(
    st.integers(0, 300), st.integers(0, 1 << 34), st.integers(0, 1 << 57),
    st.integers(0, 999).map(lambda k: k * 10**6 + 500_000),
)  # fmt: skip
percents = st.one_of(
    st.sampled_from([0, 1, 8_250_000, 50_000_000, 99_999_999, 100_000_000]),
    st.integers(0, 100_000_000),
)
tables = st.lists(
    st.builds(
        TaxRate,
        jurisdiction=st.sampled_from(PLACES[:3]),
        name=st.sampled_from("abcdef"),
        percent_millionths=percents,
        base=st.sampled_from(list(TaxBase)),
    ),
    max_size=9,
    unique_by=lambda tax: (tax.jurisdiction, tax.name),
)
fleets = st.lists(
    st.tuples(charges, charges, st.sampled_from([*PLACES, None])), min_size=1, max_size=8
)


@given(fleets, tables)
def test_the_tax_of_every_sim_and_of_every_tax_is_the_oracles(sims, taxes):
    found = tax_sims(*arrays(sims), taxes)
    per_sim, per_tax = oracle(sims, taxes)
    assert found.sim_micros.tolist() == per_sim
    assert found.tax_micros == tuple(per_tax[tax.jurisdiction, tax.name] for tax in taxes)
    assert sum(found.tax_micros) == sum(per_sim)


@pytest.mark.parametrize(
    ("base", "millionths", "expected"),
    [
        (1, 50_000_000, 0),  # 0.5 to the even 0
        (3, 50_000_000, 2),  # 1.5 to the even 2
        (5, 50_000_000, 2),  # 2.5 to the even 2
        (1, 50_000_001, 1),
        (3, 49_999_999, 1),
        (200, 1_250_000, 2),  # 2.5
        (280, 1_250_000, 4),  # 3.5
        ((1 << 53) + 1, 100_000_000, (1 << 53) + 1),  # no float64
        ((1 << 62) - 1, 50_000_000, 1 << 61),  # a tie, rounded up to the even number
        ((1 << 62) - 3, 50_000_000, (1 << 61) - 2),  # a tie, rounded down
        ((1 << 62) - 1, 99_999_999, 4_611_685_972_310_527_719),
        (0, 100_000_000, 0),
    ],
)
def test_ties_go_to_even_and_no_size_loses_a_micro_unit(base, millionths, expected):
    one = tax_of(np.array([base], dtype=np.int64), np.array([millionths], dtype=np.int64))
    assert one.tolist() == [expected]
    assert expected == round(Fraction(base * millionths, 10**8))


def sales_tax(millionths: int, name: str = "Sales") -> TaxRate:
    return TaxRate(
        jurisdiction="NY", name=name, percent_millionths=millionths, base=TaxBase.TOTAL
    )  # fmt: skip


def test_sums_beyond_their_range_and_percentages_beyond_theirs_are_refused():
    everything = [(1 << 61, 1 << 61, "NY")]
    assert tax_sims(*arrays(everything), [sales_tax(100_000_000)]).tax_micros == (1 << 62,)
    with pytest.raises(DataError, match="the taxes of this fleet add up to"):
        tax_sims(*arrays(everything), [sales_tax(100_000_000), sales_tax(1_000, "Fee")])
    with pytest.raises(DataError, match="the charges of this fleet add up to 4611686018427387905"):
        tax_sims(*arrays([*everything, (1, 0, None)]), [])
    with pytest.raises(DataError, match="tax 'Sales' of jurisdiction 'NY' is 100000001"):
        tax_sims(*arrays(everything), [sales_tax(100_000_001)])


TAXES = [
    TaxRate(jurisdiction=place, name=name, percent_millionths=percent, base=TaxBase(base))
    for place, name, percent, base in [
        ("NY", "Sales", 8_250_000, "total"), ("TX", "Sales", 6_250_000, "total"),
        ("NY", "Data fee", 12_345_678, "overage"), ("TX", "Excise", 2_500_000, "rate"),
        ("FL", "Sales", 7_000_000, "total"),
    ]
]  # fmt: skip


@pytest.mark.parametrize("charge_type", list(ChargeType))
def test_a_fleet_is_taxed_on_its_shares_of_the_pools_whatever_is_minimised(charge_type):
    plans = [
        RatePlan(
            code=code, monthly_rate_micros=fee, included_bytes=included, overage_rate_micros=37,
            overage_block_bytes=3, is_pooled=is_pooled, regulatory_fee_micros=11,
        )
        for code, fee, included, is_pooled in [
            ("I", 1_003, 10, False), ("P", 1_501, 25, True), ("Q", 2_507, 60, True),
        ]
    ]  # fmt: skip
    n = 60
    fleet = normalise_fleet(
        pl.DataFrame(
            {
                "iccid": [f"{k:03d}" for k in range(n)],
                "communication_plan": "A",
                "rate_plan": [["I", "P", "Q", "GONE"][k % 4] for k in range(n)],
                "usage_bytes": [(k * 37) % 101 for k in range(n)],
                "jurisdiction": [["NY", "TX", "CA", None, "NY"][k % 5] for k in range(n)],
            }
        )
    )

    def optimise(taxes):
        return optimise_fleet(
            fleet, plans, [CommunicationPlan(name="A", rate_plan_codes=("I", "P", "Q"))],
            BillingPolicy(charge_type=charge_type), SolveParams(),
            max_rate_plans=15, max_sequences=64, workers=1, taxes=taxes,
        )  # fmt: skip

    outcome, plain = optimise(TAXES), optimise(None)
    assert (outcome.baseline, outcome.optimized) == (plain.baseline, plain.optimized)
    assert plain.assignments["current_tax_micros"].null_count() == n
    assert plain.baseline_tax_micros is plain.optimized_tax_micros is plain.taxes is None
    assert outcome.taxes is not None
    totals = {"current": outcome.baseline_tax_micros, "recommended": outcome.optimized_tax_micros}
    for side, total in totals.items():
        parts = [f"{side}_{part}_micros" for part in ("rate", "overage")]
        rows = outcome.assignments.select(*parts, "jurisdiction", f"{side}_tax_micros", "reason")
        priced = rows.filter(pl.col("reason") != "unpriced")
        assert priced.height == n - n // 4
        per_sim, per_tax = oracle([row[:3] for row in priced.rows()], TAXES)
        assert priced[f"{side}_tax_micros"].to_list() == per_sim
        assert rows[f"{side}_tax_micros"].null_count() == n // 4
        is_baseline = side == "current"
        assert {
            (entry.tax.jurisdiction, entry.tax.name): (
                entry.baseline_micros if is_baseline else entry.optimized_micros
            )
            for entry in outcome.taxes
        } == per_tax
        assert total == sum(per_sim) > 0
    assert [(entry.tax.jurisdiction, entry.tax.name) for entry in outcome.taxes] == sorted(
        (tax.jurisdiction, tax.name) for tax in TAXES
    )
    in_ny = [k for k in range(n) if k % 5 in (0, 4) and k % 4 != 3]
    assert outcome.taxes[1].devices == len(in_ny)
    assert outcome.taxes[0].devices == 0  # Florida has a tax and no SIM
