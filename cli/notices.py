"""What the library has to say while a command works, as lines on stderr."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from stamina.instrumentation import RetryDetails


class _Notices(logging.Handler):
    """Shows warnings; errors are raised as well, and said when the command ends."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            typer.echo(f"warning: {record.getMessage()}", err=True)


@contextmanager
def notices() -> Iterator[None]:
    """Show warnings, and what is tried again and when."""
    import stamina

    handler, logger = _Notices(), logging.getLogger("core")
    logger.addHandler(handler)
    library = logging.getLogger("sqlalchemy")  # tells of its own tidying up, with tracebacks
    library.addHandler(unheard := logging.NullHandler())
    library.propagate, propagates = False, library.propagate
    stamina.instrumentation.set_on_retry_hooks([_say_retry])
    try:
        yield
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
        logger.removeHandler(handler)
        library.removeHandler(unheard)
        library.propagate = propagates


def _say_retry(details: RetryDetails) -> None:
    typer.echo(f"{details.caused_by}; trying again in {details.wait_for:.0f} s", err=True)
