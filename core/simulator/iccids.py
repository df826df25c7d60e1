"""Both forms of an ICCID: 19 digits, and 20 with a check digit at the end."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from core.carriers.iccid import luhn_digits

Codes = npt.NDArray[np.bytes_]

_ZERO = ord("0")


def with_digits(iccids: Codes, digits: Literal[19, 20]) -> Codes:
    """Return the ICCIDs in one form: the 20th digit is cut off, or a check digit is appended.

    Parameters
    ----------
    iccids
        ``S20``. Those that are no 19 or 20 digits stay as they are.
    """
    result = iccids.copy()
    text = result.view(np.uint8).reshape(len(result), 20)
    is_number = (text[:, :19] >= _ZERO) & (text[:, :19] <= _ZERO + 9)
    is_changed = is_number.all(axis=1) & ((text[:, 19] == 0) == (digits == 20))
    rows = np.flatnonzero(is_changed)
    text[rows, 19] = 0 if digits == 19 else luhn_digits(text[rows, :19] - _ZERO) + _ZERO
    return result


def other_form(iccid: str) -> str:
    """Return the 19 digits of a 20-digit ICCID and the reverse; anything else unchanged."""
    lone = np.array([iccid.encode()], dtype="S20")
    return str(with_digits(lone, 19 if len(iccid) == 20 else 20)[0].decode())


class IccidIndex:
    """Finds the row of an ICCID."""

    def __init__(self, iccids: Codes) -> None:
        self._iccids = iccids
        self._sorter = np.argsort(iccids, kind="stable")

    def find(self, iccid: str, *, in_both_forms: bool = False) -> int | None:
        """Row of an ICCID, or None; in both forms: 19 and 20 digits stand for the same SIM."""
        row = self._first_from(iccid, iccid)
        if row is None and in_both_forms and len(iccid) == 20:
            row = self._first_from(iccid[:19], iccid[:19])
        if row is None and in_both_forms and len(iccid) == 19:
            row = self._first_from(iccid, None)
        return row

    def _first_from(self, start: str, exactly: str | None) -> int | None:
        wanted = np.bytes_(start.encode("ascii", "replace"))
        at = int(np.searchsorted(self._iccids, wanted, sorter=self._sorter))
        if at == len(self._sorter):
            return None
        found = self._iccids[self._sorter[at]]
        is_it = found == wanted if exactly is not None else found.startswith(wanted)
        return int(self._sorter[at]) if is_it else None
