"""What a carrier's answer says: its JSON object, its error, its clock (C3)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from core.carriers.dates import in_utc

LONGEST_RETRY_AFTER_S = 60.0
"""Seconds that a carrier's wish to be left alone is heeded at most."""

_LONGEST_SAYING = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCodes:
    """How a carrier's own error codes are to be read.

    A code is meant as it stands, or, where it ends in ``*``, as the beginning of codes.
    """

    rate_limited: frozenset[str] = frozenset()
    auth: frozenset[str] = frozenset()
    retryable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierFault:
    """An error as the carrier's envelope tells it; both None where it tells of none."""

    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonReply:
    """A successful answer: its JSON object and the time on the carrier's clock, if it was told."""

    status: int
    content: Mapping[str, Any]
    served_at: datetime | None


def is_among(codes: frozenset[str], code: str | None) -> bool:
    """Whether a code is one of those listed, or begins like one of them that ends in ``*``."""
    return code is not None and (
        code in codes or any(known.endswith("*") and code.startswith(known[:-1]) for known in codes)
    )


def read_fault(content: Mapping[str, Any]) -> CarrierFault:
    """Read ``errorCode`` and ``errorMessage``, as Control Center and ThingSpace send them."""
    code, message = content.get("errorCode"), content.get("errorMessage")
    return CarrierFault(
        code=str(code)[:_LONGEST_SAYING] if code and isinstance(code, str | int) else None,
        message=message[:_LONGEST_SAYING] if isinstance(message, str) else None,
    )


def json_object(body: bytes, *, array_key: str | None = None) -> Mapping[str, Any] | None:
    """Read a JSON object whatever charset it was announced in; None if it is none.

    A byte order mark of UTF-8 before it is passed over.
    An array becomes the object that has it under ``array_key``, where one is given.
    """
    for encoding in ("utf-8-sig", "latin-1"):
        try:
            value = json.loads(body.decode(encoding))
        except UnicodeDecodeError:
            continue
        except (ValueError, RecursionError):
            return None
        if array_key is not None and isinstance(value, list):
            return {array_key: value}
        return value if isinstance(value, dict) else None
    return None  # pragma: no cover - latin-1 decodes everything


def served_at(headers: Mapping[str, str]) -> datetime | None:
    """Read the carrier's clock; None where it is not told or is no time."""
    try:
        moment = parsedate_to_datetime(headers["Date"])
        return in_utc(moment) if moment.tzinfo is not None else None
    except (KeyError, ValueError, OverflowError, TypeError, IndexError):
        return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After`` in seconds, at most ``LONGEST_RETRY_AFTER_S``; None where it is no number."""
    try:
        seconds = float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None
    return min(seconds, LONGEST_RETRY_AFTER_S) if seconds >= 0 and math.isfinite(seconds) else None
