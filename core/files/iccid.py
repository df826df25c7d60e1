"""Looks at ICCIDs: any unique text is one, but a wrong check digit is worth a warning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from core.files.warnings import MAX_LISTED, Warnings, combine_warnings

CHECKED_LENGTHS = (19, 20)
"""Lengths of all-digit ICCIDs whose last digit is a check digit (ITU-T E.118)."""

_SHORTENED = r"^[0-9](\.[0-9]+)?[eE]\+?[0-9]+$"


def has_valid_check_digit(iccids: Sequence[str] | pl.Series, length: int) -> pl.Series:
    """Whether the Luhn sum of each number is a multiple of ten, over all its digits.

    Parameters
    ----------
    iccids
        Texts of exactly ``length`` ASCII digits, shape ``(n,)``.

    Returns
    -------
    pl.Series
        Boolean, shape ``(n,)``.

    References
    ----------
    ISO/IEC 7812-1, annex B (the Luhn formula); ITU-T E.118 uses it for ICCIDs.
    """
    texts = pl.Series(iccids, dtype=pl.String).to_list()
    digits = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8).reshape(-1, length) - 48
    doubled = digits[:, -2::-2] * 2
    doubled = np.where(doubled > 9, doubled - 9, doubled)
    total = digits[:, -1::-2].sum(axis=1) + doubled.sum(axis=1)
    return pl.Series(total % 10 == 0, dtype=pl.Boolean)


def iccid_warnings(file: str, iccids: pl.Series) -> Warnings:
    """Warn of wrong check digits and of numbers that a spreadsheet has shortened.

    Parameters
    ----------
    iccids
        String without nulls, shape ``(n,)``, in the order in which warnings are told.
    """
    wrong = [
        chosen.filter(~has_valid_check_digit(chosen, length))
        for length in CHECKED_LENGTHS
        if len(chosen := iccids.filter(iccids.str.contains(f"^[0-9]{{{length}}}$")))
    ]
    shortened = iccids.filter(iccids.str.contains(_SHORTENED))
    return combine_warnings(
        [
            *(_about(file, some, "has a wrong check digit") for some in wrong),
            _about(file, shortened, "looks like a number that a spreadsheet has shortened"),
        ]
    )


def _about(file: str, iccids: pl.Series, what: str) -> Warnings:
    listed = tuple(f"{file}: ICCID {iccid} {what}" for iccid in iccids.head(MAX_LISTED))
    return Warnings(count=len(iccids), listed=listed)
