"""What a session recommends becomes journal rows of proposed changes, each once (C7, P2, P3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from core.changes.proposals import propose_changes
from core.errors import InputError
from core.storage.audit import Author, load_events
from core.storage.catalogue import load_period, load_provider
from core.storage.engine import insert_row, reading, writing
from core.storage.instances import create_instance
from core.storage.schema import (
    device,
    device_sync_run,
    optimization_comm_group,
    optimization_m2m_device_result,
    optimization_queue,
    optimization_session,
    rate_plan_change,
)
from tests.contract.accounts import accounts_of, add_accounts

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
AUTHOR = Author(actor="test")
MADE = {"CreatedBy": "test", "CreatedDate": NOW}
RESULTS = {  # ICCID -> plan in the snapshot, recommended plan
    "1-moves": ("A", "B"),
    "2-stays": ("A", "A"),
    "3-moves too": ("C", "A"),
    "4-changed to another": ("A", "B"),
    "5-changed to the recommended": ("A", "B"),
    "6-stays but was changed": ("A", "A"),
    "7-gone": ("A", "B"),
    "8-without plan": ("A", "B"),
    "9-never seen again": ("A", "B"),
}
PLANS_NOW = {
    "1-moves": "A",
    "2-stays": "A",
    "3-moves too": "C",
    "4-changed to another": "Z",
    "5-changed to the recommended": "B",
    "6-stays but was changed": "B",
    "7-gone": "A",
    "8-without plan": None,
}


@pytest.fixture
def engine(engine):
    """Providers 1 and 2 have SIMs of the same numbers; those of 2 are on other plans."""
    accounts = add_accounts(engine)
    sync = {"Kind": "full", "Status": "published", "StartedAt": NOW}
    with writing(engine) as connection:
        for number in (1, 2):
            provider_id = accounts.provider(number)
            run_id = insert_row(connection, device_sync_run, ServiceProviderId=provider_id, **sync)
            rows = [
                {
                    "ServiceProviderId": provider_id,
                    "ICCID": iccid,
                    "Status": "ACTIVATED",
                    "RatePlan": plan if number == 1 else "B",
                    "IsDeleted": iccid == "7-gone",
                    "LastSyncRunId": run_id,
                    "ModifiedDate": NOW,
                }
                for iccid, plan in PLANS_NOW.items()
            ]
            connection.execute(sa.insert(device), rows)
    return engine


def session(
    engine, state="COMPLETED", *, results=RESULTS, later=0, provider_id=1, is_dry_run=False
):
    """A session with one published group of results, and a losing queue that recommends X."""
    accounts = accounts_of(engine)
    provider = load_provider(engine, accounts.provider(provider_id))
    period = load_period(engine, accounts.period(provider_id))
    with writing(engine) as connection:
        session_id = insert_row(
            connection,
            optimization_session,
            SessionId=f"{provider_id}-{state}-{later}",
            TenantId=provider.tenant_id,
            ServiceProviderId=provider.id,
            BillingPeriodId=period.id,
            Kind="m2m",
            State=state,
            Parameters="{}",
            TriggeredBy="test",
            IsDryRun=is_dry_run,
            CreatedBy="test",
            CreatedDate=NOW + timedelta(minutes=later),
        )
    instance_id = create_instance(
        engine, session_id=session_id, provider=provider, period=period, now=NOW, created_by="test"
    )
    common = {"InstanceId": instance_id, "UnitCode": "U1", **MADE}
    with writing(engine) as connection:
        group_id = insert_row(
            connection,
            optimization_comm_group,
            GroupCode="G1",
            DeviceCount=len(results),
            IsSkipped=False,
            Status="optimised",
            **common,
        )
        for is_winner in (True, False):
            queue_id = insert_row(
                connection,
                optimization_queue,
                CommPlanGroupId=group_id,
                ServiceProviderId=provider.id,
                UsesProration=False,
                RunStatusId=2,
                IsWinner=is_winner,
                **common,
            )
            connection.execute(
                sa.insert(optimization_m2m_device_result),
                [
                    {
                        "QueueId": queue_id,
                        "ICCID": iccid,
                        "CurrentRatePlan": current,
                        "AssignedRatePlan": assigned if is_winner else "X",
                        "Reason": "cheaper",
                        **dict.fromkeys(MICROS, 0),
                    }
                    for iccid, (current, assigned) in results.items()
                ],
            )
    return session_id


MICROS = [
    column.name for column in optimization_m2m_device_result.c if column.name.endswith("Micros")
]


def propose(engine, period_id=1, provider_id=1):
    accounts = accounts_of(engine)
    ids = accounts.provider(provider_id), accounts.period(period_id)
    counts = propose_changes(engine, *ids, now=NOW, author=AUTHOR)
    return counts.proposed, counts.already_proposed, counts.unchanged, counts.changed_outside


def journal(engine):
    change = rate_plan_change.c
    columns = (
        change.SessionId,
        change.ICCID,
        change.FromRatePlan,
        change.ToRatePlan,
        change.Status,
    )
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(change.Id))]


def set_plan(engine, iccid, plan):
    provider_id = accounts_of(engine).provider(1)
    change = sa.update(device).filter_by(ServiceProviderId=provider_id, ICCID=iccid)
    with writing(engine) as connection:
        connection.execute(change.values(RatePlan=plan))


def test_each_sim_that_should_move_and_was_left_alone_is_proposed_once(engine):
    session_id = session(engine)
    assert propose(engine) == (2, 0, 2, 5)
    expected = [
        (session_id, "1-moves", "A", "B", "proposed"),
        (session_id, "3-moves too", "C", "A", "proposed"),
    ]
    assert journal(engine) == expected
    assert propose(engine) == (0, 2, 2, 5)
    assert journal(engine) == expected


def test_a_repetition_adds_what_has_become_possible(engine):
    session_id = session(engine)
    propose(engine)
    set_plan(engine, "4-changed to another", "A")
    set_plan(engine, "1-moves", "B")
    assert propose(engine) == (1, 1, 3, 4)
    assert journal(engine)[-1] == (session_id, "4-changed to another", "A", "B", "proposed")


def test_a_row_that_somebody_works_on_is_left_as_it_is(engine):
    session(engine)
    propose(engine)
    with writing(engine) as connection:
        connection.execute(sa.update(rate_plan_change).values(Status="intended"))
    assert propose(engine) == (0, 2, 2, 5)
    assert {status for *_, status in journal(engine)} == {"intended"}


def test_the_last_completed_session_counts_and_no_other(engine):
    session(engine, later=0)
    newest = session(engine, "COMPLETED_WITH_ERRORS", results={"1-moves": ("A", "Q")}, later=2)
    session(engine, "FAILED", later=3)
    session(engine, "CANCELLED", later=4)
    session(engine, provider_id=2, later=5)
    assert propose(engine) == (1, 0, 0, 0)
    assert journal(engine) == [(newest, "1-moves", "A", "Q", "proposed")]


def test_another_provider_s_sims_do_not_count(engine):
    session_id = session(engine, provider_id=2, results={"1-moves": ("B", "A")})
    assert propose(engine, period_id=2, provider_id=2) == (1, 0, 0, 0)
    assert journal(engine) == [(session_id, "1-moves", "B", "A", "proposed")]


def test_a_dry_run_hands_nothing_over(engine):
    session(engine)
    dry = session(engine, is_dry_run=True, later=1)
    with pytest.raises(
        InputError, match=f"session {dry}, .* a dry run, .* run again without dry_run"
    ):
        propose(engine)
    assert journal(engine) == []


def test_without_a_completed_session_the_remedy_is_told(engine):
    session(engine, "FINALISING")
    period_id = accounts_of(engine).period(1)
    with pytest.raises(
        InputError, match=rf"no completed session of billing period {period_id}\D.*carrier-opt run"
    ):
        propose(engine)


def test_what_was_proposed_is_audited_once(engine):
    session_id = session(engine)
    propose(engine)
    propose(engine)
    (event,) = [event for event in load_events(engine) if event.action == "changes.proposed"]
    provider_id = accounts_of(engine).provider(1)
    assert (event.session_id, event.service_provider_id) == (session_id, provider_id)
    assert event.details["changed_outside"] == 5
