"""What a SIM costs on its own: fee, data overage, SMS and voice (B2, B3, B5, B7)."""

from __future__ import annotations

import numpy as np

from core.billing.tariff import Int32Array, Int64Array, Tariff
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
    overage += message_overage(tariff, plans, sms_count, voice_seconds)
    if charge_type is ChargeType.RATE_AND_OVERAGE:
        overage += fee
    return overage


def data_overage(
    tariff: Tariff, plans: Int32Array, usage_bytes: Int64Array, day_class: Int32Array
) -> Int64Array:
    """``ceil(max(0, usage - included) / block) * rate`` of each SIM by itself (B3).

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
        If a SIM's charge leaves the range of 64-bit integers.
    """
    over_bytes = np.maximum(usage_bytes - tariff.included_bytes[plans, day_class], 0)
    blocks = started(over_bytes, tariff.overage_block_bytes[plans])
    return priced(blocks, tariff.overage_rate_micros[plans], "data overage")


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
    sms = np.maximum(sms_count - tariff.included_sms[plans], 0)
    minutes = np.maximum(started(voice_seconds, 60) - tariff.included_voice_minutes[plans], 0)
    charge = priced(sms, tariff.sms_rate_micros[plans], "SMS charge")
    charge += priced(minutes, tariff.voice_rate_micros[plans], "voice charge")
    return charge


def started(amount: Int64Array, size: Int64Array | int) -> Int64Array:
    """Count the started units of ``size`` in each ``amount >= 0``: the ceiling of the quotient."""
    return -(-amount // size)


def tiered(blocks: Int64Array, from_block: Int64Array, rate_micros: Int64Array) -> Int64Array:
    """Price of the first ``blocks`` overage blocks of each row (B8).

    Parameters
    ----------
    blocks
        Shape ``(n,)``, each ``>= 0``.
    from_block, rate_micros
        Shape ``(n, n_tiers)``, as in :class:`core.billing.tariff.Tariff`.

    Returns
    -------
    Int64Array
        Shape ``(n,)``, micro-units; the caller knows that no charge leaves 64 bits.
    """
    charge = np.zeros_like(blocks)
    n_tiers = from_block.shape[1]
    for t in range(n_tiers):
        until = blocks if t + 1 == n_tiers else np.minimum(blocks, from_block[:, t + 1])
        charge += np.maximum(until - from_block[:, t], 0) * rate_micros[:, t]
    return charge


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
