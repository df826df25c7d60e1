"""An account of 56 SIMs on seven pages, its synchronisation, and what the tables must then hold.

What is right is told by the account's own state in the simulator, and read from the tables with plain
SQL: neither goes through the code that is tested.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
from pydantic import SecretStr

from core.carriers.control_center import control_center_capabilities, open_control_center
from core.carriers.credentials import Credentials
from core.carriers.http import RetryPolicy
from core.carriers.iccid import iccid_problems
from core.domain import BillingCycle
from core.simulator.account import SimulatedAccount, UsageRow
from core.simulator.fleet import make_fleet
from core.simulator.tariffs import simulated_communication_plans, simulated_rate_plans
from core.storage import catalogue_changes
from core.storage.audit import Author
from core.storage.device_store import SqlDeviceStore
from core.storage.engine import open_engine
from core.storage.migrate import upgrade
from core.storage.records import ProviderSettings
from core.sync.run import SyncRequest, sync_devices

CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
LAST_CYCLE = BillingCycle(start_date=date(2026, 9, 1), end_date=date(2026, 9, 30))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
PAGE_SIZE = 8
CODES = {
    "FLEX-1MB", "FLEX-5MB", "FLEX-50MB", "FLEX-2GB", "SHARE-1GB",
    "START-2MB", "START-20MB", "START-200MB",
}  # fmt: skip
PLANS = [plan for plan in simulated_rate_plans() if plan.code in CODES]
"""Three plans in use and a few more: usage is asked for plan by plan, in use or not."""
REQUEST = SyncRequest(
    service_provider_id=1,
    period_id=1,
    cycle=CYCLE,
    prorated_communication_plans=frozenset({"Trial Kits"}),
)
LOGIN = Credentials(username=SecretStr("simulator"), api_key=SecretStr("simulated-key"))


def small_fleet():
    """56 good SIMs on three plans; about seven were modified in this cycle."""
    fleet = make_fleet(1500, 1, CYCLE, as_of=NOW)
    good = fleet.filter(iccid_problems(fleet["iccid"]).is_null())
    parts = [("START-2MB", 24), ("START-20MB", 12), ("FLEX-5MB", 20)]
    return pl.concat([good.filter(pl.col("rate_plan") == plan).head(n) for plan, n in parts])


def small_account(fleet=None):
    """An account with these SIMs."""
    return SimulatedAccount(
        small_fleet() if fleet is None else fleet,
        cycle=CYCLE,
        rate_plans=PLANS,
        communication_plans=simulated_communication_plans(),
    )


def change_account(account):
    """Make the account differ from what was published: in a plan, in usage, in a SIM that left."""
    account.change(30, {"ratePlan": "START-2MB"}, NOW)
    account.grow(50)
    more = UsageRow(
        data_bytes=5000, roaming_bytes=0, sms_mo=3, sms_mt=0, voice_mo_seconds=7, voice_mt_seconds=0
    )
    account.add_usage(31, more)
    account.remove(40)


def make_database(path):
    """A database with provider 1, its period 1 and the one before, 2."""
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    author = Author(actor="test")
    settings = ProviderSettings(
        name="account",
        tenant="tenant",
        integration="jasper",
        base_url="http://127.0.0.1",
        credential_ref="env:NONE",
        time_zone="UTC",
    )
    provider = catalogue_changes.add_provider(engine, settings, now=NOW, author=author)
    for cycle in (CYCLE, LAST_CYCLE):
        catalogue_changes.add_period(
            engine, provider.id, cycle.start_date, cycle.end_date, now=NOW, author=author
        )
    engine.dispose()
    return path


@contextmanager
def opened_client(base_url, *, login=LOGIN, timeout_s=0.4, **capabilities):
    """A client that waits for nothing, and whose lists have two windows."""
    with open_control_center(
        base_url,
        login,
        capabilities=replace(
            control_center_capabilities(
                page_size=PAGE_SIZE, requests_per_second=None, **capabilities
            ),
            list_window=None,
        ),
        timeout_s=timeout_s,
        retry=RetryPolicy(attempts=3, wait_initial_s=0, wait_max_s=0, wait_jitter_s=0),
    ) as client:
        client._clock = lambda: NOW
        yield client


def synchronise(base_url, database, request=REQUEST, *, prepare=lambda client: None, **more):
    """One full run; ``prepare`` may tamper with the client."""
    engine = open_engine(f"sqlite:///{database}")
    try:
        with opened_client(base_url, **more) as client:
            prepare(client)
            return sync_devices(client, SqlDeviceStore(engine), request, clock=lambda: NOW)
    finally:
        engine.dispose()


def tables(database):
    """Devices, usage and published runs, every column."""
    with sqlite3.connect(database) as connection:
        found = {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3").fetchall()
            for name in ("Device", "DeviceUsage")
        }
        runs = "SELECT * FROM DeviceSyncRun WHERE Status = 'published' ORDER BY Id"
        found["runs"] = connection.execute(runs).fetchall()
    connection.close()
    return found


def query(database, statement, *values):
    """Rows of a query."""
    connection = sqlite3.connect(database)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


@dataclass(frozen=True)
class Sim:
    """What the tables hold of a SIM; usage is bytes, SMS, seconds, or None."""

    status: str
    rate_plan: str
    communication_plan: str
    usage: tuple[int, int, int] | None
    activated: str | None


def stored_sims(database):
    """SIMs in the tables that are not deleted, by ICCID."""
    rows = query(
        database,
        "SELECT d.ICCID, Status, RatePlan, CommunicationPlan, UsageBytes, SmsCount, VoiceSeconds, "
        "ActivatedDate FROM Device d LEFT JOIN DeviceUsage u ON u.ICCID = d.ICCID "
        "AND u.ServiceProviderId = d.ServiceProviderId AND u.BillingPeriodId = 1 WHERE NOT IsDeleted",
    )
    assert len({row[0] for row in rows}) == len(rows)
    return {
        iccid: Sim(status, plan, comm, None if data is None else (data, sms, voice), day)
        for iccid, status, plan, comm, data, sms, voice, day in rows
    }


def true_sims(account):
    """SIMs as the simulated account has them, with the true day of activation."""
    found = {}
    for row in account.listed(0, None, None).tolist():
        iccid, status, plan, comm = account.fields(row)
        used = account.usage(row)
        at = int(account.activated_ms[row])
        usage = (
            used.data_bytes,
            used.sms_mo + used.sms_mt,
            used.voice_mo_seconds + used.voice_mt_seconds,
        )
        day = datetime.fromtimestamp(at / 1000, tz=UTC).date().isoformat() if at >= 0 else None
        found[iccid] = Sim(status, plan, comm, usage if at >= 0 else None, day)
    return found


def differences(stored, true, *, unread_dates=frozenset(), sim_by_sim=False):
    """What of the tables is not as the account has it.

    A date is needed where a prorated plan concerns a SIM that was activated in the cycle; others may
    be unknown, but never wrong. ``unread_dates``: SIMs whose date may be anything. ``sim_by_sim``: the
    usage was read so, which is told of SIMs too that were never active.
    """
    found = [f"{iccid} is missing" for iccid in true.keys() - stored.keys()]
    found += [f"{iccid} is not the carrier's" for iccid in stored.keys() - true.keys()]
    for iccid in true.keys() & stored.keys():
        here, there = stored[iccid], true[iccid]
        if sim_by_sim and there.usage is None:
            here = replace(here, usage=None)
        needs_date = (
            there.communication_plan == "Trial Kits"
            and (there.activated or "") >= CYCLE.start_date.isoformat()
        )
        if iccid in unread_dates or (here.activated is None and not needs_date):
            here = replace(here, activated=there.activated)
        if here != there:
            found.append(f"{iccid}: {here} instead of {there}")
    return found


def copy_of(template, folder):
    """A database of this test's own."""
    return Path(shutil.copy(template, folder / "own.db"))
