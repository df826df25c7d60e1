"""JSON files that tell the simulator what to do: scripts of faults, and several accounts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from core.errors import InputError
from core.simulator.faults import CONTROL_CENTER_ONLY, Fault
from core.simulator.options import SimulatorOptions
from core.simulator.tariffs import unknown_plans

_Made = TypeVar("_Made")
_SECRET_OPTIONS = frozenset({"username", "api_key"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPod:
    """One of several accounts that a process serves.

    Attributes
    ----------
    name
        Also the user name, unless ``credential_ref`` leads to another.
    port
        0 takes a free one.
    credential_ref
        Where the accepted ``username:apiKey`` stands; None: ``name:simulated-key``.
    cycle_start_day
        Day of the month on which billing cycles begin, 1 to 28.
    options
        What differs from the options of the command: fields of ``SimulatorOptions``.
    """

    name: str
    devices: int = 2000
    seed: int = 1
    port: int = 0
    credential_ref: str | None = None
    cycle_start_day: int = 1
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        limits = {
            "devices": (0, 10_000_000),
            "seed": (0, 2**63 - 1),
            "port": (0, 65_535),
            "cycle_start_day": (1, 28),
        }
        for name, (least, most) in limits.items():
            if not least <= getattr(self, name) <= most:
                msg = f"{name} is {least} to {most:,}, not {getattr(self, name)}"
                raise ValueError(msg)
        if not self.name or ":" in self.name or any(c.isspace() for c in self.name):
            msg = f"name is one word without colon, not {self.name!r}"
            raise ValueError(msg)


def load_faults(path: Path, *, is_thingspace: bool = False) -> list[Fault]:
    """Read a script of faults: a list of objects with the fields of :class:`Fault`.

    Parameters
    ----------
    is_thingspace
        Whether it is for ThingSpace, to which some kinds mean nothing.

    Raises
    ------
    InputError
        Names the entry, the field and what is allowed.
    """
    faults = []
    for where, entry in _entries(path, "fault"):
        fault = _made(Fault, entry, where)
        if is_thingspace and fault.kind in CONTROL_CENTER_ONLY:
            msg = f"{where}: the kind {fault.kind.value} is for Control Center only, not ThingSpace"
            raise InputError(msg)
        faults.append(fault)
    return faults


def load_pods(path: Path, common: SimulatorOptions) -> list[tuple[SimulatedPod, SimulatorOptions]]:
    """Read several accounts: a list of objects with the fields of :class:`SimulatedPod`.

    Parameters
    ----------
    common
        Options of every account that its own ``options`` do not replace.

    Raises
    ------
    InputError
        Names the entry, the field and what is allowed, or a name or port that occurs twice.
    """
    pods = []
    for where, entry in _entries(path, "account"):
        pod = _made(SimulatedPod, {"options": {}} | entry, where)
        own = dict(pod.options)
        _check_names(own, _names(SimulatorOptions) - _SECRET_OPTIONS, f"{where}, options")
        user = {"username": pod.name, "api_key": "simulated-key"}
        options = _made(SimulatorOptions, asdict(common) | own | user, f"{where}, options")
        for plan in unknown_plans(options.plans_with_two_versions):
            msg = f"{where}, options: plans_with_two_versions: the account has no plan {plan!r}"
            raise InputError(msg)
        pods.append((pod, options))
    _check_distinct(path, [pod for pod, _ in pods])
    return pods


def _entries(path: Path, noun: str) -> list[tuple[str, dict[str, Any]]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror})"
        raise InputError(msg) from None
    except ValueError as error:
        msg = f"{path}: is not JSON ({error}); it holds a list of objects, one per {noun}"
        raise InputError(msg) from None
    if not isinstance(content, list) or not content:
        msg = f"{path}: holds no list of objects, one per {noun}"
        raise InputError(msg)
    for number, entry in enumerate(content, 1):
        if not isinstance(entry, dict):
            msg = f"{path}, {noun} {number}: is no object such as {{...}}"
            raise InputError(msg)
    return [(f"{path}, {noun} {number}", entry) for number, entry in enumerate(content, 1)]


def _made(cls: type[_Made], entry: Mapping[str, Any], where: str) -> _Made:
    _check_names(entry, _names(cls), where)
    try:
        return TypeAdapter(cls).validate_python(entry)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        is_missing = first["type"] == "missing"
        given = "" if is_missing or not field else f" = {json.dumps(first['input'], default=str)}"
        msg = f"{where}: {field}{given}{': ' if field else ''}{first['msg']}"
        raise InputError(msg) from None


def _names(cls: type[Any]) -> frozenset[str]:
    return frozenset(field.name for field in fields(cls))


def _check_names(entry: Mapping[str, Any], allowed: frozenset[str], where: str) -> None:
    for name in entry:
        if name not in allowed:
            msg = f"{where}: {name!r} is unknown; allowed: {', '.join(sorted(allowed))}"
            raise InputError(msg)


def _check_distinct(path: Path, pods: list[SimulatedPod]) -> None:
    names = [pod.name for pod in pods]
    ports = [pod.port for pod in pods if pod.port]
    for what, counts in (("name", Counter[object](names)), ("port", Counter[object](ports))):
        for value, number in counts.items():
            if number > 1:
                msg = f"{path}: {what} {value} occurs twice; every account has its own"
                raise InputError(msg)
