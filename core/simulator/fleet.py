"""A fleet of SIMs that looks like a real one, from a seed.

Usage is heavy-tailed: per communication plan 10 to 50 % of the SIMs use nothing at all, most of the
others follow a lognormal law, and 0.5 to 4 % a Pareto law with exponent 1.2. About nine in ten SIMs
are active. SIMs sit on plans that somebody once chose by last month's usage and a margin, or on
the communication plan's default, so that there is something to save. One row in 500 or so is
broken the way real exports are: no plan, no communication plan, a damaged ICCID.

Columns are drawn from separate streams of the seed, so that the same seed, size, cycle and
``as_of`` give the same fleet everywhere.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from core.carriers.iccid import luhn_digits
from core.domain import BillingCycle
from core.simulator.segments import SEGMENTS
from core.simulator.tariffs import (
    LEGACY_PLAN,
    MB,
    UNPUBLISHED_PLAN,
    simulated_communication_plans,
    simulated_rate_plans,
)

MAX_DEVICES = 10_000_000
"""Largest fleet whose serial numbers fit into the ICCID."""

SIMULATED_FLEET_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),  # unique; 20 digits, or 19 for SIMs of a second issuer
    "status": pl.String(),
    "rate_plan": pl.String(),  # null in a few broken rows
    "communication_plan": pl.String(),  # null in a few broken rows
    "usage_bytes": pl.Int64(),  # this cycle, all zones
    "roaming_bytes": pl.Int64(),  # the part of usage_bytes in the second zone
    "sms_mo": pl.Int64(),
    "sms_mt": pl.Int64(),
    "voice_mo_seconds": pl.Int64(),
    "voice_mt_seconds": pl.Int64(),
    "activated_ms": pl.Int64(),  # milliseconds since 1970 UTC; null where never activated
    "added_ms": pl.Int64(),
    "updated_ms": pl.Int64(),
}
"""Columns of a simulated fleet."""

_STATUSES = {
    "ACTIVATED": 0.905,
    "DEACTIVATED": 0.035,
    "INVENTORY": 0.025,
    "ACTIVATION_READY": 0.015,
    "TEST_READY": 0.010,
    "RETIRED": 0.006,
    "PURGED": 0.002,
    "REPLACED": 0.002,
}
_NEVER_ACTIVATED = ("INVENTORY", "ACTIVATION_READY", "TEST_READY")
_USAGE_CAP_BYTES = 50 << 30
_DAY_MS = 86_400_000
_BROKEN_SHARE_PER_KIND = 0.0004
_BROKEN_KINDS = 5

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def current_cycle(today: date) -> BillingCycle:
    """Return the calendar month of ``today``, the simulated account's billing cycle."""
    last = calendar.monthrange(today.year, today.month)[1]
    return BillingCycle(start_date=today.replace(day=1), end_date=today.replace(day=last))


def make_fleet(
    n_devices: int, seed: int, cycle: BillingCycle, *, as_of: datetime | None = None
) -> pl.DataFrame:
    """Make a fleet, deterministic in all its arguments.

    Parameters
    ----------
    n_devices
        Number of SIMs, ``0 .. MAX_DEVICES``.
    cycle
        The billing cycle whose usage the fleet has.
    as_of
        Nothing happens to a SIM after this time; default: noon of the cycle's last day, UTC.

    Returns
    -------
    polars.DataFrame
        ``SIMULATED_FLEET_SCHEMA``, one row per SIM.

    Raises
    ------
    ValueError
        If ``n_devices`` is out of range, ``seed`` is negative or ``as_of`` lies before the cycle.
    """
    if not 0 <= n_devices <= MAX_DEVICES:
        msg = f"a simulated fleet has 0 to {MAX_DEVICES:,} devices, not {n_devices:,}"
        raise ValueError(msg)
    if seed < 0:
        msg = f"the seed is 0 or more, not {seed}"
        raise ValueError(msg)
    as_of = as_of or datetime.combine(cycle.end_date, time(12), tzinfo=UTC)
    if as_of.date() < cycle.start_date:
        msg = f"as_of ({as_of:%Y-%m-%d}) lies before the cycle starts ({cycle.start_date})"
        raise ValueError(msg)
    segment = _draw_segments(n_devices, _stream(seed, 0))
    status = _draw_status(n_devices, _stream(seed, 1))
    usage = _draw_usage(segment, status, _stream(seed, 2))
    frame = pl.DataFrame(
        {
            "iccid": _draw_iccids(segment, _stream(seed, 3)),
            "status": np.array(list(_STATUSES))[status],
            "rate_plan": _draw_plans(segment, usage, _stream(seed, 4)),
            "communication_plan": np.array([s.communication_plan for s in SEGMENTS])[segment],
            "usage_bytes": usage,
            **_draw_extras(segment, status, usage, _stream(seed, 5)),
            **_draw_dates(segment, status, cycle, as_of, _stream(seed, 6)),
        },
        schema=SIMULATED_FLEET_SCHEMA,
    )
    return _break_some(frame, _stream(seed, 7))


def _stream(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number])


def _per_segment(segment: Ints, name: str) -> Floats:
    return np.array([getattr(s, name) for s in SEGMENTS], dtype=np.float64)[segment]


def _draw_segments(n: int, rng: np.random.Generator) -> Ints:
    return rng.choice(len(SEGMENTS), size=n, p=[s.share for s in SEGMENTS])


def _draw_status(n: int, rng: np.random.Generator) -> Ints:
    return rng.choice(len(_STATUSES), size=n, p=list(_STATUSES.values()))


def _draw_usage(segment: Ints, status: Ints, rng: np.random.Generator) -> Ints:
    n = len(segment)
    median = _per_segment(segment, "median_mb")
    body = median * np.exp(_per_segment(segment, "sigma") * rng.standard_normal(n))
    tail = 10 * median * (1 + rng.pareto(1.2, size=n))
    usage_mb = np.where(rng.random(n) < _per_segment(segment, "tail_share"), tail, body)
    usage: Ints = np.minimum(usage_mb * MB, _USAGE_CAP_BYTES).astype(np.int64)
    is_zero = rng.random(n) < _per_segment(segment, "zero_share")
    names = np.array(list(_STATUSES))[status]
    usage[is_zero | np.isin(names, ("INVENTORY", "ACTIVATION_READY", "PURGED", "REPLACED"))] = 0
    usage[names == "TEST_READY"] //= 64
    return usage


def _draw_iccids(segment: Ints, rng: np.random.Generator) -> pl.Series:
    """Draw serial numbers in order with gaps, each issuer's own length and a right check digit."""
    n = len(segment)
    serial = np.cumsum(rng.integers(1, 10, size=n)) + 10_000_000
    digits = _per_segment(segment, "iccid_digits")
    long_head = np.int64(8901410327) * 10**9  # 19 digits before the check digit
    short_head = np.int64(8901260712) * 10**8  # 18 digits before the check digit
    payload = np.where(digits == 20, long_head + serial, short_head + serial)
    check = np.empty(n, dtype=np.int64)
    for length in (19, 20):
        rows = np.flatnonzero(digits == length)
        powers = 10 ** np.arange(length - 2, -1, -1, dtype=np.int64)
        split = (payload[rows, None] // powers % 10).astype(np.uint8)
        check[rows] = luhn_digits(split)
    return pl.select(
        pl.concat_str(pl.Series(payload).cast(pl.String), pl.Series(check).cast(pl.String))
    ).to_series()


def _draw_plans(segment: Ints, usage: Ints, rng: np.random.Generator) -> npt.NDArray[np.str_]:
    """Choose each SIM's plan from its list by a noisy memory of last month, with a margin."""
    n = len(segment)
    included = {plan.code: plan.included_bytes for plan in simulated_rate_plans()}
    lists = {plan.name: plan.rate_plan_codes for plan in simulated_communication_plans()}
    remembered = usage * np.exp(0.6 * rng.standard_normal(n))
    margin = rng.choice(4, size=n, p=[0.62, 0.28, 0.08, 0.02])
    takes_default = rng.random(n) < 0.12
    is_legacy = rng.random(n) < _per_segment(segment, "legacy_share")
    is_unpublished = rng.random(n) < 0.003
    plans = np.empty(n, dtype="U16")
    for number, spec in enumerate(SEGMENTS):
        rows = np.flatnonzero(segment == number)
        codes = sorted(lists[spec.communication_plan], key=included.__getitem__)
        allowances = np.array([included[code] for code in codes])
        step = np.searchsorted(allowances, remembered[rows]) + margin[rows]
        plans[rows] = np.array(codes)[np.minimum(step, len(codes) - 1)]
        plans[rows[takes_default[rows]]] = spec.default_plan
    plans[is_legacy] = LEGACY_PLAN
    plans[is_unpublished] = UNPUBLISHED_PLAN
    return plans


def _draw_extras(
    segment: Ints, status: Ints, usage: Ints, rng: np.random.Generator
) -> dict[str, Ints]:
    """Roaming share, SMS and voice; SIMs that never worked have none."""
    n = len(segment)
    works = np.isin(np.array(list(_STATUSES))[status], ("ACTIVATED", "DEACTIVATED"))
    roaming = np.where(rng.random(n) < 0.03, usage // 8, 0)
    sms: Floats = works * _per_segment(segment, "sms_mean")
    voice: Floats = works * _per_segment(segment, "voice_mean_seconds") * (rng.random(n) < 0.3)
    return {
        "roaming_bytes": roaming,
        "sms_mo": rng.poisson(sms * 0.6),
        "sms_mt": rng.poisson(sms * 0.4),
        "voice_mo_seconds": rng.poisson(voice * 2),
        "voice_mt_seconds": rng.poisson(voice),
    }


def _draw_dates(
    segment: Ints,
    status: Ints,
    cycle: BillingCycle,
    as_of: datetime,
    rng: np.random.Generator,
) -> dict[str, Ints | pl.Series]:
    """Draw times in milliseconds: added < activated <= updated <= as_of, activations by daylight."""
    n = len(segment)
    start = _midnight_ms(cycle.start_date)
    end = min(int(as_of.timestamp() * 1000), _midnight_ms(cycle.end_date + timedelta(days=1)))
    n_days = max(1, (end - start) // _DAY_MS)
    is_recent = rng.random(n) < _per_segment(segment, "recent_share")
    days_before = 1 + (rng.random(n) ** 2 * 5 * 365).astype(np.int64)
    day = np.where(is_recent, rng.integers(0, n_days, size=n), -days_before)
    activated = np.minimum(start + day * _DAY_MS + rng.integers(8, 20, size=n) * 3_600_000, end)
    added = activated - rng.integers(30, 200, size=n) * _DAY_MS
    never = np.isin(np.array(list(_STATUSES))[status], _NEVER_ACTIVATED)
    base = np.where(never, added, activated)
    latest = np.where(is_recent | (rng.random(n) < 0.04), end, start)  # few were touched this cycle
    room = np.maximum(latest - base, 0)
    updated = base + (room * rng.random(n) ** 3).astype(np.int64)
    return {
        "activated_ms": pl.Series(activated).set(pl.Series(never), None),
        "added_ms": added,
        "updated_ms": updated,
    }


def _midnight_ms(day: date) -> int:
    return int(datetime.combine(day, time(), tzinfo=UTC).timestamp() * 1000)


def _break_some(frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Damage a few active SIMs, at least one of each kind from 500 SIMs on."""
    n_each = max(round(frame.height * _BROKEN_SHARE_PER_KIND), int(frame.height >= 500))
    active = np.flatnonzero((frame["status"] == "ACTIVATED").to_numpy())
    if n_each * _BROKEN_KINDS > len(active):
        return frame
    chosen = rng.choice(active, size=(_BROKEN_KINDS, n_each), replace=False)
    kind = np.full(frame.height, -1)
    for number, rows in enumerate(chosen):
        kind[rows] = number
    damage = pl.Series("kind", kind)
    last = pl.col("iccid").str.tail(1).cast(pl.Int64)
    head = pl.col("iccid").str.slice(0, pl.col("iccid").str.len_chars() - 1)
    iccid = (
        pl.when(damage == 2)
        .then(pl.concat_str(head, ((last + 1) % 10).cast(pl.String)))  # a wrong check digit
        .when(damage == 3)
        .then(pl.col("iccid").str.slice(3))  # cut off
        .when(damage == 4)
        .then(pl.concat_str(head, pl.lit("X")))  # not a number
        .otherwise(pl.col("iccid"))
    )
    return frame.with_columns(
        iccid.alias("iccid"),
        pl.when(damage != 0).then(pl.col("rate_plan")).alias("rate_plan"),
        pl.when(damage != 1).then(pl.col("communication_plan")).alias("communication_plan"),
    )
