"""ICCIDs: the number of a SIM card, with 19 or 20 digits.

ITU-T E.118 ends the number with a check digit after Luhn. The same SIM is known to some systems by
20 digits and to others by the first 19 of them, without the check digit; 19-digit numbers with a
check digit of their own exist too. So the check digit can be verified only where there are 20
digits.

Two numbers mean the same SIM if one is the other plus its right check digit (C4). Nothing else does:
19 digits are never shortened or lengthened, so that two numbers of 19 digits are two SIMs, whether
or not the last digit is a check digit. A number of 19 digits that has its own check digit could be
mistaken for the truncation of a 20-digit one only where its issuer gave out both, and E.118 has an
issuer's numbers all of one length. Its check digit would tell nothing: that of one truncation in
ten is right by chance.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

BAD_ICCID = "bad_iccid"
"""Reason: not 19 or 20 digits."""

KEY_DIGITS = 19
"""Digits that both forms of a number have."""

BAD_CHECK_DIGIT = "bad_check_digit"
"""Reason: the 20th digit is not the check digit of the 19 before it."""


def luhn_digits(digits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Compute check digits after Luhn (ISO/IEC 7812-1, annex B).

    Parameters
    ----------
    digits
        Shape ``(n, k)``: the digits before the check digit, most significant first, each 0..9.

    Returns
    -------
    numpy.ndarray
        Shape ``(n,)``, each 0..9.
    """
    doubled = digits.copy()
    doubled[:, ::-1][:, ::2] *= 2  # every second digit, the one before the check digit first
    doubled -= (doubled > 9).astype(np.uint8) * 9
    total = doubled.sum(axis=1, dtype=np.int64)
    check: npt.NDArray[np.uint8] = ((10 - total % 10) % 10).astype(np.uint8)
    return check


def iccid_problems(iccids: pl.Series) -> pl.Series:
    """Tell what is wrong with each ICCID.

    Parameters
    ----------
    iccids
        Text, shape ``(n,)``; may hold nulls.

    Returns
    -------
    polars.Series
        Shape ``(n,)``: ``BAD_ICCID``, ``BAD_CHECK_DIGIT``, or null for a good or missing number.
    """
    is_number = iccids.str.contains(r"^[0-9]{19,20}$").fill_null(value=True)
    is_wrong = np.zeros(len(iccids), dtype=np.bool_)
    is_long = (is_number & (iccids.str.len_bytes() == 20)).fill_null(value=False)
    rows = np.flatnonzero(is_long.to_numpy())
    if len(rows):
        text = "".join(iccids.filter(is_long).to_list()).encode("ascii")
        digits = np.frombuffer(text, dtype=np.uint8).reshape(-1, 20) - ord("0")
        is_wrong[rows] = luhn_digits(digits[:, :19]) != digits[:, 19]
    return pl.select(
        pl.when(~is_number)
        .then(pl.lit(BAD_ICCID))
        .when(pl.Series(is_wrong))
        .then(pl.lit(BAD_CHECK_DIGIT))
        .alias("problem")
    ).to_series()


def match_keys(iccids: pl.Series) -> pl.Series:
    """Return what both forms of one SIM's number have in common, to find one by the other (C4).

    Parameters
    ----------
    iccids
        Text, shape ``(n,)``; may hold nulls.

    Returns
    -------
    polars.Series
        Shape ``(n,)``: the first 19 of 20 digits whose last is their right check digit; anything
        else as it is, so that a mistyped number is nobody's.
    """
    has_check_digit = (iccids.str.len_bytes() == 20) & iccid_problems(iccids).is_null()
    return pl.select(
        pl.when(has_check_digit).then(iccids.str.slice(0, KEY_DIGITS)).otherwise(iccids)
    ).to_series()
