"""Usage metrics per SIM over its history of billing cycles (U1).

A cycle for which nothing was reported is not a cycle with 0 bytes: it enters no metric, and a SIM of
which nothing was ever reported has none. Totals, extremes and percentiles are whole bytes. Mean,
deviation and trend are quotients of exact integers: sums are taken of what is above the SIM's mean
rounded down, in 128 bits, so that nothing is lost where bytes go beyond 2**53.
"""

from __future__ import annotations

import polars as pl

from core.errors import DataError

HISTORY_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "period_start": pl.Date(),
    "usage_bytes": pl.Int64(),  # null: not reported
    "days_with_usage": pl.Int64(),  # null: not known
}
"""Columns of a history; a SIM may also lack the row of a cycle, which means the same as null."""

METRICS_SCHEMA: dict[str, pl.DataType] = {
    "iccid": pl.String(),
    "cycles_reported": pl.Int64(),
    "total_bytes": pl.Int64(),  # null, as all below but days, where nothing was ever reported
    "mean_bytes": pl.Float64(),
    "max_bytes": pl.Int64(),
    "min_bytes": pl.Int64(),
    "std_bytes": pl.Float64(),
    "p80_bytes": pl.Int64(),
    "p95_bytes": pl.Int64(),
    "trend_bytes_per_cycle": pl.Float64(),  # null below two reported cycles
    "days_with_usage": pl.Int64(),  # null where no cycle tells
}
"""Columns of :func:`usage_metrics`."""

MAX_TOTAL_BYTES = (1 << 63) - 1
MAX_CYCLES = 1200
"""Most distinct cycles of a history: a hundred years of months keep every sum within 128 bits."""

_EXACT_SQUARES = 1 << 100
"""Sums of squares below this may be multiplied with the square of ``MAX_CYCLES`` in 128 bits."""


def usage_metrics(history: pl.DataFrame) -> pl.DataFrame:
    """Compute the metrics of every SIM of a history.

    Percentiles are by nearest rank: the smallest reported usage that at least so many percent of the
    reported cycles do not exceed. ``std_bytes`` is that of the population. The trend is the slope of
    least squares over the number of the cycle, which counts the distinct starts in the history: a
    SIM's gap keeps its place.

    Parameters
    ----------
    history
        Columns of ``HISTORY_SCHEMA`` in any row order; at most ``MAX_CYCLES`` distinct cycles.

    Returns
    -------
    pl.DataFrame
        Columns of ``METRICS_SCHEMA``, a row per SIM that occurs, sorted by ICCID.

    Raises
    ------
    DataError
        If a SIM has two rows of one cycle, a key is missing, usage or days are negative, or a SIM's
        total reaches 2**63.
    """
    rows = history.select(
        pl.col(name).cast(dtype) if dtype.is_integer() else pl.col(name)
        for name, dtype in HISTORY_SCHEMA.items()
    )
    _refuse(rows)
    every_sim = rows.group_by("iccid").agg(
        days_with_usage=pl.when(pl.col("days_with_usage").is_not_null().any()).then(
            pl.col("days_with_usage").cast(pl.Int128).sum()
        )
    )
    numbered = rows.with_columns(cycle=pl.col("period_start").rank("dense").cast(pl.Int128))
    reported = numbered.drop_nulls("usage_bytes")
    orders = reported.group_by("iccid").agg(*_order_statistics())
    _refuse_large(orders, "total_bytes", "usage")
    _refuse_large(every_sim, "days_with_usage", "days with usage")
    moments = _moments(reported, orders)
    found = every_sim.join(orders, on="iccid", how="left").join(moments, on="iccid", how="left")
    found = found.with_columns(pl.col("cycles_reported").fill_null(0))
    return found.select(pl.col(name).cast(dtype) for name, dtype in METRICS_SCHEMA.items()).sort(
        "iccid"
    )


def _order_statistics() -> list[pl.Expr]:
    """Make what needs no more than one pass: counts, exact sums, values by rank."""
    usage, n = pl.col("usage_bytes"), pl.len()
    ascending = usage.sort()
    return [
        n.cast(pl.Int64).alias("cycles_reported"),
        usage.cast(pl.Int128).sum().alias("total_bytes"),
        usage.max().alias("max_bytes"),
        usage.min().alias("min_bytes"),
        ascending.get((n * 80 + 99) // 100 - 1).alias("p80_bytes"),
        ascending.get((n * 95 + 99) // 100 - 1).alias("p95_bytes"),
    ]


def _moments(reported: pl.DataFrame, orders: pl.DataFrame) -> pl.DataFrame:
    """Mean, deviation and slope, from sums over ``e = usage - floor(mean)``.

    With ``r = sum(e)``, which is below ``n``, the mean is ``floor(mean) + r / n``, the variance
    ``(n * sum(e*e) - r*r) / n**2``, the slope ``(n * sum(c*e) - sum(c) * r) / (n * sum(c*c) -
    sum(c)**2)``. As usages are not negative, ``sum(e*e)`` is at most the square of the total, below
    2**126. Where that times ``n`` would not fit, ``r*r`` is far below the last bit of a float.
    """
    number = pl.col("cycles_reported").cast(pl.Int128)
    known = orders.select(
        "iccid",
        n=number,
        floor=pl.col("total_bytes") // number,
        rest=pl.col("total_bytes") % number,
    )
    above = reported.join(known, on="iccid").with_columns(
        e=pl.col("usage_bytes").cast(pl.Int128) - pl.col("floor")
    )
    c, e = pl.col("cycle"), pl.col("e")
    sums = above.group_by("iccid").agg(
        pl.col("n", "floor", "rest").first(),
        squares=(e * e).sum(),
        products=(c * e).sum(),
        cycles=c.sum(),
        cycle_squares=(c * c).sum(),
    )
    n, rest, squares = pl.col("n"), pl.col("rest"), pl.col("squares")
    spread = (
        pl.when(squares < pl.lit(_EXACT_SQUARES, dtype=pl.Int128))
        .then((n * squares - rest * rest).cast(pl.Float64))
        .otherwise(n.cast(pl.Float64) * squares.cast(pl.Float64))
    )
    rise = (n * pl.col("products") - pl.col("cycles") * rest).cast(pl.Float64)
    run = (n * pl.col("cycle_squares") - pl.col("cycles") * pl.col("cycles")).cast(pl.Float64)
    n_float = n.cast(pl.Float64)
    return sums.select(
        "iccid",
        mean_bytes=pl.col("floor").cast(pl.Float64) + rest.cast(pl.Float64) / n_float,
        std_bytes=spread.sqrt() / n_float,
        trend_bytes_per_cycle=pl.when(n > 1).then(rise / run),
    )


def _refuse(rows: pl.DataFrame) -> None:
    """Refuse rows that are no history."""
    if rows.select(pl.any_horizontal(pl.col("iccid", "period_start").is_null()).any()).item():
        raise DataError("a row of the usage history has no ICCID or no period: leave it out")
    for column in ("usage_bytes", "days_with_usage"):
        wrong = rows.filter(pl.col(column) < 0).head(1)
        for iccid, start, *_ in wrong.iter_rows():
            value = wrong[column][0]
            raise DataError(
                f"SIM {iccid}, cycle of {start}: {column} is {value}, must be 0 or more"
            )
    keys = rows.select("iccid", "period_start")
    for iccid, start in keys.filter(keys.is_duplicated()).head(1).iter_rows():
        raise DataError(f"SIM {iccid} has several rows of the cycle of {start}: add them up first")
    n_cycles = rows["period_start"].n_unique()
    if n_cycles > MAX_CYCLES:
        raise DataError(f"the usage history has {n_cycles} cycles; {MAX_CYCLES} are allowed")


def _refuse_large(sums: pl.DataFrame, column: str, what: str) -> None:
    too_large = sums.filter(pl.col(column) > pl.lit(MAX_TOTAL_BYTES, dtype=pl.Int128)).sort("iccid")
    for iccid, total in too_large.select("iccid", column).head(1).iter_rows():
        raise DataError(
            f"SIM {iccid}: its {what} adds up to {total}, more than {MAX_TOTAL_BYTES}: correct the "
            "history"
        )
