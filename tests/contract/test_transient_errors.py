"""What another try can cure is tried again; all else surfaces (D4)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from core.errors import StorageError, TransientStorageError
from core.sessions.window import Slot
from core.storage import slots
from core.storage.device_store import SqlDeviceStore
from core.storage.engine import writing
from core.storage.retry import ATTEMPTS, retried
from core.storage.schema import run_slot
from core.sync.store import RunRequest
from tests.contract.accounts import NOW, add_accounts


@pytest.fixture(autouse=True)
def without_waiting():
    import stamina

    with stamina.set_testing(True, attempts=ATTEMPTS, cap=True):
        yield


def failing(engine, numbers, error=TransientStorageError):
    """Let the statements of these numbers, from 1, fail; a list that counts them."""
    seen = []

    def fail(_connection, _cursor, statement, *_rest):
        seen.append(statement)
        if len(seen) in numbers:
            raise error("the connection broke")

    event.listen(engine, "before_cursor_execute", fail)
    return seen


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_slot_is_claimed_once_whatever_statement_meets_a_deadlock(engine, number):
    slot = Slot(
        service_provider_id=add_accounts(engine).provider(1), local_date=NOW.date(), hour=-1
    )
    failing(engine, {number})
    claim = slots.claim_slot(engine, slot, claimed_by="me", now=NOW)
    assert claim.is_mine
    again = slots.claim_slot(engine, slot, claimed_by="other", now=NOW)
    assert (again.is_mine, again.claimed_by) == (False, "me")
    with writing(engine) as connection:
        n = connection.execute(sa.select(sa.func.count()).select_from(run_slot)).scalar_one()
    assert n == 1


@pytest.mark.parametrize("number", range(1, 5))
def test_an_opened_run_is_one_run(engine, number):
    accounts, store = add_accounts(engine), SqlDeviceStore(engine)
    request = RunRequest(
        service_provider_id=accounts.provider(1),
        period_id=accounts.period(1),
        since=None,
        page_size=50,
        account="",
    )
    failing(engine, {number})
    run = store.open_run(request, now=NOW)
    assert run.attempt == 1
    assert store.history(accounts.provider(1)).unfinished_kind == "full"


def test_after_the_last_attempt_the_error_surfaces(engine):
    seen = failing(engine, range(1, 100))
    with pytest.raises(TransientStorageError):
        slots.release_slot(
            engine,
            Slot(service_provider_id=1, local_date=NOW.date(), hour=-1),
            claimed_by="me",
        )
    assert len(seen) == ATTEMPTS


def test_another_error_is_not_tried_again(engine):
    seen = failing(engine, {1}, error=StorageError)
    with pytest.raises(StorageError):
        slots.release_slot(
            engine,
            Slot(service_provider_id=1, local_date=NOW.date(), hour=-1),
            claimed_by="me",
        )
    assert len(seen) == 1


def test_of_two_functions_one_in_the_other_only_the_outer_one_is_done_again():
    calls = []

    @retried
    def inner():
        calls.append("inner")
        raise TransientStorageError("broken")

    @retried
    def outer():
        calls.append("outer")
        inner()

    with pytest.raises(TransientStorageError):
        outer()
    assert calls == ["outer", "inner"] * ATTEMPTS
