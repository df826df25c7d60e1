"""Reads CSV: UTF-8 with or without a byte order mark, commas, any line ends, quoted fields.

Two parsers that agree on what both can read: files whose every line has the header's number of
fields and no quotes go through Polars in one pass; all others through :mod:`csv`, which knows the
line on which each row starts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from core.errors import InputError
from core.files.tables import BrokenRow, RawTable

_UTF8_MARK = b"\xef\xbb\xbf"
_OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LINE_FEED = 10
_COMMA = 44


def read_csv(path: Path) -> RawTable:
    """Read a CSV file with all its cells as text.

    Raises
    ------
    InputError
        If the file is not UTF-8 text, a quoted field never ends, or there is no header.
    """
    data = _utf8_bytes(path)
    if not data.strip():
        raise InputError(f"{path} is empty: it holds not even a header")
    if _is_regular(data):
        return _read_regular(data)
    return _read_any(path, data.decode())


def _utf8_bytes(path: Path) -> bytes:
    """Return the file's bytes, checked to be UTF-8, without mark, with line feeds as line ends."""
    data = path.read_bytes().removeprefix(_UTF8_MARK)
    if data.startswith(_OTHER_MARKS):
        raise InputError(f"{path} is UTF-16 text: save it as CSV in UTF-8")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise InputError(f"{path}, line {line}: this is not text: save it as CSV in UTF-8")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8: "
            "save the file as CSV in UTF-8"
        ) from error
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data.rstrip(b"\n")


def _is_regular(data: bytes) -> bool:
    """Whether every line has as many commas as the first, at least one, and nothing is quoted."""
    if b'"' in data:
        return False
    text = np.frombuffer(data, dtype=np.uint8)
    line_ends = np.flatnonzero(text == _LINE_FEED)
    if text[-1] != _LINE_FEED:
        line_ends = np.append(line_ends, len(text))
    commas_before = np.searchsorted(np.flatnonzero(text == _COMMA), line_ends)
    n_commas = np.diff(commas_before, prepend=0)
    return bool(n_commas[0] > 0 and (n_commas == n_commas[0]).all())


def _read_regular(data: bytes) -> RawTable:
    first_line, _, body = data.partition(b"\n")
    header = first_line.decode().split(",")
    names = [str(place) for place in range(len(header))]
    schema = dict.fromkeys(names, pl.String)
    frame = pl.DataFrame(schema=schema)
    if body:
        frame = pl.read_csv(body, has_header=False, schema=schema, quote_char=None)
    rows = pl.select(pl.int_range(2, frame.height + 2, dtype=pl.Int64)).to_series()
    return RawTable(header=header, columns=frame.get_columns(), rows=rows)


def _read_any(path: Path, text: str) -> RawTable:
    records = _records(path, text)
    _, header = next(records)
    width = len(header)
    rows: list[int] = []
    fields: list[list[str]] = []
    broken: list[BrokenRow] = []
    for row, record in records:
        if len(record) != width:
            if not any(cell.strip() for cell in record):
                continue
            if len(record) < width or any(cell.strip() for cell in record[width:]):
                broken.append(BrokenRow(row=row, fields=tuple(record)))
                continue
        rows.append(row)
        fields.append(record[:width])
    columns = list(zip(*fields, strict=True)) or [()] * width
    return RawTable(
        header=header,
        columns=[
            pl.Series(str(place), cells, dtype=pl.String) for place, cells in enumerate(columns)
        ],
        rows=pl.Series(rows, dtype=pl.Int64),
        broken=tuple(broken),
    )


def _records(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line on which each record starts, and its fields."""
    earlier_limit = csv.field_size_limit(len(text))  # as the other parser: fields of any length
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for record in reader:
            yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f'{path}, line {line}: the quotes do not fit ({error}): a quoted field ends with " '
            'before the next comma, and a quote inside it is written twice ("")'
        ) from error
    finally:
        csv.field_size_limit(earlier_limit)
