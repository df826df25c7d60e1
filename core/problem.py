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

BoolArray = npt.NDArray[np.bool_]

NO_LIMIT = 1 << 62
"""Most SIMs of a plan without a limit."""

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
    pool_block_bytes
        Shape ``(n_pools,)``: size of one overage block of the pool.
    pool_tier_from_block, pool_tier_rate_micros
        Shape ``(n_pools, n_tiers)``: prices of the pool's blocks, as
        :attr:`core.billing.tariff.Tariff.tier_from_block` says; they never fall (B8).
    charge_type
        Which charges are minimised (B7).
    is_locked
        Shape ``(n,)``: the SIM keeps its plan (O8).
    min_sims, max_sims
        Shape ``(n_plans,)``: least and most SIMs of the unit on a plan, ``NO_LIMIT`` at most (O8).
    max_changes
        Most SIMs of the unit that may get another plan; None: no limit.
    min_saving_per_change_micros
        Least reduced cost, at the certificate's multipliers, that a change must save.
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
    pool_block_bytes: Int64Array
    pool_tier_from_block: Int64Array
    pool_tier_rate_micros: Int64Array
    is_locked: BoolArray
    min_sims: Int64Array
    max_sims: Int64Array
    charge_type: ChargeType = ChargeType.RATE_AND_OVERAGE
    max_changes: int | None = None
    min_saving_per_change_micros: int = 0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    @property
    def n_sims(self) -> int:
        """Number of SIMs."""
        return len(self.usage_bytes)

    @property
    def has_limits(self) -> bool:
        """Whether the numbers of SIMs on plans, or of changes, are limited (O8)."""
        is_limited = (self.min_sims > 0) | (self.max_sims < NO_LIMIT)
        return self.max_changes is not None or bool(is_limited.any())
