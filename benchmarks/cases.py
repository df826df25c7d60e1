"""The shape of a benchmark: a case is a list of tasks, and a table of what they found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One measurement.

    Attributes
    ----------
    key
        Unique within the case; says everything that the result depends on but the code.
    run
        Measures, with a folder that all tasks of a run share.
    """

    key: str
    run: Callable[[Path], Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A named benchmark.

    Attributes
    ----------
    about
        What is measured, in one line.
    tasks
        In the order in which they run.
    table
        Makes Markdown of all records, in the order of the tasks.
    is_long
        Left out of ``make bench``, unless it is named.
    """

    name: str
    about: str
    tasks: tuple[Task, ...]
    table: Callable[[Sequence[Record]], str]
    is_long: bool = False


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lay out a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
