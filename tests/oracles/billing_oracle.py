"""The billing rules as plain loops over Python integers and fractions; shares no code with core.

A SIM is a dict with usage, sms, voice (seconds), activated (date or None) and group (any name); a
plan is a dict with the fields of a catalogue row, its tiers as pairs (from_bytes, rate), where tiers
and cap may be missing; a policy is a dict with cycle (two dates or None), scope, basis,
uses_proration and pooling.
"""

import math
from datetime import timedelta
from fractions import Fraction


def half_up(text, unit):
    """Text times unit, rounded half-up."""
    return math.floor(Fraction(text.strip()) * unit + Fraction(1, 2))


def active_days(sim, policy):
    first, last = policy["cycle"]
    count = 0
    day = first
    while day <= last:
        if sim["activated"] is None or sim["activated"] <= day:
            count += 1
        day += timedelta(days=1)
    return count


def fraction_of_cycle(sim, plan, policy):
    if policy["cycle"] is None or not plan["prorated"] or not policy["uses_proration"]:
        return Fraction(1)
    first, last = policy["cycle"]
    cycle_days = (last - first).days + 1
    if policy["basis"] == "thirty":
        return Fraction(cycle_days, 30)
    return Fraction(active_days(sim, policy), cycle_days)


def fee(sim, plan, policy):
    return round(plan["fee"] * fraction_of_cycle(sim, plan, policy)) + plan["regulatory"]


def included(sim, plan, policy):
    return round(plan["included"] * fraction_of_cycle(sim, plan, policy))


def blocks_price(over, plan):
    """Block after block: each costs the rate of the last tier that begins no later than it does."""
    price = start = 0
    while start < over:
        rate = plan["rate"]
        for from_bytes, tier_rate in plan.get("tiers", ()):
            if start >= from_bytes:
                rate = tier_rate
        price += rate
        start += plan["block"]
    return price


def capped_price(over, plan):
    price = blocks_price(over, plan)
    cap = plan.get("cap")
    return price if cap is None or price < cap else cap


def messages(sim, plan):
    minutes = math.ceil(Fraction(sim["voice"], 60))
    sms_part = max(0, sim["sms"] - plan["included_sms"]) * plan["sms_rate"]
    return sms_part + max(0, minutes - plan["included_minutes"]) * plan["voice_rate"]


def alone(sim, plan, policy):
    """Fee and overage of one SIM on a plan that it shares with nobody."""
    over = capped_price(sim["usage"] - included(sim, plan, policy), plan)
    return fee(sim, plan, policy), over + messages(sim, plan)


def pool_of(sim, plan, policy):
    """Any name that is the same for those who share; None where nobody shares."""
    if not plan["pooled"] or not policy["pooling"]:
        return None
    if policy["scope"] == "comm_group":
        return ("group and plan", sim["group"], plan["code"])
    if policy["scope"] == "pool_group" and plan["pool_group"]:
        return ("pool group", plan["pool_group"])
    return ("plan", plan["code"])


def share_out(charge, weights):
    """Whole shares of a charge in proportion to weights, largest remainder, earlier first."""
    total = sum(weights)
    exact = [Fraction(charge * weight, total) for weight in weights]
    shares = [math.floor(part) for part in exact]
    order = sorted(range(len(weights)), key=lambda k: (-(exact[k] - shares[k]), k))
    for k in order[: charge - sum(shares)]:
        shares[k] += 1
    return shares


def bill(sims, plans, policy):
    """Fees and overages of SIMs in ICCID order, the k-th on ``plans[k]``."""
    fees, overages, members = [], [], {}
    for k, (sim, plan) in enumerate(zip(sims, plans, strict=True)):
        fees.append(fee(sim, plan, policy))
        overages.append(messages(sim, plan))
        pool = pool_of(sim, plan, policy)
        over = sim["usage"] - included(sim, plan, policy)
        if pool is None:
            overages[k] += capped_price(over, plan)
        else:
            members.setdefault(pool, []).append((k, over, plan))
    for pool in members.values():
        charge = blocks_price(sum(over for _, over, _ in pool), pool[0][2])
        if charge:
            shares = share_out(charge, [max(0, over) for _, over, _ in pool])
            for (k, _, _), share in zip(pool, shares, strict=True):
                overages[k] += share
    return fees, overages
