"""Ctrl-C that a library swallowed is noted, and raised again."""

from __future__ import annotations

import contextlib
import importlib
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import interrupt
from tasks.interrupt import check_interrupt, insistent_interrupts, was_interrupted


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


@pytest.fixture
def make_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], str]:
    """Makes a module that is interrupted while it is imported, and takes a time from there; its name."""

    def make(hundredths: int) -> str:
        body = f"""
import signal, time
signal.raise_signal(signal.SIGINT)
for _ in range({hundredths}):
    time.sleep(0.01)
open(__file__ + ".end", "w").close()
"""
        (tmp_path / "interrupted_module.py").write_text(body)
        monkeypatch.syspath_prepend(tmp_path)
        return "interrupted_module"

    return make


def import_and_wait(module: str) -> None:
    with insistent_interrupts(repeat_seconds=3600):
        importlib.import_module(module)
        time.sleep(30)
        msg = "not interrupted"
        raise TimeoutError(msg)


def test_an_interrupt_waits_for_the_end_of_an_import_and_no_longer(
    make_module: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupt, "POSTPONE_SECONDS", 60.0)
    interrupted_module = make_module(30)
    with pytest.raises(KeyboardInterrupt) as caught:
        import_and_wait(interrupted_module)
    assert caught.value.__cause__ is None
    assert (tmp_path / "interrupted_module.py.end").exists()
    assert sys.modules.pop(interrupted_module)


def test_an_import_that_does_not_end_is_interrupted(
    make_module: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupt, "POSTPONE_SECONDS", 0.1)
    interrupted_module = make_module(3000)
    with pytest.raises(KeyboardInterrupt):
        import_and_wait(interrupted_module)
    assert not (tmp_path / "interrupted_module.py.end").exists()
    assert interrupted_module not in sys.modules


class Interrupted(logging.Handler):
    """Gets Ctrl-C while a line is logged."""

    def emit(self, _record: logging.LogRecord) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A log whose lines are interrupted."""
    logger = logging.getLogger("tests.interrupted")
    logger.addHandler(Interrupted())
    yield logger
    logger.handlers.clear()


def wait() -> None:
    time.sleep(30)


def fail() -> None:
    raise ValueError


@pytest.mark.parametrize("ending", [wait, check_interrupt, fail])
def test_an_interrupt_that_was_postponed_comes_once(
    log: logging.Logger, ending: Callable[[], None]
) -> None:
    with insistent_interrupts(repeat_seconds=3600):
        log.warning("a line")
        with pytest.raises((KeyboardInterrupt, ValueError)):
            ending()
        assert was_interrupted()
        time.sleep(0.5)  # long enough for another one


def test_an_interrupt_that_comes_when_the_block_has_ended_leaves_the_former_handler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, restore = signal.getsignal(signal.SIGINT), signal.signal
    sent = []

    def interrupted(signum: int, handler: Any) -> Any:
        if handler is before and not sent:
            sent.append(signum)
            signal.raise_signal(signal.SIGINT)
        return restore(signum, handler)

    with pytest.raises(KeyboardInterrupt), insistent_interrupts():
        monkeypatch.setattr(signal, "signal", interrupted)
    assert sent
    assert signal.getsignal(signal.SIGINT) is before


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
