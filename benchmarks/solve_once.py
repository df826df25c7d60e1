"""`python -m benchmarks.solve_once SPEC`: times one unit in a process of its own; prints JSON.

SPEC is a JSON object with the fields of :class:`benchmarks.instances.InstanceSpec`, and ``repeats``
and ``is_cold`` (nothing is compiled or loaded before the first solve).
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.instances import InstanceSpec, build
from benchmarks.own_memory import memory_mib, reset_peak
from core.optimiser.result import SolveParams
from core.optimiser.solve import solve
from core.problem import Problem


def main(text: str) -> None:
    """Measure and print."""
    given: dict[str, Any] = json.loads(text)
    repeats, is_cold = given.pop("repeats"), given.pop("is_cold")
    spec = InstanceSpec(**given)
    print(json.dumps(cold(spec) if is_cold else warm(spec, repeats)))


def cold(spec: InstanceSpec) -> dict[str, object]:
    """Time the first solve of a process, and the second."""
    problem = build(spec)
    first, _ = _timed(lambda: solve(problem, SolveParams()))
    second, _ = _timed(lambda: solve(problem, SolveParams()))
    return {"first_s": first, "second_s": second}


def warm(spec: InstanceSpec, repeats: int) -> dict[str, object]:
    """Time solves after one of a small unit, in turn with a stable argsort of the usage column.

    ``solve_s`` is the optimiser without walks: the same unit without candidate sequences.
    ``with_walks_s`` is what production does, with the legacy comparison. Memory is what the first
    large solve adds at its peak, and is measured before anything else has run at that size.
    """
    small = build(replace(spec, n_sims=300))
    for problem in (small, without_sequences(small)):
        solve(problem, SolveParams())
    full = build(spec)
    problem = without_sequences(full)
    before_mib = reset_peak()
    solve(problem, SolveParams())
    added_mib = None if before_mib is None else memory_mib("VmHWM") - before_mib
    argsort_s, solve_s = [], []
    for _ in range(repeats):
        argsort_s.append(_timed(lambda: np.argsort(problem.usage_bytes, kind="stable"))[0])
        solve_s.append(_timed(lambda: solve(problem, SolveParams()))[0])
    with_walks_s, result = _timed(lambda: solve(full, SolveParams()))
    return {
        "argsort_s": statistics.median(argsort_s),
        "solve_s": statistics.median(solve_s),
        "with_walks_s": with_walks_s,
        "all_argsort_s": argsort_s,
        "all_solve_s": solve_s,
        "before_mib": before_mib,
        "added_mib": added_mib,
        "cost": result.cost_micros,
        "bound": result.lower_bound_micros,
    }


def without_sequences(problem: Problem) -> Problem:
    """Return the same unit with nothing to walk."""
    return replace(problem, groups=tuple(replace(g, sequences=()) for g in problem.groups))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    value = work()
    return time.perf_counter() - started, value


if __name__ == "__main__":
    main(sys.argv[1])
