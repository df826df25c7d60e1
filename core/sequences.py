"""Candidate sequences of rate plans, and the average usage up to which each plan takes SIMs (O5).

A *sequence* is an ordered subset of a group's plan list. The walks of O4 fill its plans from the
first to the last; which plans are in it, and in which order, is all that a sequence decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations, islice, permutations, zip_longest

import numpy as np

from core.billing.tariff import Tariff
from core.domain import ChargeType, PoolScope


def max_average_usage(
    tariff: Tariff, plan: int, next_plan: int, charge_type: ChargeType
) -> Fraction:
    """Average usage up to which a SIM on ``plan`` costs no more than one on ``next_plan`` (O4).

    ``included + (next fee - fee) / (rate / block)``, fees and allowances those of a SIM that is
    active all along, fees with the regulatory fee; ``included`` where the next plan is not dearer.
    Under ``ChargeType.OVERAGE`` fees are not part of the objective, so that no plan counts as dearer
    and the answer is ``included``.

    The rate is that of the first overage block; later tiers (B8) do not count. The figure says only
    where a walk goes on to its next plan: what a walk costs is priced with all tiers.

    Parameters
    ----------
    plan, next_plan
        Two plans in a row of a sequence. The last plan of a sequence has no limit.

    Returns
    -------
    Fraction
        Exact bytes, at least 0.
    """
    included = int(tariff.included_bytes[plan, tariff.full_cycle])
    if charge_type is ChargeType.OVERAGE:
        return Fraction(included)
    fees = tariff.fee_micros[:, tariff.full_cycle]
    dearer_by = max(0, int(fees[next_plan]) - int(fees[plan]))
    block = int(tariff.overage_block_bytes[plan])
    return included + Fraction(dearer_by * block, int(tariff.overage_rate_micros[plan]))


def generate_sequences(
    tariff: Tariff,
    eligible: Sequence[int],
    charge_type: ChargeType,
    *,
    max_sequences: int,
    pool_scope: PoolScope = PoolScope.PLAN,
    required: Sequence[Sequence[int]] = (),
) -> list[tuple[int, ...]]:
    """List the first ``max_sequences`` of :func:`iter_sequences`.

    Raises
    ------
    ValueError
        If ``max_sequences`` is below 1.
    """
    if max_sequences < 1:
        msg = "max_sequences is at least 1"
        raise ValueError(msg)
    plans = iter_sequences(tariff, eligible, charge_type, pool_scope=pool_scope, required=required)
    return list(islice(plans, max_sequences))


def iter_sequences(
    tariff: Tariff,
    eligible: Sequence[int],
    charge_type: ChargeType,
    *,
    pool_scope: PoolScope = PoolScope.PLAN,
    required: Sequence[Sequence[int]] = (),
) -> Iterator[tuple[int, ...]]:
    """Yield every ordered subset of the plans that no other plan dominates, each once (O5).

    First come all subsets in order of ascending allowance, then the other orders of the same
    subsets. The subsets come in turn from two lists: the full ladder, the ladder without its
    largest plan, without its two largest, and so on through all subsets of each size; and a walk
    over all subsets in golden-ratio steps, which looks as early as it can at subsets that have
    little in common. Of the orders tried on synthetic fleets with 7 to 15 plans, this one had the
    best mean cost within the first 64.

    Parameters
    ----------
    eligible
        Plan numbers of a group's list.
    charge_type
        Which charges count (B7).
    pool_scope
        Under ``PoolScope.POOL_GROUP`` no pooled plan is left out, since a SIM that leaves a shared
        pool takes its allowance with it.
    required
        Sets of plans of the list, such as those of one type: every sequence has a plan of each. Of
        such a set a plan is left out only if another one of the set dominates it.

    Returns
    -------
    Iterator
        Of plan numbers; lazy, and nothing for an empty list.
    """
    kept = set(undominated(tariff, eligible, charge_type, pool_scope=pool_scope))
    for plans in required:
        kept.update(undominated(tariff, plans, charge_type, pool_scope=pool_scope))
    ladder = _ladder(tariff, sorted(kept))
    demands = [{k for k, plan in enumerate(ladder) if plan in plans} for plans in required]
    for chosen in _demanded(len(ladder), demands):
        yield tuple(ladder[k] for k in chosen)
    for chosen in _demanded(len(ladder), demands):
        for order in islice(permutations(chosen), 1, None):
            yield tuple(ladder[k] for k in order)


def undominated(
    tariff: Tariff,
    eligible: Sequence[int],
    charge_type: ChargeType,
    *,
    pool_scope: PoolScope = PoolScope.PLAN,
) -> list[int]:
    """Leave out plans that cannot be needed: another one is at least as good for every SIM.

    Plan q dominates p if both are pooled or both are individual, and for every number of active
    days and every usage its fee, allowance, overage, SMS and voice are no worse. For overage,
    ``rate_q * ceil(z / block_q) <= rate_p * ceil(z / block_p)`` holds for all ``z > 0`` exactly if
    ``rate_q * ceil(block_p / block_q) <= rate_p``. Two pools of a group become no dearer by moving
    all SIMs of the dominated one into the other, since overage is subadditive. Of equal plans
    the one with the lowest number stays.

    With tiers (B8) the condition is taken of q's dearest and p's cheapest block, or q's block and
    tiers are those of p; a cap of q is no higher than p's. Either makes every block that q charges
    no dearer. A pooled q has one price for all blocks: with rising ones its overage is not
    subadditive. More may be true, and is not claimed.

    Returns
    -------
    list of int
        Plan numbers, ascending.
    """
    plans = sorted(set(eligible))
    is_kept_apart = pool_scope is PoolScope.POOL_GROUP

    def is_dominated(p: int) -> bool:
        if is_kept_apart and tariff.is_pooled[p]:
            return False
        return any(
            _dominates(tariff, q, p, charge_type)
            and (q < p or not _dominates(tariff, p, q, charge_type))
            for q in plans
            if q != p
        )

    return [p for p in plans if not is_dominated(p)]


def _dominates(tariff: Tariff, q: int, p: int, charge_type: ChargeType) -> bool:
    if tariff.is_pooled[q] != tariff.is_pooled[p]:
        return False
    if (
        charge_type is not ChargeType.OVERAGE
        and (tariff.fee_micros[q] > tariff.fee_micros[p]).any()
    ):
        return False
    if charge_type is ChargeType.RATE:
        return True
    return (
        bool((tariff.included_bytes[q] >= tariff.included_bytes[p]).all())
        and _is_overage_no_dearer(tariff, q, p)
        and tariff.included_sms[q] >= tariff.included_sms[p]
        and tariff.sms_rate_micros[q] <= tariff.sms_rate_micros[p]
        and tariff.included_voice_minutes[q] >= tariff.included_voice_minutes[p]
        and tariff.voice_rate_micros[q] <= tariff.voice_rate_micros[p]
    )


def _is_overage_no_dearer(tariff: Tariff, q: int, p: int) -> bool:
    """Whether q's data overage is provably at most p's at equal volumes, and in a common pool."""
    if tariff.overage_cap_micros[q] > tariff.overage_cap_micros[p]:
        return False
    block_q, block_p = (int(tariff.overage_block_bytes[plan]) for plan in (q, p))
    dearest_q, cheapest_q = (
        int(tariff.tier_rate_micros[q].max()),
        int(tariff.tier_rate_micros[q].min()),
    )
    if tariff.is_pooled[q] and dearest_q > cheapest_q:
        return False
    is_same = (
        block_q == block_p
        and np.array_equal(tariff.tier_from_block[q], tariff.tier_from_block[p])
        and np.array_equal(tariff.tier_rate_micros[q], tariff.tier_rate_micros[p])
    )
    return is_same or dearest_q * -(-block_p // block_q) <= int(tariff.tier_rate_micros[p].min())


def _ladder(tariff: Tariff, plans: Sequence[int]) -> list[int]:
    """Plans by allowance, then fee, then number."""
    included = tariff.included_bytes[:, tariff.full_cycle]
    fees = tariff.fee_micros[:, tariff.full_cycle]
    return sorted(plans, key=lambda p: (int(included[p]), int(fees[p]), p))


def _demanded(n: int, demands: Sequence[set[int]]) -> Iterator[tuple[int, ...]]:
    """Subsets of ``range(n)`` that meet every demand; those that only one plan can meet are fixed."""
    fixed = set[int]().union(*(demand for demand in demands if len(demand) == 1))
    others = [k for k in range(n) if k not in fixed]
    for chosen in _subsets(len(others)):
        subset = fixed.union(others[k] for k in chosen)
        if all(not demand.isdisjoint(subset) for demand in demands):
            yield tuple(sorted(subset))
    if fixed and all(not demand.isdisjoint(fixed) for demand in demands):
        yield tuple(sorted(fixed))


def _subsets(n: int) -> Iterator[tuple[int, ...]]:
    """Every subset of ``range(n)`` but the empty one, ascending, each once."""
    seen: set[tuple[int, ...]] = set()
    for pair in zip_longest(_by_size(n), _spread(n)):
        for chosen in pair:
            if chosen and chosen not in seen:
                seen.add(chosen)
                yield chosen


def _by_size(n: int) -> Iterator[tuple[int, ...]]:
    """In turn one subset of each size, from ``n`` down to 1; of one size in lexicographic order."""
    sizes = [combinations(range(n), size) for size in range(n, 0, -1)]
    for turn in zip_longest(*sizes):
        yield from (chosen for chosen in turn if chosen)


def _spread(n: int) -> Iterator[tuple[int, ...]]:
    """Subsets as bit masks in steps of the golden section of ``2**n``, an odd number."""
    step = (2**n * 618_033_989 // 1_000_000_000) | 1
    for k in range(1, 2**n):
        mask = k * step % 2**n
        yield tuple(bit for bit in range(n) if mask >> bit & 1)
