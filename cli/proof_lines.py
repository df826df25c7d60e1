"""What a run shows of its proof: how near the cost is to the lowest possible one, and the legacy method's."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

GAP_PLACES = 4
"""Decimals of a gap in percent."""


def proof_lines(cost_micros: int, bound_micros: int | None, legacy_micros: int | None) -> list[str]:
    """One line each, as far as the figure exists.

    Parameters
    ----------
    cost_micros
        What the recommended plans cost.
    bound_micros
        No assignment costs less; None where that is not known. It is shown rounded down, and the gap
        rounded up, so that what is said stays true.
    legacy_micros
        What the reconstructed legacy method would cost; None where it finds nothing.
    """
    lines = []
    if bound_micros is not None:
        lines.append(_bound_line(cost_micros, bound_micros))
    if legacy_micros is not None:
        legacy = f"{Decimal(legacy_micros).scaleb(-6):,.2f}"
        lines.append(f"the legacy method, reconstructed, would cost {legacy}")
    return lines


def _bound_line(cost_micros: int, bound_micros: int) -> str:
    gap = cost_micros - bound_micros
    if gap == 0:
        return "no assignment can cost less: this one is proven optimal"
    least = Decimal(bound_micros).scaleb(-6).quantize(Decimal("0.01"), rounding=ROUND_FLOOR)
    line = f"no assignment can cost less than {least:,.2f}"
    if bound_micros <= 0:
        return line
    parts = -(-100 * 10**GAP_PLACES * gap // bound_micros)
    return f"{line}; this one is within {Decimal(parts).scaleb(-GAP_PLACES):,.{GAP_PLACES}f} %"
