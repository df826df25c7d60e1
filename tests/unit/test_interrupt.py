"""Ctrl-C that a library swallowed is noted, and raised again."""

from __future__ import annotations

import contextlib
import signal
import sys
import time

import pytest

from tasks.interrupt import check_interrupt, insistent_interrupts


def test_a_swallowed_interrupt_is_raised_at_the_next_check() -> None:
    with insistent_interrupts():
        check_interrupt()
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check_interrupt()
    check_interrupt()


def test_a_swallowed_interrupt_is_repeated_while_the_block_waits() -> None:
    with pytest.raises(KeyboardInterrupt):
        swallow_and_wait()


class Interrupting:
    """Gets Ctrl-C in its destructor, from which nothing can be raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_in_a_destructor_is_noted_and_nothing_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    with insistent_interrupts():
        Interrupting()
        with pytest.raises(KeyboardInterrupt):
            check_interrupt()
    assert capsys.readouterr().err == ""
    assert sys.unraisablehook is sys.__unraisablehook__


def swallow_and_wait() -> None:
    with insistent_interrupts(repeat_seconds=0.05):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        time.sleep(30)


def test_the_former_handler_is_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with insistent_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_that_a_library_makes_of_an_interrupt_counts_as_the_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        turn_into_an_error()


def turn_into_an_error() -> None:
    with insistent_interrupts():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            raise TypeError from interrupt


def test_an_error_without_an_interrupt_stays_what_it_is() -> None:
    with pytest.raises(TypeError), insistent_interrupts():
        raise TypeError
