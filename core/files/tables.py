"""Opens a table from CSV, Parquet or xlsx, whatever its format, with the row numbers people see.

This module owns the seam between a file and the readers of its columns: after :func:`read_table`
nobody needs to know the format. Cells are asked for as text (:meth:`Table.text`), so that the same
data gives the same answer from each format: a float cell is its shortest repr, a date its ISO form.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from core.errors import InputError
from core.files.names import check_name
from core.files.rejects import REJECT_SCHEMA, Reject, RejectReason, rejects_frame

SUFFIXES = (".csv", ".parquet", ".xlsx")
"""Formats that can be read, by the end of the file's name."""

ROW = "row"
"""Name of the row number column in frames made from a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRow:
    """A row whose fields do not fit the header.

    Attributes
    ----------
    row
        Line in the file; the header is row 1.
    fields
        The fields as read.
    """

    row: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawTable:
    """What the reader of one format returns: cells below the header, not yet looked at.

    Attributes
    ----------
    header
        Names in file order, as written.
    columns
        One series per name, shape ``(n,)``: text from CSV and xlsx, any type from Parquet.
    rows
        Int64, shape ``(n,)``: the line of each row.
    number_cells
        By position in ``header``: Boolean, shape ``(n,)``, where an xlsx cell held no text but a
        number, date or logical value.
    broken
        Rows that are not in ``columns`` because they do not fit the header.
    notes
        What the user should know about how the file was read.
    """

    header: list[str]
    columns: list[pl.Series]
    rows: pl.Series
    number_cells: dict[int, pl.Series] = field(default_factory=dict)
    broken: tuple[BrokenRow, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Cells by column name, without the rows that are empty altogether.

    Attributes
    ----------
    path
        The file, as the user named it.
    cells
        One row per row of the file in file order; names trimmed and in lower case.
    rows
        Int64, shape ``(n,)``: the line of each row, the header being line 1.
    number_cells
        By column name: Boolean, shape ``(n,)``, where an xlsx cell held no text but a
        number, date or logical value.
    rejects
        Rows that do not fit the header, as rejects.
    notes
        What the user should know about how the file was read.
    """

    path: Path
    cells: pl.DataFrame
    rows: pl.Series
    number_cells: dict[str, pl.Series]
    rejects: pl.DataFrame
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the file without its folder, as in ``rejects.csv``."""
        return self.path.name

    @property
    def n_rows(self) -> int:
        """Rows below the header that hold anything, with those that do not fit the header."""
        return len(self.rows) + self.rejects.height

    def text(self, column: str) -> pl.Series:
        """Cells of one column as trimmed text, shape ``(n,)``; null where empty or no such column."""
        if column not in self.cells.columns:
            return pl.Series(column, [None] * len(self.rows), dtype=pl.String)
        text = pl.col(column)
        return self.cells.select(
            pl.when(text.str.strip_chars() != "").then(text.str.strip_chars()).alias(column)
            if self.cells.schema[column] == pl.String
            else as_text(self.cells[column]).alias(column)
        ).to_series()

    def rejected(self, reasons: pl.Series, columns: pl.Series) -> pl.DataFrame:
        """Rows with a reason as a frame with the columns of ``REJECT_SCHEMA``.

        Parameters
        ----------
        reasons
            String, shape ``(n,)``: why each row is rejected; null where it is not.
        columns
            String, shape ``(n,)``: the column at fault.
        """
        is_rejected = reasons.is_not_null()
        chosen = self.cells.filter(is_rejected)
        at_fault = columns.filter(is_rejected)
        value = pl.lit(None, dtype=pl.String)
        for name in at_fault.unique().drop_nulls().sort():
            cell = self.text(name).filter(is_rejected)
            value = pl.when(at_fault == name).then(cell).otherwise(value)
        texts = [as_text(chosen[name]).alias(name) for name in chosen.columns]
        return pl.select(
            file=pl.repeat(self.name, chosen.height, dtype=pl.String),
            row=self.rows.filter(is_rejected),
            column=at_fault,
            value=value,
            reason=reasons.filter(is_rejected),
            raw=pl.struct(texts).struct.json_encode(),
        ).cast(REJECT_SCHEMA)  # type: ignore[arg-type]  # a dict of names to types is allowed


def read_table(path: Path, *, required: Sequence[str], optional: Sequence[str]) -> Table:
    """Open a table and check that the columns are there.

    Parameters
    ----------
    path
        A ``.csv``, ``.parquet`` or ``.xlsx`` file.
    required, optional
        Column names this kind of file must and may have; further ones are noted, as are filled
        columns without a name.

    Raises
    ------
    InputError
        If the file is missing, no table of its format, empty, or lacks a required column.
    """
    raw = _read_raw(path, {*required, *optional})
    names = _checked_names(path, raw.header, required)
    known = {*required, *optional}
    kept = [place for place, name in enumerate(names) if _is_kept(name, raw.columns[place])]
    for place, name in enumerate(names):
        if place not in kept and name in known:
            dtype = raw.columns[place].dtype
            raise InputError(f"{path}: column {name} holds {dtype} values: write it as text")
    cells = pl.DataFrame([raw.columns[place].alias(names[place]) for place in kept])
    holds_anything = ~_is_blank(cells)
    extra = [
        name or f"column {place} (no name)"
        for place, (name, column) in enumerate(zip(names, raw.columns, strict=True), start=1)
        if name not in known and (name or not _is_blank(column.to_frame()).all())
    ]
    ignored = (f"{path.name}: ignored columns: {', '.join(extra)}",) if extra else ()
    broken = rejects_frame(_broken_row_reject(path, names, row) for row in raw.broken)
    return Table(
        path=path,
        cells=cells.filter(holds_anything),
        rows=raw.rows.filter(holds_anything).alias(ROW),
        number_cells={
            names[place]: mask.filter(holds_anything) for place, mask in raw.number_cells.items()
        },
        rejects=broken,
        notes=(*raw.notes, *ignored),
    )


def as_text(column: pl.Series) -> pl.Series:
    """Turn cells of any scalar type into trimmed text: numbers as their shortest repr, dates as ISO.

    A whole number in a float cell loses its ``.0``, so that a code such as 100 reads the same from
    every format.
    """
    dtype = column.dtype
    if dtype.is_float():
        return column.cast(pl.String).str.strip_suffix(".0")
    if isinstance(dtype, pl.Datetime):
        midnight = column.dt.truncate("1d") == column
        return pl.select(
            pl.when(midnight)
            .then(column.dt.strftime("%Y-%m-%d"))
            .otherwise(column.dt.strftime("%Y-%m-%dT%H:%M:%S"))
        ).to_series()
    text = column.cast(pl.String).str.strip_chars()
    return pl.select(pl.when(text != "").then(text)).to_series()


def _read_raw(path: Path, used_columns: Collection[str]) -> RawTable:
    check_name(path)
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder: name a file ({', '.join(SUFFIXES)})")
        if not path.exists():
            raise InputError(f"{path} does not exist: check the name and the folder")
        if suffix not in SUFFIXES:
            raise InputError(
                f"{path}: files ending in {suffix or 'nothing'} cannot be read; "
                f"allowed are {', '.join(SUFFIXES)}"
            )
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty: it holds not even a header")
        if suffix == ".csv":
            from core.files.csv_text import read_csv

            return read_csv(path)
        if suffix == ".xlsx":
            from core.files.xlsx import read_xlsx

            return read_xlsx(path, used_columns)
        return _read_parquet(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_parquet(path: Path) -> RawTable:
    try:
        frame = pl.read_parquet(path, glob=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path} is not a readable Parquet file: {error}") from error
    rows = pl.select(pl.int_range(2, frame.height + 2, dtype=pl.Int64)).to_series()
    return RawTable(header=frame.columns, columns=frame.get_columns(), rows=rows)


def _checked_names(path: Path, header: Sequence[str], required: Sequence[str]) -> list[str]:
    names = [name.strip().lower() for name in header]
    if not any(names):
        raise InputError(f"{path}: row 1 is empty, but must hold the names of the columns")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError(
            f"{path}: the header names these columns more than once: {', '.join(twice)}"
        )
    missing = [name for name in required if name not in names]
    if missing:
        found = ", ".join(name for name in names if name)
        raise InputError(
            f"{path}: missing columns: {', '.join(missing)}. Found: {found}."
            f"{_delimiter_hint(path, header)} Required are {', '.join(required)}"
        )
    return names


def _delimiter_hint(path: Path, header: Sequence[str]) -> str:
    words = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
    used = next((mark for mark in words if mark in "".join(header)), None)
    if used is None or path.suffix.lower() != ".csv":
        return ""
    return f" The columns seem to be separated by {words[used]}: save the file with commas."


def _is_kept(name: str, column: pl.Series) -> bool:
    dtype = column.dtype
    scalar = dtype.is_numeric() or isinstance(
        dtype,
        pl.String | pl.Categorical | pl.Enum | pl.Boolean | pl.Date | pl.Datetime | pl.Null,
    )
    return bool(name) and scalar


def _is_blank(cells: pl.DataFrame) -> pl.Series:
    """Boolean, shape ``(n,)``: rows whose every cell is empty."""
    return cells.select(
        pl.all_horizontal(
            pl.col(name).is_null() | (pl.col(name).str.strip_chars() == "")
            if dtype == pl.String
            else pl.col(name).is_null()
            for name, dtype in cells.schema.items()
        )
    ).to_series()


def _broken_row_reject(path: Path, names: Sequence[str], broken: BrokenRow) -> Reject:
    import json

    fields: dict[str, object] = dict(zip(names, broken.fields, strict=False))
    if len(broken.fields) > len(names):
        fields["(further fields)"] = list(broken.fields[len(names) :])
    return Reject(
        file=path.name,
        row=broken.row,
        column=None,
        value=f"{len(broken.fields)} fields instead of {len(names)}",
        reason=RejectReason.RAGGED_ROW,
        raw=json.dumps(fields, ensure_ascii=False, separators=(",", ":")),
    )
