"""Cost, feasibility and bound of a unit as plain loops over Python integers; shares no code with core.

A unit is a dict of lists: sims (dicts with usage, sms, seconds, day, group, current, locked), plans
(dicts with fee and included by day, block, tiers, cap, sms, sms_rate, minutes, minute_rate, pool by
group or None, least, most), groups (dicts with plans, fixed), pools (dicts with block, tiers), charge,
max_changes and saving. Tiers are pairs of first block and price.
"""

import itertools
import math
from fractions import Fraction


def blocks_price(tiers, blocks):
    """Each tier adds the step of the price for the blocks from its first on."""
    price, before = 0, 0
    for first, rate in tiers:
        price += (rate - before) * max(0, blocks - first)
        before = rate
    return price


def own_cost(unit, sim, plan):
    cost = 0
    if unit["charge"] != "overage":
        cost += plan["fee"][sim["day"]]
    if unit["charge"] != "rate":
        cost += max(0, sim["sms"] - plan["sms"]) * plan["sms_rate"]
        minutes = math.ceil(Fraction(sim["seconds"], 60))
        cost += max(0, minutes - plan["minutes"]) * plan["minute_rate"]
        if plan["pool"][sim["group"]] is None:
            over = max(0, sim["usage"] - plan["included"][sim["day"]])
            price = blocks_price(plan["tiers"], math.ceil(Fraction(over, plan["block"])))
            cost += price if plan["cap"] is None else min(price, plan["cap"])
    return cost


def eligible(unit, sim):
    group = unit["groups"][sim["group"]]
    if sim["locked"] or group["fixed"]:
        return {sim["current"]}
    return {sim["current"], *group["plans"]}


def bare_line(unit, sim, p, multipliers):
    """Exact, unscaled, without what limits cost."""
    plan = unit["plans"][p]
    value = Fraction(own_cost(unit, sim, plan))
    pool = plan["pool"][sim["group"]]
    if pool is not None:
        net = sim["usage"] - plan["included"][sim["day"]]
        value += Fraction(multipliers["pools"][pool], 2 ** multipliers["bits"]) * net
    return value


def line(unit, sim, p, multipliers):
    """Exact, unscaled."""
    scale = Fraction(1, 2 ** multipliers["bits"])
    value = bare_line(unit, sim, p, multipliers) + multipliers["plans"][p] * scale
    if p != sim["current"]:
        value += multipliers["change"] * scale
    return value


def allowed(unit, sim, multipliers):
    """Eligible plans whose bare line is low enough for a change."""
    now = bare_line(unit, sim, sim["current"], multipliers)
    return {
        p
        for p in eligible(unit, sim)
        if p == sim["current"]
        or not unit["saving"]
        or now - bare_line(unit, sim, p, multipliers) >= unit["saving"]
    }


def is_in_box(unit, multipliers):
    if unit["max_changes"] is None and multipliers["change"]:
        return False
    for pool, multiplier in zip(unit["pools"], multipliers["pools"], strict=True):
        rate = 0 if unit["charge"] == "rate" else pool["tiers"][-1][1]
        if Fraction(multiplier, 2 ** multipliers["bits"]) > Fraction(rate, pool["block"]):
            return False
    return True


def is_feasible(unit, plans, multipliers):
    for sim, p in zip(unit["sims"], plans, strict=True):
        if p not in allowed(unit, sim, multipliers):
            return False
    for p, plan in enumerate(unit["plans"]):
        count = sum(1 for q in plans if q == p)
        if count < plan["least"] or (plan["most"] is not None and count > plan["most"]):
            return False
    changes = sum(1 for sim, p in zip(unit["sims"], plans, strict=True) if p != sim["current"])
    return unit["max_changes"] is None or changes <= unit["max_changes"]


def cost(unit, plans):
    total = 0
    net = [0] * len(unit["pools"])
    for sim, p in zip(unit["sims"], plans, strict=True):
        plan = unit["plans"][p]
        total += own_cost(unit, sim, plan)
        pool = plan["pool"][sim["group"]]
        if pool is not None:
            net[pool] += sim["usage"] - plan["included"][sim["day"]]
    if unit["charge"] != "rate":
        for pool, over in zip(unit["pools"], net, strict=True):
            blocks = math.ceil(Fraction(max(0, over), pool["block"]))
            total += blocks_price(pool["tiers"], blocks)
    return total


def conjugate(pool, multiplier):
    """Largest ``l z - H(z)``: it is concave in z, so that a tier's start is where it is largest."""
    return max(
        multiplier * first * pool["block"] - blocks_price(pool["tiers"], first)
        for first, _ in pool["tiers"]
    )


def bound(unit, multipliers):
    return math.ceil(unrounded_bound(unit, multipliers))


def unrounded_bound(unit, multipliers):
    scale = Fraction(1, 2 ** multipliers["bits"])
    total = Fraction(0)
    for sim in unit["sims"]:
        total += min(line(unit, sim, p, multipliers) for p in allowed(unit, sim, multipliers))
    if unit["charge"] != "rate":
        for pool, multiplier in zip(unit["pools"], multipliers["pools"], strict=True):
            total -= conjugate(pool, multiplier * scale)
    for plan, multiplier in zip(unit["plans"], multipliers["plans"], strict=True):
        if multiplier > 0:
            total -= multiplier * scale * (2**62 if plan["most"] is None else plan["most"])
        else:
            total -= multiplier * scale * plan["least"]
    return total - multipliers["change"] * scale * (unit["max_changes"] or 0)


def cheapest(unit, multipliers):
    """Least cost of a feasible assignment, by trying them all; None if there is none."""
    choices = [sorted(eligible(unit, sim)) for sim in unit["sims"]]
    found = [
        cost(unit, plans)
        for plans in itertools.product(*choices)
        if is_feasible(unit, plans, multipliers)
    ]
    return min(found, default=None)


def next_best(unit, sim, chosen, multipliers):
    """Cheapest other eligible plan and its reduced cost in whole micro-units; None without one."""
    others = sorted(eligible(unit, sim) - {chosen})
    if not others:
        return None
    plan = min(others, key=lambda p: line(unit, sim, p, multipliers))
    difference = line(unit, sim, plan, multipliers) - line(unit, sim, chosen, multipliers)
    return plan, max(-(2**63 - 1), min(2**63 - 1, round(difference)))
