"""Times whole processes from outside: wall clock and peak memory of each, medians over runs."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.tree_memory import sampled_peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One finished process: seconds of wall clock and peak memory in MiB.

    Attributes
    ----------
    peak_mib
        Largest resident memory of any single process of the run.
    peak_tree_mib
        Largest sum over the process and its children; sampled.
    """

    wall_s: float
    peak_mib: float
    peak_tree_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Several runs of one case; the median is what docs quote."""

    name: str
    runs: tuple[Run, ...]

    @property
    def wall_s(self) -> float:
        """Median wall clock in seconds."""
        return statistics.median(run.wall_s for run in self.runs)

    @property
    def peak_mib(self) -> float:
        """Median peak memory of the largest single process, in MiB."""
        return statistics.median(run.peak_mib for run in self.runs)

    @property
    def peak_tree_mib(self) -> float:
        """Median peak memory of the process with its children, in MiB."""
        return statistics.median(run.peak_tree_mib for run in self.runs)

    def as_json(self) -> dict[str, object]:
        """Everything that was measured."""
        return {
            "name": self.name,
            "median_wall_s": round(self.wall_s, 3),
            "median_peak_mib": round(self.peak_mib, 1),
            "median_peak_tree_mib": round(self.peak_tree_mib, 1),
            "runs": [asdict(run) for run in self.runs],
        }


def time_process(arguments: Sequence[str]) -> Run:
    """Run a command to its end.

    Raises
    ------
    RuntimeError
        If it fails; with the end of its output.
    """
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(arguments, stdout=output, stderr=output)  # noqa: S603 - our own commands
        with sampled_peak(process.pid) as tree:
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            tail = output.read()[-2000:].decode(errors="replace")
            msg = f"{' '.join(arguments)} ended with {process.returncode}:\n{tail}"
            raise RuntimeError(msg)
    return Run(wall_s=wall_s, peak_mib=usage.ru_maxrss / 1024, peak_tree_mib=tree.mib)


def measure(
    name: str, command: Callable[[Path], Sequence[str]], *, runs: int, folder: Path
) -> Measurement:
    """Run ``command(folder)`` ``runs`` times in the same folder."""
    return Measurement(name=name, runs=tuple(time_process(command(folder)) for _ in range(runs)))
