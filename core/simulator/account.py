"""State of one simulated carrier account: its SIMs in order of modification, its plans.

Everything is columns: a million SIMs fit into about 150 MB, and one page costs what its rows cost.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from core.domain import BillingCycle, CommunicationPlan, RatePlan
from core.simulator.fleet import make_fleet
from core.simulator.iccids import IccidIndex, with_digits
from core.simulator.order import ModificationOrder
from core.simulator.tariffs import (
    UNPUBLISHED_PLAN,
    simulated_communication_plans,
    simulated_rate_plans,
)
from core.simulator.usage import USAGE_COLUMNS, CycleUsage, UsageBook

Ints = npt.NDArray[np.int64]

STATUSES = (
    "ACTIVATED", "ACTIVATION_READY", "DEACTIVATED", "INVENTORY", "PURGED", "REPLACED", "RETIRED",
    "TEST_READY",
)  # fmt: skip
"""Statuses that Control Center knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """Usage of one SIM in the account's cycle."""

    data_bytes: int
    roaming_bytes: int
    sms_mo: int
    sms_mt: int
    voice_mo_seconds: int
    voice_mt_seconds: int


class SimulatedAccount:
    """A carrier account that can be listed, read and changed.

    Parameters
    ----------
    fleet
        ``SIMULATED_FLEET_SCHEMA`` of :mod:`core.simulator.fleet`.
    cycle
        The cycle that the fleet's usage belongs to. Usage of the two before it is made up.
    rate_plans, communication_plans
        What the account publishes.
    seed
        Of the usage that is made up.
    """

    def __init__(
        self,
        fleet: pl.DataFrame,
        *,
        cycle: BillingCycle,
        rate_plans: Sequence[RatePlan],
        communication_plans: Sequence[CommunicationPlan],
        account_id: str = "100020620",
        seed: int = 1,
    ) -> None:
        self.account_id = account_id
        self.rate_plans = {plan.code: plan for plan in rate_plans}
        self.communication_plans = tuple(plan.name for plan in communication_plans)
        self.lock = threading.RLock()
        self.iccid = fleet["iccid"].to_numpy().astype("S20")
        self._plan_names: list[str | None] = [None, *self.rate_plans, UNPUBLISHED_PLAN]
        self._comm_names: list[str | None] = [None, *self.communication_plans]
        self._status = _codes(fleet["status"], STATUSES)
        self._comm = _codes(fleet["communication_plan"], self._comm_names)
        self.activated_ms = fleet["activated_ms"].fill_null(-1).to_numpy()
        self.added_ms = fleet["added_ms"].to_numpy()
        self.extra_fields: dict[int, dict[str, object]] = {}
        self._book = UsageBook(
            fleet.select(USAGE_COLUMNS).to_numpy(),
            _codes(fleet["rate_plan"], self._plan_names),
            self.activated_ms,
            cycle=cycle,
            seed=seed,
        )
        self._order = ModificationOrder(fleet["updated_ms"].to_numpy().copy())
        self._scheduled: list[tuple[int, int, dict[str, object]]] = []
        self._index: IccidIndex | None = None
        self._has_both_forms = False
        self._gone: set[int] = set()

    @property
    def n_devices(self) -> int:
        """Number of SIMs."""
        return len(self._order)

    @property
    def cycle(self) -> BillingCycle:
        """The current billing cycle."""
        return self._book.current.cycle

    @property
    def updated_ms(self) -> Ints:
        """Times of modification by row, in milliseconds since 1970 UTC."""
        return self._order.updated_ms

    @property
    def _plan(self) -> Ints:
        return self._book.current.plan

    def listed(self, since_ms: int, till_ms: int | None, status: str | None) -> Ints:
        """Rows modified within ``[since_ms, till_ms]``, oldest modification first."""
        rows = self._order.between(since_ms, till_ms)
        return rows if status is None else rows[self._status[rows] == STATUSES.index(status)]

    def row_of(self, iccid: str) -> int | None:
        """Row of an ICCID, or None."""
        if self._index is None:
            self._index = IccidIndex(self.iccid)
        row = self._index.find(iccid, in_both_forms=self._has_both_forms)
        return None if row in self._gone else row

    def use_iccid_forms(self, digits: Literal[19, 20, "both"]) -> None:
        """Accept 19 and 20 digits for the same SIM; write all in one form unless "both"."""
        self._has_both_forms = True
        if digits != "both":
            self.iccid = with_digits(self.iccid, digits)
            self._index = None

    def knows_plan(self, rate_plan: str) -> bool:
        """Whether SIMs of the account may have this plan, published or not."""
        return rate_plan in self._plan_names

    def publishes_plan(self, rate_plan: object) -> bool:
        """Whether SIMs can be put on what a call names as a plan."""
        return isinstance(rate_plan, str) and rate_plan in self.rate_plans

    def cycle_from(self, start: date) -> BillingCycle | None:
        """Return the cycle that starts on a day, if it is one of the last three."""
        usage = self._book.of(start)
        return None if usage is None else usage.cycle

    def rows_on_plan(self, rate_plan: str, start: date | None = None) -> Ints:
        """Rows with usage on a plan, in ICCID order: of SIMs that were ever active.

        SIMs that left the plan within the cycle are among them. ``start`` is the first day of one
        of the last three cycles; default: the current one.
        """
        return self._cycle_usage(start).rows_on(self._plan_names.index(rate_plan))

    def fields(self, row: int) -> tuple[str, str, str | None, str | None]:
        """ICCID, status, rate plan and communication plan of a row."""
        return (
            self.iccid[row].decode(),
            STATUSES[self._status[row]],
            self._plan_names[self._plan[row]],
            self._comm_names[self._comm[row]],
        )

    def combinations(self, rows: Ints) -> Ints:
        """One number per row that stands for its status, rate plan and communication plan."""
        n_plans, n_comms = len(self._plan_names), len(self._comm_names)
        return (self._status[rows] * n_plans + self._plan[rows]) * n_comms + self._comm[rows]

    def combination_fields(self, combination: int) -> tuple[str, str | None, str | None]:
        """Status, rate plan and communication plan behind a number of :meth:`combinations`."""
        rest, comm = divmod(combination, len(self._comm_names))
        status, plan = divmod(rest, len(self._plan_names))
        return STATUSES[status], self._plan_names[plan], self._comm_names[comm]

    def usage(self, row: int) -> UsageRow:
        """Usage of one SIM in the current cycle, on all its plans together."""
        return _usage_row(self.usage_columns(np.array([row]))[0])

    def usage_columns(self, rows: Ints) -> Ints:
        """Usage in the current cycle, shape ``(n, 6)`` with the columns of :class:`UsageRow`."""
        return self._book.current.totals(rows)

    def plan_usage_columns(self, rate_plan: str, rows: Ints, start: date | None = None) -> Ints:
        """Usage of rows of :meth:`rows_on_plan` while they were on that plan, shape ``(n, 6)``."""
        usage = self._cycle_usage(start)
        return usage.on_plan(self._plan_names.index(rate_plan), rows)

    def usage_by_plan(self, row: int, start: date | None = None) -> list[tuple[str, UsageRow]]:
        """Plans and usage of one SIM in a cycle: plans that it left first, its own last."""
        pairs = self._cycle_usage(start).by_plan(row)
        named = ((self._plan_names[code], usage) for code, usage in pairs)
        return [(name, _usage_row(usage)) for name, usage in named if name is not None]

    def add_usage(self, row: int, usage: UsageRow) -> None:
        """Let one SIM use more in the current cycle."""
        with self.lock:
            self._book.add(row, np.array([getattr(usage, name) for name in UsageRow.__slots__]))

    def grow(self, percent: int) -> None:
        """Add ``percent`` of the fleet's usage to the current usage of every SIM."""
        with self.lock:
            self._book.grow(percent)

    def roll_over(self) -> None:
        """Begin the next cycle: the current usage becomes history, and every counter is 0."""
        with self.lock:
            self._book.roll_over()

    def remove(self, row: int) -> None:
        """Let a SIM vanish from the account."""
        with self.lock:
            if row not in self._gone:
                self._gone.add(row)
                self._order.remove(row)
                self._book.forget(row)

    def change(self, row: int, fields: Mapping[str, object], now: datetime) -> None:
        """Change fields of a SIM that were found valid; its modification time becomes ``now``."""
        with self.lock:
            for name, value in fields.items():
                if name == "status":
                    self._status[row] = STATUSES.index(str(value))
                elif name == "ratePlan":
                    self._book.current.move(row, self._plan_names.index(str(value)))
                elif name == "communicationPlan":
                    self._comm[row] = self._comm_names.index(str(value))
                else:
                    self.extra_fields.setdefault(row, {})[name] = value
            self._order.move_to_end(row, int(now.timestamp() * 1000))

    def touch_oldest(self, n: int, now: datetime, *, since_ms: int = 0) -> None:
        """Modify, without changing it, each of the first ``n`` SIMs of a list from ``since_ms`` on."""
        with self.lock:
            for row in self.listed(since_ms, None, None)[:n].tolist():
                self._order.move_to_end(row, int(now.timestamp() * 1000))

    def schedule(self, row: int, fields: Mapping[str, object], at: datetime) -> None:
        """Keep a change for a later date."""
        with self.lock:
            self._scheduled.append((int(at.timestamp() * 1000), row, dict(fields)))

    def apply_due(self, now: datetime) -> None:
        """Carry out scheduled changes whose time has come."""
        if not self._scheduled:
            return
        now_ms = int(now.timestamp() * 1000)
        with self.lock:
            due = [s for s in self._scheduled if s[0] <= now_ms]
            due.sort(key=lambda scheduled: scheduled[0])
            self._scheduled = [s for s in self._scheduled if s[0] > now_ms]
            for at_ms, row, fields in due:
                if row in self._gone:
                    continue
                self.change(row, fields, datetime.fromtimestamp(at_ms / 1000, tz=UTC))

    def _cycle_usage(self, start: date | None) -> CycleUsage:
        usage = self._book.current if start is None else self._book.of(start)
        if usage is None:
            msg = f"no billing cycle of the last three starts on {start}"
            raise ValueError(msg)
        return usage


def simulated_account(
    n_devices: int,
    seed: int,
    cycle: BillingCycle,
    *,
    now: datetime,
    account_id: str = "100020620",
) -> SimulatedAccount:
    """Make the account that `demo` and `simulate-carrier` serve.

    Nothing in its past lies after ``now``, so that changes made through the API are the newest.
    """
    end = datetime.combine(cycle.end_date, time(12), tzinfo=UTC)
    return SimulatedAccount(
        make_fleet(n_devices, seed, cycle, as_of=min(now, end)),
        cycle=cycle,
        rate_plans=simulated_rate_plans(),
        communication_plans=simulated_communication_plans(),
        account_id=account_id,
        seed=seed,
    )


def _usage_row(usage: Ints) -> UsageRow:
    return UsageRow(**dict(zip(UsageRow.__slots__, map(int, usage), strict=True)))


def _codes(column: pl.Series, names: Sequence[str | None]) -> Ints:
    """Positions of a column's values in a list of names."""
    known = pl.DataFrame(
        {"name": list(names), "code": range(len(names))}, schema_overrides={"name": pl.String}
    )
    return (
        pl.DataFrame({"name": column})
        .join(known, on="name", how="left", nulls_equal=True, maintain_order="left")["code"]
        .to_numpy()
        .copy()
    )
