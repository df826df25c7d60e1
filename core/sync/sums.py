"""What a SIM used in a cycle, summed up over plans and zones: is it possible, is it usual (C4)."""

from __future__ import annotations

import polars as pl

from core.sync.store import DeviceStore, SyncRun
from core.sync.validation import sum_rejects, usage_flags


def check_sums(store: DeviceStore, run: SyncRun, *, accepts_lower: bool) -> None:
    """Take back usage that is impossible or of which a part was rejected, and flag the unusual (C4).

    Usage that fell is taken back, too: within a cycle counters only grow, so that it is a part of
    the SIM's usage, or of the next cycle. With ``accepts_lower`` it is taken over: what was known is
    then said to be wrong.
    """
    lasting = ("spike", "fell") if accepts_lower else ("spike",)
    for sums in store.unusual_usage(run):
        impossible = sums.filter(pl.col("problem") == "impossible")
        flagged = sums.filter(pl.col("problem").is_in(["unreadable", "fell", "spike"]))
        rejects = pl.concat([sum_rejects(impossible), usage_flags(flagged)])
        store.drop_usage(run, sums.filter(~pl.col("problem").is_in(lasting)), rejects)
