"""Writes the files of a run: all of them or none (R1, R2).

Every file is written under a temporary name in the output folder first. Then ``summary.json`` of an
earlier run is removed, the files get their names, and the new ``summary.json`` comes last: where it
stands, the files beside it belong together.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import CarrierOptError, InputError
from core.files.names import check_name
from core.outcome import ASSIGNMENT_SCHEMA

if TYPE_CHECKING:
    import polars as pl

    from core.outcome import Outcome
    from core.reports.meta import ReportMeta


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPaths:
    """The files of a run."""

    assignments: Path
    rejects: Path
    workbook: Path
    certificate: Path
    summary: Path


def result_paths(out_dir: Path) -> ResultPaths:
    """Names of a run's files in a folder."""
    return ResultPaths(
        assignments=out_dir / "assignments.parquet",
        rejects=out_dir / "rejects.csv",
        workbook=out_dir / "report.xlsx",
        certificate=out_dir / "certificate.json",
        summary=out_dir / "summary.json",
    )


def check_out_dir(out_dir: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuse a name that cannot become the output folder; nothing is made.

    Parameters
    ----------
    inputs
        Files that the run reads; none of them may be replaced by a result.

    Raises
    ------
    InputError
        If the name, or a part of it, is a file, is not UTF-8 or is too long; if the folder cannot
        be written; or if a folder or an input stands where a result belongs.
    """
    check_name(out_dir)
    try:
        folder = Path(os.path.realpath(out_dir))
        _check_folder(out_dir, folder)
        _check_targets(out_dir, folder, tuple(inputs))
    except OSError as error:
        raise InputError(f"--out {out_dir} cannot be used: {error.strerror or error}") from error


def write_results(
    outcome: Outcome, rejects: pl.DataFrame, out_dir: Path, *, meta: ReportMeta
) -> ResultPaths:
    """Write the files of :class:`ResultPaths`.

    Parameters
    ----------
    outcome
        Without a grouping there is no ``certificate.json``.
    rejects
        Columns of :data:`core.files.rejects.REJECT_SCHEMA`; the file is written even if empty.
    out_dir
        Made if it is not there; files of an earlier run are replaced.

    Raises
    ------
    InputError
        If the folder cannot be made or used, see :func:`check_out_dir`.
    CarrierOptError
        If a file cannot be written, such as on a full disk; the earlier files are then still there.
    """
    check_out_dir(out_dir)
    is_new = not out_dir.exists()
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out_dir} cannot be made: {error.strerror or error}") from error
    try:
        return _write_and_rename(outcome, rejects, out_dir, meta)
    except OSError as error:
        raise CarrierOptError(
            f"the results cannot be written to {out_dir}: {error.strerror or error}"
        ) from error
    finally:
        if is_new and not any(out_dir.iterdir()):
            out_dir.rmdir()


def _check_folder(out_dir: Path, folder: Path) -> None:
    if out_dir.is_symlink() and not out_dir.exists():
        raise InputError(f"--out {out_dir} is a link that leads to no folder: name a folder")
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"--out {out_dir}: {nearest} is a file: name a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            f"--out {out_dir}: nothing can be written in {nearest}: allow it or name another folder"
        )


def _check_targets(out_dir: Path, folder: Path, inputs: Sequence[Path]) -> None:
    for target in astuple(result_paths(folder)):
        if target.is_dir():
            raise InputError(
                f"--out {out_dir}: {target} is a folder where a result belongs: move it away or "
                "name another folder"
            )
        for path in inputs:
            if _is_same_file(path, target):
                raise InputError(
                    f"--out {out_dir}: the results would replace the input {path}: name another "
                    "folder"
                )


def _is_same_file(path: Path, target: Path) -> bool:
    """Whether both names, or links, lead to one file."""
    try:
        return path.samefile(target)
    except OSError:  # one is not there, or may not be looked at, which its reader will tell
        return False


def _write_and_rename(
    outcome: Outcome, rejects: pl.DataFrame, out_dir: Path, meta: ReportMeta
) -> ResultPaths:
    final = result_paths(out_dir)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=out_dir) as folder:
        unfinished = result_paths(Path(folder))
        _write_all(outcome, rejects, unfinished, meta)
        final.summary.unlink(missing_ok=True)
        unfinished.assignments.replace(final.assignments)
        unfinished.rejects.replace(final.rejects)
        unfinished.workbook.replace(final.workbook)
        if unfinished.certificate.exists():
            unfinished.certificate.replace(final.certificate)
        else:
            final.certificate.unlink(missing_ok=True)
        unfinished.summary.replace(final.summary)
    return final


def _write_all(
    outcome: Outcome, rejects: pl.DataFrame, paths: ResultPaths, meta: ReportMeta
) -> None:
    from core.reports.certificate_file import write_certificates
    from core.reports.summary import summary
    from core.reports.workbook import write_workbook

    assignments = outcome.assignments.select(list(ASSIGNMENT_SCHEMA)).sort("iccid").rechunk()
    assignments.write_parquet(paths.assignments)
    rejects.write_csv(paths.rejects, quote_style="non_numeric")
    write_workbook(paths.workbook, outcome, rejects, meta)
    if outcome.grouping is not None:
        write_certificates(paths.certificate, outcome, outcome.grouping)
    text = json.dumps(summary(outcome, rejects, meta), indent=2, ensure_ascii=False)
    paths.summary.write_text(text + "\n", encoding="utf-8")
