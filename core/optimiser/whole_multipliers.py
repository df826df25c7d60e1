"""Makes the whole-number multipliers of a certificate from those of the dual (O3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from core.domain import ChargeType
from core.optimiser.multipliers import Multipliers
from core.optimiser.rows import Rows, limited_plans
from core.problem import NO_LIMIT, Problem

_MOST_BITS = 48
_SIZE_BITS = 60
_LARGEST = 1 << 61


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeMultipliers:
    """Multipliers over ``2**scale_bits``, as a certificate has them."""

    scale_bits: int
    pools: tuple[int, ...]
    plans: tuple[int, ...]
    change: int

    def as_floats(self) -> Multipliers:
        """Give the same multipliers in micro-units."""
        scale = -self.scale_bits
        return Multipliers(
            pools=np.array([math.ldexp(m, scale) for m in self.pools]),
            plans=np.array([math.ldexp(m, scale) for m in self.plans]),
            change=math.ldexp(self.change, scale),
        )


def whole_multipliers(problem: Problem, rows: Rows, multipliers: Multipliers) -> WholeMultipliers:
    """Round multipliers to whole numbers inside their box.

    A pool that no SIM with a choice can be in has a fixed usage: its multiplier is the price of the
    tier that this usage reaches, or 0 where allowance is left.

    Returns
    -------
    WholeMultipliers
        With the finest scale, up to 48 bits, at which every multiplier stays below 2**61; larger
        prices of limits become that, which proves less and is right all the same.
    """
    largest = max(
        float(np.abs(multipliers.plans).max(initial=0.0)),
        float(multipliers.change),
        max((_top_price(problem, s) for s in range(len(problem.pool_block_bytes))), default=0.0),
    )
    bits = min(_MOST_BITS, max(0, _SIZE_BITS - max(0, math.frexp(largest)[1])))
    touched = set(np.unique(rows.lines.pool[rows.lines.pool >= 0]).tolist())
    pools = [
        _in_box(problem, s, bits, float(multipliers.pools[s]))
        if s in touched
        else _fixed_pool(problem, s, bits, int(rows.fixed_pool_bytes[s]))
        for s in range(len(problem.pool_block_bytes))
    ]
    limited = limited_plans(problem)
    plans = [
        _plan(problem, p, bits, float(multipliers.plans[p])) if limited[p] else 0
        for p in range(len(problem.tariff.codes))
    ]
    change = 0 if problem.max_changes is None else int(math.ldexp(multipliers.change, bits))
    return WholeMultipliers(
        scale_bits=bits,
        pools=tuple(pools),
        plans=tuple(plans),
        change=min(max(0, change), _LARGEST),
    )


def _rates(problem: Problem, s: int) -> list[int]:
    if problem.charge_type is ChargeType.RATE:
        return [0]
    rates: list[int] = problem.pool_tier_rate_micros[s].tolist()
    return rates


def _top_price(problem: Problem, s: int) -> float:
    return _rates(problem, s)[-1] / int(problem.pool_block_bytes[s])


def _in_box(problem: Problem, s: int, bits: int, price: float) -> int:
    highest = (_rates(problem, s)[-1] << bits) // int(problem.pool_block_bytes[s])
    if price >= _top_price(problem, s) * (1.0 - 1e-12):
        return highest
    return min(max(0, int(math.ldexp(price, bits))), highest)


def _fixed_pool(problem: Problem, s: int, bits: int, net_bytes: int) -> int:
    if net_bytes <= 0:
        return 0
    block = int(problem.pool_block_bytes[s])
    starts = problem.pool_tier_from_block[s].tolist()
    reached = [
        rate
        for start, rate in zip(starts, _rates(problem, s), strict=False)
        if start * block < net_bytes
    ]
    return (reached[-1] << bits) // block


def _plan(problem: Problem, p: int, bits: int, price: float) -> int:
    multiplier = max(-_LARGEST, min(_LARGEST, int(math.ldexp(price, bits))))
    if multiplier > 0 and problem.max_sims[p] >= NO_LIMIT:
        return 0
    return multiplier
