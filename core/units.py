"""Exact conversion of decimals, as people write them, into whole bytes and micro-units (B1).

A number arrives as text (a float cell as its shortest repr), is taken as its exact decimal, and is
rounded half-up once. Binary floating point never touches a volume or a price. Columns take a fast
path on integer parts; the rows it cannot take go through :class:`decimal.Decimal` one by one.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal

import polars as pl

from core.domain import MAX_PRICE_MICROS, MAX_USAGE_BYTES
from core.errors import DataError

MEBIBYTE = 1024 * 1024
"""Bytes of one MB unless the provider says 10**6 (B1)."""

MICROS = 1_000_000
"""Micro-units of one currency unit."""

MAX_UNIT_BYTES = 1 << 30
"""Largest number of bytes that one MB may stand for."""

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,15})?")

# The fast path multiplies at most 9 digits with a unit of at most 2**30: below 2**60.
_PLAIN = r"^[0-9]{1,9}(\.[0-9]{1,18})?$"
_NINE_DIGITS = 1_000_000_000
_HALF = 5 * 10**17


def parse_decimal(text: str) -> Decimal:
    """Read a decimal number such as ``0.25``, ``1e3`` or ``" 5 "``, exactly.

    Raises
    ------
    ValueError
        If the text is empty or anything else than a finite decimal in ASCII digits with a point
        (``nan``, ``inf``, ``1,5``, ``1_000``).
    """
    stripped = text.strip()
    if not _NUMBER.fullmatch(stripped):
        msg = f"{text!r} is not a number: write digits with a decimal point, such as 0.25"
        raise ValueError(msg)
    return Decimal(stripped)


def to_bytes(value: Decimal, unit_bytes: int = MEBIBYTE) -> int:
    """Convert a volume in units of ``unit_bytes`` into bytes, half-up.

    Parameters
    ----------
    value
        Volume, such as megabytes; finite.
    unit_bytes
        Bytes of one unit, ``1 .. MAX_UNIT_BYTES``.

    Raises
    ------
    DataError
        If the volume is negative or above ``MAX_USAGE_BYTES``.
    ValueError
        If ``unit_bytes`` is out of range.
    """
    _check_unit(unit_bytes)
    return _scaled(value, unit_bytes, MAX_USAGE_BYTES, "volume", f"0 to {MAX_USAGE_BYTES} bytes")


def to_micros(value: Decimal, *, largest: int = MAX_PRICE_MICROS) -> int:
    """Convert an amount in currency units into micro-units, half-up.

    Raises
    ------
    DataError
        If the amount is negative or above ``largest``.
    """
    return _scaled(
        value, MICROS, largest, "amount", f"0 to {Decimal(largest).scaleb(-6).normalize():f}"
    )


def bytes_from_text(column: pl.Series, unit_bytes: int = MEBIBYTE) -> pl.Series:
    """Convert a column of volumes into bytes; as :func:`to_bytes`, for many.

    Parameters
    ----------
    column
        Text or numbers, shape ``(n,)``; a float counts as its shortest repr.
    unit_bytes
        Bytes of one unit, ``1 .. MAX_UNIT_BYTES``.

    Returns
    -------
    pl.Series
        Int64, shape ``(n,)``, each in ``0 .. MAX_USAGE_BYTES``; null where the value is missing or
        refused, for which :func:`refusal_reason` says why.
    """
    _check_unit(unit_bytes)
    text = column.cast(pl.String).str.strip_chars().alias("text")
    is_plain = text.str.contains(_PLAIN)
    frame = (
        pl.DataFrame([text])
        .select(pl.when(is_plain).then(pl.col("text")).str.split_exact(".", 1).alias("parts"))
        .unnest("parts")
    )
    scaled = frame.select(_plain_scaled(unit_bytes))["scaled"]
    odd_rows = (~is_plain).fill_null(value=False).arg_true()
    if len(odd_rows):
        odd = [_scaled_or_none(value, unit_bytes) for value in text.gather(odd_rows).to_list()]
        scaled = scaled.scatter(odd_rows, pl.Series(odd, dtype=pl.Int64))
    allowed = scaled.is_between(0, MAX_USAGE_BYTES)
    return pl.select(pl.when(allowed).then(scaled)).to_series().alias(column.name)


def volume_texts(column: pl.Series, unit_bytes: int = MEBIBYTE) -> pl.Series:
    """Write bytes as decimals in units of ``unit_bytes``, exactly; undoes :func:`bytes_from_text`.

    Parameters
    ----------
    column
        Int64, shape ``(n,)``, each 0 or more; null stays null.
    unit_bytes
        Bytes of one unit: ``MEBIBYTE``, ``10**6`` or another number up to ``10**8`` of which
        ``10**20`` is a multiple. Of others the quotient has no end.

    Returns
    -------
    pl.Series
        String, shape ``(n,)``, such as ``12.25``, without zeros at the end.

    Raises
    ------
    ValueError
        If ``unit_bytes`` is no such number.
    """
    if not 1 <= unit_bytes <= 10**8 or 10**20 % unit_bytes:
        msg = f"volumes in units of {unit_bytes} bytes have no end as decimals"
        raise ValueError(msg)
    volume = pl.col("bytes")
    ten_digits = 10**10  # times a rest of at most 10**8: below 2**60
    first = volume % unit_bytes * ten_digits
    second = first % unit_bytes * ten_digits
    digits = [(part // unit_bytes).cast(pl.String).str.zfill(10) for part in (first, second)]
    whole = (volume // unit_bytes).cast(pl.String)
    text = pl.concat_str([whole, pl.lit("."), *digits])
    texts = (
        column.rename("bytes")
        .to_frame()
        .select(text.str.strip_chars_end("0").str.strip_suffix("."))
    )
    return texts.to_series().alias(column.name)


def refusal_reason(text: str | None) -> str:
    """Why a converter refused this value, in the words of the reject list.

    Returns
    -------
    str
        ``missing_value``, ``not_a_number``, ``negative`` or, for every other number,
        ``out_of_range``.
    """
    if text is None or not text.strip():
        return "missing_value"
    try:
        value = parse_decimal(text)
    except ValueError:
        return "not_a_number"
    return "negative" if value < 0 else "out_of_range"


def micros_to_text(micros: int) -> str:
    """Write an amount in currency units with six places, such as ``12.345678``."""
    sign = "-" if micros < 0 else ""
    units, rest = divmod(abs(int(micros)), MICROS)
    return f"{sign}{units}.{rest:06d}"


def money_text(micros: int, rounding: str = ROUND_HALF_EVEN) -> str:
    """Write an amount for people, with two decimals and separators of thousands: ``1,234.57``.

    Parameters
    ----------
    rounding
        One of :mod:`decimal`: ``ROUND_FLOOR`` for what is at least so much, ``ROUND_CEILING`` for
        what is at most so much.
    """
    return f"{Decimal(micros).scaleb(-6).quantize(Decimal('0.01'), rounding=rounding):,.2f}"


def exact_money_text(micros: int) -> str:
    """Write an amount unrounded, with separators and two decimals or as many as it has: ``0.005``."""
    places = max(2, 6 - (len(str(micros)) - len(str(micros).rstrip("0")))) if micros else 2
    return f"{Decimal(micros).scaleb(-6):,.{places}f}"


def _check_unit(unit_bytes: int) -> None:
    if not 1 <= unit_bytes <= MAX_UNIT_BYTES:
        msg = f"one MB is 1 to {MAX_UNIT_BYTES} bytes, not {unit_bytes}"
        raise ValueError(msg)


def _scaled(value: Decimal, unit: int, largest: int, noun: str, allowed: str) -> int:
    scaled = _round_half_up(value, unit) if value.is_finite() and value >= 0 else None
    if scaled is None or scaled > largest:
        msg = f"the {noun} {value} is out of range: {allowed} are allowed"
        raise DataError(msg)
    return scaled


def _round_half_up(value: Decimal, unit: int) -> int:
    """``value * unit`` to the nearest integer, for finite ``value >= 0``; exact at any length."""
    if not value or value.adjusted() < -20:  # far below half of a byte or micro-unit
        return 0
    if value.adjusted() > 20:  # above every allowed number; spares writing out 10**999999999
        return 10**20
    exact = Context(prec=len(value.as_tuple().digits) + 12)
    return int(exact.multiply(value, Decimal(unit)).to_integral_value(ROUND_HALF_UP))


def _plain_scaled(unit: int) -> pl.Expr:
    """``round(whole.fraction * unit)`` with the fraction in two halves of nine digits.

    With ``fraction = (high * 1e9 + low) / 1e18``, ``fraction * unit`` is
    ``(carry * 1e9 + rest) / 1e18`` where ``carry = high * unit + low * unit // 1e9`` and
    ``rest = low * unit % 1e9``; no term exceeds 2**61.
    """
    whole = pl.col("field_0").cast(pl.Int64)
    fraction = pl.col("field_1").fill_null("").str.pad_end(18, "0")
    high = fraction.str.slice(0, 9).cast(pl.Int64)
    low = fraction.str.slice(9, 9).cast(pl.Int64) * unit
    carry = high * unit + low // _NINE_DIGITS
    below_one = (carry % _NINE_DIGITS) * _NINE_DIGITS + low % _NINE_DIGITS
    rounded = carry // _NINE_DIGITS + (below_one >= _HALF).cast(pl.Int64)
    return (whole * unit + rounded).alias("scaled")


def _scaled_or_none(text: str, unit: int) -> int | None:
    try:
        value = parse_decimal(text)
    except ValueError:
        return None
    # MAX_USAGE_BYTES lies below 2**62, so that a clipped value is still out of range.
    return min(_round_half_up(value, unit), 1 << 62) if value >= 0 else None
