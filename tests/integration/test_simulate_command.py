"""`simulate-carrier` refuses what it cannot do before it says that it listens."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, date, datetime

import httpx
import pytest

from cli.main import main
from cli.simulate_accounts import begun_day

SCRIPT = "import typer; from cli.simulate import simulate_carrier; typer.run(simulate_carrier)"


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """Runs the command in an empty folder, and gives its message."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["carrier-opt", "simulate-carrier", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code, out) == (2, "")
        return err

    return run


@pytest.fixture
def accounts(tmp_path):
    """Writes an accounts file."""

    def write(*entries):
        path = tmp_path / "accounts.json"
        path.write_text(json.dumps(entries))
        return path

    return write


@pytest.fixture
def taken_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ("--export out --accounts a.json", "--accounts does not count with --export"),
        ("--export out --integration thingspace", "--integration does not count with --export"),
        ("--export out --faults f.json", "--faults does not count with --export"),
        ("--accounts a.json --devices 5", "--devices does not count with --accounts"),
        ("--accounts a.json --seed 1", "--seed does not count with --accounts"),
        ("--accounts a.json --port 0", "--port does not count with --accounts"),
        ("--accounts a.json --credential-ref env:A", "--credential-ref does not count with --acc"),
        ("--integration thingspace --accounts a.json", "--accounts does not count with --integrat"),
        ("--integration thingspace --roll-over", "--roll-over does not count with --integration"),
        ("--integration thingspace --time-zone UTC", "--time-zone does not count with --integrat"),
        ("--integration thingspace --essential", "--essential does not count with --integration"),
        ("--integration thingspace --async-seconds 3", "--async-seconds does not count with --int"),
        ("--integration thingspace --rate-limit-status 429", "--rate-limit-status does not count"),
        ("--integration thingspace --max-page-size 9", "--max-page-size does not count with --in"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused_by_name(refused, options, idle):
    assert f"carrier-opt: {idle}" in refused(*options.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--ready-file none/url", "--ready-file none/url: the folder none does not exist"),
        ("--ready-file .", "--ready-file .: is a folder"),
        ("--requests-per-second nan", "requests per second is a number above 0, not nan"),
        ("--requests-per-second inf", "requests per second is a number above 0, not inf"),
        ("--async-seconds 1e9", "changes land 0 to 2,678,400 seconds later, not 1000000000.0"),
        ("--two-versions NOPE", "--two-versions NOPE: the account has no such plan"),
        ("--port 0 --host ::1", "--host ::1: is no address of this machine"),
        ("--port 0 --host 192.0.2.1", "--host 192.0.2.1: is no address of this machine"),
        ("--port 0 --host a..b", "--host a..b: is no address of this machine"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_announced(refused, options, message):
    assert message in refused("--devices", 5, *options.split())


@pytest.mark.parametrize(
    ("time_zone", "hour", "day"),
    [
        ("America/New_York", 3, date(2026, 9, 30)),
        ("America/New_York", 5, date(2026, 10, 1)),
        ("Asia/Tokyo", 3, date(2026, 10, 1)),
        ("Asia/Tokyo", 16, date(2026, 10, 1)),
    ],
)
def test_the_current_cycle_has_begun_in_the_zone_and_in_utc(time_zone, hour, day):
    assert begun_day(datetime(2026, 10, 1, hour, tzinfo=UTC), time_zone) == day


@pytest.mark.parametrize("integration", ["jasper", "thingspace"])
def test_a_port_in_use_has_the_remedy_of_its_option(refused, taken_port, integration):
    said = refused("--devices", 5, "--port", taken_port, "--integration", integration)
    assert f"cannot listen on 127.0.0.1:{taken_port} (Address already in use)" in said
    assert "choose another --port, or 0" in said


def test_a_port_in_use_names_its_account_and_the_file(refused, taken_port, accounts):
    east, west = {"name": "east", "devices": 5}, {"name": "west", "devices": 5, "port": taken_port}
    path = accounts(east, west)
    said = refused("--accounts", path)
    assert f"cannot listen on 127.0.0.1:{taken_port} (Address already in use)" in said
    assert f'give the account west another "port" in {path}, or 0' in said


def test_a_fault_that_means_nothing_to_thingspace_is_refused(refused, tmp_path):
    script = tmp_path / "faults.json"
    script.write_text('[{"kind": "duplicates"}]')
    said = refused("--integration", "thingspace", "--faults", script)
    assert "fault 1: the kind duplicates is for Control Center only" in said


def test_accounts_tell_their_users_and_keys_but_none_that_somebody_chose(accounts, tmp_path):
    ready = tmp_path / "urls"
    slow = {"name": "slow", "devices": 5, "options": {"async_seconds": 30}}
    own = {"name": "own", "devices": 5, "credential_ref": "env:OWN"}
    command = [sys.executable, "-c", SCRIPT, "--accounts", str(accounts(slow, own))]
    process = subprocess.Popen(
        [*command, "--ready-file", str(ready), "--total-count", "--two-versions", "FLEX-5MB"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OWN": "someone:hidden-key"},
    )
    try:
        while not ready.exists():
            assert process.poll() is None, process.communicate()
        url = dict(line.split(" ") for line in ready.read_text().splitlines())["slow"]
        with httpx.Client(
            base_url=f"{url}/rws/api/v1", auth=("slow", "simulated-key"), trust_env=False
        ) as client:
            page = client.get("/devices", params={"modifiedSince": "2004-01-01T00:00:00Z"}).json()
            iccid = page["devices"][0]["iccid"]
            change = client.put(f"/devices/{iccid}", json={"ratePlan": "FLEX-2GB"})
            plans = client.get("/rateplans").json()["ratePlans"]
        process.send_signal(signal.SIGTERM)
        told, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert (page["totalCount"], change.status_code) == (5, 202)
    assert [plan["name"] for plan in plans if plan["version"] == 2] == ["FLEX-5MB"]
    lines = told.splitlines()
    assert ", user slow, key simulated-key, billing cycle " in lines[0]
    assert ", user and key from env:OWN, billing cycle " in lines[1]
    assert "hidden-key" not in told
