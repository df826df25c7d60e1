"""A small optimisation, solved, and the database that its results go into."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl
import sqlalchemy as sa

from core.assembly import assemble, assignments_of
from core.domain import BillingCycle, BillingPolicy, CommunicationPlan, PoolScope, RatePlan
from core.fleet import normalise_fleet
from core.grouping import group_fleet, iter_problems
from core.optimisation import fleet_sequences, solve_unit
from core.optimiser.result import SolveParams
from core.storage.audit import Author
from core.storage.catalogue_changes import add_period, add_provider
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

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MB = 1 << 20
LISTED = pl.DataFrame({"iccid": ["0"], "reason": ["not_billable"]})


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


def make_case():
    """Nine SIMs in two units and several groups, solved."""
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


def make_providers(path, tenants):
    """A database with providers 1, 2, ..., each with a period of the same number and no catalogue.

    Parameters
    ----------
    tenants
        Provider to tenant, by number.

    Returns
    -------
    dict
        Provider number to the records of provider and period.
    """
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    author, found = Author(actor="test"), {}
    for number, tenant in tenants.items():
        settings = ProviderSettings(
            name=f"Acme {number}",
            tenant=f"T{tenant}",
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
        assert (provider.id, provider.tenant_id, period.id) == (number, tenant, number)
        found[number] = (provider, period)
    engine.dispose()
    return found


def make_results_database(path):
    """A database whose session 1 is OPTIMISING, with instance 1 that holds nothing yet."""
    provider, period = make_providers(path, {1: 1})[1]
    engine = open_engine(f"sqlite:///{path}")
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
