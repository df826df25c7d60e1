"""``carrier-opt sessions list|show`` against a real database."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta

import pytest
from typer.testing import CliRunner

from cli.sessions import app
from core.errors import InputError, SchemaOutdatedError
from core.sessions.lifecycle import (
    Author,
    Owner,
    SessionState,
    enter,
    fail,
    open_session,
    parse_parameters,
)
from core.storage import schema
from core.storage.engine import open_engine, writing
from core.storage.migrate import upgrade
from tests.contract.accounts import SETTINGS

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A database with two tenants; provider 1 and 2 are of tenant 1, provider 3 is of tenant 2."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    made = {"CreatedBy": "test", "CreatedDate": NOW}
    with writing(engine) as connection:
        for tenant_id in (1, 2):
            row = {"Id": tenant_id, "Name": f"tenant {tenant_id}", **made}
            connection.execute(schema.tenant.insert().values(row))
        for provider_id, tenant_id in ((1, 1), (2, 1), (3, 2)):
            connection.execute(
                schema.service_provider.insert().values(
                    Id=provider_id,
                    TenantId=tenant_id,
                    Name=f"provider {provider_id}",
                    **SETTINGS,
                    **made,
                )
            )
            connection.execute(
                schema.billing_period.insert().values(
                    Id=provider_id,
                    ServiceProviderId=provider_id,
                    BillingPeriodStart=date(2026, 11, 1),
                    BillingPeriodEnd=date(2026, 11, 30),
                    **made,
                )
            )
    engine.dispose()
    return path


@pytest.fixture
def engine(template, tmp_path):
    path = tmp_path / "test.db"
    shutil.copy(template, path)
    engine = open_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


@pytest.fixture
def two_sessions(engine):
    """Session 1 of provider 1 failed while it was SYNCING; session 2 of provider 3 is PENDING."""
    for provider_id, tenant_id in ((1, 1), (3, 2)):
        handle = open_session(
            engine,
            parse_parameters(
                service_provider_id=provider_id,
                billing_period_id=provider_id,
                dry_run=provider_id == 3,
                additional_data={"ticket": "ü"},
            ),
            tenant_id=tenant_id,
            owner=Owner(run_id=f"run-{provider_id}", host="here/1/2", pid=4711),
            triggered_by=Author(actor="alice", source="ui"),
            now=NOW,
        )
        if provider_id == 1:
            handle = enter(engine, handle, SessionState.SYNCING, now=NOW, device_count=7)
            fail(engine, handle, now=NOW + timedelta(minutes=3), error_message="carrier down")
    return engine


def run(engine, *arguments):
    result = CliRunner().invoke(
        app, [*arguments, "--database", str(engine.url)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def test_sessions_are_listed_newest_first(two_sessions):
    header, second, first = run(two_sessions, "list").splitlines()
    assert header.split() == ["ID", "STATE", "%", "DEVICES", "PROVIDER", "TENANT", "STARTED",
                              "ENDED", "BY"]  # fmt: skip
    assert second.startswith("2   PENDING (dry run)  0  0")
    assert first.startswith("1   FAILED             0  7        provider 1  tenant 1")
    assert "2026-11-23 02:00Z  2026-11-23 02:03Z  ui:alice" in first


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ([], [2, 1]),
        (["--tenant", "tenant 1"], [1]),
        (["--tenant", "2"], [2]),
        (["--provider", "provider 3"], [2]),
        (["--provider", "1"], [1]),
        (["--provider", "2"], []),
        (["--tenant", "1", "--provider", "3"], []),
        (["--limit", "1"], [2]),
    ],
)
def test_the_list_can_be_narrowed(two_sessions, arguments, ids):
    listed = json.loads(run(two_sessions, "list", "--json", *arguments))
    assert [session["id"] for session in listed] == ids


def test_the_json_of_a_session_has_these_names(two_sessions):
    first = json.loads(run(two_sessions, "list", "--json"))[1]
    guid = first.pop("guid")
    assert len(guid) == 36
    assert first == {
        "id": 1,
        "tenant": "tenant 1",
        "tenant_id": 1,
        "provider": "provider 1",
        "provider_id": 1,
        "billing_period_id": 1,
        "kind": "m2m",
        "dry_run": False,
        "state": "FAILED",
        "failed_in": "SYNCING",
        "progress": 0,
        "devices": 7,
        "error_message": "carrier down",
        "triggered_by": "ui:alice",
        "run_id": "run-1",
        "host": "here/1/2",
        "pid": 4711,
        "attempt": 1,
        "started_at": "2026-11-23T02:00:00Z",
        "heartbeat_at": "2026-11-23T02:00:00Z",
        "completed_at": "2026-11-23T02:03:00Z",
        "results_purged_at": None,
    }


def test_an_empty_list_says_so(engine):
    assert run(engine, "list") == "no sessions\n"
    assert json.loads(run(engine, "list", "--json")) == []


def test_a_session_is_shown_with_its_messages_and_events(two_sessions):
    shown = run(two_sessions, "show", "1")
    for part in ("state:", "FAILED", "carrier down", "Progress", "ErrorMessage", "waiting",
                 "session.opened", "session.failed", "alice"):  # fmt: skip
        assert part in shown
    as_json = json.loads(run(two_sessions, "show", "1", "--json"))
    assert as_json["parameters"]["additional_data"] == {"ticket": "ü"}
    assert [m["type"] for m in as_json["messages"]] == ["Progress", "ErrorMessage"]
    assert [m["sent_at"] for m in as_json["messages"]] == [None, None]
    assert [e["action"] for e in as_json["events"]] == ["session.opened", "session.failed"]


def test_an_unknown_session_provider_or_tenant_is_named(two_sessions):
    for arguments, text in (
        (["show", "9"], "no session 9"),
        (["list", "--provider", "nobody"], "'nobody' is unknown; known: 1 'provider 1'"),
        (["list", "--tenant", "nobody"], "known: 1 'tenant 1', 2 'tenant 2'"),
    ):
        with pytest.raises(InputError, match=text):
            run(two_sessions, *arguments)


def test_a_database_without_tables_names_the_remedy(tmp_path):
    empty = open_engine(f"sqlite:///{tmp_path / 'new.db'}")
    with pytest.raises(SchemaOutdatedError, match="db upgrade"):
        run(empty, "list")
