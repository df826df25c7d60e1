"""Exports devices with their usage as CSV and Parquet, into a folder or to S3 (C7).

A file appears under its name when it is complete: in a folder by renaming, on S3 because an object
is there only after its upload. An export that fails leaves the files of the last one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl

from core.errors import ExportError, InputError
from core.sync.export_table import count_guarded, export_table, guarded

CSV_SLICE_ROWS = 100_000
"""Rows that are turned into text at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceExport:
    """What was written.

    Attributes
    ----------
    rows
        SIMs in each of the two files.
    csv, parquet
        Path of the file, or its ``s3://`` address.
    guarded_values
        Texts before which the CSV has an apostrophe, since a spreadsheet would run them as
        formulas; the Parquet file holds them as they are.
    """

    rows: int
    csv: str
    parquet: str
    guarded_values: int


def export_devices(devices: pl.DataFrame, url: str, *, name: str, mb_bytes: int) -> DeviceExport:
    """Write devices with usage as ``<name>.csv`` and ``<name>.parquet``.

    Parameters
    ----------
    devices
        Columns of :data:`core.storage.devices.DEVICE_SCHEMA`; SIMs without communication plan, rate
        plan or usage among them.
    url
        A folder, made if it is missing, or ``s3://bucket/prefix``.
    name
        Of the files, without their endings.
    mb_bytes
        Bytes of the provider's MB, for ``usage_mb``.

    Raises
    ------
    InputError
        If the address is neither a folder nor one of S3.
    ExportError
        If the files cannot be written there.
    """
    bucket, prefix = _bucket_and_prefix(url)
    table = export_table(devices, mb_bytes)
    if bucket:
        addresses = _to_s3(table, name, bucket, prefix)
    else:
        addresses = _to_folder(table, name, Path(url))
    return DeviceExport(
        rows=table.height,
        csv=addresses[0],
        parquet=addresses[1],
        guarded_values=count_guarded(table),
    )


def require_target(url: str) -> None:
    """Refuse an address that nothing can be exported to, before the work for it is done.

    Raises
    ------
    InputError
        If the address is neither a folder nor one of S3.
    ExportError
        If it is a folder that cannot be made or written to; S3 is not asked.
    """
    bucket, _ = _bucket_and_prefix(url)
    if not bucket:
        with _unfinished(Path(url)):
            pass


def _bucket_and_prefix(url: str) -> tuple[str, str]:
    """Split an address of S3; no bucket where it is a folder."""
    if "://" not in url:
        return "", ""
    parts = urlsplit(url)
    is_s3 = parts.scheme == "s3" and bool(parts.netloc) and "@" not in parts.netloc
    if not is_s3 or parts.query or parts.fragment:
        msg = (
            "CARRIER_OPT_EXPORT_URL: the address cannot be used: write a folder or "
            "s3://bucket/prefix, without user, password or parameters"
        )
        raise InputError(msg)
    return parts.netloc, parts.path.strip("/")


def _to_folder(table: pl.DataFrame, name: str, folder: Path) -> tuple[str, str]:
    with _unfinished(folder) as unfinished:
        written = _write_both(table, name, unfinished)
        csv, parquet = (str(path.replace(folder / path.name)) for path in written)
    return csv, parquet


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """Make a folder, and one in it for files that are not finished."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as unfinished:
            yield Path(unfinished)
    except OSError as error:
        msg = (
            f"CARRIER_OPT_EXPORT_URL: the folder {folder} cannot be written to: "
            f"{error.strerror or error}"
        )
        raise ExportError(msg) from error


def _to_s3(table: pl.DataFrame, name: str, bucket: str, prefix: str) -> tuple[str, str]:
    import boto3
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    with tempfile.TemporaryDirectory(prefix="carrier-opt-export-") as unfinished:
        written = _write_both(table, name, Path(unfinished))
        keys = [f"{prefix}/{path.name}" if prefix else path.name for path in written]
        try:
            client = boto3.client("s3")
            for path, key in zip(written, keys, strict=True):
                client.upload_file(str(path), bucket, key)
        except (Boto3Error, BotoCoreError, ClientError) as error:
            msg = (
                f"the export cannot be written to s3://{bucket}/{prefix}: {error}. Check that the "
                "bucket exists and that this machine's identity may write to it"
            )
            raise ExportError(msg) from error
    csv, parquet = (f"s3://{bucket}/{key}" for key in keys)
    return csv, parquet


def _write_both(table: pl.DataFrame, name: str, folder: Path) -> tuple[Path, Path]:
    csv, parquet = folder / f"{name}.csv", folder / f"{name}.parquet"
    with csv.open("wb") as file:
        table.clear().write_csv(file)
        for part in table.iter_slices(CSV_SLICE_ROWS) if table.height else ():
            guarded(part).write_csv(file, include_header=False)
    table.write_parquet(parquet)
    return csv, parquet
