"""Who is optimised, and with which plans, in a flow run (E1, G2, V1, V2, B9)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl
import pytest
import sqlalchemy as sa

from core.domain import CommunicationPlan, RatePlan
from core.errors import DataError, FencedOffError, InvalidRatePlansError
from core.sessions.lifecycle import Author, Owner, open_session, parse_parameters
from core.stages.grouping import group_session, is_grouped, load_grouping
from core.stages.session import load_context
from core.storage.catalogue_changes import add_period, add_provider
from core.storage.device_store import SqlDeviceStore
from core.storage.engine import open_engine, writing
from core.storage.migrate import upgrade
from core.storage.plan_import import replace_catalogue
from core.storage.records import ProviderSettings
from core.storage.schema import carrier_rate_plan, optimization_session
from core.storage.snapshot import load_snapshot
from core.sync.store import REJECT_SCHEMA, RunRequest

NOW = datetime(2026, 10, 20, 12, tzinfo=UTC)
AUTHOR = Author(actor="test")
MB = 1 << 20


def plan(code: str, *, is_active: bool = True) -> RatePlan:
    return RatePlan(
        code=code,
        monthly_rate_micros=1_000_000,
        included_bytes=10 * MB,
        overage_rate_micros=100_000,
        overage_block_bytes=MB,
        is_pooled=False,
        is_active=is_active,
    )


PLANS = [plan("A"), plan("B"), plan("OLD")]
COMM_PLANS = [
    CommunicationPlan(name="X", rate_plan_codes=("A", "B")),
    CommunicationPlan(name="Y", rate_plan_codes=("OLD",)),
]


class Account:
    """A provider with a period, a catalogue, synchronised SIMs and an open session."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.provider = add_provider(
            engine,
            ProviderSettings(
                name="P", tenant="T", integration="jasper", time_zone="UTC",
                base_url="https://carrier.example", credential_ref="env:X",
            ),
            now=NOW, author=AUTHOR,
        )  # fmt: skip
        self.period = add_period(
            engine, self.provider.id, date(2026, 10, 1), date(2026, 10, 31), now=NOW, author=AUTHOR
        )
        self.catalogue(PLANS)

    def catalogue(self, plans: list[RatePlan]) -> None:
        replace_catalogue(self.engine, self.provider.id, plans, COMM_PLANS, now=NOW, author=AUTHOR)

    def synchronise(self, *sims: tuple[str, str, str, str, date | None]) -> None:
        """Iccid, status, rate plan, communication plan, activation date."""
        store = SqlDeviceStore(self.engine)
        request = RunRequest(
            service_provider_id=self.provider.id,
            period_id=self.period.id,
            since=None,
            page_size=50,
        )
        run = store.open_run(request, now=NOW)
        names = ["iccid", "status", "rate_plan", "communication_plan", "activated_date"]
        frame = pl.DataFrame(
            list(sims),
            schema={name: pl.Date if name == "activated_date" else pl.String for name in names},
            orient="row",
        ).with_row_index("position")
        rows = frame.with_columns(pl.col("position").cast(pl.Int64), asks_activation=pl.lit(False))
        store.stage_devices(run, rows, pl.DataFrame(schema=REJECT_SCHEMA), run.progress)
        store.publish(run, today=NOW.date(), now=NOW)

    def open(self):
        request = parse_parameters(
            service_provider_id=self.provider.id, billing_period_id=self.period.id
        )
        handle = open_session(
            self.engine, request, tenant_id=self.provider.tenant_id, triggered_by=AUTHOR,
            owner=Owner.of_this_process("run"), now=NOW,
        )  # fmt: skip
        return self.context(handle.session_id)

    def context(self, session_id: int):
        return load_context(self.engine, session_id, 1)

    def group(self):
        context = self.open()
        group_session(self.engine, context, max_rate_plans=15, now=NOW)
        return self.context(context.session_id)


@pytest.fixture
def account(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'test.db'}")
    upgrade(engine)
    yield Account(engine)
    engine.dispose()


GOOD = ("89014103270100000058", "ACTIVATED", "A", "X", None)


def test_every_sim_is_in_one_group_unpriced_or_listed_with_a_reason(account):
    account.synchronise(
        GOOD,
        ("89014103270100000066", "RETIRED", "A", "X", None),
        ("89014103270100000074", "ACTIVATED", "GONE", "X", None),
        ("89014103270100000082", "ACTIVATED", "A", "Z", None),
        ("89014103270100000090", "ACTIVATED", "A", "X", date(2026, 11, 2)),
    )
    context = account.group()
    fleet, listed = load_snapshot(account.engine, context.instance_id)
    assert dict(zip(fleet["iccid"], fleet["group_id"], strict=True)) == {
        "89014103270100000058": "G0001",
        "89014103270100000074": None,
    }
    assert dict(zip(listed["iccid"], listed["reason"], strict=True)) == {
        "89014103270100000066": "not_billable",
        "89014103270100000082": "no_communication_plan",
        "89014103270100000090": "activated_after_cycle_end",
    }


def test_a_fleet_on_unknown_plans_only_has_no_group(account):
    account.synchronise(("89014103270100000058", "ACTIVATED", "GONE", "X", None))
    with pytest.raises(
        DataError, match=r"No communication group with SIMs.* 1 have a plan that is"
    ):
        account.group()


@pytest.mark.parametrize("comm_plan", ["X", "Y"])
def test_an_unbillable_plan_that_a_group_would_use_stops_the_session(account, comm_plan):
    """Also where it is the only plan of the list. Imports refuse it, so it is made by hand."""
    account.synchronise(("89014103270100000058", "ACTIVATED", "A", comm_plan, None))
    code = "B" if comm_plan == "X" else "OLD"
    with writing(account.engine) as connection:
        connection.execute(
            sa.update(carrier_rate_plan)
            .where(carrier_rate_plan.c.RatePlanCode == code)
            .values(OverageBlockBytes=0)
        )
    with pytest.raises(InvalidRatePlansError, match=f"{code}:"):
        account.group()


@pytest.mark.parametrize("code", ["B", "OLD"])
def test_a_pooled_plan_with_a_cap_stops_a_session_whose_groups_would_use_it(account, code):
    """Plan B is in the list of X, plan OLD in that of Y only, which has no SIMs (B8)."""
    account.synchronise(GOOD)
    capped = replace(plan(code), is_pooled=True, overage_cap_micros=5_000_000)
    account.catalogue([capped if one.code == code else one for one in PLANS])
    if code == "B":
        with pytest.raises(InvalidRatePlansError, match="B: it is pooled and has an overage cap"):
            account.group()
    else:
        assert account.group().instance is not None


def test_an_unbillable_plan_that_no_group_would_use_stops_nothing(account):
    account.synchronise(GOOD)
    with writing(account.engine) as connection:
        connection.execute(
            sa.update(carrier_rate_plan)
            .where(carrier_rate_plan.c.RatePlanCode == "OLD")
            .values(OverageBlockBytes=0)
        )
    assert account.group().instance is not None


def test_prices_of_before_and_after_an_import_are_never_mixed(account):
    account.synchronise(GOOD)
    context = account.group()
    assert is_grouped(account.engine, context)
    assert load_grouping(account.engine, context, max_rate_plans=15).groups
    account.catalogue([replace(PLANS[0], monthly_rate_micros=9_000_000), *PLANS[1:]])
    assert not is_grouped(account.engine, context)
    with pytest.raises(DataError, match="were changed since session"):
        load_grouping(account.engine, context, max_rate_plans=15)


def test_a_former_owner_groups_nothing_any_more(account):
    account.synchronise(GOOD)
    context = account.open()
    with writing(account.engine) as connection:
        connection.execute(sa.update(optimization_session).values(Attempt=2))
    with pytest.raises(FencedOffError):
        group_session(account.engine, context, max_rate_plans=15, now=NOW)
