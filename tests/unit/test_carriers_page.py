"""docs/carriers.md says what the adapters are: capabilities, names, errors and files agree (C1)."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import typer

from cli.main import app
from core import errors
from core.carriers.base import CarrierCapabilities
from core.carriers.control_center import control_center_capabilities
from core.carriers.thingspace import thingspace_capabilities
from core.domain import BillingCycle
from core.simulator.account import simulated_account
from core.simulator.api import API_ROOT, ControlCenterApi
from core.simulator.faults import CONTROL_CENTER_ONLY, FaultKind
from core.simulator.options import SimulatorOptions
from core.simulator.thingspace_api import ThingSpaceOptions
from core.storage.legacy_ids import INTEGRATION_ID

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/carriers.md").read_text(encoding="utf-8")

CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
NONE_SAID = {"changes_per_cycle": "no limit known", "list_window": "none"}


def section(heading):
    return PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(heading):
    """First cell, without quotes, -> the others."""
    found = re.findall(r"^\| (.+) \|$", section(heading), re.MULTILINE)[1:]
    cells = [row.split(" | ") for row in found]
    return {first.strip("`"): rest for first, *rest in cells}


def said(capabilities, name):
    """A capability as the page writes it."""
    value = getattr(capabilities, name)
    if value is None:
        return NONE_SAID[name]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, timedelta):
        unit = timedelta(hours=1) if name == "change_cutoff" else timedelta(days=1)
        assert not value % unit
        return str(value // unit)
    return f"`{value}`" if isinstance(value, str) else f"{value:g}"


def test_the_table_has_every_capability_of_both_carriers():
    carriers = (control_center_capabilities(), thingspace_capabilities())
    names = [field.name for field in fields(CarrierCapabilities) if field.name != "integration"]
    table = rows("Capabilities")
    assert {name: table[name][:2] for name in table} == {
        name: [said(carrier, name) for carrier in carriers] for name in names
    }


def test_every_integration_is_named_with_its_adapter():
    listed = [name for line in rows("Integrations") for name in re.findall(r"\w+", line)]
    assert set(listed) == set(INTEGRATION_ID)


def test_the_errors_are_those_of_the_tree():
    named = set(rows("Errors"))
    real = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.CarrierError)
    }
    assert named == real - {"CarrierError"}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:core|cli|tests)/[\w/.]*)`", PAGE))))
def test_files_to_touch_are_there(path):
    assert (ROOT / path).exists()


def test_the_made_up_credentials_are_the_simulators():
    made_up = ThingSpaceOptions()
    parts = (made_up.client_secret, made_up.account_name, made_up.username, made_up.password)
    assert f"'{made_up.client_key}:{';'.join(parts)}'" in section("Simulators")
    numbers = (made_up.token_seconds, made_up.session_seconds, made_up.change_seconds)
    stated = re.search(
        r"has ([\d,]+) seconds of life for a bearer token, ([\d,]+) for a session, and (\d+)", PAGE
    )
    assert [float(n.replace(",", "")) for n in stated.groups()] == list(numbers)


def test_every_kind_of_fault_is_on_the_page():
    page = Path("docs/carriers.md").read_text(encoding="utf-8")
    rows = page.partition("### Fault scripts")[2]
    listed = re.findall(r"^\| `(\w+)` \| (yes|no) \| ", rows, flags=re.MULTILINE)
    assert listed == [
        (kind.value, "no" if kind in CONTROL_CENTER_ONLY else "yes") for kind in FaultKind
    ]


def test_every_option_of_an_account_is_on_the_page_with_its_switch():
    table = section("Simulators").partition("| in the file |")[2].partition("\n\n")[0]
    listed = dict(
        re.findall(r"^\| `(\w+)`.* \| (?:`(--[\w-]+)`|none: )", table, flags=re.MULTILINE)
    )
    own = {field.name for field in fields(SimulatorOptions)} - {"username", "api_key"}
    assert set(listed) == own
    command = typer.main.get_command(app).commands["simulate-carrier"]
    known = {option for parameter in command.params for option in parameter.opts}
    switches = [switch for switch in listed.values() if switch]
    assert set(switches) <= known
    assert len(set(switches)) == len(switches)


def test_the_readme_adds_its_simulated_account_with_the_zone_that_it_has():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    zones = re.findall(r"simulate-carrier --time-zone (\S+)|jasper --time-zone (\S+)", readme)
    assert len(zones) == 2
    assert len({"".join(pair) for pair in zones}) == 1


def test_what_the_page_says_is_not_imitated_is_not():
    account = simulated_account(1, 1, CYCLE, now=NOW)
    api = ControlCenterApi(account, SimulatorOptions(), lambda: NOW)
    iccid = account.iccid[0].decode()
    said = section("Simulators").partition("Not imitated: ")[2].partition("\n\n")[0]
    missing, refused = said.split(" The parameters ")
    for name in re.findall(r"`([a-zA-Z]{3,})`", missing):
        for path in (f"/{name}", f"/devices/{iccid}/{name}"):
            assert api.handle("GET", f"{API_ROOT}{path}", b"").status == 404
    since = "modifiedSince=2004-01-01T00:00:00Z"
    for name in [*re.findall(r"`(\w+)`", refused), "accountCustom1"]:
        reply = api.handle("GET", f"{API_ROOT}/devices?{since}&{name}=1", b"")
        assert json.loads(reply.body)["errorCode"] == "10000028"
