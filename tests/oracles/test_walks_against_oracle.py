"""The compiled walks equal a plain-loop reading of O4."""

from __future__ import annotations

import importlib.util
from itertools import permutations, product
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.billing.tariff import NEVER, NO_CAP, Tariff
from core.domain import MAX_PRICE_MICROS, MAX_USAGE_BYTES, WALK_STRATEGIES, ChargeType, Strategy
from core.optimiser import sequence_bounds
from core.optimiser.lines import sim_lines
from core.optimiser.result import SolveParams
from core.optimiser.walks import walk_group
from core.problem import NO_LIMIT, Group, Problem

_spec = importlib.util.spec_from_file_location(
    "walk_oracle", Path(__file__).with_name("walk_oracle.py")
)
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)

N_CLASSES = 3


@st.composite
def instances(draw):
    """Plans, SIMs and sequences: small numbers and equal usages meet limits exactly."""
    rng = draw(st.randoms(use_true_random=True))  # evenly: structured draws met few exact ties
    price, size = rng.choice([(4, 3), (12, 20), (MAX_PRICE_MICROS, 1 << 44)])

    def overage(is_pooled):
        rates = [rng.randint(1, price) for _ in range(rng.choice([1, 1, 3]))]
        first, *others = sorted(rates) if is_pooled else rates
        edges = sorted(rng.sample(range(1, 3 * size), len(others)))
        return {
            "rate": first,
            "block": rng.randint(max(1, size >> 10), size),
            "tiers": list(zip(edges, others, strict=True)),
            "cap": None if is_pooled else rng.choice([None, rng.randint(0, 9 * price)]),
        }

    pools = [overage(is_pooled=True) for _ in range(3)]
    plans = []
    for _ in range(rng.randint(1, 5)):
        pool = rng.choice([None, 0, 1, 2])
        plans.append(
            {
                "fee": [rng.randint(0, price) for _ in range(N_CLASSES)],
                "included": [rng.randint(0, size) for _ in range(N_CLASSES)],
                **(overage(is_pooled=False) if pool is None else pools[pool]),
                "pool": pool,
                "sms_included": rng.randint(0, 2),
                "sms_rate": rng.randint(0, 5),
                "minutes_included": rng.randint(0, 2),
                "minute_rate": rng.randint(0, 5),
            }
        )
    usages = [0, *(rng.randint(0, 2 * size) for _ in range(3))]
    sims = [
        {
            "usage": rng.choice(usages),
            "sms": rng.randint(0, 4),
            "voice": rng.randint(0, 200),
            "day": rng.randrange(N_CLASSES),
            "comm_plan": rng.randint(0, 3),
        }
        for _ in range(rng.randint(1, 12))
    ]
    current = [rng.randrange(len(plans)) for _ in sims]
    every = [s for k in range(1, len(plans) + 1) for s in permutations(range(len(plans)), k)]
    sequences = rng.sample(every, min(len(every), 4))
    charge_type = rng.choice(["rate_and_overage", "overage"])
    return plans, pools, sims, current, sequences, charge_type


def tier_tables(priced):
    """First block and rate of every tier, padded; a tier that begins with the same block counts last."""
    rows = []
    for one in priced:
        tiers = {0: one["rate"]}
        for volume, rate in one.get("tiers", ()):
            tiers[(volume + one["block"] - 1) // one["block"]] = rate
        rows.append(list(tiers.items()))
    longest = max(map(len, rows))
    rows = [row + [(NEVER, row[-1][1])] * (longest - len(row)) for row in rows]
    tables = np.array(rows, dtype=np.int64)
    return tables[:, :, 0], tables[:, :, 1]


def make_problem(plans, pools, sims, current, sequences, charge_type):
    def column(name):
        return np.array([plan[name] for plan in plans], dtype=np.int64)

    def per_sim(name, dtype=np.int64):
        return np.array([sim[name] for sim in sims], dtype=dtype)

    tier_from_block, tier_rate_micros = tier_tables(plans)
    pool_tier_from_block, pool_tier_rate_micros = tier_tables(pools)
    caps = [NO_CAP if plan.get("cap") is None else plan["cap"] for plan in plans]
    tariff = Tariff(
        codes=tuple(f"P{k}" for k in range(len(plans))),
        full_cycle=N_CLASSES - 1,
        fee_micros=column("fee"),
        included_bytes=column("included"),
        overage_rate_micros=column("rate"),
        overage_block_bytes=column("block"),
        tier_from_block=tier_from_block,
        tier_rate_micros=tier_rate_micros,
        overage_cap_micros=np.array(caps, dtype=np.int64),
        is_pooled=np.array([plan["pool"] is not None for plan in plans]),
        included_sms=column("sms_included"),
        sms_rate_micros=column("sms_rate"),
        included_voice_minutes=column("minutes_included"),
        voice_rate_micros=column("minute_rate"),
    )
    pool_of = [-1 if plan["pool"] is None else plan["pool"] for plan in plans]
    return Problem(
        unit_id="U1",
        tariff=tariff,
        groups=(
            Group(group_id="G1", eligible=tuple(range(len(plans))), sequences=tuple(sequences)),
        ),
        usage_bytes=per_sim("usage"),
        sms_count=per_sim("sms"),
        voice_seconds=per_sim("voice"),
        day_class=per_sim("day", np.int32),
        group=np.zeros(len(sims), dtype=np.int32),
        comm_plan=per_sim("comm_plan", np.int32),
        current=np.array(current, dtype=np.int32),
        pool_of=np.array(pool_of, dtype=np.int32)[:, np.newaxis],
        pool_block_bytes=np.array([pool["block"] for pool in pools], dtype=np.int64),
        pool_tier_from_block=pool_tier_from_block,
        pool_tier_rate_micros=pool_tier_rate_micros,
        is_locked=np.zeros(len(sims), dtype=bool),
        min_sims=np.zeros(len(tariff.codes), dtype=np.int64),
        max_sims=np.full(len(tariff.codes), NO_LIMIT, dtype=np.int64),
        charge_type=ChargeType(charge_type),
    )


@given(instances())
@settings(max_examples=400, deadline=None)
def test_every_walk_gives_the_cost_and_the_assignment_of_the_plain_loops(instance):
    plans, _, sims, current, sequences, charge_type = instance
    problem = make_problem(*instance)
    walked = walk_group(problem, 0, np.arange(len(sims)), SolveParams())
    expected = {}
    for k, strategy in enumerate(WALK_STRATEGIES):
        for s, sequence in enumerate(sequences):
            assignment, cost = oracle.walk(
                plans, sims, sequence, strategy.value, N_CLASSES - 1, charge_type
            )
            assert walked.walks.cost_micros[s, k] == cost
            changes = sum(p != q for p, q in zip(assignment, current, strict=True))
            expected[cost, changes, strategy.value, s] = assignment, k
    best = min(expected)
    assert walked.best.tolist() == expected[best][0]
    assert (walked.walks.best_sequence, walked.walks.best_strategy) == (best[3], expected[best][1])


@given(instances(), st.sampled_from(WALK_STRATEGIES))
@settings(max_examples=400, deadline=None)
def test_the_walk_of_one_sequence_with_one_strategy_is_that_of_the_plain_loops(instance, strategy):
    plans, pools, sims, current, sequences, charge_type = instance
    problem = make_problem(plans, pools, sims, current, sequences[:1], charge_type)
    walked = walk_group(problem, 0, np.arange(len(sims)), SolveParams(strategies=(strategy,)))
    assignment, cost = oracle.walk(
        plans, sims, sequences[0], strategy.value, N_CLASSES - 1, charge_type
    )
    assert walked.best.tolist() == assignment
    assert walked.walks.cost_micros.tolist() == [[cost]]


BUCKETS = st.sampled_from([1, 2, 128])


def every_sequence(plans):
    numbers = range(len(plans))
    return [s for k in range(1, len(plans) + 1) for s in permutations(numbers, k)]


@given(instances(), BUCKETS)
@settings(max_examples=150, deadline=None)
def test_no_assignment_to_the_plans_of_a_sequence_costs_less_than_its_bound(instance, buckets):
    plans, pools, sims, current, sequences, charge_type = instance
    sims, current = sims[:4], current[:4]
    problem = make_problem(plans, pools, sims, current, sequences, charge_type)
    with mock.patch.object(sequence_bounds, "_BUCKETS", buckets):
        lines = sim_lines(problem, 0, np.arange(len(sims)))
        bounds = sequence_bounds.sequence_bounds(problem, 0, lines).of(sequences)
    for sequence, bound in zip(sequences, bounds.tolist(), strict=True):
        assignments = product(sequence, repeat=len(sims))
        least = min(oracle.private_cost(plans, sims, one, charge_type) for one in assignments)
        assert bound <= least
        if all(plans[p]["pool"] is None for p in sequence) and buckets == 128:
            assert bound == least  # no pool, one SIM per bucket: nothing is lost


@given(instances(), st.integers(1, 5), st.sampled_from([1, 7, 256]), BUCKETS)
@settings(max_examples=300, deadline=None)
def test_pruning_loses_no_walk_that_is_as_cheap_as_the_first_ones(instance, limit, size, buckets):
    plans, pools, sims, current, _, charge_type = instance
    sequences = every_sequence(plans)[:40]
    problem = make_problem(plans, pools, sims, current, sequences, charge_type)
    rows = np.arange(len(sims))
    every = walk_group(problem, 0, rows, SolveParams(first_instance_limit=len(sequences)))
    params = SolveParams(first_instance_limit=limit, sequence_batch_size=size)
    with mock.patch.object(sequence_bounds, "_BUCKETS", buckets):
        walked = walk_group(problem, 0, rows, params)
    is_pruned = walked.walks.is_pruned
    figure = every.walks.cost_micros[:limit].min()
    assert not is_pruned[:limit].any()
    assert (every.walks.cost_micros[is_pruned] > figure).all()
    assert (walked.walks.cost_micros == every.walks.cost_micros)[~is_pruned].all()
    assert walked.best.tolist() == every.best.tolist()
    assert walked.walks.best_sequence == every.walks.best_sequence
    assert walked.walks.best_strategy == every.walks.best_strategy


NOTHING_ELSE = {"sms_included": 0, "sms_rate": 0, "minutes_included": 0, "minute_rate": 0}


def walk_two_pooled_plans(included, price, sims, strategy):
    """Walk (small plan, dearer plan): the small one's limit is ``included + 1 / price`` bytes."""
    small = {"fee": [0] * 3, "included": [included] * 3, "pool": 0}
    large = {"fee": [1] * 3, "included": [MAX_USAGE_BYTES] * 3, "pool": 1}
    plans = [{**plan, "rate": price, "block": 1, **NOTHING_ELSE} for plan in (small, large)]
    sims = [{"usage": u, "sms": 0, "voice": 0, "day": 2, "comm_plan": c} for u, c in sims]
    problem = make_problem(plans, plans, sims, [0] * len(sims), [(0, 1)], "rate_and_overage")
    params = SolveParams(strategies=(strategy,))
    return walk_group(problem, 0, np.arange(len(sims)), params).best.tolist()


def test_averages_at_the_end_of_the_ranges_are_compared_exactly():
    """At 2**49 + 1/3 bytes the third SIM, with 2**49 + 1, fills the plan; the fourth is too much."""
    usages = [1 << 49, 1 << 49, (1 << 49) + 1, (1 << 49) + 1]
    up = Strategy.NO_GROUPING_SMALLEST_TO_LARGEST
    assert walk_two_pooled_plans(1 << 49, 3, [(u, 0) for u in usages], up) == [0, 0, 0, 1]


def test_fractions_of_a_byte_add_up_over_communication_plans():
    """At 10 + 1/4 bytes 4 SIMs may use 41: 20 by the first two and 21 by the others."""
    sims = [(10, 0), (10, 0), (10, 1), (11, 1)]
    up = Strategy.GROUP_BY_COMM_PLAN_SMALLEST_TO_LARGEST
    assert walk_two_pooled_plans(10, 4, sims, up) == [0, 0, 0, 0]
    assert walk_two_pooled_plans(10, 5, sims, up) == [0, 0, 1, 1]


def test_room_beyond_64_bits_takes_everything():
    """8,192 SIMs with 2**50 bytes each have room for 2**63 bytes."""
    sims = [(0, 0)] * 8192 + [(MAX_USAGE_BYTES, 1)]
    up = Strategy.GROUP_BY_COMM_PLAN_SMALLEST_TO_LARGEST
    assert set(walk_two_pooled_plans(MAX_USAGE_BYTES, 4, sims, up)) == {0}
