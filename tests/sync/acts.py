"""Acts of a synchronisation of a small simulated account, that tests are told in."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import polars as pl

from core.carriers.base import UsageAccess
from core.carriers.control_center import control_center_capabilities, open_control_center
from core.carriers.http import RetryPolicy
from core.simulator.account import UsageRow
from core.simulator.api import ApiError, ControlCenterApi
from core.simulator.options import SimulatorOptions
from core.simulator.server import SimulatorServer
from core.storage.device_store import SqlDeviceStore
from core.storage.devices import load_devices
from core.sync.run import SyncRequest, sync_devices
from tests.faults.small_account import CYCLE, LOGIN, NOW, PLANS

YEAR = control_center_capabilities().list_window
REQUEST = SyncRequest(
    service_provider_id=1,
    period_id=1,
    cycle=CYCLE,
    known_rate_plans=frozenset(plan.code for plan in PLANS),
)
RETRY = RetryPolicy(attempts=2, wait_initial_s=0, wait_max_s=0, wait_jitter_s=0)


@contextmanager
def served(account, api=ControlCenterApi, clock=lambda: NOW, faults=(), **switches):
    """A simulator of an account; ``api`` may be a subclass that answers otherwise."""
    options = SimulatorOptions(**switches)
    answers = api(account, options, clock)
    with SimulatorServer(account, options, api=answers, clock=clock, faults=faults) as server:
        yield server


@contextmanager
def client_of(server, usage_access=UsageAccess.BY_RATE_PLAN, now=NOW, list_window=None):
    """A client that waits for nothing, and asks for lists year by year where the account needs that."""
    with open_control_center(
        server.base_url,
        LOGIN,
        capabilities=replace(
            control_center_capabilities(requests_per_second=None, usage_access=usage_access),
            list_window=list_window,
        ),
        retry=RETRY,
        clock=lambda: now,
    ) as client:
        yield client


def synchronise(server, engine, *, store=SqlDeviceStore, now=NOW, request=REQUEST, **changes):
    """One run; ``changes`` are those of the request."""
    usage_access = changes.pop("usage_access", UsageAccess.BY_RATE_PLAN)
    with client_of(server, usage_access, now) as client:
        asked = replace(request, **changes)
        return sync_devices(client, store(engine), asked, clock=lambda: now)


def refusing(plan, is_asked=lambda query: True):
    """An API that refuses one rate plan's usage as a list, as that of a shared plan."""

    class Refusing(ControlCenterApi):
        def _usage_by_plan(self, query):
            if query.get("ratePlanName") == plan and is_asked(query):
                raise ApiError(400, "10000013", "Shared rate plans are not supported.")
            return super()._usage_by_plan(query)

    return Refusing


def use(account, iccid, n_bytes):
    """Let a SIM use bytes on the plan that it is on."""
    more = UsageRow(
        data_bytes=n_bytes,
        roaming_bytes=0,
        sms_mo=0,
        sms_mt=0,
        voice_mo_seconds=0,
        voice_mt_seconds=0,
    )
    account.add_usage(account.row_of(iccid), more)


def used(account, iccid):
    """Bytes that a SIM used in the account's cycle."""
    return account.usage(account.row_of(iccid)).data_bytes


def stored_bytes(engine, iccid, period=1):
    """Bytes that the tables hold of a SIM."""
    return load_devices(engine, 1, period).filter(pl.col("iccid") == iccid)["usage_bytes"].item()


def sims_on(account, plan):
    """ICCIDs of active SIMs on a plan that have usage, ascending."""
    rows = [account.fields(row) for row in account.listed(0, None, None).tolist()]
    on_plan = [iccid for iccid, status, code, _ in rows if (status, code) == ("ACTIVATED", plan)]
    return sorted(iccid for iccid in on_plan if used(account, iccid) > 0)


def usage_of(engine, period):
    """Bytes that the tables hold of every SIM."""
    return load_devices(engine, 1, period).select("iccid", "usage_bytes")


def sim_calls(server):
    """Calls for the usage of single SIMs."""
    return [call for call in server.calls if "/ctdUsages" in call]
