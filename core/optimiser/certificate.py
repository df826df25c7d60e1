"""What proves how near a unit's answer is to the cheapest possible one (O2, O3).

For multipliers inside their box, no feasible assignment of the unit costs less than::

    sum_i min over p in E_i of  c_ip + l_s (u_i - included_ip) + m_p + t [p is not today's plan]
    - sum_s h_s(l_s) - sum_p (m_p > 0 ? m_p max_p : m_p min_p) - t max_changes

with ``l_s`` the multiplier of the pool that plan p is in (0 for an individual plan), ``m_p`` that of
plan p's limits and ``t`` that of the limit of changes. ``c_ip`` is what the SIM costs without the
overage of a pool. ``h_s(l) = max over z of l z - H_s(z)`` is the conjugate of the pool's charge
without rounding up to whole blocks: with one price it is 0 for ``0 <= l <= rate / block``, which is
the box, and infinite beyond; with rising tiers it is ``sum over tiers of max(0, l - price of a byte)
times the tier's width`` up to the last tier's price.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Integer multipliers of one solve unit, and what they prove.

    Attributes
    ----------
    scale_bits
        Multipliers are integers over ``2**scale_bits``.
    pool_multipliers
        One per pool of the problem, scaled micro-units per byte, at least 0.
    plan_multipliers
        One per plan of the tariff, scaled micro-units per SIM: above 0 for the plan's upper limit,
        below 0 for its lower one, 0 without a limit (O8).
    change_multiplier
        Scaled micro-units per changed SIM, at least 0; 0 without a limit of changes (O8).
    bound_micros
        The least whole number that is not below the expression above: no feasible assignment costs
        less.
    cost_micros
        The objective of the unit's answer (B7).
    input_hash
        SHA-256 of the unit's canonical input, hexadecimal.
    """

    scale_bits: int
    pool_multipliers: tuple[int, ...]
    plan_multipliers: tuple[int, ...]
    change_multiplier: int
    bound_micros: int
    cost_micros: int
    input_hash: str
