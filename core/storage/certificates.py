"""A unit's certificate as a column of its row: JSON with sorted keys (O3)."""

from __future__ import annotations

import json
from dataclasses import asdict

from core.optimiser.certificate import Certificate


def to_json(certificate: Certificate | None) -> str | None:
    """Text of the column; None for a unit without a certificate."""
    return None if certificate is None else json.dumps(asdict(certificate), sort_keys=True)


def from_json(text: str | None) -> Certificate | None:
    """Read back the very certificate that :func:`to_json` wrote; its integers are exact."""
    if text is None:
        return None
    fields = json.loads(text)
    for name in ("pool_multipliers", "plan_multipliers"):
        fields[name] = tuple(fields[name])
    return Certificate(**fields)
