"""ICCIDs: check digits, forms, and what is wrong with a number (C4)."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.carriers.iccid import BAD_CHECK_DIGIT, BAD_ICCID, iccid_problems, luhn_digits, match_keys


def plain_luhn(payload: str) -> int:
    """The rule by hand: from the right, double every second digit, add up the digits of all."""
    total = 0
    for place, digit in enumerate(reversed(payload)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += sum(int(d) for d in str(value))
    return -total % 10


@given(st.lists(st.text("0123456789", min_size=19, max_size=19), min_size=1, max_size=20))
def test_check_digits_agree_with_the_rule_by_hand(payloads):
    digits = np.array([[int(d) for d in payload] for payload in payloads], dtype=np.uint8)
    assert luhn_digits(digits).tolist() == [plain_luhn(payload) for payload in payloads]


def test_the_textbook_number_has_its_published_check_digit():
    # 7992739871 + 3 is the example of most descriptions of the algorithm: sum 67, so 3
    digits = np.array([[7, 9, 9, 2, 7, 3, 9, 8, 7, 1]], dtype=np.uint8)
    assert luhn_digits(digits).tolist() == [3]


@given(st.text("0123456789", min_size=19, max_size=19), st.integers(0, 9))
def test_exactly_one_last_digit_of_twenty_is_right(payload, digit):
    problem = iccid_problems(pl.Series([f"{payload}{digit}"])).to_list()
    assert problem == [None if digit == plain_luhn(payload) else BAD_CHECK_DIGIT]


@given(st.text("0123456789", min_size=19, max_size=19), st.integers(0, 18), st.integers(1, 9))
def test_any_single_mistyped_digit_is_noticed(payload, place, shift):
    good = f"{payload}{plain_luhn(payload)}"
    wrong = good[:place] + str((int(good[place]) + shift) % 10) + good[place + 1 :]
    assert iccid_problems(pl.Series([good, wrong])).to_list() == [None, BAD_CHECK_DIGIT]


def test_nineteen_digits_are_taken_as_they_are_because_either_form_ends_there():
    assert iccid_problems(pl.Series(["8988216716970004975", "8988216716970004970"])).to_list() == [
        None,
        None,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "891",
        "890141032701000000",
        "890141032701000000581",
        "8901410327010000005X",
        "8901410327 100000058",
        "٨٩٠١٤١٠٣٢٧٠١٠٠٠٠٠٠٥٨",
        "89014103270100000058\n",
    ],
)
def test_anything_but_nineteen_or_twenty_ascii_digits_is_no_iccid(text):
    assert iccid_problems(pl.Series([text])).to_list() == [BAD_ICCID]


def test_a_missing_number_has_no_problem_of_its_own():
    assert iccid_problems(pl.Series([None, "89014103270100000058"], dtype=pl.String)).to_list() == [
        None,
        None,
    ]


def test_no_numbers_have_no_problems():
    assert iccid_problems(pl.Series([], dtype=pl.String)).to_list() == []


def test_both_forms_of_one_sim_have_the_same_key():
    keys = match_keys(pl.Series(["89014103270100000058", "8901410327010000005"])).to_list()
    assert keys[0] == keys[1] == "8901410327010000005"


@given(st.text("0123456789", min_size=19, max_size=19), st.integers(1, 9))
def test_only_the_right_check_digit_makes_two_numbers_one_sim(short, shift):
    right = plain_luhn(short)
    mistyped = f"{short}{(right + shift) % 10}"
    neighbour = f"{short[:18]}{(int(short[18]) + shift) % 10}"
    numbers = pl.Series([short, f"{short}{right}", mistyped, neighbour, None, "x"])
    assert match_keys(numbers).to_list() == [short, short, mistyped, neighbour, None, "x"]


def test_a_full_number_of_19_digits_is_not_taken_for_another_of_its_18_digits():
    full = "890141032701000000" + str(plain_luhn("890141032701000000"))
    keys = match_keys(pl.Series([full, "8901410327010000009", full[:18]])).to_list()
    assert len(set(keys)) == 3
