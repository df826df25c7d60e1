"""What was measured, on which machine, with which code; kept so that a long run can continue.

Every finished task is one line of ``benchmarks/results/records.jsonl``, found again by case, task,
version of the code and machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
RECORDS = RESULTS / "records.jsonl"
_MEASURED = ("core", "cli", "flows", "tasks", "benchmarks", "requirements")

Record = dict[str, Any]
"""What one task found, as JSON."""


@cache
def machine() -> dict[str, object]:
    """Cores, memory, processor and the versions that a result depends on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "processor": _processor(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "numba", "polars", "highspy")},
    }


def machine_line() -> str:
    """Say the machine in one line, as tables are headed."""
    facts = machine()
    return (
        f"{facts['cores']} cores of {facts['processor']}, {facts['memory_gib']} GiB, "
        f"Python {facts['python']}, NumPy {facts['numpy']}, Numba {facts['numba']}, "
        f"Polars {facts['polars']}, HiGHS {facts['highspy']}"
    )


@cache
def code_version() -> str:
    """Twelve digits of a hash over the measured code, whether it is committed or not."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for folder in _MEASURED:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".py", ".txt"):
                digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The finished tasks in a file of JSON lines."""

    path: Path = RECORDS

    def find(self, case: str, task: str) -> Record | None:
        """Return the last record of this task by this code on this machine, or None."""
        found = None
        for entry in self._entries():
            if entry["case"] == case and entry["task"] == task and _is_comparable(entry):
                found = entry["record"]
        return found

    def add(self, case: str, task: str, record: Record) -> None:
        """Append a finished task, in one write."""
        entry = {
            "case": case,
            "task": task,
            "code": code_version(),
            "machine": machine(),
            "measured_at": now(),
            "record": record,
        }
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(entry))  # a killed run may have left half a line

    def _entries(self) -> Iterator[Record]:
        """Whole lines; what a killed run left of its last one is not counted."""
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            with suppress(json.JSONDecodeError):
                yield json.loads(line)


def now() -> str:
    """Return the time of a measurement, UTC, ISO 8601."""
    return datetime.now(tz=UTC).isoformat(timespec="seconds")


def _is_comparable(entry: Record) -> bool:
    return bool(entry["code"] == code_version() and entry["machine"] == machine())


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
