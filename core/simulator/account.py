"""State of one simulated carrier account: its SIMs in order of modification, its plans.

Everything is columns: a million SIMs fit into about 150 MB, and one page costs what its rows cost.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time

import numpy as np
import numpy.typing as npt
import polars as pl

from core.domain import BillingCycle, CommunicationPlan, RatePlan
from core.simulator.fleet import make_fleet
from core.simulator.tariffs import (
    UNPUBLISHED_PLAN,
    simulated_communication_plans,
    simulated_rate_plans,
)

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
        The cycle that the fleet's usage belongs to; the account knows no other.
    rate_plans, communication_plans
        What the account publishes.
    """

    def __init__(
        self,
        fleet: pl.DataFrame,
        *,
        cycle: BillingCycle,
        rate_plans: Sequence[RatePlan],
        communication_plans: Sequence[CommunicationPlan],
        account_id: str = "100020620",
    ) -> None:
        self.account_id = account_id
        self.cycle = cycle
        self.rate_plans = {plan.code: plan for plan in rate_plans}
        self.communication_plans = tuple(plan.name for plan in communication_plans)
        self.lock = threading.RLock()
        self.iccid = fleet["iccid"].to_numpy().astype("S20")
        self._plan_names: list[str | None] = [None, *self.rate_plans, UNPUBLISHED_PLAN]
        self._comm_names: list[str | None] = [None, *self.communication_plans]
        self._status = _codes(fleet["status"], STATUSES)
        self._plan = _codes(fleet["rate_plan"], self._plan_names)
        self._comm = _codes(fleet["communication_plan"], self._comm_names)
        self._usage = fleet.select(
            "usage_bytes",
            "roaming_bytes",
            "sms_mo",
            "sms_mt",
            "voice_mo_seconds",
            "voice_mt_seconds",
        ).to_numpy()
        self.activated_ms = fleet["activated_ms"].fill_null(-1).to_numpy()
        self.added_ms = fleet["added_ms"].to_numpy()
        self.updated_ms = fleet["updated_ms"].to_numpy().copy()
        self.extra_fields: dict[int, dict[str, object]] = {}
        self._order = np.argsort(self.updated_ms, kind="stable")
        self._order_ms = self.updated_ms[self._order]
        self._rows_on_plan: dict[str, Ints] = {}
        self._scheduled: list[tuple[int, int, dict[str, object]]] = []
        self._by_iccid: Ints | None = None

    @property
    def n_devices(self) -> int:
        """Number of SIMs."""
        return len(self.iccid)

    def listed(self, since_ms: int, till_ms: int | None, status: str | None) -> Ints:
        """Rows modified within ``[since_ms, till_ms]``, oldest modification first."""
        first = int(np.searchsorted(self._order_ms, since_ms, side="left"))
        last = self.n_devices
        if till_ms is not None:
            last = int(np.searchsorted(self._order_ms, till_ms, side="right"))
        rows = self._order[first:last]
        return rows if status is None else rows[self._status[rows] == STATUSES.index(status)]

    def row_of(self, iccid: str) -> int | None:
        """Row of an ICCID, or None."""
        if self._by_iccid is None:
            self._by_iccid = np.argsort(self.iccid, kind="stable")
        wanted = np.bytes_(iccid.encode("ascii", "replace"))
        at = int(np.searchsorted(self.iccid, wanted, sorter=self._by_iccid))
        if at == self.n_devices or self.iccid[self._by_iccid[at]] != wanted:
            return None
        return int(self._by_iccid[at])

    def knows_plan(self, rate_plan: str) -> bool:
        """Whether SIMs of the account may have this plan, published or not."""
        return rate_plan in self._plan_names

    def rows_on_plan(self, rate_plan: str) -> Ints:
        """Rows with usage on a plan, in ICCID order: those whose SIM was ever active."""
        rows = self._rows_on_plan.get(rate_plan)
        if rows is None:
            on_plan = self._plan == self._plan_names.index(rate_plan)
            rows = np.flatnonzero(on_plan & (self.activated_ms >= 0))
            self._rows_on_plan[rate_plan] = rows
        return rows

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
        """Usage of one SIM."""
        return UsageRow(**dict(zip(UsageRow.__slots__, map(int, self._usage[row]), strict=True)))

    def usage_columns(self, rows: Ints) -> Ints:
        """Usage of SIMs, shape ``(n, 6)`` with the columns of :class:`UsageRow`."""
        return self._usage[rows]

    def change(self, row: int, fields: Mapping[str, object], now: datetime) -> None:
        """Change fields of a SIM that were found valid; its modification time becomes ``now``."""
        with self.lock:
            for name, value in fields.items():
                if name == "status":
                    self._status[row] = STATUSES.index(str(value))
                elif name == "ratePlan":
                    self._plan[row] = self._plan_names.index(str(value))
                    self._rows_on_plan.clear()
                elif name == "communicationPlan":
                    self._comm[row] = self._comm_names.index(str(value))
                else:
                    self.extra_fields.setdefault(row, {})[name] = value
            self._move_to_end(row, int(now.timestamp() * 1000))

    def touch_oldest(self, n: int, now: datetime, *, since_ms: int = 0) -> None:
        """Modify, without changing it, each of the first ``n`` SIMs of a list from ``since_ms`` on."""
        with self.lock:
            for row in self.listed(since_ms, None, None)[:n].tolist():
                self._move_to_end(row, int(now.timestamp() * 1000))

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
            due = sorted(s for s in self._scheduled if s[0] <= now_ms)
            self._scheduled = [s for s in self._scheduled if s[0] > now_ms]
            for at_ms, row, fields in due:
                self.change(row, fields, datetime.fromtimestamp(at_ms / 1000, tz=UTC))

    def _move_to_end(self, row: int, now_ms: int) -> None:
        """Keep the order sorted: times of modification never fall behind the newest one."""
        old_ms = self.updated_ms[row]
        at = int(np.searchsorted(self._order_ms, old_ms, side="left"))
        while self._order[at] != row:
            at += 1
        new_ms = max(now_ms, int(self._order_ms[-1]) + 1)
        self._order[at:-1] = self._order[at + 1 :].copy()
        self._order_ms[at:-1] = self._order_ms[at + 1 :].copy()
        self._order[-1], self._order_ms[-1] = row, new_ms
        self.updated_ms[row] = new_ms


def simulated_account(
    n_devices: int, seed: int, cycle: BillingCycle, *, now: datetime
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
    )


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
