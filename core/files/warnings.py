"""Warnings about input that is used as it stands: all counted, the first few told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_LISTED = 20
"""Warnings that are told word for word; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warnings:
    """What is odd about the input.

    Attributes
    ----------
    count
        Number of warnings, at least ``len(listed)``.
    listed
        The first ``MAX_LISTED`` of them, as sentences.
    """

    count: int = 0
    listed: tuple[str, ...] = ()


def combine_warnings(parts: Iterable[Warnings]) -> Warnings:
    """Add warnings up, in the order given."""
    parts = list(parts)
    listed = [text for part in parts for text in part.listed]
    return Warnings(count=sum(part.count for part in parts), listed=tuple(listed[:MAX_LISTED]))


def warn_each(texts: Iterable[str]) -> Warnings:
    """Make one warning of each text."""
    texts = tuple(texts)
    return Warnings(count=len(texts), listed=texts[:MAX_LISTED])
