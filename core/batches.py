"""Splits solve units into batches of work (S6)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Solve units that are computed together.

    Attributes
    ----------
    batch_id
        16 hexadecimal digits made from the contents, so that a restarted run finds the same batch
        under the same name.
    unit_ids
        At least one, in the order in which they were given.
    n_sims
        SIMs in these units.
    """

    batch_id: str
    unit_ids: tuple[str, ...]
    n_sims: int


def split_batches(
    units: Sequence[tuple[str, int]], *, sims_per_batch: int, max_units_per_batch: int
) -> list[Batch]:
    """Cut a list of solve units into batches, in order.

    A batch is closed when the next unit would take it above either limit; a unit that is larger
    than ``sims_per_batch`` is a batch of its own, since a unit cannot be split (O11).

    Parameters
    ----------
    units
        Unit id and number of SIMs of each unit.
    sims_per_batch, max_units_per_batch
        Limits of a batch, each at least 1.

    Raises
    ------
    ValueError
        If a limit is below 1 or a unit stands there twice.
    """
    if sims_per_batch < 1 or max_units_per_batch < 1:
        msg = "a batch holds at least 1 SIM and 1 unit"
        raise ValueError(msg)
    if len({unit_id for unit_id, _ in units}) != len(units):
        msg = "each solve unit is in one batch: a unit id stands there twice"
        raise ValueError(msg)
    batches: list[Batch] = []
    pending: list[tuple[str, int]] = []
    pending_sims = 0
    for unit_id, n_sims in units:
        is_full = pending_sims + n_sims > sims_per_batch or len(pending) == max_units_per_batch
        if pending and is_full:
            batches.append(_batch(pending))
            pending, pending_sims = [], 0
        pending.append((unit_id, n_sims))
        pending_sims += n_sims
    if pending:
        batches.append(_batch(pending))
    return batches


def _batch(units: Sequence[tuple[str, int]]) -> Batch:
    contents = json.dumps([list(unit) for unit in units], separators=(",", ":"))
    return Batch(
        batch_id=hashlib.sha256(contents.encode()).hexdigest()[:16],
        unit_ids=tuple(unit_id for unit_id, _ in units),
        n_sims=sum(n_sims for _, n_sims in units),
    )
