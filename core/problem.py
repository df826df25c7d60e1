"""What one solve unit asks: its SIMs, plans, pools and candidate sequences, as integer arrays.

A *solve unit* holds everything that must be decided together (O11): groups that share a pool are in
one unit, so that a unit can be priced without knowing of any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.billing.tariff import Tariff
from core.domain import ChargeType

Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]

INDIVIDUAL = -1
"""Pool number of a plan whose SIMs share nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A communication group inside a unit (G1).

    Attributes
    ----------
    group_id
        Name of the group in every output, such as ``G0001``.
    eligible
        Plan numbers (rows of the tariff) of the group's plan list, ascending. A SIM may also keep
        the plan it has, whether or not that is in the list.
    is_fixed
        True where the group is not optimised but still shares pools with others (V3): every SIM
        keeps its plan.
    sequences
        Candidate sequences (O5): ordered plan numbers, each a subset of ``eligible``; empty for a
        fixed group.
    """

    group_id: str
    eligible: tuple[int, ...]
    is_fixed: bool = False
    sequences: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """One solve unit; rows are SIMs in ICCID order, arrays are read-only.

    Attributes
    ----------
    tariff
        The catalogue as integers; plan numbers are its rows.
    usage_bytes, sms_count, voice_seconds
        Shape ``(n,)``, per SIM and cycle, within the ranges of :mod:`core.domain`.
    day_class
        Shape ``(n,)``: column of the tariff's fee and allowance tables for this SIM, i.e. its
        active days in the cycle.
    group
        Shape ``(n,)``: index into ``groups``.
    comm_plan
        Shape ``(n,)``: rank of the SIM's communication plan by name within the unit.
    current
        Shape ``(n,)``: plan number that the SIM has today.
    pool_of
        Shape ``(n_plans, n_groups)``: pool number of a plan for SIMs of a group, or
        ``INDIVIDUAL``. Pools with the same number share their allowance and overage.
    pool_rate_micros, pool_block_bytes
        Shape ``(n_pools,)``: price and size of one overage block of the pool.
    charge_type
        Which charges are minimised (B7).
    """

    unit_id: str
    tariff: Tariff
    groups: tuple[Group, ...]
    usage_bytes: Int64Array
    sms_count: Int64Array
    voice_seconds: Int64Array
    day_class: Int32Array
    group: Int32Array
    comm_plan: Int32Array
    current: Int32Array
    pool_of: Int32Array
    pool_rate_micros: Int64Array
    pool_block_bytes: Int64Array
    charge_type: ChargeType = ChargeType.RATE_AND_OVERAGE

    def __post_init__(self) -> None:
        for name in (
            "usage_bytes", "sms_count", "voice_seconds", "day_class", "group", "comm_plan",
            "current", "pool_of", "pool_rate_micros", "pool_block_bytes",
        ):  # fmt: skip
            getattr(self, name).setflags(write=False)

    @property
    def n_sims(self) -> int:
        """Number of SIMs."""
        return len(self.usage_bytes)
