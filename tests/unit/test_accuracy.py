"""Device accuracy (G3, C6)."""

from __future__ import annotations

import logging

import pytest

from core.errors import DataError
from core.stages.accuracy import judge_accuracy


def test_accuracy_is_known_over_expected_in_percent() -> None:
    assert judge_accuracy(96, 100) == 96.0
    assert judge_accuracy(0, 0) == 100.0


@pytest.mark.parametrize(("known", "is_warned"), [(95, False), (94, True), (90, True)])
def test_below_95_percent_is_warned(
    known: int, is_warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        judge_accuracy(known, 100)
    assert bool(caplog.records) == is_warned


def test_below_90_percent_stops_with_both_numbers_and_the_remedy() -> None:
    with pytest.raises(DataError, match=r"899 of 1,000 .* at least 90 % .*rejected rows"):
        judge_accuracy(899, 1000)
