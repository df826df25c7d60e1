"""Synthetic solve units, made from a seed straight as arrays; equal specs give equal units.

Usage is 10 to 50 % exact zeros, a lognormal body (median 1 to 30 MB, sigma 1 to 2) and 0.5 to 4 %
of SIMs in a Pareto(1.2) tail that starts at ten medians, at most 50 GB. Today's plan of a SIM is
drawn at random from its group's list: "do nothing" is a random assignment, not what an operator's
fleet looks like.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from benchmarks.catalogues import LADDER_MB, MB, UNIT, draw_plans
from core.billing.pools import plan_pools
from core.billing.tariff import build_tariff
from core.domain import BillingCycle, BillingPolicy, PoolScope, RatePlan
from core.problem import INDIVIDUAL, NO_LIMIT, Group, Int32Array, Int64Array, Problem
from core.sequences import generate_sequences

KINDS = ("pooled", "mixed", "individual", "classes", "classes-prorated", "sms")
"""Kinds of units. ``mixed`` has half of its plans pooled. ``classes`` has 2 to 5 groups with plan
lists of their own that share pools, ``classes-prorated`` also SIMs with different active days;
these and ``sms`` have pooled plans only under even seeds and half of them under odd ones."""

SEVERITIES = (
    "blocks of 1 GB at 10",
    "usage of 9 to 11 MB",
    "all usages equal",
    "all usages zero",
    "all but 3 zero",
    "one giant SIM",
    "plans of 5, 10 and 50 MB",
)
"""Units that are hard in one way, beside the realistic ones."""

MAX_SEQUENCES = 64
MAX_SIM_BYTES = 50 * 1024 * MB
CYCLE = BillingCycle(start_date=date(2026, 6, 1), end_date=date(2026, 6, 30))


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSpec:
    """What one unit is made from.

    Attributes
    ----------
    kind
        One of :data:`KINDS`.
    severity
        One of :data:`SEVERITIES`; empty for a realistic unit.
    n_plans
        Number of plans; None draws 5 to 15.
    """

    kind: str
    n_sims: int
    seed: int
    severity: str = ""
    n_plans: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.severity not in ("", *SEVERITIES):
            msg = f"kinds are {', '.join(KINDS)}; severities {', '.join(SEVERITIES)}"
            raise ValueError(msg)

    @property
    def key(self) -> str:
        """The spec as one line."""
        plans = f" plans={self.n_plans}" if self.n_plans else ""
        severity = f" severity={self.severity!r}" if self.severity else ""
        return f"kind={self.kind} sims={self.n_sims} seed={self.seed}{plans}{severity}"


def build(spec: InstanceSpec) -> Problem:
    """Make the unit of a spec."""
    severity = SEVERITIES.index(spec.severity) + 1 if spec.severity else 0
    rng = np.random.default_rng([spec.seed, spec.n_sims, KINDS.index(spec.kind), severity])
    plans = _plans(rng, spec)
    policy = BillingPolicy(cycle=CYCLE if spec.kind == "classes-prorated" else None)
    tariff = build_tariff(plans, policy)
    plan_pool = plan_pools(plans, tariff, PoolScope.PLAN)
    pooled = np.flatnonzero(plan_pool != INDIVIDUAL)
    lists = _plan_lists(rng, spec, plans)
    groups = tuple(
        Group(
            group_id=f"G{g + 1:04d}",
            eligible=listed,
            sequences=tuple(
                generate_sequences(tariff, listed, policy.charge_type, max_sequences=MAX_SEQUENCES)
            )
            if tariff.is_pooled[list(listed)].any()
            else (),
        )
        for g, listed in enumerate(lists)
    )
    group = rng.integers(0, len(lists), size=spec.n_sims).astype(np.int32)
    has_messages = spec.kind == "sms"
    return Problem(
        unit_id="U0001",
        tariff=tariff,
        groups=groups,
        usage_bytes=_usage(rng, spec),
        sms_count=_counts(rng, spec.n_sims, 20) if has_messages else _zeros(spec.n_sims),
        voice_seconds=_counts(rng, spec.n_sims, 600) if has_messages else _zeros(spec.n_sims),
        day_class=_day_classes(rng, spec, tariff.full_cycle),
        group=group,
        comm_plan=(group * 4 + rng.integers(0, 4, size=spec.n_sims)).astype(np.int32),
        current=_random_plans(rng, lists, group),
        pool_of=np.repeat(plan_pool[:, np.newaxis], len(lists), axis=1),
        pool_block_bytes=tariff.overage_block_bytes[pooled],
        pool_tier_from_block=tariff.tier_from_block[pooled],
        pool_tier_rate_micros=tariff.tier_rate_micros[pooled],
        is_locked=np.zeros(spec.n_sims, dtype=bool),
        min_sims=np.zeros(len(plans), dtype=np.int64),
        max_sims=np.full(len(plans), NO_LIMIT, dtype=np.int64),
        charge_type=policy.charge_type,
    )


def _plans(rng: np.random.Generator, spec: InstanceSpec) -> list[RatePlan]:
    pooled = {"pooled": "all", "mixed": "half", "individual": "none"}
    has_giant_blocks = spec.severity == "blocks of 1 GB at 10"
    is_tiny = spec.severity == "plans of 5, 10 and 50 MB"
    return draw_plans(
        rng,
        pooled=pooled.get(spec.kind, "half" if spec.seed % 2 else "all"),
        n_plans=3 if is_tiny else spec.n_plans,
        with_messages=spec.kind == "sms",
        with_proration=spec.kind == "classes-prorated",
        ladder_mb=(5.0, 10.0, 50.0) if is_tiny else LADDER_MB,
        block_mb=1024.0 if has_giant_blocks else None,
        block_price_micros=10 * UNIT if has_giant_blocks else None,
    )


def _plan_lists(
    rng: np.random.Generator, spec: InstanceSpec, plans: list[RatePlan]
) -> list[tuple[int, ...]]:
    """Plan numbers of each group; one pooled plan is in all lists, so that they form one unit."""
    if not spec.kind.startswith("classes"):
        return [tuple(range(len(plans)))]
    shared = int(rng.choice([k for k, plan in enumerate(plans) if plan.is_pooled]))
    lists = []
    for _ in range(int(rng.integers(2, 6))):
        drawn = rng.choice(len(plans), size=int(rng.integers(2, len(plans) + 1)), replace=False)
        lists.append(tuple(sorted({shared, *drawn.tolist()})))
    return lists


def _random_plans(
    rng: np.random.Generator, lists: list[tuple[int, ...]], group: Int32Array
) -> Int32Array:
    sizes = np.array([len(listed) for listed in lists])
    table = np.zeros((len(lists), int(sizes.max())), dtype=np.int32)
    for g, listed in enumerate(lists):
        table[g, : len(listed)] = listed
    return table[group, rng.integers(0, sizes[group])]


def _usage(rng: np.random.Generator, spec: InstanceSpec) -> Int64Array:
    n = spec.n_sims
    if spec.severity == "usage of 9 to 11 MB":
        return rng.integers(9 * MB, 11 * MB + 1, size=n)
    if spec.severity == "all usages zero":
        return _zeros(n)
    usage = _realistic_usage(rng, n)
    if spec.severity == "all usages equal":
        usage[:] = round(10 ** rng.uniform(0, 1.5) * MB)
    elif spec.severity == "all but 3 zero":
        usage[:] = 0
        usage[:3] = np.rint(10 ** rng.uniform(0, 3, size=min(3, n)) * MB)
    elif spec.severity == "one giant SIM":
        usage[0] = 9 * int(usage[1:].sum())
    return usage


def _realistic_usage(rng: np.random.Generator, n: int) -> Int64Array:
    is_zero = rng.random(n) < rng.uniform(0.1, 0.5)
    is_tail = rng.random(n) < rng.uniform(0.005, 0.04)
    median_mb, sigma = 10 ** rng.uniform(0, np.log10(30)), rng.uniform(1, 2)
    usage_mb = rng.lognormal(np.log(median_mb), sigma, size=n)
    usage_mb[is_tail] = 10 * median_mb * (1 + rng.pareto(1.2, size=int(is_tail.sum())))
    usage = np.rint(np.minimum(usage_mb * MB, MAX_SIM_BYTES)).astype(np.int64)
    usage[is_zero] = 0
    return usage


def _day_classes(rng: np.random.Generator, spec: InstanceSpec, full_cycle: int) -> Int32Array:
    """Three SIMs of ten were activated within the cycle."""
    days = np.full(spec.n_sims, full_cycle, dtype=np.int32)
    if full_cycle:
        is_new = rng.random(spec.n_sims) < 0.3
        days[is_new] = rng.integers(1, full_cycle + 1, size=int(is_new.sum()))
    return days


def _counts(rng: np.random.Generator, n: int, median: int) -> Int64Array:
    """Half zeros, the others lognormal."""
    drawn = np.rint(rng.lognormal(np.log(median), 1.2, size=n)).astype(np.int64)
    drawn[rng.random(n) < 0.5] = 0
    return drawn


def _zeros(n: int) -> Int64Array:
    return np.zeros(n, dtype=np.int64)
