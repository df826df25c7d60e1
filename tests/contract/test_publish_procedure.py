"""The procedure that publishes a run: the same statements as the store's, frozen in a migration."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import polars as pl
import pytest

from core.errors import StorageError
from core.storage.device_procedure import NAME, procedure_sql
from core.storage.device_store import SqlDeviceStore
from core.storage.devices import load_devices
from core.storage.engine import reading, writing
from core.storage.sync_runs import load_run
from core.sync.store import (
    DEVICE_STAGE_SCHEMA,
    REJECT_SCHEMA,
    USAGE_STAGE_SCHEMA,
    RunRequest,
)
from tests.contract.accounts import NOW, add_accounts
from tests.contract.probes import supports
from tests.contract.tsql_check import check_grammar

VERSIONS = Path("core/storage/migrations/versions")


def newest_text():
    """The procedure as the newest migration that makes it has it."""
    path = max(path for path in VERSIONS.glob("0*.py") if NAME in path.read_text())
    spec = importlib.util.spec_from_file_location(path.stem, path)
    migration = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(migration)
    return migration.PROCEDURE


def test_the_migrations_make_the_procedure_of_the_statements_of_today():
    """If it differs, a new migration has to drop the procedure and make it anew."""
    assert newest_text() == procedure_sql()


def test_the_procedure_is_tsql():
    assert check_grammar(procedure_sql()) is None


def test_the_procedure_publishes_as_the_store_does(engine):
    """Only a server has it; what its statements do is shown by the store's tests on both."""
    if not supports(engine, "procedures"):
        pytest.skip("this database has no procedures")
    accounts, store = add_accounts(engine), SqlDeviceStore(engine)
    request = a_full_run(accounts)
    first = store.open_run(request, now=NOW)
    stage(store, first, {"1": ("A", 10), "2": ("A", 20)})
    assert run_procedure(engine, first) == (2, 0, 2, 0, 0)
    second = store.open_run(request, now=NOW)
    stage(store, second, {"2": ("B", 25), "3": ("B", 5)})
    assert run_procedure(engine, second) == (2, 0, 2, 1, 0)
    assert run_procedure(engine, second) == (2, 0, 2, 1, 0)  # changes nothing, tells the same
    found = load_devices(engine, accounts.provider(1), accounts.period(1))
    assert found.select("iccid", "rate_plan", "usage_bytes").rows() == [
        ("2", "B", 25),
        ("3", "B", 5),
    ]
    assert store.history(accounts.provider(1)).last.run_id == second.id


def test_the_procedure_refuses_a_run_that_is_not_staged_completely(engine):
    if not supports(engine, "procedures"):
        pytest.skip("this database has no procedures")
    accounts, store = add_accounts(engine), SqlDeviceStore(engine)
    request = a_full_run(accounts)
    run = store.open_run(request, now=NOW)
    stage(store, run, {"1": ("A", 10)}, is_complete=False)
    with pytest.raises(StorageError, match="not staged completely"):
        run_procedure(engine, run)
    assert load_devices(engine, accounts.provider(1), accounts.period(1)).is_empty()


def a_full_run(accounts):
    return RunRequest(
        service_provider_id=accounts.provider(1),
        period_id=accounts.period(1),
        since=None,
        page_size=50,
        account="",
    )


def stage(store, run, sims, *, is_complete=True):
    rows = [
        (iccid, "ACTIVATED", plan, "C", None, False, position)
        for position, (iccid, (plan, _)) in enumerate(sims.items())
    ]
    devices = pl.DataFrame(rows, schema=DEVICE_STAGE_SCHEMA, orient="row")
    usage = pl.DataFrame(
        [(iccid, "", "", n_bytes, 0, 0) for iccid, (_, n_bytes) in sims.items()],
        schema=USAGE_STAGE_SCHEMA,
        orient="row",
    )
    rejects = pl.DataFrame(schema=REJECT_SCHEMA)
    store.stage_devices(run, devices, rejects, run.progress)
    with reading(store._engine) as connection:
        period_id = load_run(connection, run.id)["BillingPeriodId"]
    store.stage_usage(run, usage, rejects, run.progress, period_id=period_id)
    if is_complete:
        store.close_staging(run)


def run_procedure(engine, run):
    with writing(engine) as connection:
        statement = f"EXEC {NAME} @DeviceSyncRunId = {run.id}, @Today = '2026-11-15'"
        return tuple(connection.exec_driver_sql(statement).one())
