"""The compiled local search of the repair (O6): exact cost in 64-bit whole numbers.

A *transfer* moves one row from its line to another. What it changes is the row's own cost, and the
usage less allowance of at most two pools; the charge of a pool follows from that sum alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from core.optimiser.rows import NO_INDIVIDUAL
from core.problem import BoolArray, Int32Array, Int64Array

_LARGEST = 500
_SAME_ROWS = 3
"""Transfers that are listed of rows with equal class, usage and choice."""
_NO_TRANSFER: Any = np.int64(-1)


@njit(cache=True, error_model="numpy")
def pool_charge(net_bytes: int, block: int, from_block: Int64Array, rate: Int64Array) -> int:
    """Overage of a pool by started blocks and rising tiers (B4, B8)."""
    if net_bytes <= 0:
        return 0
    blocks = (net_bytes - 1) // block + 1
    charge = 0
    for t in range(len(from_block)):
        if blocks <= from_block[t]:
            break
        until = blocks
        if t + 1 < len(from_block) and from_block[t + 1] < blocks:
            until = from_block[t + 1]
        charge += (until - from_block[t]) * rate[t]
    return charge


@njit(cache=True, error_model="numpy")
def list_transfers(  # noqa: C901 - one loop, since array arguments make calls inside it slow
    class_start: Int64Array, usage: Int64Array, line_start: Int64Array, line_plan: Int32Array,
    line_pool: Int32Array, line_fee: Int64Array, line_included: Int64Array, line_change: BoolArray,
    intercept: Any, slope: Any, has_individual: BoolArray, individual: Int64Array,
    own_row: Int64Array, own: Int64Array, choice: Int32Array, allowed_loss: float, seed: int, step: int, offset: int,
    n_plans: int, per_kind: int, at_random: bool, whole: Int64Array, loss: Any,  # noqa: FBT001 - compiled code takes no keywords
) -> int:  # fmt: skip
    """List transfers whose reduced cost is at most ``allowed_loss``; returns their number.

    A transfer that costs more than the present gap at the multipliers cannot be part of an
    improvement: the other parts of the gap are at least 0. Of each kind, i.e. pair of plans, those
    ``per_kind`` are listed that lose least, and as many that are drawn at random, or without
    ``at_random`` that lose least for the usage, at the pools' prices, which they move.

    Parameters
    ----------
    step, offset
        Every ``step``-th row is looked at, and the largest users of each class all.
    whole
        Output, shape ``(capacity, 9)``: row, line before, line after, own cost change, pool before,
        pool after, net bytes before, net bytes after, change of the number of changed SIMs.
    loss
        Output, shape ``(capacity,)``: reduced cost of the transfer.
    """
    n_kinds = n_plans * n_plans
    worst = np.full((n_kinds, 2), np.inf)
    count = np.zeros((n_kinds, 2), dtype=np.int64)
    key = np.empty((n_kinds, 2, per_kind))
    row_of = np.empty((n_kinds, 2, per_kind), dtype=np.int64)
    to_of = np.empty((n_kinds, 2, per_kind), dtype=np.int64)
    loss_of = np.empty((n_kinds, 2, per_kind))
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)
    for k in range(len(class_start) - 1):
        first, last = line_start[k], line_start[k + 1]
        same = 0
        start, end = class_start[k], class_start[k + 1]
        i = start + offset % step - step
        while True:
            i += step if i < end - _LARGEST - step else 1
            if i >= end:
                break
            if i < start:
                continue
            if i > start and usage[i] == usage[i - 1] and choice[i] == choice[i - 1]:
                same += 1
                if same >= _SAME_ROWS and own_row[k] < 0:
                    continue
            else:
                same = 0
            at = own_row[k] + i - class_start[k]
            c = choice[i]
            here = 0.0
            if c < 0:
                here = float(individual[i])
            else:
                here = intercept[c] + slope[c] * usage[i]
                if own_row[k] >= 0:
                    here += own[at, c - first]
            plan_from = line_plan[c] if c >= 0 else n_plans - 1
            for j in range(first - 1, last):
                if j == c or (j < first and c < 0):
                    continue
                if j < first:
                    if not has_individual[k] or individual[i] >= NO_INDIVIDUAL:
                        continue
                    there, plan_to = float(individual[i]), n_plans - 1
                else:
                    there, plan_to = intercept[j] + slope[j] * usage[i], line_plan[j]
                    if own_row[k] >= 0:
                        there += own[at, j - first]
                lost = there - here
                if lost > allowed_loss:
                    continue
                kind = plan_from * n_plans + plan_to
                for which in range(2):
                    rank = lost
                    if which == 1 and at_random:
                        state ^= state << np.uint64(13)
                        state ^= state >> np.uint64(7)
                        state ^= state << np.uint64(17)
                        rank = float(state >> np.uint64(11))
                    elif which == 1:
                        moved = slope[j] * usage[i] if j >= first else 0.0
                        moved -= slope[c] * usage[i] if c >= 0 else 0.0
                        rank = lost / max(abs(moved), 1.0)
                    place = count[kind, which]
                    if place < per_kind:
                        count[kind, which] += 1
                    elif rank < worst[kind, which]:
                        place = np.argmax(key[kind, which])
                    else:
                        continue
                    key[kind, which, place] = rank
                    row_of[kind, which, place] = i
                    to_of[kind, which, place] = j if j >= first else -1
                    loss_of[kind, which, place] = lost
                    if count[kind, which] == per_kind:
                        worst[kind, which] = key[kind, which].max()
    return _write_transfers(
        class_start, usage, line_start, line_pool, line_fee, line_included, line_change, individual,
        own_row, own, choice, count, row_of, to_of, loss_of, whole, loss,
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def _write_transfers(
    class_start: Int64Array, usage: Int64Array, line_start: Int64Array, line_pool: Int32Array,
    line_fee: Int64Array, line_included: Int64Array, line_change: BoolArray,
    individual: Int64Array, own_row: Int64Array, own: Int64Array, choice: Int32Array,
    count: Int64Array, row_of: Int64Array, to_of: Int64Array, loss_of: Any, whole: Int64Array,
    loss: Any,
) -> int:  # fmt: skip
    """Fill ``whole`` and ``loss`` with the transfers that were kept, each once."""
    n = 0
    for kind in range(len(count)):
        for which in range(2):
            for place in range(count[kind, which]):
                i, j = row_of[kind, which, place], to_of[kind, which, place]
                is_twin = False
                for other in range(count[kind, 0] if which == 1 else 0):
                    is_twin |= row_of[kind, 0, other] == i and to_of[kind, 0, other] == j
                if is_twin or n == len(loss):
                    continue
                k = np.searchsorted(class_start, i, side="right") - 1
                whole[n, 0], whole[n, 1], whole[n, 2] = i, choice[i], j
                whole[n, 3], whole[n, 8] = 0, 0
                loss[n] = loss_of[kind, which, place]
                for side in range(2):
                    line = whole[n, 1 + side]
                    sign = 1 if side else -1
                    whole[n, 4 + side], whole[n, 6 + side] = -1, 0
                    if line < 0:
                        whole[n, 3] += sign * individual[i]
                        continue
                    cost = line_fee[line]
                    if own_row[k] >= 0:
                        cost = own[own_row[k] + i - class_start[k], line - line_start[k]]
                    whole[n, 3] += sign * cost
                    whole[n, 8] += sign * line_change[line]
                    if line_pool[line] >= 0:
                        whole[n, 4 + side] = line_pool[line]
                        whole[n, 6 + side] = usage[i] - line_included[line]
                n += 1
    return n


@njit(cache=True, error_model="numpy")
def _gain(
    a: int, b: int, whole: Int64Array, pools: Int64Array, charges: Int64Array, block: Int64Array,
    from_block: Int64Array, rate: Int64Array, touched: Int64Array, moved: Int64Array,
) -> int:  # fmt: skip
    """Cost change of transfer ``a``, together with ``b`` unless that is below 0."""
    n = 0
    delta = 0
    for turn in range(2):
        t = a if turn == 0 else b
        if t < 0:
            break
        delta += whole[t, 3]
        for side in range(2):
            s = whole[t, 4 + side]
            if s < 0:
                continue
            bytes_moved = -whole[t, 6] if side == 0 else whole[t, 7]
            place = 0
            while place < n and touched[place] != s:
                place += 1
            if place == n:
                touched[n], moved[n] = s, 0
                n += 1
            moved[place] += bytes_moved
    for place in range(n):
        s = touched[place]
        net = pools[s] + moved[place]
        delta += pool_charge(net, block[s], from_block[s], rate[s]) - charges[s]
    return delta


@njit(cache=True, error_model="numpy")
def _apply(
    t: int, whole: Int64Array, line_plan: Int32Array, individual_plan: Int32Array,
    choice: Int32Array, pools: Int64Array, charges: Int64Array, block: Int64Array,
    from_block: Int64Array, rate: Int64Array, sims: Int64Array,
) -> None:  # fmt: skip
    i = whole[t, 0]
    for side in range(2):
        line = whole[t, 1 + side]
        plan = line_plan[line] if line >= 0 else individual_plan[i]
        sims[plan] += 1 if side else -1
        s = whole[t, 4 + side]
        if s >= 0:
            pools[s] += whole[t, 7] if side else -whole[t, 6]
            charges[s] = pool_charge(pools[s], block[s], from_block[s], rate[s])
    choice[i] = whole[t, 2]


@njit(cache=True, error_model="numpy")
def _is_within(
    a: int, b: int, whole: Int64Array, line_plan: Int32Array, individual_plan: Int32Array,
    sims: Int64Array, least: Int64Array, most: Int64Array, n_changes: int, max_changes: int,
) -> Any:  # fmt: skip
    """Whether limits hold after the transfers: then they held before, or get no worse."""
    plans = np.empty(4, dtype=np.int64)
    moved = np.zeros(4, dtype=np.int64)
    n, changes = 0, n_changes
    for turn in range(2):
        t = a if turn == 0 else b
        if t < 0:
            break
        changes += whole[t, 8]
        for side in range(2):
            line = whole[t, 1 + side]
            plan = line_plan[line] if line >= 0 else individual_plan[whole[t, 0]]
            place = 0
            while place < n and plans[place] != plan:
                place += 1
            if place == n:
                plans[n] = plan
                n += 1
            moved[place] += 1 if side else -1
    if changes > max_changes and changes > n_changes:
        return False
    for place in range(n):
        after = sims[plans[place]] + moved[place]
        if moved[place] > 0 and after > most[plans[place]]:
            return False
        if moved[place] < 0 and after < least[plans[place]]:
            return False
    return True


@njit(cache=True, error_model="numpy")
def descend(  # noqa: C901 - one loop, since array arguments make calls inside it slow
    n: int, whole: Int64Array, loss: Any, gap: float, line_plan: Int32Array,
    individual_plan: Int32Array, choice: Int32Array, pools: Int64Array, charges: Int64Array,
    block: Int64Array, from_block: Int64Array, rate: Int64Array, sims: Int64Array,
    least: Int64Array, most: Int64Array, is_limited: bool, n_changes: int, max_changes: int,  # noqa: FBT001 - compiled code takes no keywords
    in_pairs: bool, budget: int,  # noqa: FBT001 - compiled code takes no keywords
) -> Any:  # fmt: skip
    """Apply single transfers and pairs that lower the cost, until none of those listed does.

    Parameters
    ----------
    n, whole, loss
        Transfers by ascending loss. A pair whose losses exceed the gap cannot be an improvement.
    choice, pools, charges, sims
        State, changed in place.
    in_pairs
        False applies single transfers only.
    budget
        Most pairs that are priced.

    Returns
    -------
    tuple
        Cost change, at most 0; change of the number of changed SIMs; pairs priced.
    """
    touched, moved = np.empty(4, dtype=np.int64), np.empty(4, dtype=np.int64)
    total, spent, changed = 0, 0, 0
    again = True
    while again and spent < budget:
        again = False
        for a in range(n):
            if choice[whole[a, 0]] != whole[a, 1]:
                continue
            for b in range(-1, a if in_pairs else 0):
                if b >= 0:
                    if loss[a] + loss[b] > gap + total:
                        break
                    if choice[whole[b, 0]] != whole[b, 1] or whole[b, 0] == whole[a, 0]:
                        continue
                spent += 1
                delta = _gain(a, b, whole, pools, charges, block, from_block, rate, touched, moved)
                if delta >= 0:
                    continue
                if is_limited and not _is_within(
                    a, b, whole, line_plan, individual_plan, sims, least, most,
                    n_changes + changed, max_changes,
                ):  # fmt: skip
                    continue
                for t in (a, b):
                    if t >= 0:
                        changed += whole[t, 8]
                        _apply(
                            t, whole, line_plan, individual_plan, choice, pools, charges, block,
                            from_block, rate, sims,
                        )  # fmt: skip
                total += delta
                again = True
                break
            if spent >= budget:
                break
    return total, changed, spent


@njit(cache=True, error_model="numpy")
def kick(
    whole: Int64Array, seed: int, size: int, line_plan: Int32Array, individual_plan: Int32Array,
    choice: Int32Array, sims: Int64Array, least: Int64Array, most: Int64Array, changes: int,
    max_changes: int,
) -> None:  # fmt: skip
    """Apply ``size`` random transfers, where they are still possible and within the limits."""
    state = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(7)
    for _ in range(size if len(whole) else 0):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        t = np.int64((state >> np.uint64(11)) % np.uint64(len(whole)))
        if choice[whole[t, 0]] != whole[t, 1] or not _is_within(
            int(t), _NO_TRANSFER, whole, line_plan, individual_plan, sims, least, most, changes,
            max_changes,
        ):  # fmt: skip
            continue
        for side in range(2):
            line = whole[t, 1 + side]
            sims[line_plan[line] if line >= 0 else individual_plan[whole[t, 0]]] += (
                1 if side else -1
            )
        changes += whole[t, 8]
        choice[whole[t, 0]] = whole[t, 2]
