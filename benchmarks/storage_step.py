"""`python -m benchmarks.storage_step STEP URL FILE`: one way of moving rows, timed; prints JSON.

FILE is an Arrow file of rows; each step has a process of its own, so that no step profits from
memory that an earlier one has left to the process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from benchmarks.own_memory import memory_mib, reset_peak
from core.storage.bulk import SLICE_ROWS, Merge, insert_frame, merge_frame, read_frame, slices
from core.storage.engine import open_engine, reading, writing
from core.storage.schema import jasper_device_staging, optimization_m2m_device_result

RESULT = optimization_m2m_device_result
STAGING_KEYS = ("DeviceSyncRunId", "MatchKey")
MIB = 1 << 20


def insert_in_slices(engine: sa.Engine, frame: pl.DataFrame) -> None:
    """As the results of a session are stored: a transaction per slice."""
    for part in slices(frame):
        with writing(engine) as connection:
            insert_frame(connection, RESULT, part)


def merge_in_slices(engine: sa.Engine, frame: pl.DataFrame) -> None:
    """As a page of devices is staged, but with 50,000 rows; they are new or known."""
    for part in slices(frame):
        merge_at_once(engine, part)


def merge_at_once(engine: sa.Engine, frame: pl.DataFrame) -> None:
    """Stage devices in one call and one transaction; of a SIM the newest row stays."""
    rules = {name: Merge.REPLACE for name in frame.columns if name not in STAGING_KEYS}
    rules["ActivatedDate"] = Merge.REPLACE_UNLESS_NULL
    with writing(engine) as connection:
        merge_frame(
            connection, jasper_device_staging, frame, keys=STAGING_KEYS, rules=rules,
            newest_by="Position",
        )  # fmt: skip


def read_at_once(engine: sa.Engine, like: pl.DataFrame) -> pl.DataFrame:
    """All rows into one frame."""
    with reading(engine) as connection:
        return read_frame(connection, _rows_of(like), like.schema, in_bulk=True)


def read_in_slices(engine: sa.Engine, like: pl.DataFrame) -> int:
    """Rows in the order of the key, a slice at a time, none of which is kept."""
    last, n_rows, iccid = "", 0, RESULT.c.ICCID
    with reading(engine) as connection:
        while True:
            window = _rows_of(like).where(iccid > last).order_by(iccid).limit(SLICE_ROWS)
            part = read_frame(connection, window, like.schema)
            if part.is_empty():
                return n_rows
            last, n_rows = str(part["ICCID"][-1]), n_rows + part.height


STEPS: dict[str, Callable[[sa.Engine, pl.DataFrame], object]] = {
    "insert, slice by slice": insert_in_slices,
    "merge new rows, slice by slice": merge_in_slices,
    "merge known rows, slice by slice": merge_in_slices,
    "merge known rows, one call": merge_at_once,
    "read, one frame": read_at_once,
    "read, slice by slice": read_in_slices,
}


def run_step(name: str, url: str, path: str) -> dict[str, object]:
    """Run one step, and tell seconds, and memory in MiB.

    ``added_mib`` is the peak of resident memory during the step, less what the process held before
    it (the rows to be written included) and less the frame that the step returns.
    """
    n_rows = pl.scan_ipc(path).select(pl.len()).collect().item()
    if name.startswith("read"):
        frame = pl.read_ipc(path, n_rows=1)  # only its columns and its queue are asked for
    else:
        frame = pl.read_ipc(Path(path).read_bytes())  # held, not mapped, so that it counts as held
    engine = open_engine(url)
    with reading(engine) as connection:
        connection.execute(sa.select(sa.literal(1)))
    before_mib = reset_peak()
    started = time.perf_counter()
    found = STEPS[name](engine, frame)
    seconds = time.perf_counter() - started
    peak_mib = memory_mib("VmHWM")
    n_found = found.height if isinstance(found, pl.DataFrame) else found
    if n_found not in (None, n_rows):
        msg = f"{name}: {n_found} rows instead of {n_rows}"
        raise RuntimeError(msg)
    kept_mib = found.estimated_size() / MIB if isinstance(found, pl.DataFrame) else 0.0
    engine.dispose()
    return {
        "step": name,
        "rows": n_rows,
        "seconds": seconds,
        "frame_mib": Path(path).stat().st_size / MIB,
        "peak_mib": peak_mib,
        "added_mib": None if before_mib is None else peak_mib - before_mib - kept_mib,
    }


def _rows_of(like: pl.DataFrame) -> sa.Select[tuple[object, ...]]:
    columns = [RESULT.c[name] for name in like.columns]
    return sa.select(*columns).where(RESULT.c.QueueId == like["QueueId"][0])


if __name__ == "__main__":
    print(json.dumps(run_step(*sys.argv[1:4])))
