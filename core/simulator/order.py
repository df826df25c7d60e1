"""SIMs in order of modification, as the simulated Control Center lists them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class ModificationOrder:
    """Rows by time of modification, oldest first.

    Attributes
    ----------
    updated_ms
        Milliseconds since 1970 UTC, by row.
    """

    def __init__(self, updated_ms: Ints) -> None:
        self.updated_ms = updated_ms
        self._order = np.argsort(updated_ms, kind="stable")
        self._order_ms = updated_ms[self._order]

    def __len__(self) -> int:
        return len(self._order)

    def between(self, since_ms: int, till_ms: int | None) -> Ints:
        """Rows modified within ``[since_ms, till_ms]``, oldest modification first."""
        first = int(np.searchsorted(self._order_ms, since_ms, side="left"))
        last = len(self._order)
        if till_ms is not None:
            last = int(np.searchsorted(self._order_ms, till_ms, side="right"))
        return self._order[first:last]

    def move_to_end(self, row: int, now_ms: int) -> None:
        """Modify a row; times of modification never fall behind the newest one."""
        at = self._place(row)
        new_ms = max(now_ms, int(self._order_ms[-1]) + 1)
        self._order[at:-1] = self._order[at + 1 :].copy()
        self._order_ms[at:-1] = self._order_ms[at + 1 :].copy()
        self._order[-1], self._order_ms[-1] = row, new_ms
        self.updated_ms[row] = new_ms

    def remove(self, row: int) -> None:
        """List a row no more."""
        at = self._place(row)
        self._order = np.delete(self._order, at)
        self._order_ms = np.delete(self._order_ms, at)

    def _place(self, row: int) -> int:
        at = int(np.searchsorted(self._order_ms, self.updated_ms[row], side="left"))
        while self._order[at] != row:
            at += 1
        return at
