"""What the environment may say, and what is said where it is wrong (D6)."""

from __future__ import annotations

import pytest

from core.errors import InputError
from core.settings import load_settings


@pytest.fixture(autouse=True)
def _fresh():
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("CARRIER_OPT_MAX_RATE_PLANS", "99", "less than or equal to 64"),
        ("CARRIER_OPT_CARRIER_TIMEOUT_SECONDS", "s3cr3t", "valid number"),
        ("CARRIER_OPT_FULL_SYNC_MAX_AGE_DAYS", "-1", "greater than or equal to 0"),
    ],
)
def test_a_wrong_variable_is_named_with_what_is_allowed(monkeypatch, variable, value, allowed):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError) as error:
        load_settings()
    assert variable in str(error.value)
    assert allowed in str(error.value)
    assert "s3cr3t" not in str(error.value)


def test_every_wrong_variable_is_named_at_once(monkeypatch):
    monkeypatch.setenv("CARRIER_OPT_WINDOW_DAYS", "0")
    monkeypatch.setenv("CARRIER_OPT_WORKERS", "many")
    with pytest.raises(
        InputError, match=r"CARRIER_OPT_WINDOW_DAYS.*CARRIER_OPT_WORKERS|WORKERS.*WINDOW"
    ):
        load_settings()
