"""Carriers' dates, numbers and text, read tolerantly; credentials, read by reference and never shown."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.carriers.credentials import Credentials, resolve_credentials
from core.carriers.dates import parse_carrier_time
from core.carriers.json_values import count, flag, frame, sum_counts, text
from core.errors import InputError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2016-06-29 00:21:33.339+0000", datetime(2016, 6, 29, 0, 21, 33, 339000, tzinfo=UTC)),
        ("2018-09-26T03:02:18.393Z", datetime(2018, 9, 26, 3, 2, 18, 393000, tzinfo=UTC)),
        ("2016-11-10Z", datetime(2016, 11, 10, tzinfo=UTC)),
        ("2016-11-10+00:00", datetime(2016, 11, 10, tzinfo=UTC)),
        ("2016-06-29T02:21:33+02:00", datetime(2016, 6, 29, 0, 21, 33, tzinfo=UTC)),
        ("2016-06-29 00:21", datetime(2016, 6, 29, 0, 21, tzinfo=UTC)),
        (1467159693339, datetime(2016, 6, 29, 0, 21, 33, 339000, tzinfo=UTC)),
        ("1467159693339", datetime(2016, 6, 29, 0, 21, 33, 339000, tzinfo=UTC)),
        (1467159693, datetime(2016, 6, 29, 0, 21, 33, tzinfo=UTC)),
        (None, None),
        ("", None),
        ("  ", None),
    ],
)
def test_every_way_in_which_the_platform_writes_a_time_is_read(written, meant):
    assert parse_carrier_time(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "yesterday", "2016-13-01", "2016-06-29 25:00:00", True, [], {}, "0", 10**30, -1e300,
        10**400, "9" * 400, float("inf"), float("nan"),
        "0001-01-01 00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(written):
    with pytest.raises(ValueError, match=r"no date|must be in|out of range|Invalid"):
        parse_carrier_time(written)


def test_counts_are_whole_numbers_of_64_bits_or_unreadable():
    values = [
        None,
        7,
        "7",
        7.0,
        -3,
        7.5,
        True,
        "x",
        "",
        [],
        2**63,
        "9" * 19,
        "9" * 20,
        float("nan"),
    ]
    assert [count(value) for value in values] == [0, 7, 7, 7, -3] + [None] * 9
    assert sum_counts(1, 2) == 3
    assert sum_counts(1, None) is None
    assert sum_counts(2**62, 2**62) is None


def test_booleans_come_as_text_too():
    assert [flag(v) for v in (True, False, "true", "FALSE", None, 1, "")] == [
        True, False, True, False, None, None, None,
    ]  # fmt: skip


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=2),
            max_leaves=3,
        )
    )
)
def test_any_json_value_becomes_text_or_nothing(values):
    rows = frame([(text(value),) for value in values], {"t": pl.String()})
    assert rows.height == len(values)


def test_text_that_is_no_unicode_keeps_its_readable_part():
    assert frame([("a\ud800b",)], {"t": pl.String()}).item() == "a?b"


def test_credentials_come_from_a_variable_or_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("SOME_ACCOUNT", "jane:k:e:y")
    stored = tmp_path / "account"
    stored.write_text("joe:secret\n")
    for reference, expected in (
        ("env:SOME_ACCOUNT", "jane k:e:y"),
        (f"file:{stored}", "joe secret"),
    ):
        found = resolve_credentials(reference)
        assert f"{found.username.get_secret_value()} {found.api_key.get_secret_value()}" == expected


def test_credentials_show_nothing_when_printed(monkeypatch):
    monkeypatch.setenv("SOME_ACCOUNT", "jane:hidden-key")
    found = resolve_credentials("env:SOME_ACCOUNT")
    assert isinstance(found, Credentials)
    assert "jane" not in f"{found!r} {found}"
    assert "hidden-key" not in f"{found!r} {found}"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("jane:hidden-key", "looks like env:NAME"),
        ("", "looks like env:NAME"),
        ("env:", "looks like env:NAME"),
        ("env:NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE is not set"),
        ("file:relative", "not an absolute path"),
        ("file:/no/such/file", "cannot be read"),
        ("env:NO_COLON", "one line username:apiKey"),
        ("env:TWO_LINES", "one line username:apiKey"),
        ("env:NO_KEY", "one line username:apiKey"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused_without_showing_a_secret(
    reference, message, monkeypatch
):
    monkeypatch.setenv("NO_COLON", "hidden-key")
    monkeypatch.setenv("TWO_LINES", "a:hidden-key\nb:c")
    monkeypatch.setenv("NO_KEY", "hidden-key:")
    with pytest.raises(InputError, match=message) as caught:
        resolve_credentials(reference)
    assert "hidden-key" not in str(caught.value)
