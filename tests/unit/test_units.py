"""Exact conversion of decimals into bytes and micro-units (B1)."""

from decimal import Decimal

import polars as pl
import pytest

from core.domain import MAX_PRICE_MICROS, MAX_USAGE_BYTES
from core.errors import DataError
from core.units import (
    MAX_UNIT_BYTES,
    MEBIBYTE,
    bytes_from_text,
    micros_to_text,
    parse_decimal,
    refusal_reason,
    to_bytes,
    to_micros,
    volume_texts,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.25", "0.25"),
        ("1e3", "1000"),
        (" 5 ", "5"),
        ("+7", "7"),
        ("-0.5", "-0.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1E-7", "0.0000001"),
        ("00012", "12"),
    ],
)
def test_plain_and_scientific_decimals_are_read(text, value):
    assert parse_decimal(text) == Decimal(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "1,5",
        "1_000",
        "0x10",
        "5 MB",
        ".",
        "e5",
        "1e",
        "٣",
    ],
)
def test_anything_else_than_a_decimal_is_refused(text):
    with pytest.raises(ValueError, match="is not a number: write digits with a decimal point"):
        parse_decimal(text)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("0", 0),
        ("1", 1048576),
        ("0.25", 262144),
        ("0.1", 104858),  # 104857.6
        ("0.00000047683715820312", 0),  # just below half a byte
        ("0.000000476837158203125", 1),  # exactly half a byte
        ("0.000000476837158203124" + "9" * 40, 0),  # the same to any fixed precision
        ("1073741824", MAX_USAGE_BYTES),
        ("1e-999999999", 0),
        ("0e999999999", 0),
        ("0." + "1" * 5000, 116508),
    ],
)
def test_megabytes_are_rounded_half_up_to_bytes(text, n_bytes):
    assert to_bytes(parse_decimal(text)) == n_bytes
    assert bytes_from_text(pl.Series([text])).to_list() == [n_bytes]


def test_a_megabyte_may_be_a_million_bytes():
    assert to_bytes(Decimal("0.1"), 10**6) == 100_000
    assert bytes_from_text(pl.Series(["0.1"]), 10**6).to_list() == [100_000]


@pytest.mark.parametrize("unit", [0, -1, MAX_UNIT_BYTES + 1])
def test_a_megabyte_of_senseless_size_is_refused(unit):
    with pytest.raises(ValueError, match="one MB is 1 to"):
        to_bytes(Decimal(1), unit)
    with pytest.raises(ValueError, match="one MB is 1 to"):
        bytes_from_text(pl.Series(["1"]), unit)


@pytest.mark.parametrize(
    "text", ["-1", "-1e-30", "1073741824.0000005", "1e30", "1e999999999", "9" * 5000]
)
def test_volumes_out_of_range_are_refused(text):
    with pytest.raises(DataError, match=r"out of range: 0 to 1125899906842624 bytes are allowed"):
        to_bytes(parse_decimal(text))
    assert bytes_from_text(pl.Series([text])).to_list() == [None]


def test_a_decimal_that_is_not_finite_is_out_of_range():
    with pytest.raises(DataError, match="out of range"):
        to_micros(Decimal("NaN"))


def test_amounts_become_micro_units():
    assert to_micros(Decimal("12.3456785")) == 12_345_679
    assert to_micros(Decimal("100000")) == MAX_PRICE_MICROS
    with pytest.raises(DataError, match=r"amount 100000\.000001 is out of range"):
        to_micros(Decimal("100000.000001"))


def test_float_columns_count_as_their_shortest_repr():
    """0.1 + 0.2 is 0.30000000000000004 to its reader, and 1.0000005 is half a byte of a million up."""
    column = pl.Series("rate", [0.1, 1.0000005, 0.1 + 0.2, 1e-7, float("nan"), float("inf"), None])
    converted = bytes_from_text(column, 10**6)
    assert converted.to_list() == [100_000, 1_000_001, 300_000, 0, None, None, None]
    assert (converted.name, converted.dtype) == ("rate", pl.Int64)


def test_columns_of_other_types_are_converted_too():
    assert bytes_from_text(pl.Series([1, 2])).to_list() == [MEBIBYTE, 2 * MEBIBYTE]
    assert bytes_from_text(pl.Series([Decimal("1.50")]), 10**6).to_list() == [1_500_000]
    assert bytes_from_text(pl.Series([None, None])).to_list() == [None, None]
    assert bytes_from_text(pl.Series([], dtype=pl.String)).to_list() == []
    assert bytes_from_text(pl.Series([True])).to_list() == [None]


def test_mixed_columns_keep_their_order():
    texts = ["2", "1e3", None, "1,5", " 0.25", "-3", "0.1234567890123456789", "7"]
    assert bytes_from_text(pl.Series(texts)).to_list() == [
        2 * MEBIBYTE, 1000 * MEBIBYTE, None, None, 262144, None, 129454, 7 * MEBIBYTE,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "missing_value"),
        ("  ", "missing_value"),
        ("nan", "not_a_number"),
        ("1,5", "not_a_number"),
        ("-0.1", "negative"),
        ("1e20", "out_of_range"),
    ],
)
def test_a_refused_value_has_a_reason(text, reason):
    assert refusal_reason(text) == reason


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0.000000"),
        (12_345_678, "12.345678"),
        (-1, "-0.000001"),
        (-12_000_000, "-12.000000"),
        (1 << 62, "4611686018427.387904"),
    ],
)
def test_amounts_are_written_with_six_places(micros, text):
    assert micros_to_text(micros) == text


@pytest.mark.parametrize("unit", [MEBIBYTE, 10**6, 1, 8, 10**8])
def test_volumes_are_written_exactly_and_read_back(unit):
    volumes = [0, 1, 7, 9, 10, 100, unit - 1, unit, unit + 1, 123_456_789_012, MAX_USAGE_BYTES]
    volumes += [k * 2_654_435_761 % (1 << 45) for k in range(500)]
    texts = volume_texts(pl.Series("usage", [*volumes, None], dtype=pl.Int64), unit)
    assert texts.name == "usage"
    for text, volume in zip(texts.to_list(), volumes, strict=False):
        assert Decimal(text) * unit == volume
        assert not text.endswith((".", "0")) or "." not in text
    assert texts[len(volumes)] is None
    assert bytes_from_text(texts, unit).to_list() == [*volumes, None]


@pytest.mark.parametrize("unit", [0, 3, 1000 * 1024 * 3, 10**9])
def test_volumes_in_units_without_an_end_are_refused(unit):
    with pytest.raises(ValueError, match="have no end as decimals"):
        volume_texts(pl.Series([1]), unit)
