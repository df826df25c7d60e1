"""Cuts the rows of a unit into buckets that the dual bounds one by one (O6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.optimiser.rows import Rows
from core.problem import Int64Array

MAX_BUCKETS = 24
"""Buckets of a unit with few classes; with many classes there are fewer, to save stretches."""

_SAMPLE = 4096
_MAX_SEGMENTS = 1200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Buckets:
    """Stretches of rows, each of one class and one bucket, in row order.

    Attributes
    ----------
    start, of_class, bucket
        Shapes ``(m + 1,)``, ``(m,)``, ``(m,)``: stretch ``j`` holds rows ``start[j]`` to
        ``start[j + 1] - 1``.
    n_buckets
        Number of buckets.
    """

    start: Int64Array
    of_class: Int64Array
    bucket: Int64Array
    n_buckets: int


def build_buckets(rows: Rows) -> Buckets:
    """Part rows by usage, half of the borders at equal counts and half at equal shares of usage.

    Rows of equal usage are in one bucket, whatever their class.
    """
    n_classes = len(rows.class_start) - 1
    wanted = min(MAX_BUCKETS, max(4, _MAX_SEGMENTS // max(1, n_classes)))
    borders = _borders(rows.usage_bytes, n_classes, wanted)
    start: list[Int64Array] = []
    bucket: list[Int64Array] = []
    of_class: list[Int64Array] = []
    for k in range(n_classes):
        low, high = int(rows.class_start[k]), int(rows.class_start[k + 1])
        inner = low + np.searchsorted(rows.usage_bytes[low:high], borders, side="right")
        edges = np.concatenate([[low], inner, [high]])
        is_filled = edges[1:] > edges[:-1]
        start.append(edges[:-1][is_filled])
        bucket.append(np.flatnonzero(is_filled))
        of_class.append(np.full(int(is_filled.sum()), k))
    return Buckets(
        start=np.concatenate([*start, [rows.n_rows]]).astype(np.int64),
        of_class=np.concatenate(of_class).astype(np.int64) if of_class else _none(),
        bucket=np.concatenate(bucket).astype(np.int64) if bucket else _none(),
        n_buckets=len(borders) + 1,
    )


def _borders(usage: Int64Array, n_classes: int, wanted: int) -> Int64Array:
    """Usages after which a bucket ends, ascending; from a sample where rows are not in order."""
    step = max(1, len(usage) // _SAMPLE)
    sample = usage[::step] if n_classes == 1 else np.sort(usage[::step])
    if len(sample) < 2:
        return _none()
    half = wanted // 2
    by_count = sample[np.arange(1, half) * len(sample) // half]
    mass = np.cumsum(sample, dtype=np.float64)
    shares = mass[-1] * np.arange(1, wanted - half + 1) / (wanted - half + 1)
    by_mass = sample[np.searchsorted(mass, shares).clip(max=len(sample) - 1)]
    borders = np.unique(np.concatenate([by_count, by_mass]))
    inner: Int64Array = borders[borders < usage.max()].astype(np.int64)
    return inner


def _none() -> Int64Array:
    return np.zeros(0, dtype=np.int64)
