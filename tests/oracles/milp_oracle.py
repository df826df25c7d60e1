"""The cheapest assignment of a small fleet by an integer program; shares no code with ``core``.

Plans and communication plans are the records of a catalogue, a SIM is a dict with the columns of a
fleet. A :class:`Terms` says how they are billed. Prices are computed with fractions, pools are
keyed by any name that is the same for those who share.
"""

from __future__ import annotations

import math
from datetime import date
from fractions import Fraction
from itertools import product
from typing import NamedTuple

import highspy


class Terms(NamedTuple):
    """How a fleet is billed: ``scope`` is plan, comm_group or pool_group."""

    plans: dict
    lists: dict
    scope: str
    first_day: date
    last_day: date

    def may_have(self, sim):
        """Codes of the plans that a SIM may end on: its list's, and the one it has."""
        return sorted({*self.lists[sim["communication_plan"]], sim["rate_plan"]})

    def part_of_cycle(self, sim, plan):
        if not plan.is_prorated or sim["activated_date"] is None:
            return Fraction(1)
        first = max(self.first_day, sim["activated_date"])
        return Fraction((self.last_day - first).days + 1, (self.last_day - self.first_day).days + 1)

    def pool(self, sim, plan):
        if not plan.is_pooled:
            return None
        if self.scope == "comm_group":
            return "group", frozenset(self.lists[sim["communication_plan"]]), plan.code
        if self.scope == "pool_group" and plan.pool_group:
            return "shared", plan.pool_group
        return "plan", plan.code

    def over(self, sim, plan):
        """Usage less allowance, of either sign."""
        return sim["usage_bytes"] - round(plan.included_bytes * self.part_of_cycle(sim, plan))

    def alone(self, sim, plan):
        """Fee, SMS and voice; data overage too where nobody shares."""
        cost = round(plan.monthly_rate_micros * self.part_of_cycle(sim, plan))
        cost += plan.regulatory_fee_micros
        cost += max(0, sim["sms_count"] - plan.included_sms) * plan.sms_rate_micros
        minutes = math.ceil(Fraction(sim["voice_seconds"], 60))
        cost += max(0, minutes - plan.included_voice_minutes) * plan.voice_rate_micros
        if self.pool(sim, plan) is None:
            cost += overage(self.over(sim, plan), plan)
        return cost


def overage(over, plan):
    blocks = math.ceil(Fraction(max(0, over), plan.overage_block_bytes))
    return blocks * plan.overage_rate_micros


def price(sims, codes, terms):
    """Cost of the fleet with the k-th SIM on the plan ``codes[k]``."""
    total, over, plan_of = 0, {}, {}
    for sim, code in zip(sims, codes, strict=True):
        plan = terms.plans[code]
        total += terms.alone(sim, plan)
        pool = terms.pool(sim, plan)
        if pool is not None:
            over[pool] = over.get(pool, 0) + terms.over(sim, plan)
            plan_of[pool] = plan
    return total + sum(overage(over[pool], plan_of[pool]) for pool in over)


def best_of_all(sims, terms):
    """Lowest price over every assignment; for a handful of SIMs."""
    choices = [terms.may_have(sim) for sim in sims]
    return min(price(sims, codes, terms) for codes in product(*choices))


def milp_optimum(sims, terms):
    """Lowest price by HiGHS, with whole blocks per pool; None if it does not close the gap.

    A binary variable says that a SIM is on a plan, an integer one how many blocks a pool pays. Rows
    of pools are in blocks, money is in millions, and the answer is priced again by :func:`price`.
    """
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    for option in ("mip_rel_gap", "mip_abs_gap"):
        highs.setOptionValue(option, 0.0)
    for option in ("mip_feasibility_tolerance", "primal_feasibility_tolerance"):
        highs.setOptionValue(option, 1e-9)
    highs.setOptionValue("mip_max_nodes", 500_000)
    variables, columns, pools = [], 0, {}
    for sim in sims:
        first = columns
        for code in terms.may_have(sim):
            plan = terms.plans[code]
            add_integer(highs, terms.alone(sim, plan) / 1e6, upper=1)
            variables.append(code)
            pool = terms.pool(sim, plan)
            if pool is not None:
                entry = columns, terms.over(sim, plan) / plan.overage_block_bytes
                pools.setdefault(pool, (plan, []))[1].append(entry)
            columns += 1
        highs.addRow(1, 1, columns - first, list(range(first, columns)), [1.0] * (columns - first))
    for plan, entries in pools.values():
        add_integer(highs, plan.overage_rate_micros / 1e6, upper=highspy.kHighsInf)
        entries = [*entries, (highs.getNumCol() - 1, -1.0)]
        indices, values = zip(*[entry for entry in entries if entry[1]], strict=True)
        highs.addRow(-highspy.kHighsInf, 0, len(indices), list(indices), list(values))
    highs.run()
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    values = highs.getSolution().col_value[:columns]
    codes = [code for code, value in zip(variables, values, strict=True) if value > 0.5]
    return price(sims, codes, terms)


def add_integer(highs, cost, *, upper):
    highs.addVar(0, upper)
    last = highs.getNumCol() - 1
    highs.changeColCost(last, cost)
    highs.changeColIntegrality(last, highspy.HighsVarType.kInteger)
