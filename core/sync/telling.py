"""Progress of a long synchronisation, in words that a log can bear."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.sync.store import OnProgress

MINUTE_S = 60.0


def each_minute(
    tell: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
) -> OnProgress:
    """Tell how much was read, such as ``5,000 SIMs listed``, once a minute from now on.

    Parameters
    ----------
    clock
        Seconds from any beginning.
    """
    last = clock()

    def on_progress(what: str, n: int) -> None:
        nonlocal last
        if clock() - last >= MINUTE_S:
            last = clock()
            tell(f"{n:,} {what}")

    return on_progress
