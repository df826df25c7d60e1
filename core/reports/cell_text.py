"""Texts as a worksheet can hold them."""

from __future__ import annotations

import re

import polars as pl

MAX_CELL_CHARACTERS = 32_767
"""Characters of a cell; the rest of a longer text is cut off."""

_NOT_XML = "[\u0000-\u0008\u000b-\u001f\ufffe\uffff]"
_INSTEAD = "\ufffd"


def cell_text(text: str) -> str:
    """Text with U+FFFD for characters that XML does not know, not longer than a cell may be."""
    return re.sub(_NOT_XML, _INSTEAD, text)[:MAX_CELL_CHARACTERS]


def cell_texts(texts: pl.Expr) -> pl.Expr:
    """Do what :func:`cell_text` does for whole columns."""
    return texts.str.replace_all(_NOT_XML, _INSTEAD).str.slice(0, MAX_CELL_CHARACTERS)
