"""The usage of the last billing periods as it is stored, in one frame for the metrics (U1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl
import pytest
import sqlalchemy as sa

from core.storage.audit import Author
from core.storage.catalogue_changes import add_period, add_provider
from core.storage.engine import writing
from core.storage.records import ProviderSettings
from core.storage.schema import device_usage
from core.storage.usage_history import load_usage_history
from core.usage.metrics import HISTORY_SCHEMA, usage_metrics
from tests.contract.accounts import UNKNOWN

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MONTHS = [date(2026, month, 1) for month in (8, 9, 10, 11)]
AUTHOR = Author(actor="test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """Two providers with four periods each; no usage in October, and another account's usage."""

    acme: int
    other: int


@pytest.fixture
def ids(engine):
    providers, periods = {}, {}
    for number, name in enumerate(("Acme", "Other"), start=1):
        provider = ProviderSettings(
            name=name,
            tenant="T",
            integration="jasper",
            base_url="https://rest.example.com",
            credential_ref="env:ACME",
            time_zone="UTC",
        )
        providers[number] = add_provider(engine, provider, now=NOW, author=AUTHOR).id
        for start in MONTHS:
            end = start.replace(day=28)
            period = add_period(engine, providers[number], start, end, now=NOW, author=AUTHOR)
            periods[len(periods) + 1] = period.id
    rows = [(1, 1, "B", 10), (1, 2, "A", 0), (1, 2, "B", 20), (1, 4, "A", 7), (2, 7, "A", 99)]
    with writing(engine) as connection:
        connection.execute(
            sa.insert(device_usage),
            [
                {
                    "ServiceProviderId": providers[provider],
                    "BillingPeriodId": periods[period],
                    "ICCID": iccid,
                    "UsageBytes": usage,
                    "SmsCount": 0,
                    "VoiceSeconds": 0,
                    "ReportedAt": NOW,
                    "DaysWithUsage": 3 if iccid == "B" else None,
                }
                for provider, period, iccid, usage in rows
            ],
        )
    return Ids(acme=providers[1], other=providers[2])


def test_the_last_periods_with_usage_are_read_and_no_row_is_made_up(engine, ids):
    found = load_usage_history(engine, ids.acme, 2)
    assert dict(found.schema) == HISTORY_SCHEMA
    assert found.select("iccid", "period_start", "usage_bytes").rows() == [
        ("A", MONTHS[1], 0),
        ("A", MONTHS[3], 7),
        ("B", MONTHS[1], 20),
    ]
    assert load_usage_history(engine, ids.acme, 12)["usage_bytes"].to_list() == [0, 7, 10, 20]


def test_a_history_may_end_before_the_newest_period(engine, ids):
    found = load_usage_history(engine, ids.acme, 1, until=MONTHS[2])
    assert found["period_start"].unique().to_list() == [MONTHS[1]]


def test_the_history_goes_straight_into_the_metrics(engine, ids):
    metrics = usage_metrics(load_usage_history(engine, ids.acme, 3))
    assert metrics.select("iccid", "cycles_reported", "total_bytes", "days_with_usage").rows() == [
        ("A", 2, 7, None),
        ("B", 2, 30, 6),
    ]


def test_a_provider_without_usage_has_an_empty_history(engine, ids):
    assert load_usage_history(engine, UNKNOWN, 3).equals(pl.DataFrame(schema=HISTORY_SCHEMA))
    with pytest.raises(ValueError, match="at least one period, not 0"):
        load_usage_history(engine, ids.acme, 0)
