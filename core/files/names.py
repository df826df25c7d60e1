"""Names of files and folders as users give them."""

from __future__ import annotations

from pathlib import Path

from core.errors import InputError


def check_name(path: Path) -> None:
    """Refuse a name that is no text, and so can stand in no report, list or message.

    Raises
    ------
    InputError
        If the name has bytes that are not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode(errors="backslashreplace").decode()
        raise InputError(f"{shown}: the name is not UTF-8: rename the file or folder") from error
