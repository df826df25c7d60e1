"""A billing period whose dates were wrong is corrected, and keeps no usage of other days."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from core.errors import InputError
from core.sessions.lifecycle import Owner, open_session
from core.sessions.parameters import parse_parameters
from core.storage import audit
from core.storage.audit import Author
from core.storage.catalogue import load_period
from core.storage.catalogue_changes import change_period
from core.storage.engine import reading
from core.storage.schema import device, device_usage
from tests.contract.device_acts import NEXT_PERIOD, PERIOD, stored, synced

LATER = datetime(2026, 11, 21, tzinfo=UTC)
AUTHOR = Author(actor="test", source="cli")
DATES = (date(2026, 10, 27), date(2026, 11, 26))


def change(engine, accounts, start, end, period=PERIOD):
    return change_period(engine, accounts.period(period), start, end, now=LATER, author=AUTHOR)


def test_a_period_is_corrected_and_its_usage_is_read_anew(engine, accounts, store):
    synced(store, ("1", "A", 1), usages=(("1", 500),))
    assert stored(engine) == [("1", "A", 500)]
    changed = change(engine, accounts, *DATES)
    assert (changed.start_date, changed.end_date) == DATES
    assert load_period(engine, changed.id) == changed
    assert stored(engine) == [("1", "A", None)]
    with reading(engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(device)).scalar() == 1
        assert connection.execute(sa.select(device_usage.c.ICCID)).all() == []
    assert audit.load_events(engine)[-1].action == "period.changed"


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
    with pytest.raises(InputError, match=f"was used by session {handle.session_id}"):
        change(engine, accounts, *DATES)
    assert stored(engine) == [("1", "A", 500)]


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
