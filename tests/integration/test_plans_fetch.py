"""`plans fetch` against the simulated carrier over HTTP: what is shown, written, and left alone."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime

import pytest

from cli.main import main
from core.domain import BillingCycle
from core.files.rate_plans import read_rate_plans
from core.simulator import api
from core.simulator.account import simulated_account
from core.simulator.options import SimulatorOptions
from core.simulator.payloads import rate_plan_entry
from core.simulator.server import SimulatorServer
from core.simulator.tariffs import simulated_rate_plans
from core.storage.catalogue import load_rate_plans
from core.storage.engine import open_engine

CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
N_PLANS = len(simulated_rate_plans())


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    """A database with the provider Acme at a simulator; runs commands, gives code, out and err."""
    options = SimulatorOptions(username="someone", api_key="hidden-key-5f3a")
    account = simulated_account(3, 1, CYCLE, now=NOW)
    server = SimulatorServer(account, options, clock=lambda: NOW).start()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACME", "someone:hidden-key-5f3a")
    monkeypatch.setenv("CARRIER_OPT_DATABASE_URL", f"sqlite:///{tmp_path / 'fetch.db'}")
    from core.settings import load_settings

    load_settings.cache_clear()

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["carrier-opt", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert "hidden-key-5f3a" not in out + err
        return ended.value.code or 0, out, err

    run("db", "upgrade")
    run(
        "providers", "add", "Acme", "--tenant", "T", "--integration", "jasper",
        "--base-url", server.base_url, "--credential-ref", "env:ACME", "--time-zone", "UTC",
        "--unthrottled", "--page-size", "10",
    )  # fmt: skip
    yield run
    server.stop()
    load_settings.cache_clear()


def stored(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'fetch.db'}")
    try:
        return load_rate_plans(engine, 1)
    finally:
        engine.dispose()


def state_of(out, code):
    return next(line for line in out.splitlines() if line.startswith(f"{code} ")).split()[6:]


@pytest.fixture
def odd_entries(monkeypatch):
    """Lets the account publish FLEX-1MB as an unknown type, and METER-5MB at another fee."""

    def entry(number, plan, version):
        made = rate_plan_entry(number, plan, version)
        if plan.code == "FLEX-1MB":
            made["type"] = "Monthly - Surprise"
        if plan.code == "METER-5MB":
            made["subscriptionCharge"] = 77.77
        return made

    return lambda: monkeypatch.setattr(api, "rate_plan_entry", entry)


def test_the_list_is_shown_written_and_imported_by_hand_alone(shell, tmp_path):
    code, out, _ = shell("plans", "fetch", "1")
    assert code == 0
    assert state_of(out, "FLEX-10MB") == ["new"]
    assert "nothing was written; --out FILE.csv" in out
    assert shell("plans", "fetch", "Acme", "--out", "plans.csv")[0] == 0
    assert stored(tmp_path) == []
    plans = {plan.code: plan for plan in simulated_rate_plans()}
    found = read_rate_plans(tmp_path / "plans.csv", mb_bytes=1 << 20)
    assert (len(found.plans), found.rejects.height) == (N_PLANS, 0)
    for plan in found.plans:
        told = ("monthly_rate_micros", "included_bytes", "overage_rate_micros")
        told += ("overage_block_bytes", "is_pooled")
        assert [getattr(plan, f) for f in told] == [getattr(plans[plan.code], f) for f in told]
    code, out, _ = shell("plans", "import", "--provider", "1", "--rate-plans", "plans.csv")
    assert (code, f"{N_PLANS} added" in out) == (0, True)
    code, out, _ = shell("plans", "fetch", "1", "--out", "again.csv")
    assert state_of(out, "FLEX-10MB") == ["same"]
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "plans.csv").read_bytes()


def test_unknown_types_are_refused_and_what_is_stored_is_kept(shell, tmp_path, odd_entries):
    assert shell("plans", "fetch", "1", "--out", "plans.csv")[0] == 0
    lines = (tmp_path / "plans.csv").read_text().splitlines()
    own = lines[-1].replace(lines[-1].split(",")[0], "OWN", 1)
    (tmp_path / "plans.csv").write_text("\n".join([*lines, own]) + "\n")
    shell("plans", "import", "--provider", "1", "--rate-plans", "plans.csv")
    odd_entries()
    code, out, _ = shell("plans", "fetch", "1", "--out", "now.csv")
    assert code == 0
    assert "plans that cannot be used: 1\n" in out
    assert "FLEX-1MB  its type 'Monthly - Surprise' is not known" in out
    assert "(kept as stored)" in out
    assert state_of(out, "METER-5MB") == ["changed:", "monthly_rate_micros"]
    assert "not offered any more, and not in the file: OWN" in out
    found = {p.code: p for p in read_rate_plans(tmp_path / "now.csv", mb_bytes=1 << 20).plans}
    assert len(found) == N_PLANS
    before = {plan.code: plan for plan in stored(tmp_path)}
    assert found["FLEX-1MB"] == before["FLEX-1MB"]
    assert found["METER-5MB"].monthly_rate_micros == 77_770_000


def test_a_refused_plan_that_is_not_stored_is_in_no_file(shell, tmp_path, odd_entries):
    odd_entries()
    assert shell("plans", "fetch", "1", "--out", "plans.csv")[0] == 0
    text = (tmp_path / "plans.csv").read_text()
    assert "FLEX-1MB" not in text
    assert len(text.splitlines()) == N_PLANS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("9",), "provider '9' is unknown"),
        (("1", "--out", "plans.xlsx"), "plans.xlsx does not end in .csv"),
        (("1", "--out", "nowhere/plans.csv"), "the folder nowhere does not exist"),
    ],
)
def test_wrong_arguments_are_refused_before_any_call(shell, tmp_path, arguments, message):
    code, out, err = shell("plans", "fetch", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_a_list_without_a_usable_plan_writes_no_file(shell, tmp_path, monkeypatch):
    monkeypatch.setattr(
        api, "rate_plan_entry", lambda *given: {**rate_plan_entry(*given), "type": "?"}
    )
    code, out, err = shell("plans", "fetch", "1", "--out", "plans.csv")
    assert code == 2
    assert f"plans that cannot be used: {N_PLANS}\n" in out
    assert "no plan of Acme can be used" in err
    assert not (tmp_path / "plans.csv").exists()
