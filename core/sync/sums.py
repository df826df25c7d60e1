"""What a SIM used in a cycle, summed up over plans and zones: is it possible, is it usual (C4)."""

from __future__ import annotations

import polars as pl

from core.sync.store import DeviceStore, SyncRun
from core.sync.validation import impossible_sums, sum_rejects, usage_flags


def check_sums(store: DeviceStore, run: SyncRun) -> None:
    """Take back impossible sums of plans and zones, and flag the unusual ones (C4).

    Usage that fell is taken back, too: within a cycle counters only grow, so that it is a part of
    the SIM's usage, or of the next cycle.
    """
    for sums in store.unusual_usage(run):
        impossible = impossible_sums(sums)
        flagged = sums.join(impossible, on=["period_id", "match_key"], how="anti")
        fallen = flagged.filter(pl.col("usage_bytes") < pl.col("known_bytes"))
        rejects = pl.concat([sum_rejects(impossible), usage_flags(flagged)])
        store.drop_usage(run, pl.concat([impossible, fallen]), rejects)
