"""How fast: the solver beside an argsort and beside HiGHS, many units, and the first call.

Every measurement of the solver has a process of its own (:mod:`benchmarks.solve_once`). A ratio is
one of medians that were measured in turn in the same process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.cases import Case, Task, markdown
from benchmarks.instances import InstanceSpec, build
from benchmarks.records import Record
from benchmarks.references import lp_relaxation
from benchmarks.solve_once import without_sequences
from core.optimiser.result import SolveParams
from core.optimiser.solve import solve

ROOT = Path(__file__).parents[1]
KINDS = ("pooled", "mixed")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
N_PLANS = 15
REPEATS = 5
LP_SEEDS = {1_000: 3, 10_000: 3, 100_000: 1}
LONG_LP = 100_000


def cases() -> list[Case]:
    """Every speed case."""
    return [
        Case(
            name="speed",
            about=f"the solver alone, {N_PLANS} plans, beside a stable argsort; memory",
            tasks=tuple(_solver_task(kind, n) for kind in KINDS for n in SIZES),
            table=solver_table,
        ),
        Case(
            name="speed-lp",
            about="the solver beside the HiGHS relaxation, 1,000 and 10,000 SIMs",
            tasks=_lp_tasks([n for n in LP_SEEDS if n < LONG_LP]),
            table=lp_table,
        ),
        Case(
            name="speed-lp-100k",
            about="the solver beside the HiGHS relaxation, 100,000 SIMs",
            tasks=_lp_tasks([LONG_LP]),
            table=lp_table,
            is_long=True,
        ),
        Case(
            name="units",
            about="100,000 SIMs in 2,000 solve units, one worker a core",
            tasks=(Task(key="sims=100000 units=2000", run=_many_units),),
            table=units_table,
        ),
        Case(
            name="cold",
            about="the first solve of a process, with kernels compiled and not yet compiled",
            tasks=(Task(key="kind=mixed sims=1000", run=_cold),),
            table=cold_table,
        ),
    ]


def solver_table(records: Sequence[Record]) -> str:
    """One row per kind and size."""
    header = [
        "kind", "SIMs", "argsort s", "solver s", "solver / argsort", "with walks s",
        "memory before MiB", "added at peak MiB",
    ]  # fmt: skip
    rows = [
        [
            r["kind"], f"{r['n_sims']:,}", f"{r['argsort_s']:.4f}", f"{r['solve_s']:.3f}",
            f"{r['solve_s'] / r['argsort_s']:.1f}", f"{r['with_walks_s']:.3f}",
            _mib(r["before_mib"]), _mib(r["added_mib"]),
        ]
        for r in records
    ]  # fmt: skip
    return markdown(header, rows)


def lp_table(records: Sequence[Record]) -> str:
    """One row per unit."""
    header = [
        "kind", "SIMs", "seed", "HiGHS relaxation s", "solver s", "times faster",
        "cost over relaxation %", "bound under relaxation %",
    ]  # fmt: skip
    rows = [
        [
            r["kind"], f"{r['n_sims']:,}", r["seed"], f"{r['lp_s']:.2f}", f"{r['solve_s']:.3f}",
            f"{r['lp_s'] / r['solve_s']:.0f}",
            f"{100 * (r['cost'] / r['lp_value'] - 1):.4f}",
            "unknown" if r["bound"] is None else f"{100 * (1 - r['bound'] / r['lp_value']):.7f}",
        ]
        for r in records
    ]  # fmt: skip
    return markdown(header, rows)


def units_table(records: Sequence[Record]) -> str:
    """One row."""
    rows = [[r["units"], f"{r['seconds']:.1f}", f"{r['wall_s']:.1f}"] for r in records]
    return markdown(["solve units", "optimise_fleet s", "whole process s"], rows)


def cold_table(records: Sequence[Record]) -> str:
    """One row per state of the cache of compiled kernels."""
    rows = [
        [name, f"{r[key]['first_s']:.2f}", f"{r[key]['second_s']:.3f}"]
        for r in records
        for name, key in (("empty", "empty_cache"), ("filled", "filled_cache"))
    ]
    return markdown(["cache of compiled kernels", "first solve s", "second solve s"], rows)


def _solver_task(kind: str, n_sims: int) -> Task:
    spec = InstanceSpec(kind=kind, n_sims=n_sims, seed=0, n_plans=N_PLANS)

    def run(_: Path) -> Record:
        measured = _child("benchmarks.solve_once", _request(spec, is_cold=False))
        return {"kind": kind, "n_sims": n_sims, **measured}

    return Task(key=spec.key, run=run)


def _lp_tasks(sizes: Sequence[int]) -> tuple[Task, ...]:
    return tuple(
        _lp_task(InstanceSpec(kind=kind, n_sims=n, seed=seed, n_plans=N_PLANS))
        for n in sizes
        for kind in KINDS
        for seed in range(LP_SEEDS[n])
    )


def _lp_task(spec: InstanceSpec) -> Task:
    def run(_: Path) -> Record:
        full = build(spec)
        problem = without_sequences(full)
        solve(problem, SolveParams())
        started = time.perf_counter()
        solve(problem, SolveParams())
        solve_s = time.perf_counter() - started
        lp, result = lp_relaxation(problem), solve(full, SolveParams())
        return {
            "kind": spec.kind,
            "n_sims": spec.n_sims,
            "seed": spec.seed,
            "solve_s": solve_s,
            "lp_s": lp.solve_s,
            "lp_build_s": lp.build_s,
            "lp_value": lp.value_micros,
            "cost": result.cost_micros,
            "bound": result.lower_bound_micros,
        }

    return Task(key=spec.key, run=run)


def _many_units(_: Path) -> Record:
    started = time.perf_counter()
    measured = _child("benchmarks.many_units", "100000", "2000")
    return {**measured, "wall_s": time.perf_counter() - started}


def _cold(_: Path) -> Record:
    """Twice in new processes: the first fills the cache that the second finds."""
    request = _request(InstanceSpec(kind="mixed", n_sims=1_000, seed=0), is_cold=True)
    with tempfile.TemporaryDirectory(prefix="carrier-opt-kernels-") as cache:
        environment = {"NUMBA_CACHE_DIR": cache}
        empty = _child("benchmarks.solve_once", request, environment=environment)
        filled = _child("benchmarks.solve_once", request, environment=environment)
    return {"empty_cache": empty, "filled_cache": filled}


def _request(spec: InstanceSpec, *, is_cold: bool) -> str:
    return json.dumps({**asdict(spec), "repeats": REPEATS, "is_cold": is_cold})


def _child(module: str, *arguments: str, environment: dict[str, str] | None = None) -> Record:
    """Run a module in a process of its own and read the JSON that it prints.

    Raises
    ------
    RuntimeError
        If it fails; with the end of its output.
    """
    finished = subprocess.run(  # noqa: S603 - our own modules
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        msg = f"{module} {' '.join(arguments)} ended with {finished.returncode}:\n"
        raise RuntimeError(msg + finished.stderr[-2000:])
    record: Record = json.loads(finished.stdout.splitlines()[-1])
    return record


def _mib(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:.0f}"
