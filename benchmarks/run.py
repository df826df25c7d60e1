"""`python -m benchmarks.run [CASE …]`: runs the cases, prints tables in Markdown, writes JSON.

Numbers depend on the machine and on what else it does: compare medians and ratios of one run with
each other. Quality does not depend on it, except for optima that a limit of seconds leaves unproven.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import commands, quality, speed
from benchmarks.cases import Case
from benchmarks.records import RESULTS, Record, Store, code_version, machine, machine_line, now

CASES = {case.name: case for case in (*commands.cases(), *quality.cases(), *speed.cases())}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the named cases, or all of them but the long ones."""
    options = _parser().parse_args(arguments)
    if options.list:
        print("\n".join(_described(case) for case in CASES.values()))
        return
    unknown = sorted(set(options.cases) - set(CASES))
    if unknown:
        sys.exit(f"unknown case {', '.join(unknown)}; there are {', '.join(CASES)}")
    chosen = [CASES[name] for name in options.cases] or [
        case for case in CASES.values() if options.full or not case.is_long
    ]
    print(machine_line(), flush=True)
    report: dict[str, object] = {
        "machine": machine(),
        "code": code_version(),
        "began_at": now(),
        "cases": {},
    }
    path = RESULTS / ("full.json" if options.full else "latest.json")
    if options.cases:
        path = RESULTS / "chosen.json"
    finished: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="carrier-opt-bench-") as folder:
        for case in chosen:
            records = run_case(case, Path(folder), Store(), is_resumed=options.resume)
            table = case.table(records)
            print(f"\n**{case.name}**: {case.about}\n\n{table}", flush=True)
            finished[case.name] = {"about": case.about, "table": table, "records": records}
            _write(path, {**report, "cases": finished, "measured_at": now()})
    print(f"\nwritten to {path}")


def run_case(case: Case, folder: Path, store: Store, *, is_resumed: bool) -> list[Record]:
    """Run the tasks of a case; with ``is_resumed`` only those that this code has not finished."""
    records = []
    for number, task in enumerate(case.tasks, start=1):
        record = store.find(case.name, task.key) if is_resumed else None
        if record is None:
            print(f"{case.name} {number}/{len(case.tasks)}: {task.key}", file=sys.stderr)
            record = task.run(folder)
            store.add(case.name, task.key, record)
        records.append(record)
    return records


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="cases to run; --list shows them")
    parser.add_argument("--full", action="store_true", help="with the cases that take long")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="take what this code has already measured on this machine from records.jsonl",
    )
    parser.add_argument("--list", action="store_true", help="show the cases and end")
    return parser


def _described(case: Case) -> str:
    long = " (long)" if case.is_long else ""
    return f"{case.name:16} {case.about}{long}"


def _write(path: Path, report: dict[str, object]) -> None:
    """Replace the file as a whole, so that a killed run leaves the one before."""
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".json.tmp")
    unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


if __name__ == "__main__":
    main()
