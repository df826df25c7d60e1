"""Percentage taxes and fees of a bill, apart from what is minimised (B6).

Each tax is taken of the SIM's fees, overage or both (with its share of a pool's overage, B10), never
of another tax, and rounded half to even to whole micro-units per SIM and tax. The arithmetic stays
within 64 bits: with ``scale = 10**8`` and ``base = q * scale + r``, ``base * p / scale`` is
``q * p + r * p / scale`` where ``p <= scale``, so that no term exceeds the base or ``10**16``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from core.billing.individual import MAX_TOTAL_MICROS
from core.billing.tariff import Int64Array
from core.domain import MAX_TAX_PERCENT_MILLIONTHS, TaxBase, TaxRate
from core.errors import DataError

_SCALE = 100_000_000
"""Millionths of a percent that make the whole base."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taxes:
    """Taxes of one bill; ``sim_micros`` and ``tax_micros`` have the same sum.

    Attributes
    ----------
    sim_micros
        Shape ``(n,)``: all taxes of each SIM, 0 where its jurisdiction has none.
    tax_micros
        One sum over all SIMs per tax, in the order given.
    """

    sim_micros: Int64Array
    tax_micros: tuple[int, ...]


def tax_sims(
    rate_micros: Int64Array,
    overage_micros: Int64Array,
    jurisdictions: pl.Series,
    taxes: Sequence[TaxRate],
) -> Taxes:
    """Tax what each SIM pays by the taxes of its jurisdiction.

    Parameters
    ----------
    rate_micros, overage_micros
        Shape ``(n,)``, each ``>= 0``: the parts of a :class:`core.billing.bill.Bill`.
    jurisdictions
        String, shape ``(n,)``; null, or a name that no tax has, means no tax.
    taxes
        In any order; those of one jurisdiction add up.

    Raises
    ------
    DataError
        If a percentage is out of range, or a sum of charges or taxes exceeds ``MAX_TOTAL_MICROS``.
    """
    _check_percents(taxes)
    _check_total(_exact_sum(rate_micros) + _exact_sum(overage_micros), "charges")
    percent = np.array([tax.percent_millionths for tax in taxes], dtype=np.int64)
    of_rate = np.array([tax.base is not TaxBase.OVERAGE for tax in taxes], dtype=np.int64)
    of_overage = np.array([tax.base is not TaxBase.RATE for tax in taxes], dtype=np.int64)
    by_jurisdiction = _numbers_by_jurisdiction(taxes)
    codes = _codes(jurisdictions, list(by_jurisdiction))
    sim_micros = np.zeros(len(rate_micros), dtype=np.int64)
    tax_micros = np.zeros(len(taxes), dtype=np.int64)
    for turn in range(max(map(len, by_jurisdiction.values()), default=0)):
        # Each turn takes one tax of every jurisdiction; the last entry is that of code -1.
        numbers = [own[turn] if turn < len(own) else -1 for own in by_jurisdiction.values()]
        number = np.array([*numbers, -1], dtype=np.int64)[codes]
        rows = np.flatnonzero(number >= 0)
        tax = number[rows]
        base = rate_micros[rows] * of_rate[tax] + overage_micros[rows] * of_overage[tax]
        amount = tax_of(base, percent[tax])
        sim_micros[rows] += amount
        np.add.at(tax_micros, tax, amount)  # bincount would go through float64
    totals = tuple(tax_micros.tolist())
    _check_total(sum(totals), "taxes")
    return Taxes(sim_micros=sim_micros, tax_micros=totals)


def tax_of(base_micros: Int64Array, percent_millionths: Int64Array) -> Int64Array:
    """Take a percentage, ``base * percent / 100``, exactly and rounded half to even.

    Parameters
    ----------
    base_micros
        Shape ``(n,)``, each ``>= 0``.
    percent_millionths
        Shape ``(n,)``, each ``0 .. MAX_TAX_PERCENT_MILLIONTHS``.

    Returns
    -------
    Int64Array
        Shape ``(n,)``, micro-units, at most the base.
    """
    rest = base_micros % _SCALE * percent_millionths
    amount = base_micros // _SCALE * percent_millionths + rest // _SCALE
    twice = 2 * (rest % _SCALE)
    is_up = (twice > _SCALE) | ((twice == _SCALE) & (amount % 2 == 1))
    amount += is_up
    return amount


def _check_percents(taxes: Sequence[TaxRate]) -> None:
    for tax in taxes:
        if not 0 <= tax.percent_millionths <= MAX_TAX_PERCENT_MILLIONTHS:
            msg = (
                f"tax {tax.name!r} of jurisdiction {tax.jurisdiction!r} is {tax.percent_millionths} "
                f"millionths of a percent: allowed are 0 to {MAX_TAX_PERCENT_MILLIONTHS}"
            )
            raise DataError(msg)


def _check_total(total: int, what: str) -> None:
    if total > MAX_TOTAL_MICROS:
        msg = (
            f"the {what} of this fleet add up to {total} micro-units: allowed are up to "
            f"{MAX_TOTAL_MICROS}; correct the plans' prices, the usage or the taxes"
        )
        raise DataError(msg)


def _exact_sum(values: Int64Array) -> int:
    """Sum that cannot wrap: upper and lower halves by themselves."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFF_FFFF).sum())


def _numbers_by_jurisdiction(taxes: Sequence[TaxRate]) -> dict[str, list[int]]:
    """Positions of the taxes of each jurisdiction, in the order given."""
    found: dict[str, list[int]] = {}
    for number, tax in enumerate(taxes):
        found.setdefault(tax.jurisdiction, []).append(number)
    return found


def _codes(jurisdictions: pl.Series, names: Sequence[str]) -> Int64Array:
    """Position in ``names`` of each SIM's jurisdiction, shape ``(n,)``; -1 where it is not there."""
    numbers = {name: number for number, name in enumerate(names)}
    found = jurisdictions.cast(pl.String).replace_strict(numbers, default=-1, return_dtype=pl.Int64)
    codes: Int64Array = found.fill_null(-1).to_numpy()
    return codes
