"""Usage metrics of 1,000 SIMs against plain Python on fractions (U1)."""

from __future__ import annotations

import math
import random
import statistics
from datetime import date
from fractions import Fraction

import polars as pl
import pytest

from core.errors import DataError
from core.usage.metrics import HISTORY_SCHEMA, METRICS_SCHEMA, usage_metrics

STARTS = [date(2026, 8, 1), date(2026, 9, 1), date(2026, 10, 1)]
ULP = 2**-52


def history(rows):
    return pl.DataFrame(rows, schema=HISTORY_SCHEMA, orient="row")


def made_up(n_sims=1000, seed=7):
    """Rows in random order: gaps as nulls and as absent rows, zeros, small and huge values."""
    random_ = random.Random(seed)  # noqa: S311 - test data
    kinds = [
        lambda: 0,
        lambda: random_.randrange(1 << 30),
        lambda: (1 << 53) + random_.randrange(-9, 10),
        lambda: (1 << 60) + random_.randrange(1 << 60),
        lambda: random_.randrange(3),
    ]
    rows = []
    for number in range(n_sims):
        kind = random_.choice(kinds)
        for start in STARTS:
            fate = random_.random()
            usage = None if fate < 0.15 else 0 if fate < 0.25 else kind()
            days = None if usage is None or random_.random() < 0.3 else random_.randrange(32)
            if fate > 0.08 or number % 50 == 0:
                rows.append((f"89{number:017d}", start, usage, days))
    random_.shuffle(rows)
    return rows


def percentile(values, percent):
    """Smallest value that at least so many percent do not exceed."""
    for value in sorted(values):
        if 100 * sum(other <= value for other in values) >= percent * len(values):
            return value
    return None


def slope(points):
    mean_x = Fraction(sum(x for x, _ in points), len(points))
    mean_y = Fraction(sum(y for _, y in points), len(points))
    over = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return over / sum((x - mean_x) ** 2 for x, _ in points)


def expected(rows):
    by_sim = {}
    for iccid, start, usage, days in rows:
        by_sim.setdefault(iccid, []).append((start, usage, days))
    found = {}
    for iccid, cycles in by_sim.items():
        points = [(STARTS.index(start), use) for start, use, _ in cycles if use is not None]
        values = [use for _, use in points]
        known = [days for *_, days in cycles if days is not None]
        found[iccid] = {
            "cycles_reported": len(values),
            "total_bytes": sum(values) if values else None,
            "mean_bytes": Fraction(sum(values), len(values)) if values else None,
            "max_bytes": max(values, default=None),
            "min_bytes": min(values, default=None),
            "std_bytes": statistics.pvariance([Fraction(v) for v in values]) if values else None,
            "p80_bytes": percentile(values, 80),
            "p95_bytes": percentile(values, 95),
            "trend_bytes_per_cycle": slope(points) if len(points) > 1 else None,
            "days_with_usage": sum(known) if known else None,
        }
    return found


def assert_close(found, exact, what, ulps=2):
    """Within so many units in the last place of the exact value, as few roundings leave it."""
    if exact is None:
        assert found is None, what
        return
    assert found is not None, what
    assert abs(Fraction(found) - exact) <= abs(exact) * Fraction(ulps * ULP), what


def check(rows):
    found = usage_metrics(history(rows))
    assert dict(found.schema) == METRICS_SCHEMA
    wanted = expected(rows)
    assert found["iccid"].to_list() == sorted(wanted)
    for row in found.iter_rows(named=True):
        exact = wanted[row["iccid"]]
        for name in METRICS_SCHEMA:
            what = (row["iccid"], name, row[name])
            if name in ("mean_bytes", "trend_bytes_per_cycle"):
                assert_close(row[name], exact[name], what)
            elif name == "std_bytes":
                square = None if row[name] is None else Fraction(row[name]) ** 2
                assert_close(square, exact[name], what, ulps=4)  # 2 of the root
            elif name != "iccid":
                assert row[name] == exact[name], what


def test_metrics_of_a_thousand_sims_are_those_of_plain_arithmetic():
    rows = made_up()
    usages = [usage for _, _, usage, _ in rows]
    assert None in usages
    assert 0 in usages
    assert max(usage or 0 for usage in usages) > 1 << 60
    assert len(rows) < 3000
    check(rows)


@pytest.mark.parametrize("n_cycles", range(1, 25))
def test_percentiles_hold_for_every_length_of_history(n_cycles):
    starts = [date(2024 + k // 12, 1 + k % 12, 1) for k in range(n_cycles)]
    usages = [(k * 7919) % 101 for k in range(n_cycles)]
    rows = [("A", start, use, None) for start, use in zip(starts, usages, strict=True)]
    found = usage_metrics(history(rows)).row(0, named=True)
    assert found["p80_bytes"] == percentile(usages, 80)
    assert found["p95_bytes"] == percentile(usages, 95)
    assert math.isclose(found["std_bytes"], statistics.pstdev(usages), rel_tol=1e-14)


def test_a_gap_keeps_its_place_in_the_trend():
    rows = [("A", STARTS[0], 100, None), ("A", STARTS[2], 300, None), ("B", STARTS[1], 5, None)]
    found = usage_metrics(history(rows))
    assert found["trend_bytes_per_cycle"].to_list() == [100.0, None]


def test_nothing_reported_is_not_zero_bytes():
    rows = [("A", STARTS[0], None, None), ("B", STARTS[0], 0, 0)]
    a, b = usage_metrics(history(rows)).rows(named=True)
    assert (a.pop("iccid"), a.pop("cycles_reported")) == ("A", 0)
    assert set(a.values()) == {None}
    assert (b["cycles_reported"], b["total_bytes"], b["mean_bytes"], b["std_bytes"]) == (1, 0, 0, 0)
    assert (b["p95_bytes"], b["days_with_usage"]) == (0, 0)


def test_an_empty_history_has_no_metrics():
    assert dict(usage_metrics(history([])).schema) == METRICS_SCHEMA


def test_the_largest_total_is_exact_and_one_more_byte_is_refused():
    rows = [("A", STARTS[0], (1 << 63) - 2, None), ("A", STARTS[1], 1, None)]
    assert usage_metrics(history(rows))["total_bytes"].to_list() == [(1 << 63) - 1]
    rows.append(("A", STARTS[2], 1, None))
    with pytest.raises(
        DataError, match="SIM A: its usage adds up to 9223372036854775808, more than"
    ):
        usage_metrics(history(rows))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("A", STARTS[0], 1, None), "SIM A has several rows of the cycle of 2026-08-01"),
        (("A", STARTS[1], -1, None), "SIM A, cycle of 2026-09-01: usage_bytes is -1"),
        (("A", STARTS[1], 1, -2), "SIM A, cycle of 2026-09-01: days_with_usage is -2"),
        ((None, STARTS[1], 1, 1), "no ICCID or no period"),
        (("A", None, 1, 1), "no ICCID or no period"),
    ],
)
def test_rows_that_are_no_history_are_refused(row, message):
    with pytest.raises(DataError, match=message):
        usage_metrics(history([("A", STARTS[0], 1, None), row]))
