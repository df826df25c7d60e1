"""`db`, `providers`, `plans` and `periods` as a new user would try them, good and bad."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path

import pytest

from cli.main import main
from core.storage import audit
from core.storage.catalogue import (
    list_periods,
    list_providers,
    load_communication_plans,
    load_rate_plans,
)
from core.storage.engine import open_engine

ADD = (
    "providers", "add", "Acme", "--tenant", "T", "--integration", "jasper",
    "--base-url", "https://rest.example.com", "--credential-ref", "env:ACME",
    "--time-zone", "America/New_York",
)  # fmt: skip
RATE_PLANS = """code,monthly_rate,included_mb,overage_rate,overage_block_mb,is_pooled
A,1.5,1,0.1,1,true
B,3,10,0.1,1,false
"""
LISTS = "name,rate_plan_codes\nC1,A;B\nC2,B\n"
PROVIDERS = """name,tenant,integration,base_url,credential_ref,time_zone,start_hour,pooling
Acme,T,jasper,https://rest.example.com,env:ACME,America/New_York,5,no
New,U,rogers,https://r.example.com,file:/run/secrets/new,UTC,,
"""

VERSIONS = sorted(
    path.name[:4]
    for path in (Path(__file__).parents[2] / "core/storage/migrations/versions").glob("0*.py")
)


class Shell:
    """Runs the command line on one database, in a folder of its own."""

    def __init__(self, folder, monkeypatch, capsys):
        self.folder = folder
        self.url = f"sqlite:///{folder / 'carrier-opt.db'}"
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments, database=True):
        option = ("--database", self.url) if database else ()
        self._monkeypatch.setattr(sys, "argv", ["carrier-opt", *arguments, *option])
        with pytest.raises(SystemExit) as ended:
            main()
        self.out, self.err = self._capsys.readouterr()
        return ended.value.code or 0

    def refuses(self, *arguments):
        """Expect exit code 2, no output, no traceback; the message as one line."""
        assert self(*arguments) == 2
        assert self.out == ""
        assert "Traceback" not in self.err
        return " ".join(self.err.split())

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def stored(self, load, *arguments):
        """Ask the database behind the commands' back."""
        engine = open_engine(self.url)
        try:
            return load(engine, *arguments)
        finally:
            engine.dispose()


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Shell(tmp_path, monkeypatch, capsys)


@pytest.fixture
def ready(shell):
    """A database with tables and the provider Acme."""
    assert shell("db", "upgrade") == 0
    assert shell(*ADD) == 0
    return shell


@pytest.mark.parametrize(
    "command",
    [
        ADD,
        ("providers", "list"),
        ("periods", "list"),
        ("periods", "add", "--provider", "Acme", "--start", "2026-11-01", "--end", "2026-11-30"),
        ("plans", "import", "--provider", "Acme", "--rate-plans", "plans.csv"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_without_tables_every_command_names_the_remedy_and_makes_no_file(shell, command):
    assert shell(*command) == 1
    assert shell.out == ""
    assert f"run `carrier-opt db upgrade --database {shell.url}`" in shell.err
    assert list(shell.folder.iterdir()) == []


def test_status_before_and_after_an_upgrade(shell):
    assert shell("db", "status") == 0
    assert (
        "has no tables, lacks 0001, 0002, 0003, 0004, 0005, 0006, 0007, 0008, 0009: run `carrier-opt db upgrade`"
        in shell.out
    )
    assert shell("db", "upgrade") == 0
    assert "applied 0001, 0002, 0003, 0004, 0005, 0006, 0007, 0008, 0009" in shell.out
    assert shell("db", "upgrade") == 0
    assert "up to date (0009)" in shell.out
    assert shell("db", "status", "--json") == 0
    shown = json.loads(shell.out)
    assert shown == {
        "database": shell.url,
        "applied": ["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009"],
        "pending": [],
        "head": "0009",
    }


def test_the_database_comes_from_the_settings_unless_it_is_given(shell, monkeypatch):
    from core.settings import load_settings

    monkeypatch.setenv("CARRIER_OPT_DATABASE_URL", f"sqlite:///{shell.folder / 'other.db'}")
    load_settings.cache_clear()
    try:
        assert shell("db", "upgrade", database=False) == 0
    finally:
        monkeypatch.undo()
        load_settings.cache_clear()
    assert (shell.folder / "other.db").is_file()


def test_a_provider_is_added_and_listed(ready):
    assert ready("providers", "list") == 0
    assert ready.out.splitlines()[0].split()[:2] == ["ID", "NAME"]
    assert ready.out.splitlines()[1].split()[:4] == ["1", "Acme", "T", "jasper"]
    assert ready("providers", "list", "--json") == 0
    (shown,) = json.loads(ready.out)
    assert shown["name"] == "Acme"
    assert shown["credential_ref"] == "env:ACME"
    assert shown["requests_per_second"] == 1.0
    assert [event.source for event in ready.stored(audit.load_events)] == ["cli", "cli"]


def test_every_option_of_a_provider_is_stored(ready):
    options = (
        "--start-hour", "7", "--billable-statuses", "ACTIVATED; TEST_READY", "--no-proration",
        "--proration-basis", "thirty", "--pool-scope", "pool_group", "--no-pooling",
        "--mb-bytes", "1000000", "--currency", "CAD", "--page-size", "40",
        "--requests-per-second", "2.5",
    )  # fmt: skip
    assert ready(*(part if part != "Acme" else "Other" for part in ADD), *options) == 0
    other = ready.stored(list_providers)[1]
    assert (other.start_hour, other.billable_statuses) == (7, ("ACTIVATED", "TEST_READY"))
    assert (other.uses_proration, other.proration_basis.value) == (False, "thirty")
    assert (other.pool_scope.value, other.pooling_enabled) == ("pool_group", False)
    assert (other.mb_bytes, other.currency, other.page_size) == (1_000_000, "CAD", 40)
    assert other.requests_per_second == 2.5
    assert ready(*(part if part != "Acme" else "Third" for part in ADD), "--unthrottled") == 0
    assert ready.stored(list_providers)[2].requests_per_second is None


def test_a_provider_that_is_there_is_refused(ready):
    assert "is there already (id 1)" in ready.refuses(*ADD)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--credential-ref", "hunter2", "write env:NAME"),
        ("--base-url", "https://me:hunter2@x.example.com", "name them by credential-ref"),
        ("--time-zone", "Mars/Base", "write an IANA name"),
        ("--integration", "cisco", "allowed: jasper, pod19, tmobile_jasper, rogers"),
        ("--start-hour", "24", "0 to 23"),
        ("--pool-scope", "all", "is not one of"),
    ],
)
def test_a_wrong_option_is_named_and_a_secret_never_shown(ready, option, value, message):
    command = list(ADD)
    command[2] = "Other"
    if option in command:
        command[command.index(option) + 1] = value
    else:
        command += [option, value]
    refusal = ready.refuses(*command)
    assert message in refusal
    assert "hunter2" not in refusal
    assert len(ready.stored(list_providers)) == 1


def test_providers_are_imported_all_or_none(ready):
    path = ready.write("providers.csv", PROVIDERS)
    assert ready("providers", "import", path) == 0
    assert "1 added, 1 changed, 0 unchanged" in ready.out
    assert ready("providers", "import", path) == 0
    assert "0 added, 0 changed, 2 unchanged" in ready.out
    first, second = ready.stored(list_providers)
    assert (first.start_hour, first.pooling_enabled) == (5, False)
    assert (second.start_hour, second.pooling_enabled) == (2, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PROVIDERS.replace("UTC,,", "UTC,soon,"), "row 3: column start_hour: 'soon'"),
        (PROVIDERS.replace("UTC,,", "UTC,,maybe"), "write true or false"),
        (PROVIDERS.replace("UTC,,", ",,"), "row 3: column time_zone is empty"),
        (PROVIDERS.replace("file:/run/secrets/new", "hunter2"), "row 3: credential-ref"),
        (PROVIDERS.replace("New,U", "Acme,T"), "stands there twice"),
        (PROVIDERS.replace("credential_ref", "secret"), "credential_ref"),
        (PROVIDERS.splitlines()[0] + "\n", "no rows"),
        ("", "empty"),
    ],
)
def test_a_providers_file_that_cannot_be_used_changes_nothing(ready, text, message):
    refusal = ready.refuses("providers", "import", ready.write("providers.csv", text))
    assert message in refusal
    assert "hunter2" not in refusal
    assert [p.name for p in ready.stored(list_providers)] == ["Acme"]


def test_plans_are_imported_and_again_without_a_change(ready):
    plans, lists = ready.write("plans.csv", RATE_PLANS), ready.write("lists.csv", LISTS)
    command = ("plans", "import", "--provider", "Acme", "--rate-plans", plans)
    assert ready(*command, "--communication-plans", lists) == 0
    assert "rate plans of Acme: 2 added" in ready.out
    assert "communication plans of Acme: 2 added" in ready.out
    assert ready(*command, "--communication-plans", lists) == 0
    assert "0 added, 0 changed, 2 unchanged, 0 set inactive" in ready.out
    assert [p.code for p in ready.stored(load_rate_plans, 1)] == ["A", "B"]
    found = ready.stored(load_communication_plans, 1)
    assert [(p.name, p.rate_plan_codes) for p in found] == [("C1", ("A", "B")), ("C2", ("B",))]


def test_rate_plans_alone_leave_the_communication_plans(ready):
    plans, lists = ready.write("plans.csv", RATE_PLANS), ready.write("lists.csv", LISTS)
    command = ("plans", "import", "--provider", "1", "--rate-plans", plans)
    assert ready(*command, "--communication-plans", lists) == 0
    ready.write("plans.csv", RATE_PLANS.replace("B,3", "B,4"))
    assert ready(*command) == 0
    assert "0 added, 1 changed, 1 unchanged" in ready.out
    assert len(ready.stored(load_communication_plans, 1)) == 2


def test_the_megabyte_of_the_provider_counts(ready):
    command = [part if part != "Acme" else "Decimal" for part in ADD]
    assert ready(*command, "--mb-bytes", "1000000") == 0
    plans = ready.write("plans.csv", RATE_PLANS)
    assert ready("plans", "import", "--provider", "Decimal", "--rate-plans", plans) == 0
    assert [p.included_bytes for p in ready.stored(load_rate_plans, 2)] == [10**6, 10**7]


def test_a_listed_code_that_no_plan_has_is_told_and_left_out(ready):
    plans, lists = (
        ready.write("plans.csv", RATE_PLANS),
        ready.write("lists.csv", LISTS + "C3,A;Z\n"),
    )
    options = ("--rate-plans", plans, "--communication-plans", lists)
    assert ready("plans", "import", "--provider", "Acme", *options) == 0
    assert "'Z', which is not in the rate plans" in ready.err
    assert ready.stored(load_communication_plans, 1)[2].rate_plan_codes == ("A",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RATE_PLANS.replace("B,3", "B,x"), "row 3, column monthly_rate: 'x': not_a_number"),
        (RATE_PLANS.replace("10,0.1,1", "10,0,1"), "row 3, column overage_rate: '0': invalid_rate_plan"),
        (RATE_PLANS.replace("B,", "A,"), "duplicate_rate_plan"),
        (RATE_PLANS.replace("code", "plan"), "code"),
        (RATE_PLANS.replace(",", ";"), "plans.csv"),
    ],
)  # fmt: skip
def test_a_rate_plans_file_with_a_bad_row_imports_nothing(ready, text, message):
    path = ready.write("plans.csv", text)
    assert message in ready.refuses("plans", "import", "--provider", "Acme", "--rate-plans", path)
    assert ready.stored(load_rate_plans, 1) == []


def test_a_missing_file_and_an_unknown_provider_are_named(ready):
    command = ("plans", "import", "--provider", "Acme", "--rate-plans", "nowhere.csv")
    assert "nowhere.csv does not exist" in ready.refuses(*command)
    command = ("plans", "import", "--provider", "Nope", "--rate-plans", "nowhere.csv")
    assert "provider 'Nope' is unknown; known: 1 'Acme'" in ready.refuses(*command)


def test_periods_are_added_and_listed(ready):
    november = ("--start", "2026-11-01", "--end", "2026-11-30")
    for _ in range(2):
        assert ready("periods", "add", "--provider", "Acme", *november) == 0
        assert "2026-11-01 to 2026-11-30 (30 days)" in ready.out
    assert ready("periods", "list", "--json") == 0
    assert json.loads(ready.out) == [
        {
            "id": 1,
            "provider_id": 1,
            "provider": "Acme",
            "start": "2026-11-01",
            "end": "2026-11-30",
        }
    ]
    assert ready("periods", "list", "--provider", "Acme") == 0
    assert ready.out.splitlines()[1].split() == ["1", "1", "Acme", "2026-11-01", "2026-11-30"]
    assert ready.stored(list_periods, 1)[0].end_date == date(2026, 11, 30)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2026-11-15", "2026-12-14", "overlaps 2026-11-01 to 2026-11-30"),
        ("2026-12-31", "2026-12-01", "before it starts"),
        ("2026-12-01", "2062-12-31", "longer than 366 days"),
        ("2026-13-01", "2026-12-31", "'2026-13-01' does not match"),
        ("tomorrow", "2026-12-31", "'tomorrow' does not match"),
    ],
)
def test_a_period_that_cannot_be_is_refused(ready, start, end, message):
    november = ("--start", "2026-11-01", "--end", "2026-11-30")
    assert ready("periods", "add", "--provider", "Acme", *november) == 0
    command = ("periods", "add", "--provider", "Acme", "--start", start, "--end", end)
    assert message in ready.refuses(*command)
    assert len(ready.stored(list_periods, 1)) == 1


@pytest.mark.parametrize("room", ["db", "providers", "plans", "periods", "credentials"])
def test_help_names_every_command_without_opening_a_database(shell, room):
    assert shell(room, "--help", database=False) == 0
    assert "Commands" in shell.out
    assert list(shell.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code", "page_size"),
    [
        (("jasper",), 0, 50),
        (("thingspace",), 0, 2000),
        (("jasper", "--page-size", "51"), 2, None),
        (("jasper", "--page-size", "51", "--unthrottled"), 0, 51),
        (("thingspace", "--page-size", "2001"), 2, None),
        (("jasper", "--unthrottled", "--requests-per-second", "3"), 2, None),
    ],
)
def test_pages_are_as_large_as_the_carrier_sends_them(ready, options, code, page_size):
    integration, *more = options
    parts = {"Acme": "Paged", "jasper": integration}
    assert ready(*(parts.get(part, part) for part in ADD), *more) == code
    assert [p.page_size for p in ready.stored(list_providers)[1:]] == [page_size] * (code == 0)
