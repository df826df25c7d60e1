"""O4 in plain loops over Python integers and fractions; shares no code with ``core``.

A plan is a dict: ``fee`` and ``included`` (lists by day class), ``rate``, ``block``, ``pool`` (None
for an individual plan), ``tiers`` (pairs of first volume and rate, ascending) and ``cap`` (or None)
where it has them, ``sms_included``, ``sms_rate``, ``minutes_included``, ``minute_rate``. A SIM
is a dict: ``usage``, ``sms``, ``voice`` (seconds), ``day`` (day class), ``comm_plan`` (a number that
sorts as the name does). SIMs come in ICCID order.
"""

from __future__ import annotations

from fractions import Fraction


def ceiling(numerator, denominator):
    count = 0 if numerator <= 0 else numerator // denominator
    if numerator > count * denominator:
        count += 1
    return count


def overage(plan, volume):
    """Charge for so much beyond the allowance: tiers from the last to the first."""
    blocks = ceiling(volume, plan["block"])
    charge = 0
    for first, rate in reversed([(0, plan["rate"]), *plan.get("tiers", ())]):
        before = min(blocks, ceiling(first, plan["block"]))
        charge += (blocks - before) * rate
        blocks = before
    return charge


def alone(plan, sim, charge_type, *, with_data):
    """What a SIM costs by itself on a plan."""
    cost = 0
    if charge_type != "overage":
        cost += plan["fee"][sim["day"]]
    if charge_type != "rate":
        if with_data:
            charge = overage(plan, sim["usage"] - plan["included"][sim["day"]])
            cap = plan.get("cap")
            cost += charge if cap is None else min(charge, cap)
        cost += max(0, sim["sms"] - plan["sms_included"]) * plan["sms_rate"]
        minutes = ceiling(sim["voice"], 60)
        cost += max(0, minutes - plan["minutes_included"]) * plan["minute_rate"]
    return cost


def max_average(plans, sequence, position, full_cycle, charge_type):
    """Max average usage of a plan of the sequence; None for the last one: infinite."""
    if position == len(sequence) - 1:
        return None
    plan, following = plans[sequence[position]], plans[sequence[position + 1]]
    difference = following["fee"][full_cycle] - plan["fee"][full_cycle]
    limit = Fraction(plan["included"][full_cycle])
    if charge_type != "overage" and difference > 0:
        limit += Fraction(difference) / (Fraction(plan["rate"]) / Fraction(plan["block"]))
    return limit


def units_of(sims, strategy):
    """Lists of SIM positions, in the order in which they are walked."""
    if strategy.startswith("group_by_comm_plan"):
        names = sorted({sim["comm_plan"] for sim in sims})
        units = [[i for i, sim in enumerate(sims) if sim["comm_plan"] == name] for name in names]
    else:
        units = [[i] for i in range(len(sims))]
    sign = -1 if strategy.endswith("largest_to_smallest") else 1
    return sorted(units, key=lambda unit: sign * sum(sims[i]["usage"] for i in unit))


def walk(plans, sims, sequence, strategy, full_cycle, charge_type):
    """Plan of each SIM and the cost with the group's own pools."""
    members = {p: [] for p in sequence}
    assignment = [None] * len(sims)
    individual = [p for p in sequence if plans[p]["pool"] is None]
    for unit in units_of(sims, strategy):
        for position, p in enumerate(sequence):
            limit = max_average(plans, sequence, position, full_cycle, charge_type)
            inside = list(unit) if plans[p]["pool"] is None else members[p] + unit
            average = Fraction(sum(sims[i]["usage"] for i in inside), len(inside))
            if limit is None or average <= limit:
                break
        if plans[p]["pool"] is None:
            costs = {
                q: sum(alone(plans[q], sims[i], charge_type, with_data=True) for i in unit)
                for q in individual
            }
            p = next(q for q in individual if costs[q] == min(costs.values()))
        members[p] += unit
        for i in unit:
            assignment[i] = p
    return assignment, private_cost(plans, sims, assignment, charge_type)


def private_cost(plans, sims, assignment, charge_type):
    cost, over, priced_as = 0, {}, {}
    for sim, p in zip(sims, assignment, strict=True):
        plan = plans[p]
        cost += alone(plan, sim, charge_type, with_data=plan["pool"] is None)
        if plan["pool"] is not None:
            over[plan["pool"]] = (
                over.get(plan["pool"], 0) + sim["usage"] - plan["included"][sim["day"]]
            )
            priced_as[plan["pool"]] = plan
    if charge_type == "rate":
        return cost
    return cost + sum(overage(priced_as[pool], volume) for pool, volume in over.items())
