"""Death at every statement of every write of results: what is there is whole, a rerun ends the same.

The database's own answer to a statement is replaced by an exception, once, at the k-th statement,
for every k: that is what a killed process leaves behind, as far as the database can tell.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from core.assembly import assemble, assignments_of
from core.domain import BillingCycle, BillingPolicy, CommunicationPlan, PoolScope, RatePlan
from core.fleet import normalise_fleet
from core.grouping import group_fleet, iter_problems
from core.optimisation import fleet_sequences, solve_unit
from core.optimiser.result import SolveParams
from core.storage.audit import Author
from core.storage.catalogue_changes import add_period, add_provider
from core.storage.device_store import SqlDeviceStore
from core.storage.devices import load_devices
from core.storage.engine import insert_row, open_engine, reading, writing
from core.storage.instances import create_instance, find_instances
from core.storage.migrate import upgrade
from core.storage.outcomes import load_assignments, load_outcome
from core.storage.plan_import import replace_catalogue
from core.storage.queues import load_sequences, save_sequences
from core.storage.records import ProviderSettings
from core.storage.results import publish
from core.storage.schema import metadata, optimization_session
from core.storage.snapshot import load_snapshot, save_grouping
from core.storage.unit_results import finished_units, save_unit_results
from core.sync.store import (
    DEVICE_STAGE_SCHEMA,
    REJECT_SCHEMA,
    USAGE_STAGE_SCHEMA,
    RunRequest,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MB = 1 << 20
LISTED = pl.DataFrame({"iccid": ["0"], "reason": ["not_billable"]})


class DeathError(Exception):
    """The process dies at this statement."""


@dataclass
class Case:
    """One optimisation in hand, to be written into a database."""

    grouping: object
    sequences: dict
    solutions: list
    outcome: object

    def group(self, engine):
        save_grouping(engine, 1, self.grouping, LISTED, now=NOW)

    def sequence(self, engine):
        save_sequences(engine, 1, self.sequences, now=NOW)

    def store(self, engine):
        for solution in self.solutions:
            rows = assignments_of(self.grouping, [solution])
            save_unit_results(engine, 1, rows, [solution.result], now=NOW)

    def publish(self, engine):
        publish(engine, 1, self.outcome, now=NOW)


STEPS = (Case.group, Case.sequence, Case.store, Case.publish)


@pytest.fixture(scope="module")
def case():
    plans = [
        RatePlan(
            code=code,
            monthly_rate_micros=fee,
            included_bytes=included * MB,
            overage_rate_micros=200_000,
            overage_block_bytes=MB,
            is_pooled=True,
        )
        for code, fee, included in (("S", 1_000_000, 1), ("L", 9_000_000, 100))
    ]
    lists = [
        CommunicationPlan(name="one", rate_plan_codes=("S", "L")),
        CommunicationPlan(name="two", rate_plan_codes=("L",)),
    ]
    rows = [(f"{n}", ("one", "two")[n % 3 == 2], "SL"[n % 2], n * 20 * MB) for n in range(1, 10)]
    schema = ["iccid", "communication_plan", "rate_plan", "usage_bytes"]
    fleet = normalise_fleet(pl.DataFrame(rows, schema=schema, orient="row"))
    cycle = BillingCycle(start_date=date(2026, 11, 1), end_date=date(2026, 11, 30))
    policy = BillingPolicy(cycle=cycle, pool_scope=PoolScope.COMM_GROUP)
    grouping = group_fleet(fleet, plans, lists, policy, max_rate_plans=15)
    sequences = fleet_sequences(grouping, 64)
    solutions = [solve_unit(p, SolveParams()) for p in iter_problems(grouping, sequences)]
    outcome = assemble(grouping, solutions, assignments_of(grouping, solutions))
    assert len(grouping.unit_ids) == 2
    assert any(len(found) > 1 for found in sequences.values())
    return Case(grouping, sequences, solutions, outcome)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "template.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    author = Author(actor="test")
    settings = ProviderSettings(
        name="Acme",
        tenant="T",
        integration="jasper",
        base_url="https://rest.example.com",
        credential_ref="env:ACME",
        time_zone="UTC",
    )
    provider = add_provider(engine, settings, now=NOW, author=author)
    period = add_period(
        engine, provider.id, date(2026, 11, 1), date(2026, 11, 30), now=NOW, author=author
    )
    replace_catalogue(engine, provider.id, [], [], now=NOW, author=author)
    with writing(engine) as connection:
        session_id = insert_row(
            connection,
            optimization_session,
            SessionId="1",
            TenantId=provider.tenant_id,
            ServiceProviderId=provider.id,
            BillingPeriodId=period.id,
            Kind="m2m",
            State="OPTIMISING",
            Parameters="{}",
            TriggeredBy="test",
            CreatedBy="test",
            CreatedDate=NOW,
        )
    instance = {"session_id": session_id, "provider": provider, "period": period}
    assert create_instance(engine, **instance, now=NOW, created_by="test") == 1
    engine.dispose()
    return path


@pytest.fixture
def open_copy(template, tmp_path):
    engines = []

    def make():
        path = tmp_path / f"{len(engines)}.db"
        shutil.copy(template, path)
        engines.append(open_engine(f"sqlite:///{path}"))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


def contents(engine):
    """Every row of every table; numbers of rows are left out, since a repetition has others."""
    numbers = {"Id", "QueueId", "CommGroupId", "CommPlanGroupId", "WinningQueueId"}
    numbers |= {"CommGroup_RatePlanId", "LastSyncRunId"}
    with reading(engine) as connection:
        return {
            table.name: sorted(
                [
                    tuple(value for name, value in row.items() if name not in numbers)
                    for row in connection.execute(sa.select(table)).mappings()
                ],
                key=repr,
            )
            for table in metadata.sorted_tables
        }


def dies_at(engine, k, act):
    """Run ``act`` and die at its k-th statement; whether it got that far."""
    left = [k]

    def strike(*_rest):
        left[0] -= 1
        if left[0] == 0:
            raise DeathError

    event.listen(engine, "before_cursor_execute", strike)
    try:
        act(engine)
    except DeathError:
        return True
    finally:
        event.remove(engine, "before_cursor_execute", strike)
    return False


def whole_or_nothing(engine, case):
    """Whatever a reader is given is complete."""
    instance = find_instances(engine, 1)[0]
    if instance.grouped_at is not None:
        found, listed = load_snapshot(engine, 1)
        assert found.equals(case.grouping.fleet)
        assert listed["iccid"].to_list() == ["0"]
    if instance.sequenced_at is not None and instance.published_at is None:
        assert load_sequences(engine, 1) == case.sequences
    if instance.grouped_at is not None:
        expected, units = case.outcome.assignments, finished_units(engine, 1)
        is_finished = pl.col("unit_id").is_in(list(units)) | pl.col("unit_id").is_null()
        assert load_assignments(engine, 1).equals(expected.filter(is_finished))
        if units == set(case.grouping.unit_ids):
            assert load_outcome(engine, 1).assignments.equals(expected)
    with reading(engine) as connection:
        winners = connection.exec_driver_sql(
            "SELECT COUNT(*), SUM(IsWinner) FROM OptimizationQueue"
        ).one()
    n_groups = len(case.grouping.groups)
    if instance.published_at is None:
        assert not winners[1]
    else:
        assert tuple(winners) == (n_groups, n_groups)


@pytest.mark.parametrize("was_done", [False, True], ids=["first time", "done before"])
@pytest.mark.parametrize("step", range(len(STEPS)), ids=[step.__name__ for step in STEPS])
def test_death_at_any_statement_leaves_whole_states_and_a_rerun_ends_the_same(
    case, open_copy, monkeypatch, step, was_done
):
    monkeypatch.setattr("core.storage.bulk.SLICE_ROWS", 4)  # several slices, so several commits
    clean = open_copy()
    for act in STEPS:
        act(case, clean)
    expected = contents(clean)
    engine = open_copy()
    for act in STEPS[: step + was_done]:
        act(case, engine)
    k = 1
    while dies_at(engine, k, lambda e: STEPS[step](case, e)):
        whole_or_nothing(engine, case)
        k += 1
    assert k > (1 if was_done else 5)
    for act in STEPS[step + 1 :]:
        act(case, engine)
    whole_or_nothing(engine, case)
    assert contents(engine) == expected


def test_a_publish_that_dies_changes_no_row(case, open_copy):
    engine = open_copy()
    for act in STEPS[:-1]:
        act(case, engine)
    before = contents(engine)
    k = 1
    while dies_at(engine, k, case.publish):
        assert contents(engine) == before
        k += 1
    assert k > 8


def test_death_at_any_statement_of_a_device_publish_changes_no_row(open_copy):
    engine = open_copy()
    store = SqlDeviceStore(engine)

    def staged(rows, usage):
        request = RunRequest(service_provider_id=1, period_id=1, since=None, page_size=50)
        run = store.open_run(request, now=NOW)
        rejects = pl.DataFrame(schema=REJECT_SCHEMA)
        frame = [(i, "ACTIVATED", plan, "C", None, False, n) for n, (i, plan) in enumerate(rows)]
        devices = pl.DataFrame(frame, schema=DEVICE_STAGE_SCHEMA, orient="row")
        store.stage_devices(run, devices, rejects, run.progress)
        frame = [(i, "A", "", n_bytes, 0, 0) for i, n_bytes in usage]
        used = pl.DataFrame(frame, schema=USAGE_STAGE_SCHEMA, orient="row")
        store.stage_usage(run, used, rejects, run.progress, period_id=1)
        return run

    def publish_run(run):
        store.publish(run, today=NOW.date(), now=NOW)

    publish_run(staged([("1", "A"), ("2", "A")], [("1", 5)]))
    run = staged([("2", "B"), ("3", "B")], [("1", 7), ("3", 9)])
    before = contents(engine)
    k = 1
    while dies_at(engine, k, lambda _: publish_run(run)):
        assert contents(engine) == before
        k += 1
    assert k > 8
    found = load_devices(engine, 1, 1)
    assert found.select("iccid", "rate_plan", "usage_bytes").rows() == [
        ("2", "B", None),
        ("3", "B", 9),
    ]
