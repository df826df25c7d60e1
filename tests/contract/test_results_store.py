"""Snapshot, sequences, unit results and publish, with what the optimiser really makes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
import sqlalchemy as sa

from core.assembly import assemble, assignments_of
from core.domain import BillingCycle, CommunicationPlan, PoolScope, RatePlan, Strategy
from core.errors import StorageError
from core.fleet import normalise_fleet
from core.grouping import group_fleet, iter_problems
from core.optimisation import fleet_sequences, solve_unit
from core.optimiser.check import certify
from core.optimiser.result import NOT_WALKED, SolveParams
from core.storage.audit import Author
from core.storage.catalogue import load_period, load_provider
from core.storage.catalogue_changes import add_period, add_provider
from core.storage.engine import insert_row, reading, writing
from core.storage.instances import create_instance, end_instances, find_instances
from core.storage.legacy_ids import RunStatus
from core.storage.outcomes import load_assignments, load_outcome
from core.storage.plan_import import replace_catalogue
from core.storage.queues import load_sequences, save_sequences
from core.storage.records import ProviderRecord, ProviderSettings
from core.storage.results import publish
from core.storage.schema import metadata, optimization_session
from core.storage.snapshot import LISTED_SCHEMA, load_snapshot, save_grouping
from core.storage.unit_results import finished_units, save_unit_results
from tests.contract.accounts import UNKNOWN

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
NOVEMBER = (date(2026, 11, 1), date(2026, 11, 30))
MB = 1 << 20
ACME = ProviderSettings(
    name="Acme",
    tenant="T",
    integration="jasper",
    base_url="https://rest.example.com",
    credential_ref="env:ACME",
    time_zone="UTC",
    pool_scope=PoolScope.COMM_GROUP,
)
PLANS = [
    RatePlan(
        code=code,
        monthly_rate_micros=fee,
        included_bytes=included * MB,
        overage_rate_micros=200_000,
        overage_block_bytes=MB,
        is_pooled=is_pooled,
        is_prorated=code == "S",
    )
    for code, fee, included, is_pooled in (
        ("S", 1_000_001, 1, True),
        ("M", 2_500_000, 10, True),
        ("L", 9_000_000, 100, True),
        ("X", 3_000_000, 20, False),
        ("Y", 4_000_000, 50, False),
    )
]
LISTS = [
    CommunicationPlan(name="pooled", rate_plan_codes=("S", "M", "L")),
    CommunicationPlan(name="pooled too", rate_plan_codes=("L", "S", "M")),
    CommunicationPlan(name="single", rate_plan_codes=("X", "Y")),
    CommunicationPlan(name="mixed", rate_plan_codes=("S", "M", "X")),
    CommunicationPlan(name="wide", rate_plan_codes=("S", "M", "L", "X", "Y")),
]


def fleet(n_sims=60):
    """SIMs of every list, some prorated, some unreported, three on a plan nobody knows."""
    names = [plan.name for plan in LISTS]
    rows = [
        (
            f"8901{n:016d}",
            names[n % 5],
            "GONE" if n % 20 == 17 else PLANS[(n * 7) % 5].code,
            0 if n % 6 == 0 else (n * 37 % 91) * MB + n,
            n % 6 != 0,
            n % 3,
            n * 7 % 130,
            date(2026, 11, 1 + n % 28) if n % 5 == 0 else None,
        )
        for n in range(n_sims)
    ]
    schema = [
        "iccid", "communication_plan", "rate_plan", "usage_bytes", "is_usage_reported",
        "sms_count", "voice_seconds", "activated_date",
    ]  # fmt: skip
    return normalise_fleet(pl.DataFrame(rows, schema=schema, orient="row"))


LISTED = pl.DataFrame(
    [("0001", "not_billable", "single", 5), ("9999", "no_rate_plan", None, None)],
    schema={"iccid": pl.String, "reason": pl.String, "communication_plan": pl.String, "usage_bytes": pl.Int64},
    orient="row",
)  # fmt: skip


@dataclass
class Run:
    """One optimisation as a flow would have it in hand."""

    engine: sa.Engine
    session_id: int
    instance_id: int
    grouping: object
    sequences: dict
    solutions: list
    outcome: object

    @property
    def results(self):
        return [solution.result for solution in self.solutions]

    def rows_of(self, solutions):
        return assignments_of(self.grouping, solutions)

    def save(self, solutions=None, **options):
        chosen = self.solutions if solutions is None else solutions
        save_unit_results(
            self.engine,
            self.instance_id,
            self.rows_of(chosen),
            [solution.result for solution in chosen],
            now=NOW,
            **options,
        )


def certified(problem, solution):
    """The same solution with a certificate of the largest multipliers, beyond 2**53."""
    rates, blocks = problem.pool_tier_rate_micros[:, -1].tolist(), problem.pool_block_bytes.tolist()
    most = [
        min(rate << 60, (1 << 62) - 1) // block for rate, block in zip(rates, blocks, strict=True)
    ]
    cost, none = solution.result.cost_micros, [0] * len(problem.tariff.codes)
    certificate = certify(problem, solution.result.assignment, cost, 60, most, none, 0)
    bound = certificate.bound_micros
    result = replace(solution.result, certificate=certificate, lower_bound_micros=bound)
    return replace(solution, result=result)


@pytest.fixture(scope="module")
def solved():
    """A fleet that has been optimised, before any database knows of it."""
    policy = ProviderRecord(
        id=0, tenant_id=0, is_active=True, **{f.name: getattr(ACME, f.name) for f in fields(ACME)}
    ).policy(BillingCycle(start_date=NOVEMBER[0], end_date=NOVEMBER[1]))
    grouping = group_fleet(fleet(), PLANS, LISTS, policy, max_rate_plans=4)
    sequences = fleet_sequences(grouping, 64)
    problems = list(iter_problems(grouping, sequences))
    solutions = [certified(problem, solve_unit(problem, SolveParams())) for problem in problems]
    outcome = assemble(grouping, solutions, assignments_of(grouping, solutions))
    return grouping, sequences, solutions, outcome


@pytest.fixture
def run(solved, engine):
    """A database with a provider, plans, a session and an instance."""
    author = Author(actor="test")
    provider = add_provider(engine, ACME, now=NOW, author=author)
    period = add_period(engine, provider.id, *NOVEMBER, now=NOW, author=author)
    replace_catalogue(engine, provider.id, PLANS, LISTS, now=NOW, author=author)
    with writing(engine) as connection:
        session_id = insert_row(
            connection,
            optimization_session,
            SessionId="00000000-0000-0000-0000-000000000001",
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
    options = {"session_id": session_id, "provider": provider, "period": period}
    instance_id = create_instance(engine, **options, now=NOW, created_by="test")
    assert create_instance(engine, **options, now=LATER, created_by="other") == instance_id
    return Run(engine, session_id, instance_id, *solved)


@pytest.fixture
def stored(run):
    """A run whose grouping and sequences are in the database."""
    save_grouping(run.engine, run.instance_id, run.grouping, LISTED, now=NOW)
    save_sequences(run.engine, run.instance_id, run.sequences, now=NOW)
    return run


def walks_only(run):
    """The same run, solved by walks, the best single plan and the present plans alone."""
    params = SolveParams(is_certified=False)
    solutions = [
        certified(problem, solve_unit(problem, params))
        for problem in iter_problems(run.grouping, run.sequences)
    ]
    outcome = assemble(run.grouping, solutions, assignments_of(run.grouping, solutions))
    return replace(run, solutions=solutions, outcome=outcome)


def contents(engine):
    """Every row of every table, without the moments and ids that a repetition may change."""
    with reading(engine) as connection:
        return {
            table.name: sorted(
                (tuple(row) for row in connection.execute(sa.select(table))), key=repr
            )
            for table in metadata.sorted_tables
            if table.name.startswith("Optimization") and table.name != "OptimizationSession"
        }


def rows(engine, query):
    with reading(engine) as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def assert_same(outcome, expected):
    assert outcome.assignments.equals(expected.assignments)
    for field in fields(expected):
        if field.name not in ("assignments", "grouping"):
            assert getattr(outcome, field.name) == getattr(expected, field.name), field.name


def test_the_made_up_fleet_has_every_kind_of_group_and_sim(solved):
    """Otherwise the tests below would prove little."""
    *_, grouping, sequences, _, outcome = solved
    assert {group.status for group in outcome.groups} == {"optimised", "skipped"}
    assert len(grouping.unit_ids) == 4
    assert outcome.unpriced == 3
    assert sum(len(found) for found in sequences.values()) > 5
    assert len(sequences) == 2
    assert outcome.plan_changes > 5


def test_the_snapshot_comes_back_as_it_was_grouped(stored):
    found, listed = load_snapshot(stored.engine, stored.instance_id)
    assert found.equals(stored.grouping.fleet)
    assert listed.select(LISTED.columns).equals(LISTED)
    assert listed.columns == list(LISTED_SCHEMA)
    n_rows = rows(stored.engine, "SELECT COUNT(*) FROM OptimizationSimCard")
    assert n_rows == [(stored.grouping.fleet.height + LISTED.height,)]


def test_groups_are_stored_with_their_plans_as_operators_look_for_them(stored):
    group = next(g for g in stored.grouping.groups if "pooled" in g.communication_plans)
    found = rows(
        stored.engine,
        "SELECT RatePlanCode, MaxAvgUsageBytes, MaxAvgUsage FROM OptimizationCommGroup_RatePlan p "
        "JOIN OptimizationCommGroup g ON g.Id = p.CommGroupId "
        f"WHERE GroupCode = '{group.group_id}' ORDER BY RatePlanCode",
    )
    # S to M: 1 MB + (2.5 - 1.000001) / (0.2 / MB) = 8.499995 MB; M to L: 10 + 32.5 MB.
    assert [code for code, *_ in found] == ["L", "M", "S"]
    assert found[0][1:] == (None, None)
    assert found[1][1:] == (42 * MB + MB // 2, 42.5)
    assert found[2][1] == MB + (1_499_999 * MB) // 200_000
    names = rows(
        stored.engine,
        "SELECT CommPlanName FROM OptimizationCommGroup_CommPlan c JOIN OptimizationCommGroup g "
        f"ON g.Id = c.CommGroupId WHERE GroupCode = '{group.group_id}' ORDER BY 1",
    )
    assert names == [("pooled",), ("pooled too",)]


def test_usage_that_was_not_reported_shows_no_megabytes(stored):
    found = rows(
        stored.engine,
        "SELECT IsUsageReported, UsageBytes, CycleDataUsageMB FROM OptimizationSimCard "
        "WHERE ICCID IN ('89010000000000000000', '89010000000000000001') ORDER BY ICCID",
    )
    assert found[0] == (0, 0, None)
    assert found[1][:2] == (1, 37 * MB + 1)
    assert float(found[1][2]) == pytest.approx(37 + 1 / MB)


def test_sequences_come_back_as_they_were_given(stored):
    assert load_sequences(stored.engine, stored.instance_id) == stored.sequences
    group_id = next(iter(stored.sequences))
    only = load_sequences(stored.engine, stored.instance_id, [group_id, "G9999"])
    assert only == {group_id: stored.sequences[group_id]}
    assert load_sequences(stored.engine, stored.instance_id, []) == {}


def test_sequences_in_many_slices_are_the_same(run, monkeypatch):
    monkeypatch.setattr("core.storage.queues.SLICE_ROWS", 3)
    monkeypatch.setattr("core.storage.bulk.SLICE_ROWS", 2)
    save_grouping(run.engine, run.instance_id, run.grouping, LISTED, now=NOW)
    n_queues = save_sequences(run.engine, run.instance_id, run.sequences, now=NOW)
    assert n_queues == sum(len(found) for found in run.sequences.values())
    assert load_sequences(run.engine, run.instance_id) == run.sequences
    run.save()
    assert_same(load_outcome(run.engine, run.instance_id), run.outcome)


def test_a_sequence_with_a_plan_that_the_group_lacks_is_refused(stored):
    with pytest.raises(StorageError, match="names the rate plan 'nowhere'"):
        save_sequences(stored.engine, stored.instance_id, {"G0001": [("nowhere",)]}, now=NOW)
    with pytest.raises(StorageError, match="has no sequences yet"):
        load_sequences(stored.engine, stored.instance_id)


def test_the_stored_outcome_is_the_one_that_the_optimiser_assembled(stored):
    stored.save()
    assert_same(load_outcome(stored.engine, stored.instance_id), stored.outcome)


def test_units_can_be_stored_one_by_one_in_any_order(stored):
    for solution in reversed(stored.solutions):
        assert solution.result.unit_id not in finished_units(stored.engine, stored.instance_id)
        stored.save([solution])
        assert solution.result.unit_id in finished_units(stored.engine, stored.instance_id)
    assert_same(load_outcome(stored.engine, stored.instance_id), stored.outcome)


def test_only_finished_units_and_unpriced_sims_are_read_before_the_end(stored):
    stored.save(stored.solutions[:1])
    found = load_assignments(stored.engine, stored.instance_id)
    unit = stored.solutions[0].result.unit_id
    assert set(found["unit_id"]) == {unit, None}
    expected = stored.outcome.assignments
    is_expected = (expected["unit_id"] == unit) | expected["unit_id"].is_null()
    assert found.equals(expected.filter(is_expected))
    with pytest.raises(StorageError, match="no results yet of 3 solve units, first U0002"):
        load_outcome(stored.engine, stored.instance_id)


def test_storing_a_unit_again_changes_nothing(stored):
    stored.save(batch_id="b1")
    before = contents(stored.engine)
    stored.save(stored.solutions[1:], batch_id="b1")
    stored.save(batch_id="b1")
    assert_same(load_outcome(stored.engine, stored.instance_id), stored.outcome)
    after = contents(stored.engine)
    assert {name: len(found) for name, found in after.items()} == {
        name: len(found) for name, found in before.items()
    }
    assert after["OptimizationUnit"] == before["OptimizationUnit"]


def test_another_result_replaces_the_former_one(stored):
    """Queues, winners and SIM rows of the first are gone, whichever way round."""
    problems = list(iter_problems(stored.grouping, stored.sequences))
    unchanged = [
        replace(
            solution,
            recommended=solution.baseline,
            result=replace(
                solution.result,
                assignment=problem.current,
                group_strategy=(Strategy.CURRENT_ASSIGNMENT,),
            ),
        )
        for solution, problem in zip(stored.solutions, problems, strict=True)
    ]
    for _ in range(2):
        stored.save(unchanged)
        found = load_outcome(stored.engine, stored.instance_id)
        assert found.plan_changes == 0
        assert found.optimized == found.baseline == stored.outcome.baseline
        assert found.assignments.height == stored.outcome.devices
        results = "SELECT COUNT(*), COUNT(DISTINCT CommPlanGroupId) FROM OptimizationQueue "
        n_groups = len(stored.grouping.groups)
        assert rows(stored.engine, results + "WHERE IsResult = 1") == [(n_groups, n_groups)]
        stored.save()
        assert_same(load_outcome(stored.engine, stored.instance_id), stored.outcome)


def test_every_group_keeps_the_sequence_of_its_own_winner(stored):
    """Groups of one storing whose best sequences have different numbers."""
    chosen = [solution for solution in stored.solutions if solution.result.walks]
    assert len(chosen) == 2
    moved = []
    for number, solution in enumerate(chosen, start=1):
        strategies = (solution.result.walks[0].strategies[0],)
        result = replace(solution.result, group_strategy=strategies, group_sequence=(number,))
        moved.append(replace(solution, result=result))
    stored.save(moved)
    found = rows(
        stored.engine,
        "SELECT GroupCode, SequenceNumber FROM OptimizationQueue q JOIN OptimizationCommGroup g "
        "ON g.Id = q.CommPlanGroupId WHERE IsResult = 1 ORDER BY g.Id",
    )
    assert found == [(s.result.walks[0].group_id, n) for n, s in enumerate(chosen, start=1)]


def test_walk_costs_stand_in_their_queues(stored):
    stored.save(batch_id="batch-7")
    walks = [walk for result in stored.results for walk in result.walks]
    assert walks
    for walk in walks:
        found = rows(
            stored.engine,
            "SELECT SequenceNumber, TotalCostMicros, q.Strategy, BatchId FROM OptimizationQueue q "
            "JOIN OptimizationCommGroup g ON g.Id = q.CommPlanGroupId "
            f"WHERE GroupCode = '{walk.group_id}' AND SequenceNumber IS NOT NULL "
            "AND IsResult = 0 ORDER BY SequenceNumber",
        )
        assert len(found) >= len(walk.cost_micros) - 1  # the winner's shows its true cost
        for number, cost, strategy, batch in found:
            of_strategy = dict(zip(walk.strategies, walk.cost_micros[number].tolist(), strict=True))
            assert cost == min(of_strategy.values()) == of_strategy[strategy]
            assert batch == "batch-7"


def test_a_pruned_sequence_ends_without_cost_and_strategy(stored):
    """The other sequences of the group have both, and so has its winner."""
    [chosen, *_] = [one for one in walks_only(stored).solutions if one.result.group_sequence]
    walk = chosen.result.walks[0]
    costs = walk.cost_micros.copy()
    pruned = next(n for n in range(len(costs)) if n != chosen.result.group_sequence[0])
    costs[pruned] = NOT_WALKED
    walks = (replace(walk, cost_micros=costs),)
    stored.save([replace(chosen, result=replace(chosen.result, walks=walks))])
    found = rows(
        stored.engine,
        "SELECT SequenceNumber, TotalCostMicros, q.Strategy, RunStatusId, RunEndTime "
        "FROM OptimizationQueue q JOIN OptimizationCommGroup g ON g.Id = q.CommPlanGroupId "
        f"WHERE GroupCode = '{walk.group_id}' AND SequenceNumber IS NOT NULL",
    )
    assert len(found) == len(costs)
    done = int(RunStatus.COMPLETE_WITH_SUCCESS)
    for number, cost, strategy, status, ended in found:
        assert ended is not None
        if number == pruned:
            assert (cost, strategy, status) == (None, None, int(RunStatus.CANCELLED))
        else:
            assert None not in (cost, strategy)
            assert status == done


def test_results_are_invisible_until_they_are_published(stored):
    stored.save()
    assert rows(stored.engine, "SELECT COUNT(*) FROM OptimizationQueue WHERE IsWinner = 1") == [
        (0,)
    ]
    totals = "SELECT TotalCost, PlanChanges FROM OptimizationInstance"
    assert rows(stored.engine, totals) == [(None, None)]
    publish(stored.engine, stored.instance_id, stored.outcome, now=LATER)
    cost, changes = rows(stored.engine, totals)[0]
    assert float(cost) == pytest.approx(stored.outcome.optimized.objective_micros / 1e6)
    assert changes == stored.outcome.plan_changes
    assert find_instances(stored.engine, stored.session_id)[0].published_at == LATER


def test_after_publish_every_group_has_one_winning_queue_and_losers_are_gone(stored):
    stored.save()
    publish(stored.engine, stored.instance_id, stored.outcome, now=LATER)
    n_groups = len(stored.grouping.groups)
    queues = rows(stored.engine, "SELECT IsWinner, IsResult FROM OptimizationQueue")
    assert queues == [(1, 1)] * n_groups
    joined = "SELECT COUNT(*) FROM OptimizationCommGroup g JOIN OptimizationQueue q ON q.Id = "
    assert rows(stored.engine, joined + "g.WinningQueueId AND q.CommPlanGroupId = g.Id") == [
        (n_groups,)
    ]
    orphans = "SELECT COUNT(*) FROM {} WHERE QueueId NOT IN (SELECT Id FROM OptimizationQueue)"
    for table in ("OptimizationM2MDeviceResult", "OptimizationQueue_RatePlan"):
        assert rows(stored.engine, orphans.format(table)) == [(0,)]
    assert_same(load_outcome(stored.engine, stored.instance_id), stored.outcome)


def test_a_walk_that_won_keeps_its_sequence(stored):
    stored = walks_only(stored)
    stored.save()
    publish(stored.engine, stored.instance_id, stored.outcome, now=LATER)
    walks = {walk.group_id: walk for result in stored.results for walk in result.walks}
    won = {
        group.group_id: stored.sequences[group.group_id][walks[group.group_id].best_sequence]
        for group in stored.outcome.groups
        if group.group_id in walks and "largest" in group.strategy.value
    }
    assert won
    found = rows(
        stored.engine,
        "SELECT GroupCode, RatePlanCode FROM OptimizationQueue_RatePlan s "
        "JOIN OptimizationQueue q ON q.Id = s.QueueId "
        "JOIN OptimizationCommGroup g ON g.Id = q.CommPlanGroupId "
        "JOIN OptimizationCommGroup_RatePlan p ON p.Id = s.CommGroup_RatePlanId "
        "ORDER BY g.Id, SequenceOrder",
    )
    sequences = {}
    for group, code in found:
        sequences[group] = (*sequences.get(group, ()), code)
    assert sequences == won


def test_sim_costs_add_up_to_groups_units_and_totals_in_the_tables(stored):
    """B10, by SQL that shares nothing with the code."""
    stored.save()
    publish(stored.engine, stored.instance_id, stored.outcome, now=LATER)
    for kind, column in (("Baseline", "Current"), ("Optimized", "Recommended")):
        for part in ("Cost", "RateCost", "OverageCost"):
            total = f"SELECT SUM({kind}{part}Micros) FROM "
            sims = f"SUM({column}{part.replace('Cost', '') or 'Cost'}Micros)"
            instance = rows(stored.engine, total + "OptimizationInstance")
            assert rows(stored.engine, total + "OptimizationCommGroup") == instance
            assert rows(stored.engine, total + "OptimizationUnit") == instance
            assert rows(stored.engine, f"SELECT {sims} FROM OptimizationM2MDeviceResult") == (
                instance
            )


def test_publishing_again_changes_nothing(stored):
    stored.save()
    publish(stored.engine, stored.instance_id, stored.outcome, now=NOW)
    before = contents(stored.engine)
    publish(stored.engine, stored.instance_id, stored.outcome, now=LATER)
    assert contents(stored.engine) == before


def test_published_results_are_final(stored):
    stored.save()
    publish(stored.engine, stored.instance_id, stored.outcome, now=NOW)
    for change in (
        lambda: save_grouping(stored.engine, stored.instance_id, stored.grouping, LISTED, now=NOW),
        lambda: save_sequences(stored.engine, stored.instance_id, {}, now=NOW),
        lambda: stored.save(),
    ):
        with pytest.raises(StorageError, match="are published and final"):
            change()


def test_totals_that_the_stored_sims_do_not_add_up_to_are_refused(stored):
    stored.save()
    cost = stored.outcome.optimized
    wrong = replace(
        stored.outcome, optimized=replace(cost, objective_micros=cost.objective_micros - 1)
    )
    with pytest.raises(StorageError, match="nothing was published"):
        publish(stored.engine, stored.instance_id, wrong, now=NOW)
    assert find_instances(stored.engine, stored.session_id)[0].published_at is None


def test_a_publish_with_errors_says_so(stored):
    stored.save()
    publish(
        stored.engine, stored.instance_id, stored.outcome,
        now=NOW, status=RunStatus.COMPLETE_WITH_ERRORS,
    )  # fmt: skip
    end_instances(stored.engine, stored.session_id, status=RunStatus.FAILED, now=LATER)
    instance = find_instances(stored.engine, stored.session_id)[0]
    assert (instance.run_status, instance.published_at) == (RunStatus.COMPLETE_WITH_ERRORS, NOW)


def test_an_unpublished_instance_can_be_closed_and_taken_up_again(stored):
    end_instances(stored.engine, stored.session_id, status=RunStatus.CANCELLED, now=LATER)
    assert find_instances(stored.engine, stored.session_id)[0].run_status is RunStatus.CANCELLED
    instance = find_instances(stored.engine, stored.session_id)[0]
    provider = load_provider(stored.engine, instance.service_provider_id)
    period = load_period(stored.engine, instance.billing_period_id)
    options = {"session_id": stored.session_id, "provider": provider, "period": period}
    again = create_instance(stored.engine, **options, now=LATER, created_by="test")
    assert again == stored.instance_id
    assert find_instances(stored.engine, stored.session_id)[0].run_status is RunStatus.IN_PROGRESS


def test_grouping_again_replaces_everything_that_was_derived(stored):
    stored.save()
    small = stored.grouping.fleet.head(0)
    empty = replace(stored.grouping, fleet=small, groups=(), unit_ids=())
    save_grouping(stored.engine, stored.instance_id, empty, LISTED.head(0), now=LATER)
    counts = {name: len(found) for name, found in contents(stored.engine).items()}
    assert counts.pop("OptimizationInstance") == 1
    assert set(counts.values()) == {0}
    save_grouping(stored.engine, stored.instance_id, stored.grouping, LISTED, now=LATER)
    found, _ = load_snapshot(stored.engine, stored.instance_id)
    assert found.equals(stored.grouping.fleet)


def test_a_sim_cannot_be_both_in_the_fleet_and_listed(run):
    both = run.grouping.fleet.select("iccid", pl.lit("x").alias("reason")).head(1)
    with pytest.raises(sa.exc.IntegrityError):
        save_grouping(run.engine, run.instance_id, run.grouping, both, now=NOW)
    with pytest.raises(StorageError, match="has not been grouped yet"):
        load_snapshot(run.engine, run.instance_id)


@pytest.mark.parametrize(
    "read", [load_snapshot, load_assignments, load_outcome], ids=lambda f: f.__name__
)
def test_nothing_is_read_before_the_grouping_is_complete(run, read):
    with pytest.raises(StorageError, match="has not been grouped yet"):
        read(run.engine, run.instance_id)
    with pytest.raises(StorageError, match=f"instance {UNKNOWN} is unknown"):
        read(run.engine, UNKNOWN)


def test_rows_of_other_units_than_the_results_are_refused(stored):
    with pytest.raises(StorageError, match="need rows of the groups"):
        save_unit_results(
            stored.engine, stored.instance_id, stored.rows_of(stored.solutions),
            stored.results[:1], now=NOW,
        )  # fmt: skip
    assert finished_units(stored.engine, stored.instance_id) == set()


def test_a_fence_stops_every_write_and_leaves_nothing(stored):
    class FencedOffError(Exception):
        pass

    def fence(_connection):
        raise FencedOffError

    before = contents(stored.engine)
    instance_id = stored.instance_id
    for write in (
        lambda: save_grouping(
            stored.engine, instance_id, stored.grouping, LISTED, now=NOW, fence=fence
        ),
        lambda: save_sequences(stored.engine, instance_id, {}, now=NOW, fence=fence),
        lambda: stored.save(fence=fence),
        lambda: publish(stored.engine, instance_id, stored.outcome, now=NOW, fence=fence),
    ):
        with pytest.raises(FencedOffError):
            write()
    assert contents(stored.engine) == before
