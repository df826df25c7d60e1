"""Ctrl-C, which comes between any two steps: told from other errors, and tidied up after."""

from __future__ import annotations

import traceback


def raise_if_interrupted(error: BaseException) -> None:
    """Raise KeyboardInterrupt where one lies behind an error.

    openpyxl converts values under a bare ``except`` and raises TypeError instead of whatever happened,
    so that an interrupted run would end as a broken workbook.

    Raises
    ------
    KeyboardInterrupt
        If the error was raised while one was being handled.
    """
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        behind = behind.__cause__ or behind.__context__


def release_frames(error: BaseException) -> None:
    """Let go of what the functions held that an error has ended; its traceback can still be shown.

    An interrupt can come when a context manager has begun and its ``with`` block has not, or while it
    ends: then nobody leaves it. A transaction that was being opened or closed stays open, kept alive by
    the error's traceback, and its locks keep out this very process, which has to write how it ended.
    """
    behind: BaseException | None = error
    while behind is not None:
        traceback.clear_frames(behind.__traceback__)
        behind = behind.__context__
