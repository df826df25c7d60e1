"""How good the answers are: gaps to the certified bound and to proven optima, over seeded units.

The legacy method's source is not available; ``legacy`` is its reconstruction (O4), read in its
favour where a choice had to be made. ``nothing`` keeps today's plans, which are drawn at random.
Every cost is priced again by :func:`benchmarks.references.price`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.cases import Case, Task, markdown
from benchmarks.instances import KINDS, SEVERITIES, InstanceSpec, build
from benchmarks.records import Record
from benchmarks.references import milp_optimum, price
from core.errors import CheckFailedError
from core.optimiser import candidates
from core.optimiser.check import check
from core.optimiser.result import Result, SolveParams
from core.optimiser.solve import solve
from core.problem import INDIVIDUAL, Problem

UNIT = 1_000_000
INSTANCES = 20
LARGEST_MILP = 50
MILP_SECONDS, LONG_MILP_SECONDS = 20.0, 300.0
SEVERITY_SIZES = (200, 1_000, 10_000)
SEVERITY_SEEDS = 10


def measure(spec: InstanceSpec, *, milp_seconds: float = MILP_SECONDS) -> Record:
    """Solve one unit and compare its answer; amounts in micro-units."""
    problem = build(spec)
    _warm_up(spec.kind)
    started = time.perf_counter()
    result = solve(problem, SolveParams())
    seconds = time.perf_counter() - started
    single = candidates.best_single_plan(problem)
    record: Record = {
        "kind": spec.kind,
        "n_sims": spec.n_sims,
        "seed": spec.seed,
        "severity": spec.severity,
        "plans": len(problem.tariff.codes),
        "seconds": seconds,
        "status": result.status.value,
        "strategy": result.strategy.value,
        "cost": price(problem, result.assignment),
        "claimed_cost": result.cost_micros,
        "bound": result.lower_bound_micros,
        "refusal": refusal(problem, result),
        "legacy": result.legacy_best_cost_micros,
        "nothing": price(problem, problem.current),
        "single": price(problem, single.assignment) if single else None,
        "allowed_gap": allowed_gap(problem, result),
    }
    if spec.n_sims <= LARGEST_MILP:
        milp = milp_optimum(problem, limit_s=milp_seconds)
        record |= {
            "milp": milp.cost_micros,
            "is_milp_proven": milp.is_proven,
            "milp_seconds": milp.solve_s,
        }
    return record


def refusal(problem: Problem, result: Result) -> str | None:
    """Say why the independent check refuses a bound (O3), or None; also None without a bound."""
    if result.lower_bound_micros is None:
        return None
    try:
        check(problem, result)
    except CheckFailedError as error:
        return str(error)
    return None


def allowed_gap(problem: Problem, result: Result) -> int:
    """Sum of block price and largest fee over the pools that hold a SIM, micro-units."""
    pools = np.unique(problem.pool_of[result.assignment, problem.group])
    active = pools[pools != INDIVIDUAL]
    largest_fee = int(problem.tariff.fee_micros.max())
    return int(problem.pool_tier_rate_micros[active].max(axis=1).sum()) + len(active) * largest_fee


def cases() -> list[Case]:
    """Every quality case, small units first."""
    found = [
        _case("quality-50", "50 SIMs against the proven optimum", 50, INSTANCES),
        _case("quality-1k", "1,000 SIMs", 1_000, INSTANCES),
        _case("quality-10k", "10,000 SIMs", 10_000, INSTANCES),
        _case("quality-100k", "100,000 SIMs", 100_000, INSTANCES),
        _case("quality-1m", "1,000,000 SIMs", 1_000_000, INSTANCES, is_long=True),
        _case(
            "quality-50-long", f"50 SIMs, {LONG_MILP_SECONDS:.0f} s for each optimum", 50,
            INSTANCES, is_long=True, milp_seconds=LONG_MILP_SECONDS,
        ),
    ]  # fmt: skip
    severe = tuple(
        _task(InstanceSpec(kind=kind, n_sims=n, seed=seed, severity=severity), MILP_SECONDS)
        for severity in SEVERITIES
        for n in SEVERITY_SIZES
        for seed in range(SEVERITY_SEEDS)
        for kind in ("pooled" if seed % 2 == 0 else "mixed",)
    )
    found.append(
        Case(
            name="severity",
            about="units that are hard in one way, half of them pooled and half mixed",
            tasks=severe,
            table=severity_table,
        )
    )
    return found


def quality_table(records: Sequence[Record]) -> str:
    """One row per kind: gaps in percent, mean / max, over the certified bound."""
    header = [
        "kind", "SIMs", "units", "gap %", "legacy (reconstructed) %", "best single plan %",
        "do nothing (random plans) %", "bound > cost", "bounds refused", "priced otherwise", "median s",
    ]  # fmt: skip
    has_optimum = any("milp" in record for record in records)
    rows = []
    for kind in KINDS:
        found = [record for record in records if record["kind"] == kind]
        if not found:
            continue
        row = [
            kind, f"{found[0]['n_sims']:,}", len(found),
            *(_gaps(found, name) for name in ("cost", "legacy", "single", "nothing")),
            _violations(found), _refused(found), _mispriced(found), f"{_median(found, 'seconds'):.3f}",
        ]  # fmt: skip
        rows.append([*row, *_optimum_cells(found)] if has_optimum else row)
    if has_optimum:
        header += ["optimum proven", "equal to it", "dearer", "bound > optimum", "over optimum %"]
    return markdown(header, rows)


def severity_table(records: Sequence[Record]) -> str:
    """One row per severity and size, with absolute gaps beside what they may be."""
    header = [
        "units that are hard by", "SIMs", "units", "gap %", "legacy (reconstructed) %",
        "largest gap", "largest gap over block prices and fees of its pools",
        "units above that", "bound > cost", "bounds refused", "median s",
    ]  # fmt: skip
    rows = []
    for severity in SEVERITIES:
        for n in SEVERITY_SIZES:
            found = [r for r in records if r["severity"] == severity and r["n_sims"] == n]
            if found:
                gap, share, above = _absolute(found)
                rows.append([
                    severity, f"{n:,}", len(found), _gaps(found, "cost"), _gaps(found, "legacy"),
                    gap, share, above, _violations(found), _refused(found), f"{_median(found, 'seconds'):.3f}",
                ])  # fmt: skip
    return markdown(header, rows)


def _case(
    name: str,
    about: str,
    n_sims: int,
    instances: int,
    *,
    is_long: bool = False,
    milp_seconds: float = MILP_SECONDS,
) -> Case:
    specs = [
        InstanceSpec(kind=kind, n_sims=n_sims, seed=seed)
        for kind in KINDS
        for seed in range(instances)
    ]
    return Case(
        name=name,
        about=f"{about}, {instances} units of each kind",
        tasks=tuple(_task(spec, milp_seconds) for spec in specs),
        table=quality_table,
        is_long=is_long,
    )


def _task(spec: InstanceSpec, milp_seconds: float) -> Task:
    def run(_: Path) -> Record:
        return measure(spec, milp_seconds=milp_seconds)

    return Task(key=spec.key, run=run)


_warm: set[str] = set()


def _warm_up(kind: str) -> None:
    """Compile and load the kernels before anything of this kind is timed."""
    if kind not in _warm:
        solve(build(InstanceSpec(kind=kind, n_sims=300, seed=0)), SolveParams())
        _warm.add(kind)


def _percent(record: Record, name: str, base: str) -> float | None:
    amount, reference = record.get(name), record.get(base)
    if amount is None or reference is None or (reference <= 0 and amount != reference):
        return None
    return 0.0 if amount == reference else 100 * (amount - reference) / reference


def _gaps(records: Sequence[Record], name: str, base: str = "bound") -> str:
    """Mean / max of those that there are, and how many there are not."""
    gaps = [_percent(record, name, base) for record in records]
    known = [gap for gap in gaps if gap is not None]
    missing = f" ({len(gaps) - len(known)} unknown)" if len(known) < len(gaps) else ""
    if not known:
        return "unknown"
    return f"{statistics.fmean(known):.4f} / {max(known):.4f}{missing}"


def _absolute(records: Sequence[Record]) -> tuple[str, str, int]:
    """Largest gap in currency units, largest share of what it may be, and units above that."""
    gaps = [(r["cost"] - r["bound"], r["allowed_gap"]) for r in records if r["bound"] is not None]
    if not gaps:
        return "unknown", "unknown", 0
    shares = [gap / allowed if allowed else float(gap > 0) for gap, allowed in gaps]
    largest = f"{max(gap for gap, _ in gaps) / UNIT:.2f}"
    return largest, f"{max(shares):.2f}", sum(gap > allowed for gap, allowed in gaps)


def _optimum_cells(records: Sequence[Record]) -> list[object]:
    proven = [record for record in records if record["is_milp_proven"]]
    return [
        len(proven),
        sum(record["cost"] == record["milp"] for record in proven),
        sum(record["cost"] > record["milp"] for record in records),
        sum(record["bound"] is not None and record["bound"] > record["milp"] for record in records),
        _gaps(proven, "cost", "milp"),
    ]


def _violations(records: Iterable[Record]) -> int:
    return sum(r["bound"] is not None and r["bound"] > r["cost"] for r in records)


def _refused(records: Iterable[Record]) -> int:
    return sum(record["refusal"] is not None for record in records)


def _mispriced(records: Iterable[Record]) -> int:
    return sum(record["cost"] != record["claimed_cost"] for record in records)


def _median(records: Iterable[Record], name: str) -> float:
    return float(statistics.median(record[name] for record in records))
