"""Reads the constraints file of an optimisation (O8)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from core.domain import MAX_COUNT, Constraints, PlanLimit
from core.errors import DataError, InputError
from core.files.warnings import Warnings, warn_each
from core.files.yaml_tree import Items, Mapping, Node, Scalar, read_yaml
from core.units import parse_decimal, to_micros

KEYS = ("locked", "plans", "max_changes", "min_saving_per_change", "min_saving")
"""What a constraints file may hold."""

LIMIT_KEYS = ("min", "max")
"""What it may hold for a plan."""

MAX_SAVING_MICROS = 10**15
"""Largest saving that may be asked for: a thousand million currency units."""

_WHOLE = re.compile(r"0|[1-9][0-9]{0,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A value of the file, with the key that leads to it."""

    path: Path
    key: str
    node: Node

    def refuse(self, why: str) -> InputError:
        where = f"{self.path}, line {self.node.line}"
        return InputError(f"{where}: {self.key + ': ' if self.key else ''}{why}")

    def scalar(self, what: str) -> Scalar:
        if not isinstance(self.node, Scalar):
            raise self.refuse(f"holds several values: write {what}")
        return self.node


def read_constraints(path: Path, *, rate_plan_codes: Collection[str]) -> Constraints:
    """Read a YAML file with the keys of ``KEYS``; an empty file has no constraints.

    Amounts are text, such as ``"0.50"``, or whole numbers; a key without a value counts as absent.

    Parameters
    ----------
    rate_plan_codes
        Codes of the usable plans of the rate plans file.

    Raises
    ------
    InputError
        If the file cannot be read or holds anything else: with line, key and what is allowed.
    """
    tree = read_yaml(path)
    if tree is None:
        return Constraints()
    found = _entries(_Place(path=path, key="", node=tree), KEYS)
    limits = _entries(found["plans"], None) if "plans" in found else {}
    return Constraints(
        locked=_locked(found["locked"]) if "locked" in found else frozenset(),
        plans={code: _limit(place, code, rate_plan_codes) for code, place in limits.items()},
        max_changes=_optional(found, "max_changes", _count),
        min_saving_per_change_micros=_optional(found, "min_saving_per_change", _micros) or 0,
        min_saving_micros=_optional(found, "min_saving", _micros) or 0,
    )


def locked_warnings(file: str, constraints: Constraints, fleet: pl.DataFrame) -> Warnings:
    """Warn of each locked ICCID that is no usable row of the devices."""
    locked = pl.Series(sorted(constraints.locked), dtype=pl.String)
    absent = locked.filter(~locked.is_in(fleet["iccid"].implode()))
    return warn_each(f"{file}: locked: no usable device has the ICCID {one!r}" for one in absent)


def _entries(place: _Place, allowed: Collection[str] | None) -> dict[str, _Place]:
    """Values by key, without those that are null."""
    if not isinstance(place.node, Mapping):
        example = "its keys below it, indented"
        if not place.key:
            example = f'them as min_saving: "1.50"; allowed are {", ".join(KEYS)}'
        raise place.refuse(f"holds no keys: write {example}")
    found = {}
    for name, node in place.node.entries.items():
        entry = _Place(path=place.path, key=f"{place.key}.{name}".lstrip("."), node=node)
        if allowed is not None and name not in allowed:
            raise entry.refuse(f"an unknown key: allowed are {', '.join(allowed)}")
        if not (isinstance(node, Scalar) and node.is_null):
            found[name] = entry
    return found


def _optional(found: dict[str, _Place], name: str, read: Callable[[_Place], int]) -> int | None:
    return read(found[name]) if name in found else None


def _locked(place: _Place) -> frozenset[str]:
    if not isinstance(place.node, Items):
        raise place.refuse('holds no list: write ICCIDs, one a line, as - "8901..."')
    return frozenset(
        _iccid(_Place(path=place.path, key=f"{place.key}[{number}]", node=node))
        for number, node in enumerate(place.node.items)
    )


def _iccid(place: _Place) -> str:
    scalar = place.scalar("one ICCID")
    if scalar.is_number:
        raise place.refuse(
            f"{scalar.text} is a number, in which digits and leading zeros may be lost: quote it, "
            f'as "{scalar.text}"'
        )
    text = scalar.text.strip()
    if not text or scalar.is_null:
        raise place.refuse("an empty ICCID: leave the line out")
    return text


def _limit(place: _Place, code: str, rate_plan_codes: Collection[str]) -> PlanLimit:
    if code not in rate_plan_codes:
        raise place.refuse("this code is not among the usable plans of the rate plans file")
    found = _entries(place, LIMIT_KEYS)
    limit = PlanLimit(
        min_devices=_optional(found, "min", _count), max_devices=_optional(found, "max", _count)
    )
    if (
        limit.min_devices is not None
        and limit.max_devices is not None
        and limit.min_devices > limit.max_devices
    ):
        raise place.refuse(f"min ({limit.min_devices}) is above max ({limit.max_devices})")
    return limit


def _count(place: _Place) -> int:
    text = place.scalar("one whole number").text.strip()
    if not _WHOLE.fullmatch(text) or int(text) > MAX_COUNT:
        raise place.refuse(f"{text!r} is no whole number from 0 to {MAX_COUNT}")
    return int(text)


def _micros(place: _Place) -> int:
    """Read an amount in currency units, in micro-units; one that is not whole must be quoted."""
    scalar = place.scalar("one amount")
    if not scalar.is_quoted and not _WHOLE.fullmatch(scalar.text):
        raise place.refuse(
            f"{scalar.text} is neither a whole number nor quoted: write a decimal in quotes, as "
            '"0.50", so that it is read exactly'
        )
    try:
        return to_micros(parse_decimal(scalar.text), largest=MAX_SAVING_MICROS)
    except (DataError, ValueError) as error:
        raise place.refuse(str(error)) from error
