"""Usage of a simulated account by cycle, SIM and rate plan.

A cycle is one block of columns, which the cycles of an account share; what differs per SIM (plan
changes within the cycle, usage added by hand) is kept apart for the few SIMs that have it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt

from core.domain import BillingCycle
from core.simulator.cycles import shifted

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

USAGE_COLUMNS = (
    "usage_bytes", "roaming_bytes", "sms_mo", "sms_mt", "voice_mo_seconds", "voice_mt_seconds",
)  # fmt: skip
"""Columns of every usage table, in this order."""

N_PAST_CYCLES = 2
"""Cycles before the current one that the platform still answers for."""

_MOST_PERCENT = 10**8  # times 50 GiB, the fleet's largest usage, is still an int64


@dataclass(slots=True, kw_only=True)
class CycleUsage:
    """One cycle's usage.

    Attributes
    ----------
    base
        Shape ``(n, 6)``, ``USAGE_COLUMNS``; shared between cycles and never written to.
    plan
        Code of each SIM's plan: at present, or at the end of a past cycle.
    was_active
        Whether the SIM was activated by then, and has not vanished.
    percent
        How much of ``base`` has been used: 100 at first, 0 after a roll-over, more with growth.
    n_before
        Number of cycles before the fleet's own; such usage is made up from ``base``. 0: not made up.
    kept
        Row -> plan code -> usage on a plan that the SIM has left within the cycle.
    added
        Row -> usage on top of ``base``.
    """

    cycle: BillingCycle
    base: Ints
    plan: Ints
    was_active: Flags
    percent: int = 100
    n_before: int = 0
    seed: int = 0
    kept: dict[int, dict[int, Ints]] = field(default_factory=dict)
    added: dict[int, Ints] = field(default_factory=dict)
    _rows: dict[int, Ints] = field(default_factory=dict)

    def totals(self, rows: Ints) -> Ints:
        """Usage of SIMs on all their plans together, shape ``(len(rows), 6)``."""
        usage: Ints = self.base[rows]
        if self.n_before:
            usage = usage * _made_up_per_mille(rows, self.n_before, self.seed)[:, None] // 1000
        elif self.percent != 100:
            usage = usage * self.percent // 100
        if self.added:
            for at, row in enumerate(rows.tolist()):
                if row in self.added:
                    usage[at] += self.added[row]
        return usage

    def rows_on(self, plan: int) -> Ints:
        """Rows with usage on a plan, those that have left it included, in ICCID order."""
        rows = self._rows.get(plan)
        if rows is None:
            is_on = self.plan == plan
            is_on[[row for row, plans in self.kept.items() if plan in plans]] = True
            rows = np.flatnonzero(is_on & self.was_active)
            self._rows[plan] = rows
        return rows

    def on_plan(self, plan: int, rows: Ints) -> Ints:
        """Usage of rows of :meth:`rows_on` while they were on the plan."""
        usage = self.totals(rows)
        if self.kept:
            for at, row in enumerate(rows.tolist()):
                plans = self.kept.get(row)
                if plans:
                    usage[at] = plans[plan] if plan in plans else usage[at] - _sum(plans)
        return usage

    def by_plan(self, row: int) -> list[tuple[int, Ints]]:
        """Plan codes and usage of one SIM: plans that it left first, its own last."""
        if not self.was_active[row]:
            return []
        kept = self.kept.get(row, {})
        own = int(self.plan[row])
        return [*kept.items(), (own, self.on_plan(own, np.array([row]))[0])]

    def move(self, row: int, plan: int) -> None:
        """Put a SIM on another plan; what it used so far stays with the plan it leaves."""
        before = int(self.plan[row])
        if plan == before:
            return
        own = self.on_plan(before, np.array([row]))[0]
        kept = self.kept.setdefault(row, {})
        kept[before] = own
        kept.pop(plan, None)  # back on a plan: its usage goes on from there
        self.plan[row] = plan
        self._rows.clear()

    def forget(self, row: int) -> None:
        """Leave a SIM out from now on."""
        self.was_active[row] = False
        self._rows.clear()


class UsageBook:
    """Usage of the current cycle and of the two before it.

    Parameters
    ----------
    activated_ms
        Milliseconds since 1970 UTC; negative: never.
    """

    def __init__(
        self, base: Ints, plan: Ints, activated_ms: Ints, *, cycle: BillingCycle, seed: int
    ) -> None:
        self._activated_ms = activated_ms
        self._gone: list[int] = []
        self.current = CycleUsage(
            cycle=cycle, base=base, plan=plan, was_active=activated_ms >= 0, seed=seed
        )
        first_plan = plan.copy()
        self.past = [
            CycleUsage(
                cycle=shifted(cycle, -n), base=base, plan=first_plan, n_before=n, seed=seed,
                was_active=self._active_by(shifted(cycle, -n).end_date),
            )
            for n in range(1, N_PAST_CYCLES + 1)
        ]  # fmt: skip

    def of(self, start: date) -> CycleUsage | None:
        """Return the cycle that starts on a day, one of the last three; else None."""
        for usage in (self.current, *self.past):
            if usage.cycle.start_date == start:
                return usage
        return None

    def grow(self, percent: int) -> None:
        """Add ``percent`` of the fleet's usage to every SIM."""
        self.current.percent = min(self.current.percent + percent, _MOST_PERCENT)

    def add(self, row: int, usage: Ints) -> None:
        """Add usage to one SIM in the current cycle."""
        self.current.added[row] = self.current.added.get(row, 0) + usage

    def roll_over(self) -> None:
        """Begin the next cycle: the current usage becomes history, and every counter is 0."""
        ended = self.current
        self.past = [ended, *self.past][:N_PAST_CYCLES]
        was_active = self._activated_ms >= 0
        was_active[self._gone] = False
        self.current = CycleUsage(
            cycle=shifted(ended.cycle, 1), base=ended.base, plan=ended.plan.copy(),
            was_active=was_active, percent=0, seed=ended.seed,
        )  # fmt: skip

    def forget(self, row: int) -> None:
        """Leave a SIM out of every cycle from now on."""
        self._gone.append(row)
        for usage in (self.current, *self.past):
            usage.forget(row)

    def _active_by(self, day: date) -> Flags:
        after_ms = (day.toordinal() + 1 - date(1970, 1, 1).toordinal()) * 86_400_000
        flags: Flags = (self._activated_ms >= 0) & (self._activated_ms < after_ms)
        return flags


def _sum(plans: dict[int, Ints]) -> Ints:
    total: Ints = np.sum(list(plans.values()), axis=0)
    return total


def _made_up_per_mille(rows: Ints, n_before: int, seed: int) -> Ints:
    """Factors from 400 to 1600, the same for the same SIM, cycle and seed."""
    salt = (seed * 0x9E3779B97F4A7C15 + n_before * 0xD1B54A32D192ED03) % 2**64
    mixed = rows.astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(salt)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(32)
    factors: Ints = (mixed % np.uint64(1201)).astype(np.int64) + 400
    return factors
