"""Trying again what a database could not do this time (D4).

A deadlock, a lost connection or a time-out is over soon. Whatever opens a transaction of its own and
can be done twice is decorated by :func:`retried`: a transaction that ended in a
:class:`~core.errors.TransientStorageError` has left nothing behind, and is done again from its first
statement. A connection that breaks during the commit itself is not such an error: nobody knows then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

import stamina

from core.errors import TransientStorageError

ATTEMPTS = 5
"""How often a transaction is begun at most; between attempts 0.1 s, doubling up to 5 s, and jitter."""

_IS_RETRIED = ContextVar("is_retried", default=False)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def retried(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make a function run again when the database could not do it this time.

    The function opens its transactions itself and is idempotent; iterators among its arguments would
    be used up by the first attempt. Where one such function calls another, the outer one is done
    again as a whole.
    """

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if _IS_RETRIED.get():
            return function(*args, **kwargs)
        token = _IS_RETRIED.set(True)
        try:
            return _run(lambda: function(*args, **kwargs))
        finally:
            _IS_RETRIED.reset(token)

    return run


def _run(function: Callable[[], Result]) -> Result:
    for attempt in stamina.retry_context(
        on=TransientStorageError,
        attempts=ATTEMPTS,
        timeout=None,
        wait_initial=0.1,
        wait_max=5.0,
        wait_jitter=0.5,
    ):
        with attempt:
            return function()
    raise AssertionError("an attempt returns or raises")
