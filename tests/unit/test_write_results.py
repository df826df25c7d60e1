"""Result files appear together or not at all."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from core.errors import CarrierOptError, InputError
from core.files.rejects import no_rejects
from core.outcome import ASSIGNMENT_SCHEMA, Cost, Outcome
from core.reports import workbook
from core.reports.meta import ReportMeta
from core.reports.results import check_out_dir, result_paths, write_results

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


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_in_the_place_of_a_result_is_refused_before_anything_is_replaced(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"{name} is a folder where a result belongs"):
        check_out_dir(tmp_path)
    with pytest.raises(InputError, match="is a folder"):
        write_results(outcome(), no_rejects(), tmp_path, meta=META)
    assert names_in(tmp_path) == [name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
def test_an_input_in_the_place_of_a_result_is_refused_by_whatever_name(tmp_path, name, link):
    out = tmp_path / "out"
    out.mkdir()
    path = out / name
    path.write_text("mine")
    if link:
        path = tmp_path / "input.csv"
        getattr(path, link)(out / name)
    other = tmp_path / "other.csv"
    other.write_text("mine")
    with pytest.raises(InputError, match=f"would replace the input {path}"):
        check_out_dir(tmp_path / "new" / ".." / "out", [other, path])
    check_out_dir(out, [other, tmp_path / "missing.csv", tmp_path / ("x" * 300)])


@pytest.mark.parametrize(
    ("name", "words"),
    [("x" * 300, "File name too long"), ("o\udce9", r"o\\udce9: the name is not")],
)
def test_a_name_that_no_folder_can_have_is_refused(tmp_path, name, words):
    with pytest.raises(InputError, match=words) as caught:
        check_out_dir(tmp_path / name)
    str(caught.value).encode()


@pytest.mark.parametrize("below", ["", "new/below"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch, below):
    asked = []

    def refuse(path, mode):
        asked.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", refuse)  # the superuser may write anywhere
    with pytest.raises(InputError, match=f"nothing can be written in {tmp_path}"):
        check_out_dir(tmp_path / below)
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]


def test_a_folder_below_one_that_may_not_be_entered_is_refused(tmp_path, monkeypatch):
    def refuse(self, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputError, match="cannot be used: Permission denied"):
        check_out_dir(tmp_path / "out")


@pytest.mark.parametrize("target", ["missing", "out"])
def test_a_link_that_leads_nowhere_is_refused(tmp_path, target):
    (tmp_path / "out").symlink_to(tmp_path / target)
    with pytest.raises(InputError, match="out is a link that leads to no folder"):
        check_out_dir(tmp_path / "out")


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
