"""Tells a Ctrl-C from the error that a library made of it.

openpyxl converts values under a bare ``except`` and raises TypeError instead of whatever happened,
so that an interrupted run would end as a broken workbook.
"""

from __future__ import annotations


def raise_if_interrupted(error: BaseException) -> None:
    """Raise KeyboardInterrupt where one lies behind an error.

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
