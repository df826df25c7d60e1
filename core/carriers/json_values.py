"""Values of a carrier's JSON, read tolerantly and never guessed: what cannot be read becomes None."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from core.errors import CarrierProtocolError

_LARGEST = (1 << 63) - 1


def text(value: object) -> str | None:
    """Read text; numbers and the like keep their JSON spelling, null stays None."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def flag(value: object) -> bool | None:
    """Read a boolean, which some resources send as text; anything else is None."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def count(value: object) -> int | None:
    """Read a whole number of 64 bits; null and absence count 0, None is unreadable."""
    if value is None:
        return 0
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else None
    elif isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if isinstance(value, int) and abs(value) <= _LARGEST else None


def sum_counts(a: int | None, b: int | None) -> int | None:
    """Add two counts; unreadable if one of them is."""
    return None if a is None or b is None else count(a + b)


def objects(content: Mapping[str, Any], key: str, what: str) -> list[dict[str, Any]]:
    """Return the list of objects under a key.

    Raises
    ------
    CarrierProtocolError
        If there is none; ``what`` names the answer.
    """
    value = content.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        msg = f"{what}: the answer has no list of objects {key!r}"
        raise CarrierProtocolError(msg)
    return value


def frame(rows: Sequence[Sequence[object]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Build a frame from rows in the schema's order."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return frame_of_columns(dict(zip(schema, columns, strict=True)), schema)


def frame_of_columns(
    columns: Mapping[str, Sequence[object]], schema: Mapping[str, pl.DataType]
) -> pl.DataFrame:
    """Build a frame from columns; text that is no Unicode keeps its readable part."""
    try:
        return pl.DataFrame(columns, schema=schema)
    except UnicodeEncodeError:
        readable = {
            name: [
                v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in values
            ]
            for name, values in columns.items()
        }
        return pl.DataFrame(readable, schema=schema)
