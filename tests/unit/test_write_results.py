"""Result files appear together or not at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from core.errors import CarrierOptError, InputError
from core.files.rejects import no_rejects
from core.outcome import ASSIGNMENT_SCHEMA, Cost, Outcome
from core.reports import workbook
from core.reports.meta import ReportMeta
from core.reports.results import result_paths, write_results

META = ReportMeta(generated_at=datetime(2026, 1, 31, tzinfo=UTC), elapsed_seconds=1.0)
NAMES = ["assignments.parquet", "rejects.csv", "report.xlsx", "summary.json"]


def outcome(changes: int = 0) -> Outcome:
    nothing = Cost(objective_micros=0, rate_micros=0, overage_micros=0)
    return Outcome(
        assignments=pl.DataFrame(schema=ASSIGNMENT_SCHEMA), groups=(), units=(), devices=0,
        unpriced=0, baseline=nothing, optimized=nothing, lower_bound_micros=None,
        legacy_best_cost_micros=None, plan_changes=changes,
    )  # fmt: skip


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def changes_in(folder: Path) -> int:
    return json.loads(result_paths(folder).summary.read_text())["plan_changes"]


def test_the_folder_is_made_with_its_parents(tmp_path):
    paths = write_results(outcome(), no_rejects(), tmp_path / "a/b", meta=META)
    assert names_in(tmp_path / "a/b") == NAMES
    assert paths == result_paths(tmp_path / "a/b")


@pytest.mark.parametrize(
    ("fault", "seen"),
    [(OSError(28, "No space left on device"), CarrierOptError), (KeyboardInterrupt(), None)],
)
def test_a_failed_write_leaves_the_earlier_files_and_no_others(tmp_path, monkeypatch, fault, seen):
    write_results(outcome(changes=1), no_rejects(), tmp_path / "old", meta=META)

    def fail(*args, **options):
        raise fault

    monkeypatch.setattr(workbook, "write_workbook", fail)
    for folder in (tmp_path / "old", tmp_path / "new"):
        with pytest.raises(seen or KeyboardInterrupt) as caught:
            write_results(outcome(changes=2), no_rejects(), folder, meta=META)
        if seen:
            assert "No space left on device" in str(caught.value)
    assert names_in(tmp_path / "old") == NAMES
    assert changes_in(tmp_path / "old") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("fails_at", range(4))
def test_a_summary_never_stands_beside_files_of_another_run(tmp_path, monkeypatch, fails_at):
    write_results(outcome(changes=1), no_rejects(), tmp_path, meta=META)
    replace, calls = Path.replace, []

    def fail_at_the_kth(self, target):
        calls.append(target)
        if len(calls) == fails_at + 1:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_at_the_kth)
    with pytest.raises(KeyboardInterrupt):
        write_results(outcome(changes=2), no_rejects(), tmp_path, meta=META)
    assert names_in(tmp_path) == NAMES[:-1]
    monkeypatch.undo()
    write_results(outcome(changes=2), no_rejects(), tmp_path, meta=META)
    assert names_in(tmp_path) == NAMES
    assert changes_in(tmp_path) == 2


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(InputError, match="is a file: name a folder"):
            write_results(outcome(), no_rejects(), out, meta=META)
    assert names_in(tmp_path) == ["file"]


def test_rejects_quote_every_text(tmp_path):
    rejects = pl.DataFrame(
        {"file": ["d.csv"], "row": [2], "column": [None], "value": ["=1+1"], "reason": ["negative"],
         "raw": ['{"a":"b"}']},
        schema=no_rejects().schema,
    )  # fmt: skip
    paths = write_results(outcome(), rejects, tmp_path, meta=META)
    assert paths.rejects.read_text().splitlines()[1] == (
        '"d.csv",2,,"=1+1","negative","{""a"":""b""}"'
    )
