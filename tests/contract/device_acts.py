"""Acts of a synchronisation that the tests of the device store are told in."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import polars as pl
import sqlalchemy as sa

from core.storage.devices import load_devices
from core.storage.engine import reading
from core.sync.store import (
    ACTIVATION_STAGE_SCHEMA,
    DEVICE_STAGE_SCHEMA,
    REJECT_SCHEMA,
    USAGE_STAGE_SCHEMA,
    RunRequest,
)
from tests.contract.accounts import accounts_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PROVIDER, OTHER_PROVIDER, PERIOD, NEXT_PERIOD = 1, 2, 1, 11
"""Numbers of :mod:`tests.contract.accounts`."""


def start(store, kind="full", now=NOW, provider=PROVIDER, period=PERIOD, page_size=50, account=""):
    accounts = accounts_of(store._engine)
    request = RunRequest(
        service_provider_id=accounts.provider(provider),
        period_id=accounts.period(period),
        since=None if kind == "full" else NOW - timedelta(days=1),
        page_size=page_size,
        account=account,
    )
    return store.open_run(request, now=now)


def device_frame(rows):
    """Rows of iccid, status, rate plan, communication plan, activation date, position."""
    full = [(*row[:5], False, row[5]) for row in rows]
    return pl.DataFrame(full, schema=DEVICE_STAGE_SCHEMA, orient="row")


def devices(*rows):
    """Rows of iccid, rate plan, position; the rest is the same for all."""
    return device_frame((i, "ACTIVATED", plan, "C1", None, position) for i, plan, position in rows)


ZONES = itertools.count()


def usage(*rows):
    """Rows of iccid, bytes, each in a zone of its own."""
    full = [(iccid, "A", f"{next(ZONES)}", n_bytes, 0, 0) for iccid, n_bytes in rows]
    return pl.DataFrame(full, schema=USAGE_STAGE_SCHEMA, orient="row")


def stage_devices(store, run, frame, rejected=None, progress=None):
    store.stage_devices(
        run, frame, rejects() if rejected is None else rejected, progress or run.progress
    )


def stage_usage(store, run, frame, period=PERIOD):
    period_id = accounts_of(store._engine).period(period)
    store.stage_usage(run, frame, rejects(), run.progress, period_id=period_id)


def stage_dates(store, run, *rows):
    frame = pl.DataFrame(rows, schema=ACTIVATION_STAGE_SCHEMA, orient="row")
    store.stage_activation(run, frame, rejects())


def rejects(*rows):
    full = [(*row, None) if len(row) == 7 else row for row in rows]
    return pl.DataFrame(full, schema=REJECT_SCHEMA, orient="row")


def publish(store, run, now=NOW, today=None):
    return store.publish(run, today=today or NOW.date(), now=now)


LONG, SHORT = "89014103270100000058", "8901410327010000005"
"""One SIM's number with and without its check digit."""


OTHER_SIM, MISTYPED = "8901410327010000004", "89014103270100000057"


def published(engine, period=PERIOD, provider=PROVIDER):
    accounts = accounts_of(engine)
    return load_devices(engine, accounts.provider(provider), accounts.period(period))


def stored(engine, period=PERIOD, provider=PROVIDER):
    found = published(engine, period, provider)
    return found.select("iccid", "rate_plan", "usage_bytes").rows()


def count(engine, table):
    with reading(engine) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def synced(store, *rows, kind="full", usages=(), now=NOW):
    run = start(store, kind, now)
    stage_devices(store, run, devices(*rows))
    stage_usage(store, run, usage(*usages))
    return publish(store, run, now=now)


def whole(*iccids):
    full = [(iccid, "", "", 1, 0, 0) for iccid in iccids]
    return pl.DataFrame(full, schema=USAGE_STAGE_SCHEMA, orient="row")


def history(store, provider=PROVIDER):
    return store.history(accounts_of(store._engine).provider(provider))


def unread(store, run, plan, period=PERIOD):
    period_id = accounts_of(store._engine).period(period)
    return list(store.iccids_without_usage(run, plan, period_id=period_id))


def unsynced(store):
    """Periods of the first provider before the next one that have to be synchronised again."""
    accounts = accounts_of(store._engine)
    found = store.unsynced_periods(accounts.provider(PROVIDER), accounts.period(NEXT_PERIOD))
    return [period.id for period in found]
