"""The hash by which a certificate names the input that it is about (O3).

The canonical input of a unit is a line that names the format, then one field after the other: a line
``name shape`` and the field's bytes. Arrays are little-endian in C order, 64 bits a number and one
byte a truth value; everything else is JSON with sorted keys. Rows are in ICCID order and plans in
the order of their codes, so that the hash depends on neither machine nor order of the files. What
only guides the search, candidate sequences and communication plans, is no part of it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from core.problem import Problem

_FORMAT = b"carrier-opt unit input 1\n"

_PER_SIM = (
    "usage_bytes", "sms_count", "voice_seconds", "day_class", "group", "current", "is_locked",
)  # fmt: skip
_PER_PLAN = (
    "fee_micros", "included_bytes", "overage_block_bytes", "tier_from_block", "tier_rate_micros",
    "overage_cap_micros", "included_sms", "sms_rate_micros", "included_voice_minutes",
    "voice_rate_micros",
)  # fmt: skip
_OF_UNIT = (
    "pool_of", "pool_block_bytes", "pool_tier_from_block", "pool_tier_rate_micros",
    "min_sims", "max_sims",
)  # fmt: skip


def input_hash(problem: Problem) -> str:
    """SHA-256 of a unit's canonical input, 64 hexadecimal digits."""
    digest = hashlib.sha256(_FORMAT)
    facts = {
        "unit_id": problem.unit_id,
        "codes": problem.tariff.codes,
        "groups": [[g.group_id, list(g.eligible), g.is_fixed] for g in problem.groups],
        "charge_type": problem.charge_type.value,
        "max_changes": problem.max_changes,
        "min_saving_per_change_micros": problem.min_saving_per_change_micros,
    }
    digest.update(json.dumps(facts, sort_keys=True).encode() + b"\n")
    for owner, names in ((problem.tariff, _PER_PLAN), (problem, _OF_UNIT), (problem, _PER_SIM)):
        for name in names:
            array = getattr(owner, name)
            digest.update(f"{name} {array.shape}\n".encode())
            digest.update(_canonical(array))
    return digest.hexdigest()


def _canonical(array: npt.NDArray[Any]) -> memoryview:
    dtype = np.uint8 if array.dtype == np.bool_ else np.dtype("<i8")
    return (
        np.ascontiguousarray(array, dtype=dtype).data.cast("B") if array.size else memoryview(b"")
    )
