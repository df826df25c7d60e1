"""The benchmarks measure what they say: equal specs, prices, references, and what a rerun takes over."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import sqlalchemy as sa

from benchmarks import records, references, storage, storage_session, storage_step
from benchmarks.cases import Case, Task
from benchmarks.instances import KINDS, SEVERITIES, InstanceSpec, build
from benchmarks.records import Store
from benchmarks.run import CASES, run_case
from core.billing.bill import total_cost
from core.storage.engine import open_engine, reading
from core.storage.schema import jasper_device_staging, optimization_m2m_device_result


def specs(n_sims):
    usual = [InstanceSpec(kind=kind, n_sims=n_sims, seed=seed) for kind in KINDS for seed in (0, 1)]
    severe = [
        InstanceSpec(kind=kind, n_sims=n_sims, seed=2, severity=severity)
        for severity in SEVERITIES
        for kind in ("pooled", "mixed")
    ]
    return usual + severe


def test_equal_specs_give_equal_units():
    for spec in specs(40):
        one, two = build(spec), build(spec)
        for name in ("usage_bytes", "sms_count", "voice_seconds", "day_class", "group", "current"):
            assert (getattr(one, name) == getattr(two, name)).all()
        assert one.groups == two.groups
        assert (one.tariff.fee_micros == two.tariff.fee_micros).all()


def test_the_reference_price_of_any_assignment_is_the_bill():
    rng = np.random.default_rng(7)
    for spec in specs(60):
        problem = build(spec)
        plans = rng.integers(0, len(problem.tariff.codes), size=problem.n_sims, dtype=np.int32)
        assert references.price(problem, plans) == total_cost(problem, plans)


def test_every_sim_has_a_plan_of_its_groups_list():
    for spec in specs(60):
        problem = build(spec)
        for g, group in enumerate(problem.groups):
            assert set(problem.current[problem.group == g].tolist()) <= set(group.eligible)


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_optimum_is_the_best_of_all_assignments_and_no_less_than_the_relaxation(kind):
    problem = build(InstanceSpec(kind=kind, n_sims=4, seed=3, n_plans=4))
    choices = [problem.groups[g].eligible for g in problem.group.tolist()]
    best = min(
        references.price(problem, np.array(plans, dtype=np.int32)) for plans in product(*choices)
    )
    optimum = references.milp_optimum(problem, limit_s=60)
    assert optimum.is_proven
    assert optimum.cost_micros == best
    assert references.lp_relaxation(problem).value_micros <= best + 1


def test_equal_sims_are_one_line_of_the_reference_program_and_get_plans_of_their_own():
    problem = build(
        InstanceSpec(kind="mixed", n_sims=400, seed=5, n_plans=6, severity="all but 3 zero")
    )
    optimum = references.milp_optimum(problem, limit_s=60)
    assert references.lp_relaxation(problem).value_micros <= optimum.cost_micros + 1
    assert optimum.cost_micros <= total_cost(problem, problem.current)


def counting_case():
    runs = []

    def task(key):
        return Task(key=key, run=lambda _: runs.append(key) or {"key": key})

    case = Case(
        name="count", about="", tasks=(task("a"), task("b")), table=lambda found: str(len(found))
    )
    return case, runs


def test_a_rerun_takes_over_what_the_same_code_has_measured(tmp_path, monkeypatch):
    case, runs = counting_case()
    store = Store(path=tmp_path / "records.jsonl")
    first = run_case(case, tmp_path, store, is_resumed=True)
    assert run_case(case, tmp_path, store, is_resumed=True) == first
    assert runs == ["a", "b"]
    run_case(case, tmp_path, store, is_resumed=False)
    assert runs == ["a", "b"] * 2
    monkeypatch.setattr(records, "code_version", lambda: "another")
    run_case(case, tmp_path, store, is_resumed=True)
    assert runs == ["a", "b"] * 3


def test_a_line_that_a_killed_run_left_half_written_is_measured_again(tmp_path):
    case, runs = counting_case()
    path = tmp_path / "records.jsonl"
    run_case(case, tmp_path, Store(path=path), is_resumed=True)
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    run_case(case, tmp_path, Store(path=path), is_resumed=True)
    run_case(case, tmp_path, Store(path=path), is_resumed=True)
    assert runs == ["a", "b", "b"]


def test_every_task_of_a_case_has_a_key_of_its_own():
    for case in CASES.values():
        keys = [task.key for task in case.tasks]
        assert len(set(keys)) == len(keys)


def test_every_way_of_moving_rows_stores_and_reads_what_it_was_given(tmp_path):
    url = f"sqlite:///{tmp_path / 'rows.db'}"
    files = storage.prepare(url, 300, tmp_path)
    assert files.keys() == storage_step.STEPS.keys()
    for step, path in files.items():
        assert storage_step.run_step(step, url, str(path))["rows"] == 300
    engine = open_engine(url)
    with reading(engine) as connection:
        for table in (jasper_device_staging, optimization_m2m_device_result):
            n_rows = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            assert n_rows == 300
    engine.dispose()


def test_the_measured_session_stores_and_improves_the_whole_fleet(tmp_path):
    record = storage_session.measure(200, tmp_path)
    assert record["sims"] == 200
    assert record["optimized_micros"] < record["baseline_micros"]
