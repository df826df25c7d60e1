"""Paths on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def path_option(help_text: str) -> Any:
    """Make an option that takes a path, and refuses the empty text of a variable that is not set."""
    return typer.Option(help=help_text, parser=_path, metavar="<path>")


def _path(text: str) -> Path:
    if not text.strip():
        raise typer.BadParameter("the name is empty: is a variable of the shell not set?")
    return Path(text)
