"""Compares what a file says with what follows from the others (O3)."""

from __future__ import annotations

from core.errors import CheckFailedError


def same(what: str, found: object, expected: object) -> None:
    """Refuse a difference.

    Raises
    ------
    CheckFailedError
        Naming ``what``, in the singular, and both sides.
    """
    if found != expected:
        raise CheckFailedError(f"{what} does not hold: found {found}, expected {expected}")
