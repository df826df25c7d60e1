"""`sync` and `periods fetch` against the simulated carrier, as a user types them."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from cli.main import main
from core.settings import load_settings
from core.simulator.account import simulated_account
from core.simulator.faults import Fault, FaultKind
from core.simulator.fleet import current_cycle
from core.simulator.options import SimulatorOptions
from core.simulator.server import SimulatorServer

NOW = datetime.now(tz=UTC)
CYCLE = current_cycle(NOW.date())


@pytest.fixture
def server():
    account = simulated_account(120, 1, CYCLE, now=NOW)
    with SimulatorServer(account, SimulatorOptions(time_zone="UTC")) as server:
        yield server


@pytest.fixture
def shell(server, tmp_path, monkeypatch, capsys):
    """A database with the provider Acme at the simulator; runs commands, gives code, out and err."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACME", "simulator:simulated-key")
    monkeypatch.setenv("CARRIER_OPT_DATABASE_URL", f"sqlite:///{tmp_path / 'sync.db'}")
    load_settings.cache_clear()

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["carrier-opt", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return ended.value.code or 0, out, err

    run("db", "upgrade")
    run(
        "providers", "add", "Acme", "--tenant", "T", "--integration", "jasper",
        "--base-url", server.base_url, "--credential-ref", "env:ACME", "--time-zone", "UTC",
        "--unthrottled",
    )  # fmt: skip
    yield run
    load_settings.cache_clear()


def first_sim(server):
    return server.account.iccid[0].decode()


def test_the_period_is_fetched_and_the_first_sync_is_full_the_next_incremental(shell, server):
    code, out, _ = shell("periods", "fetch", "--provider", "Acme", "--iccid", first_sim(server))
    assert (code, f"{CYCLE.start_date} to {CYCLE.end_date}" in out) == (0, True)
    code, out, err = shell("sync", "Acme")
    assert (code, "run 1 (full): 120 SIMs" in out, err) == (0, True, "")
    code, out, _ = shell("sync", "Acme", "--json")
    assert json.loads(out)["kind"] == "incremental"
    assert "run 3 (full)" in shell("sync", "Acme", "--full", "--accept-lower-usage")[1]
    assert shell("periods", "fetch", "--provider", "Acme")[0] == 0  # a SIM is known by now


def test_a_period_that_is_not_the_carriers_cycle_is_corrected(shell, server):
    start, end = CYCLE.start_date, CYCLE.end_date
    shell(
        "periods", "add", "--provider", "Acme", "--start", str(start - timedelta(days=3)),
        "--end", str(end - timedelta(days=1)),
    )  # fmt: skip
    code, _, err = shell("periods", "fetch", "--provider", "Acme", "--iccid", first_sim(server))
    assert (code, "carrier-opt periods change 1" in err) == (2, True)
    code, out, _ = shell("periods", "change", "1", "--start", str(start), "--end", str(end))
    assert (code, f"{start} to {end}" in out) == (0, True)
    assert shell("periods", "fetch", "--provider", "Acme", "--iccid", first_sim(server))[0] == 0


def test_an_export_says_where_its_files_are(shell, server, tmp_path):
    shell("periods", "fetch", "--provider", "Acme", "--iccid", first_sim(server))
    code, out, _ = shell("sync", "Acme", "--next-step", "device_usage_export")
    assert code == 0
    (path,) = (line.partition(": ")[2] for line in out.splitlines() if line.startswith("csv: "))
    assert (tmp_path / path).is_file()


def test_what_is_wrong_is_said_in_a_line_with_its_remedy(shell, server, monkeypatch):
    assert shell("sync", "Nobody")[0] == 2
    code, _, err = shell("sync", "Acme")
    assert (code, "periods add" in err) == (2, True)
    code, _, err = shell("periods", "fetch", "--provider", "Acme")
    assert (code, "--iccid" in err) == (2, True)
    shell("periods", "fetch", "--provider", "Acme", "--iccid", first_sim(server))
    code, _, err = shell("sync", "Acme", "--next-step", "update_device_rate_plan")
    assert (code, "carrier-opt run" in err) == (2, True)
    monkeypatch.setenv("ACME", "simulator:wrong")
    code, _, err = shell("sync", "Acme")
    assert (code, len(err.splitlines())) == (1, 1)


def test_a_next_step_that_cannot_be_done_is_refused_before_the_first_call(
    shell, server, tmp_path, monkeypatch
):
    shell("periods", "fetch", "--provider", "Acme", "--iccid", first_sim(server))
    calls = len(server.calls)
    (tmp_path / "a file").write_text("")
    for url, code in (("http://x/y", 2), (str(tmp_path / "a file"), 1)):
        monkeypatch.setenv("CARRIER_OPT_EXPORT_URL", url)
        load_settings.cache_clear()
        found, _, err = shell("sync", "Acme", "--next-step", "device_usage_export")
        assert (found, "CARRIER_OPT_EXPORT_URL" in err) == (code, True)
    found, _, err = shell("sync", "Acme", "--next-step", "update_device_rate_plan")
    assert (found, "carrier-opt run" in err) == (2, True)
    assert len(server.calls) == calls


def test_what_is_tried_again_is_said_with_its_reason(shell, server):
    shell("periods", "fetch", "--provider", "Acme", "--iccid", first_sim(server))
    server.script([Fault(kind=FaultKind.UNAVAILABLE, matching="/devices?")])
    code, _, err = shell("sync", "Acme")
    (line,) = err.splitlines()
    assert code == 0
    assert "GET /rws/api/v1/devices: HTTP 503" in line
    assert "; trying again in " in line


def test_a_zone_in_which_the_cycle_begins_at_no_midnight_is_refused(server, shell):
    shell(
        "providers", "add", "East", "--tenant", "T", "--integration", "jasper",
        "--base-url", server.base_url, "--credential-ref", "env:ACME",
        "--time-zone", "America/Bogota", "--unthrottled",
    )  # fmt: skip
    code, _, err = shell("periods", "fetch", "--provider", "East", "--iccid", first_sim(server))
    assert (code, "may be UTC+00:00" in err) == (2, True)
