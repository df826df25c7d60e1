"""A billing period whose dates were wrong is corrected, and keeps no usage of other days."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from core.errors import InputError, StorageError, SyncBusyError
from core.sessions.lifecycle import Owner, open_session
from core.sessions.parameters import parse_parameters
from core.storage import audit, sync_runs
from core.storage.audit import Author
from core.storage.catalogue import list_periods, load_period
from core.storage.catalogue_changes import change_period
from core.storage.devices import load_devices
from core.storage.engine import writing
from core.storage.schema import jasper_usage_staging, optimization_session
from tests.contract.device_acts import (
    NEXT_PERIOD,
    PERIOD,
    count,
    stage_usage,
    start,
    stored,
    synced,
    usage,
)

LATER = datetime(2026, 11, 21, tzinfo=UTC)
AUTHOR = Author(actor="test", source="cli")
DATES = (date(2026, 10, 27), date(2026, 11, 26))


def change(engine, accounts, start, end, period=PERIOD):
    return change_period(engine, accounts.period(period), start, end, now=LATER, author=AUTHOR)


def test_a_period_of_another_first_day_is_a_new_one_whose_usage_is_read_anew(
    engine, accounts, store
):
    synced(store, ("1", "A", 1), usages=(("1", 500),))
    old = accounts.period(PERIOD)
    changed = change(engine, accounts, *DATES)
    assert (changed.start_date, changed.end_date) == DATES
    assert changed in list_periods(engine, accounts.provider(1))
    assert load_devices(engine, accounts.provider(1), changed.id)["usage_bytes"].to_list() == [None]
    with pytest.raises(InputError):
        load_period(engine, old)
    assert audit.load_events(engine)[-1].action == "period.changed"
    dates = (date(2026, 11, 1), date(2026, 11, 29))
    back = change_period(engine, changed.id, *dates, now=LATER, author=AUTHOR)
    assert back.id == old  # of that first day is its usage
    assert stored(engine) == [("1", "A", 500)]


def test_a_period_of_the_same_first_day_keeps_its_usage(engine, accounts, store):
    synced(store, ("1", "A", 1), usages=(("1", 500),))
    for end in (date(2026, 11, 29), date(2026, 11, 29), date(2026, 11, 30)):
        changed = change(engine, accounts, date(2026, 11, 1), end)
        assert (changed.id, changed.end_date) == (accounts.period(PERIOD), end)
    assert stored(engine) == [("1", "A", 500)]
    actions = [event.action for event in audit.load_events(engine)]
    assert actions.count("period.changed") == 2  # the same dates again change nothing


def test_what_broke_off_before_the_correction_is_not_continued(engine, accounts, store):
    run = start(store)
    stage_usage(store, run, usage(("1", 500)))
    changed = change(engine, accounts, *DATES)
    with pytest.raises(StorageError, match="is failed"):
        stage_usage(store, run, usage(("1", 500)))
    assert count(engine, jasper_usage_staging) == 0
    assert changed.start_date == DATES[0]


def test_a_period_that_is_being_synchronised_is_left_alone(engine, accounts, store):
    run = start(store)
    with writing(engine) as connection:
        sync_runs.update_run(connection, run.id, OwnerHost="elsewhere", OwnerPid=1)
    with pytest.raises(SyncBusyError):
        change(engine, accounts, *DATES)


def test_a_period_that_a_session_has_used_stays(engine, accounts, store):
    synced(store, ("1", "A", 1), usages=(("1", 500),))
    handle = open_session(
        engine,
        parse_parameters(
            service_provider_id=accounts.provider(1), billing_period_id=accounts.period(PERIOD)
        ),
        tenant_id=accounts.tenant(1),
        owner=Owner(run_id="run-1", host="here", pid=1),
        triggered_by=AUTHOR,
        now=LATER,
    )
    before = load_period(engine, accounts.period(PERIOD))
    with pytest.raises(InputError, match=f"was used by session {handle.session_id}"):
        change(engine, accounts, *DATES)
    assert load_period(engine, before.id) == before
    with writing(engine) as connection:
        connection.execute(sa.update(optimization_session).values(State="FAILED"))
    assert change(engine, accounts, *DATES).start_date == DATES[0]  # wrong dates may be why


def test_a_period_keeps_apart_from_the_others(engine, accounts):
    before = load_period(engine, accounts.period(PERIOD))
    with pytest.raises(InputError, match=f"periods change {accounts.period(NEXT_PERIOD)}"):
        change(engine, accounts, date(2026, 11, 5), date(2026, 12, 4))
    with pytest.raises(InputError, match="before it starts"):
        change(engine, accounts, date(2026, 11, 5), date(2026, 11, 4))
    with pytest.raises(InputError):
        change_period(engine, 999_999, *DATES, now=LATER, author=AUTHOR)
    assert load_period(engine, before.id) == before
    assert change(engine, accounts, date(2026, 11, 2), date(2026, 11, 29)).cycle.days == 28
