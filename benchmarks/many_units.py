"""`python -m benchmarks.many_units SIMS UNITS`: the whole optimisation of a fleet of many units.

Every communication plan has a plan list of its own and pools of its own
(``PoolScope.COMM_GROUP``), so that each is one solve unit. Prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np
import polars as pl

from benchmarks.catalogues import draw_plans
from benchmarks.instances import MAX_SEQUENCES, InstanceSpec, build
from core.domain import BillingPolicy, CommunicationPlan, PoolScope
from core.fleet import normalise_fleet
from core.optimisation import optimise_fleet
from core.optimiser.result import SolveParams

N_PLANS = 15


def main(n_sims: int, n_units: int) -> None:
    """Measure and print."""
    rng = np.random.default_rng([n_sims, n_units])
    plans = draw_plans(rng, pooled="half", n_plans=N_PLANS)
    codes = [plan.code for plan in plans]
    lists: dict[tuple[str, ...], None] = {}
    while len(lists) < n_units:
        size = int(rng.integers(5, N_PLANS + 1))
        drawn = rng.choice(N_PLANS, size=size, replace=False)
        lists[tuple(codes[k] for k in sorted(drawn.tolist()))] = None
    comm_plans = [
        CommunicationPlan(name=f"C{k:05d}", rate_plan_codes=listed)
        for k, listed in enumerate(lists)
    ]
    comm_plan = np.arange(n_sims) % n_units
    usage = build(InstanceSpec(kind="mixed", n_sims=n_sims, seed=0, n_plans=N_PLANS)).usage_bytes
    current = [comm_plans[k].rate_plan_codes[0] for k in comm_plan.tolist()]
    fleet = normalise_fleet(
        pl.DataFrame(
            {
                "iccid": [f"{k:019d}" for k in range(n_sims)],
                "communication_plan": [comm_plans[k].name for k in comm_plan.tolist()],
                "rate_plan": current,
                "usage_bytes": usage,
            }
        )
    )
    started = time.perf_counter()
    outcome = optimise_fleet(
        fleet, plans, comm_plans, BillingPolicy(pool_scope=PoolScope.COMM_GROUP), SolveParams(),
        max_rate_plans=N_PLANS, max_sequences=MAX_SEQUENCES,
        workers=len(os.sched_getaffinity(0)),
    )  # fmt: skip
    seconds = time.perf_counter() - started
    print(json.dumps({"units": len(outcome.units), "seconds": seconds}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
