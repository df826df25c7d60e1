"""``carrier-opt db purge`` and ``db maintain`` as a user types them (R5)."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
import sqlfluff
from typer.testing import CliRunner

from cli.db import app
from cli.sessions import app as sessions_app
from core.errors import NotAvailableError, StorageError
from core.settings import load_settings
from core.storage import sqlite
from core.storage.engine import open_engine
from core.storage.maintenance import maintain, maintenance_script, maintenance_statements
from core.storage.purge import purge
from core.storage.schema import metadata
from tests.faults.purge_data import DOOMED, NOW, belongs_to_doomed, contents, make_database


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return make_database(tmp_path_factory.mktemp("template") / "template.db")


@pytest.fixture
def path(template, tmp_path, monkeypatch):
    monkeypatch.setattr("cli.db_care.utc_now", lambda: NOW)
    return str(shutil.copy(template, tmp_path / "own.db"))


def run(*arguments, cli=app):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def doomed_counts(path):
    return {name: len(rows) for name, rows in belongs_to_doomed(contents(path)).items() if rows}


def test_a_dry_run_counts_per_table_and_changes_nothing(path):
    before = contents(path)
    result = run("purge", "--dry-run", "--json", "--database", f"sqlite:///{path}")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "older_than_days": 90, "cutoff": "2026-08-22T12:00:00Z", "dry_run": True, "complete": True,
        "sessions": 4, "sync_runs": 2, "rows": doomed_counts(path),
    }  # fmt: skip
    assert contents(path) == before


def test_a_purge_says_what_went_and_a_second_one_that_nothing_did(path):
    doomed = doomed_counts(path)
    first = run("purge", "--database", f"sqlite:///{path}").stdout
    assert first.startswith(
        f"purged {sum(doomed.values())} rows of 4 sessions and 2 synchronisation"
    )
    told = dict(line.split() for line in first.splitlines()[1:])
    assert told == {name: str(rows) for name, rows in doomed.items()}
    assert doomed_counts(path) == {}
    assert run("purge", "--database", f"sqlite:///{path}").stdout.startswith("purged 0 rows of 0 ")


def test_the_age_comes_from_the_option_or_else_from_the_setting(path, monkeypatch):
    asked = ("purge", "--dry-run", "--json", "--database", f"sqlite:///{path}")
    assert json.loads(run(*asked, "--older-than", 91).stdout)["sessions"] == 1
    monkeypatch.setenv("CARRIER_OPT_RETENTION_DAYS", "89")
    load_settings.cache_clear()
    assert json.loads(run(*asked).stdout)["sessions"] == 5
    load_settings.cache_clear()


@pytest.mark.parametrize("days", ["0", "-1", "36501", "x"])
def test_an_age_that_is_not_allowed_is_refused(path, days):
    before = contents(path)
    assert run("purge", "--older-than", days, "--database", f"sqlite:///{path}").exit_code == 2
    assert contents(path) == before


def test_ctrl_c_ends_a_purge_after_the_transaction_at_hand(path, monkeypatch):
    doomed = doomed_counts(path)

    def interrupted(*arguments, **options):
        for n_step, step in enumerate(purge(*arguments, **options), 1):
            if n_step == 4:
                signal.raise_signal(signal.SIGINT)
            yield step

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("core.stages.purging.purge", interrupted)
    result = run("purge", "--json", "--database", f"sqlite:///{path}")
    assert result.exit_code == 130
    told = json.loads(result.stdout)
    assert (told["complete"], told["sessions"]) == (False, 1)
    left = doomed_counts(path)
    assert {name: doomed[name] - left.get(name, 0) for name in told["rows"]} == told["rows"]
    assert sum(told["rows"].values()) == sum(doomed.values()) - sum(left.values()) > 0
    assert "the next purge goes on with the rest" in result.stderr
    assert signal.getsignal(signal.SIGINT) is before


def test_a_session_shows_when_its_results_were_purged(path):
    run("purge", "--database", f"sqlite:///{path}")
    database = ("--database", f"sqlite:///{path}")
    for number, moment in ((DOOMED[0], "2026-11-20T12:00:00Z"), (5, None)):
        shown = run("show", number, "--json", *database, cli=sessions_app).stdout
        assert json.loads(shown)["results_purged_at"] == moment
    assert (
        "results_purged_at:  2026-11-20T12:00:00Z"
        in run("show", 1, *database, cli=sessions_app).stdout
    )
    listed = run("list", *database, cli=sessions_app).stdout.splitlines()
    assert sum("(results purged)" in line for line in listed) == len(DOOMED)


def statistics(path):
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT tbl, stat FROM sqlite_stat1 WHERE tbl = idx"))


@pytest.mark.parametrize("options", [(), ("--full",), ("--rebuild", "--full")])
def test_maintenance_makes_statistics_and_leaves_every_row(path, options):
    before = contents(path)
    result = run("maintain", *options, "--database", f"sqlite:///{path}")
    assert result.exit_code == 0, result.output
    after = contents(path)
    assert {name: after[name] for name in before} == before
    n_rows = len(before["OptimizationM2MDeviceResult"])
    assert statistics(path)["OptimizationM2MDeviceResult"].split()[0] == str(n_rows)
    wal = Path(f"{path}-wal")
    assert not wal.exists() or wal.stat().st_size == 0


def test_a_rebuild_gives_the_space_of_purged_rows_back(path):
    def n_free():
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("PRAGMA freelist_count").fetchone()[0]

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE Filler (x)")
        connection.executemany("INSERT INTO Filler VALUES (?)", [("x" * 1000,)] * 50)
        connection.execute("DELETE FROM Filler")
        connection.commit()
    assert n_free() > 5
    assert run("maintain", "--database", f"sqlite:///{path}").exit_code == 0
    assert n_free() > 5
    assert run("maintain", "--rebuild", "--database", f"sqlite:///{path}").exit_code == 0
    assert n_free() == 0


def test_a_rebuild_of_a_database_that_is_in_use_fails_in_words(path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 0.0)
    engine = open_engine(f"sqlite:///{path}")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            list(maintain(engine, full=False, rebuild=True))
    engine.dispose()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("rebuild", [False, True])
def test_the_script_for_sql_server_is_t_sql_and_names_every_table(full, rebuild):
    lines = maintenance_script(full=full, rebuild=rebuild).splitlines()
    assert lines[:3] == ["SET NOCOUNT ON;", "SET QUOTED_IDENTIFIER ON;", "SET ANSI_NULLS ON;"]
    sqlfluff.parse("\n".join(lines[:9]) + "\n", dialect="tsql")  # the others are the same
    how = "REBUILD" if rebuild else "REORGANIZE"
    sample = " WITH FULLSCAN" if full else ""
    for name in metadata.tables:
        statistics = lines.index(f"UPDATE STATISTICS [{name}]{sample};")
        assert lines[statistics + 1] == f"ALTER INDEX ALL ON [{name}] {how};"
    assert len(lines) == 3 + 2 * len(metadata.tables)


def test_the_script_is_printed_without_a_database(tmp_path):
    result = run("maintain", "--sql", "--full", "--database", f"sqlite:///{tmp_path / 'none.db'}")
    assert result.stdout == maintenance_script(full=True, rebuild=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "mssql+pyodbc://me:hunter2@host/fleet",
        "mssql+pyodbc:///?odbc_connect=Server%3Dhost%3BDatabase%3Dfleet%3BUID%3Dme%3BPWD%3Dhunter2",
    ],
)
def test_maintenance_names_the_database_without_its_password(monkeypatch, url):
    @contextmanager
    def opened(_database):
        yield SimpleNamespace(url=sa.make_url(url), dialect=SimpleNamespace(name="mssql"))

    monkeypatch.setattr("cli.db_care.open_current", opened)
    monkeypatch.setattr("core.storage.maintenance.maintain", lambda *_, **__: iter(["x"]))
    assert run("maintain").output == "fleet on host: 1 statements run\n"


def test_maintenance_of_an_unknown_database_is_refused():
    with pytest.raises(NotAvailableError, match="the database oracle"):
        maintenance_statements("oracle", full=False, rebuild=False)
