"""Which sequences a session works with: generated, or those that it was started with (O5, S4)."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime

import polars as pl
import pytest

from core.domain import CommunicationPlan, RatePlan
from core.errors import InputError
from core.sessions.lifecycle import Author, Owner, open_session, parse_parameters
from core.stages.grouping import group_session
from core.stages.sequencing import sequence_session
from core.stages.session import load_context
from core.storage.catalogue_changes import add_period, add_provider
from core.storage.device_store import SqlDeviceStore
from core.storage.engine import open_engine
from core.storage.migrate import upgrade
from core.storage.plan_import import replace_catalogue
from core.storage.queues import load_sequences
from core.storage.records import ProviderSettings
from core.sync.store import REJECT_SCHEMA, RunRequest

NOW = datetime(2026, 10, 20, 12, tzinfo=UTC)
AUTHOR = Author(actor="test")
PLANS = [
    RatePlan(
        code=code,
        monthly_rate_micros=fee,
        included_bytes=included,
        overage_rate_micros=100,
        overage_block_bytes=1,
        is_pooled=True,
    )
    for code, fee, included in (("A", 10, 10), ("B", 20, 40), ("C", 50, 200))
]
COMM_PLANS = [
    CommunicationPlan(name="X", rate_plan_codes=("A", "B")),
    CommunicationPlan(name="Y", rate_plan_codes=("B", "C")),
]
GENERATED = {"AB": [("A", "B"), ("A",), ("B",)], "BC": [("B", "C"), ("B",), ("C",)]}


@pytest.fixture
def sequenced(tmp_path):
    """Run a session up to its sequences, one SIM in each of two groups; sequences by plan list."""
    engine = open_engine(f"sqlite:///{tmp_path / 'test.db'}")
    upgrade(engine)
    settings = ProviderSettings(
        name="P", tenant="T", integration="jasper", time_zone="UTC",
        base_url="https://carrier.example", credential_ref="env:X",
    )  # fmt: skip
    provider = add_provider(engine, settings, now=NOW, author=AUTHOR)
    dates = date(2026, 10, 1), date(2026, 10, 31)
    period = add_period(engine, provider.id, *dates, now=NOW, author=AUTHOR)
    replace_catalogue(engine, provider.id, PLANS, COMM_PLANS, now=NOW, author=AUTHOR)
    store = SqlDeviceStore(engine)
    sync = store.open_run(
        RunRequest(service_provider_id=provider.id, period_id=period.id, since=None, page_size=50),
        now=NOW,
    )
    frame = pl.DataFrame(
        {
            "position": [0, 1],
            "iccid": ["1", "2"],
            "status": ["ACTIVATED"] * 2,
            "rate_plan": ["A", "B"],
            "communication_plan": ["X", "Y"],
            "activated_date": [None, None],
            "asks_activation": [False, False],
        },
        schema_overrides={"activated_date": pl.Date},
    )
    store.stage_devices(sync, frame, pl.DataFrame(schema=REJECT_SCHEMA), sync.progress)
    store.publish(sync, today=NOW.date(), now=NOW)

    def run(given=None, max_sequences=3):
        request = parse_parameters(
            service_provider_id=provider.id,
            billing_period_id=period.id,
            rate_plan_sequences=given,
        )
        session_id = open_session(
            engine, request, tenant_id=provider.tenant_id, triggered_by=AUTHOR,
            owner=Owner.of_this_process("run"), now=NOW,
        ).session_id  # fmt: skip
        group_session(engine, load_context(engine, session_id, 1), max_rate_plans=15, now=NOW)
        context = load_context(engine, session_id, 1)
        count = sequence_session(
            engine, context, max_rate_plans=15, max_sequences=max_sequences, now=NOW
        )
        found = load_sequences(engine, context.instance_id)
        assert count == sum(map(len, found.values()))
        return {"".join(sorted(set().union(*s))): s for s in found.values()}

    yield run
    engine.dispose()


def test_without_given_sequences_all_are_generated(sequenced):
    assert sequenced() == GENERATED


def test_given_sequences_replace_generated_ones(sequenced, caplog):
    with caplog.at_level(logging.WARNING):
        assert sequenced([["B", "A"], ["C", "B"], ["B"]]) == {
            "AB": [("B", "A"), ("B",)],
            "BC": [("C", "B"), ("B",)],
        }
    assert caplog.messages == []


def test_a_group_that_no_given_sequence_fits_gets_generated_ones_and_is_named(sequenced, caplog):
    with caplog.at_level(logging.WARNING):
        assert sequenced([["B", "A"]]) == {"AB": [("B", "A")], "BC": GENERATED["BC"]}
    assert caplog.messages == ["no sequence of the run fits group G0002: it gets generated ones"]


def test_a_given_sequence_that_fits_no_group_stops_the_run(sequenced):
    with pytest.raises(InputError, match=r"sequence 2 \('A', 'C'\) cannot be used"):
        sequenced([["B"], ["A", "C"]])
