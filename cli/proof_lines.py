"""What a run shows of its proof: how near the cost is to the lowest possible one, and the legacy method's."""

from __future__ import annotations

from decimal import ROUND_FLOOR


def proof_lines(
    cost_micros: int,
    bound_micros: int | None,
    legacy_micros: int | None,
    *,
    is_optimal: bool = False,
    is_walk: bool = False,
) -> list[str]:
    """One line each, as far as the figure exists.

    Parameters
    ----------
    cost_micros
        What the recommended plans cost.
    bound_micros
        No allowed assignment costs less; None where that is not known. It is shown rounded down, and
        the gap rounded up, so that what is said stays true.
    legacy_micros
        What the reconstructed legacy method would cost; None where it finds nothing.
    is_optimal
        Whether all solve units are, so that the cost is optimal even where it is above the bound.
    is_walk
        Whether one walk was all that was run of the legacy method.
    """
    from core.units import money_text

    lines = []
    if bound_micros is not None:
        lines.append(_bound_line(cost_micros, bound_micros, is_optimal=is_optimal))
    if legacy_micros is not None:
        method = "this walk of the legacy method" if is_walk else "the legacy method"
        lines.append(f"{method}, reconstructed, would cost {money_text(legacy_micros)}")
    return lines


def _bound_line(cost_micros: int, bound_micros: int, *, is_optimal: bool) -> str:
    from core.reports.summary import SHOWN_GAP_PLACES, shown_gap_percent
    from core.units import money_text

    if cost_micros == bound_micros:
        return "no allowed assignment costs less: this one is proven optimal"
    line = f"no allowed assignment costs less than {money_text(bound_micros, ROUND_FLOOR)}"
    gap = shown_gap_percent(cost_micros, bound_micros)
    if gap is not None:
        line += f"; this one is within {gap:,.{SHOWN_GAP_PLACES}f} %"
    if is_optimal:
        line += "; it is optimal: the solver of small units found that none costs less"
    return line
