"""What a SIM costs on its own: fee, data overage, SMS and voice (B2, B3, B5, B7, B8)."""

from __future__ import annotations

import numpy as np

from core.billing.tariff import NO_CAP, Int32Array, Int64Array, Tariff
from core.domain import ChargeType
from core.errors import DataError

MAX_TOTAL_MICROS = 1 << 62
"""Largest sum of money in one calculation; below it no intermediate sum leaves 64 bits."""


def individual_costs(
    tariff: Tariff,
    plan: int,
    usage_bytes: Int64Array,
    sms_count: Int64Array,
    voice_seconds: Int64Array,
    day_class: Int32Array,
    charge_type: ChargeType,
) -> Int64Array:
    """Objective of each SIM alone on one plan, as if the plan were not pooled.

    Parameters
    ----------
    plan
        Row of the tariff.
    usage_bytes, sms_count, voice_seconds, day_class
        Shape ``(n,)``, as in :class:`core.problem.Problem`.
    charge_type
        Which charges count (B7).

    Returns
    -------
    Int64Array
        Shape ``(n,)``, micro-units.

    Raises
    ------
    DataError
        If a SIM's charge leaves the range of 64-bit integers.
    """
    fee: Int64Array = tariff.fee_micros[plan][day_class]
    if charge_type is ChargeType.RATE:
        return fee
    plans = np.full(len(usage_bytes), plan, dtype=np.int32)
    overage = data_overage(tariff, plans, usage_bytes, day_class)
    messages = message_overage(tariff, plans, sms_count, voice_seconds)
    overage = _added(overage, messages, "overage")
    if charge_type is ChargeType.RATE_AND_OVERAGE:
        return _added(overage, fee, "cost")
    return overage


def data_overage(
    tariff: Tariff, plans: Int32Array, usage_bytes: Int64Array, day_class: Int32Array
) -> Int64Array:
    """Price of the ``ceil(max(0, usage - included) / block)`` blocks of each SIM by itself (B3).

    Each block costs the rate of its tier, and all together at most the plan's cap (B8).

    Parameters
    ----------
    plans
        Shape ``(n,)``: plan number of each SIM.

    Returns
    -------
    Int64Array
        Shape ``(n,)``, micro-units.

    Raises
    ------
    DataError
        If a SIM's charge leaves the range of 64-bit integers and no cap limits it.
    """
    over_bytes = np.maximum(usage_bytes - tariff.included_bytes[plans, day_class], 0)
    blocks = started(over_bytes, tariff.overage_block_bytes[plans])
    cap = tariff.overage_cap_micros
    if tariff.tier_rate_micros.shape[1] == 1 and (cap == NO_CAP).all():
        return priced(blocks, tariff.overage_rate_micros[plans], "data overage")
    return _tiered_up_to(
        blocks, tariff.tier_from_block[plans], tariff.tier_rate_micros[plans], cap[plans]
    )


def message_overage(
    tariff: Tariff, plans: Int32Array, sms_count: Int64Array, voice_seconds: Int64Array
) -> Int64Array:
    """SMS and started voice minutes beyond what the SIM's plan includes; never pooled (B5).

    Returns
    -------
    Int64Array
        Shape ``(n,)``, micro-units.

    Raises
    ------
    DataError
        If a SIM's charge leaves the range of 64-bit integers.
    """
    if not sms_count.any() and not voice_seconds.any():
        return np.zeros_like(sms_count)
    sms = np.maximum(sms_count - tariff.included_sms[plans], 0)
    minutes = np.maximum(started(voice_seconds, 60) - tariff.included_voice_minutes[plans], 0)
    charge = priced(sms, tariff.sms_rate_micros[plans], "SMS charge")
    voice = priced(minutes, tariff.voice_rate_micros[plans], "voice charge")
    return _added(charge, voice, "SMS and voice charge")


def started(amount: Int64Array, size: Int64Array | int) -> Int64Array:
    """Count the started units of ``size`` in each ``amount >= 0``: the ceiling of the quotient."""
    return -(-amount // size)


def tiered(blocks: Int64Array, from_block: Int64Array, rate_micros: Int64Array) -> Int64Array:
    """Price of the first ``blocks`` overage blocks of each row (B8).

    Parameters
    ----------
    blocks
        Shape ``(..., n)``, each ``>= 0``.
    from_block, rate_micros
        Shape ``(n, n_tiers)``, as in :class:`core.billing.tariff.Tariff`.

    Returns
    -------
    Int64Array
        Shape of ``blocks``, micro-units; the caller knows that no charge leaves 64 bits.
    """
    charge = np.zeros_like(blocks)
    for t in range(from_block.shape[1]):
        charge += _blocks_in_tier(blocks, from_block, t) * rate_micros[:, t]
    return charge


def _tiered_up_to(
    blocks: Int64Array, from_block: Int64Array, rate_micros: Int64Array, cap_micros: Int64Array
) -> Int64Array:
    """:func:`tiered`, each charge at most its cap, with a check that no charge leaves the range."""
    if int(blocks.max(initial=0)) * int(rate_micros.max(initial=0)) <= MAX_TOTAL_MICROS:
        return np.minimum(tiered(blocks, from_block, rate_micros), cap_micros)
    # A cap also holds where the charge without it is beyond all numbers: what does not fit is cut.
    limit = np.minimum(cap_micros, MAX_TOTAL_MICROS)
    charge = np.zeros_like(blocks)
    is_cut = np.zeros(len(blocks), dtype=bool)
    for t in range(from_block.shape[1]):
        count, rate = _blocks_in_tier(blocks, from_block, t), rate_micros[:, t]
        fitting = (limit - charge) // np.maximum(rate, 1)
        is_cut |= count > fitting
        charge += np.minimum(count, fitting) * rate
    is_wrong = is_cut & (cap_micros == NO_CAP)
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        msg = (
            f"the data overage of row {row + 1} is out of range: {blocks[row]} blocks at up to "
            f"{rate_micros[row].max()} micro-units each; correct the usage or the plan's prices"
        )
        raise DataError(msg)
    return np.where(is_cut, limit, charge)


def _blocks_in_tier(blocks: Int64Array, from_block: Int64Array, t: int) -> Int64Array:
    """How many of the first ``blocks`` blocks lie in tier ``t``; shape of ``blocks``."""
    is_last = t + 1 == from_block.shape[1]
    until = blocks if is_last else np.minimum(blocks, from_block[:, t + 1])
    return np.maximum(until - from_block[:, t], 0)


def _added(left: Int64Array, right: Int64Array, what: str) -> Int64Array:
    """Sum of two charges of each row, refused where one could leave the range."""
    if int(left.max(initial=0)) + int(right.max(initial=0)) > MAX_TOTAL_MICROS:
        is_wrong = left > MAX_TOTAL_MICROS - right
        if is_wrong.any():
            row = int(np.argmax(is_wrong))
            msg = (
                f"the {what} of row {row + 1} is out of range: {left[row]} and {right[row]} "
                "micro-units together; correct the usage or the plan's prices"
            )
            raise DataError(msg)
    return left + right


def priced(count: Int64Array, price_micros: Int64Array, what: str) -> Int64Array:
    """``count * price``, refused where one product could leave the range.

    Raises
    ------
    DataError
        If a product exceeds ``MAX_TOTAL_MICROS``.
    """
    largest = int(count.max(initial=0)) * int(price_micros.max(initial=0))
    if largest <= MAX_TOTAL_MICROS:
        return count * price_micros
    within = count <= MAX_TOTAL_MICROS // np.maximum(price_micros, 1)
    if not within.all():
        row = int(np.argmin(within))
        msg = (
            f"the {what} of row {row + 1} is out of range: {count[row]} units at "
            f"{price_micros[row]} micro-units each; correct the usage or the plan's price"
        )
        raise DataError(msg)
    return count * price_micros
