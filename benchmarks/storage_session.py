"""`python -m benchmarks.storage_session N`: a session over N stored SIMs on SQLite; prints JSON.

The fleet is the simulator's and is put into the database here, without HTTP; then the stages do
what a flow run does, one batch after the other in this process. Reports are left out.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from benchmarks.own_memory import memory_mib, reset_peak
from benchmarks.storage_account import (
    NOW,
    add_account,
    begin_session,
    listed_rows,
    open_sync,
    sound_fleet,
)
from core.optimisation import solve_units
from core.settings import Settings
from core.stages.grouping import group_session, load_grouping
from core.stages.optimising import optimise_batch, plan_workload
from core.stages.sequencing import sequence_session
from core.stages.session import SessionContext, load_context
from core.storage.bulk import slices
from core.storage.device_store import SqlDeviceStore
from core.storage.devices import load_devices
from core.storage.engine import open_engine
from core.storage.migrate import upgrade
from core.storage.outcomes import load_outcome
from core.storage.records import PeriodRecord, ProviderRecord
from core.storage.results import publish
from core.sync.progress import SyncProgress
from core.sync.store import REJECT_SCHEMA

NO_REJECTS = pl.DataFrame(schema=REJECT_SCHEMA)


class Steps:
    """What each step took."""

    def __init__(self) -> None:
        self.found: list[dict[str, object]] = []

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a step; its memory is the peak of the whole process while it ran, in MiB."""
        reset_peak()
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self.found.append({"step": name, "seconds": seconds, "peak_mib": memory_mib("VmHWM")})


def measure(n_sims: int, folder: Path) -> dict[str, object]:
    """Fill a new database with ``n_sims`` SIMs, run a session over them, and tell every step."""
    engine = open_engine(f"sqlite:///{folder / 'session.db'}")
    upgrade(engine)
    provider, period = add_account(engine)
    steps = Steps()
    synchronise(engine, provider, period, sound_fleet(n_sims), steps)
    with steps.timed("load devices"):
        n_loaded = load_devices(engine, provider.id, period.id).height
    totals = optimise(engine, begin_session(engine, provider, period), steps)
    engine.dispose()
    if n_loaded != n_sims:
        msg = f"{n_loaded} SIMs were stored instead of {n_sims}"
        raise RuntimeError(msg)
    return {"sims": n_sims, "steps": steps.found, **totals}


def synchronise(
    engine: sa.Engine,
    provider: ProviderRecord,
    period: PeriodRecord,
    fleet: pl.DataFrame,
    steps: Steps,
) -> None:
    """Stage and publish a fleet as a synchronisation does, in slices instead of pages."""
    store, run = SqlDeviceStore(engine), open_sync(engine, provider, period)
    rows = listed_rows(fleet)
    usage = fleet.select(
        "iccid", pl.lit("").alias("rate_plan"), pl.lit("").alias("zone"), "usage_bytes",
        (pl.col("sms_mo") + pl.col("sms_mt")).alias("sms_count"),
        (pl.col("voice_mo_seconds") + pl.col("voice_mt_seconds")).alias("voice_seconds"),
    )  # fmt: skip
    with steps.timed("stage devices and usage"):
        for part in slices(rows):
            store.stage_devices(run, part, NO_REJECTS, SyncProgress())
        for part in slices(usage):
            store.stage_usage(run, part, NO_REJECTS, SyncProgress(), period_id=period.id)
    with steps.timed("publish devices and usage"):
        store.publish(run, today=NOW.date(), now=NOW)


def optimise(engine: sa.Engine, session_id: int, steps: Steps) -> dict[str, object]:
    """Run the stages of a session, and return its totals in micro-units."""
    knobs = Settings.model_construct()  # the defaults, whatever the environment says
    with steps.timed("group, store the snapshot"):
        group_session(
            engine, _context(engine, session_id), max_rate_plans=knobs.max_rate_plans, now=NOW
        )
    with steps.timed("sequences"):
        sequence_session(
            engine, _context(engine, session_id), max_rate_plans=knobs.max_rate_plans,
            max_sequences=knobs.max_sequences, now=NOW,
        )  # fmt: skip
    context = _context(engine, session_id)
    with steps.timed("load the snapshot"):
        grouping = load_grouping(engine, context, max_rate_plans=knobs.max_rate_plans)
        workload = plan_workload(
            engine, context, grouping, sims_per_batch=knobs.sims_per_batch,
            max_units_per_batch=knobs.max_units_per_batch,
        )  # fmt: skip
    params = context.solve_params(
        first_instance_limit=knobs.first_instance_limit,
        sequence_batch_size=knobs.sequence_batch_size,
    )
    with steps.timed("optimise, store the results"):
        for batch in workload.batches:
            optimise_batch(
                engine, context, workload, batch, params=params, solver=solve_units,
                now=lambda: NOW,
            )  # fmt: skip
    with steps.timed("load the results, totals"):
        outcome = load_outcome(engine, context.instance_id)
    with steps.timed("publish the results"):
        publish(engine, context.instance_id, outcome, now=NOW, fence=context.fence)
    return {
        "baseline_micros": outcome.baseline.objective_micros,
        "optimized_micros": outcome.optimized.objective_micros,
    }


def _context(engine: sa.Engine, session_id: int) -> SessionContext:
    return load_context(engine, session_id, 1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="carrier-opt-bench-") as name:
        print(json.dumps(measure(int(sys.argv[1]), Path(name))))
