"""What ``carrier-opt optimize`` shows: problems of the input and progress on stderr, totals on stdout.

A table and a progress bar on a terminal; plain lines, and no progress, in a pipe. Texts from files
are shown without control characters, so that no cell can play with a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

    from core.domain import Strategy
    from core.files.inputs import Inputs
    from core.files.warnings import Warnings
    from core.outcome import GroupOutcome, Outcome
    from core.reports.results import ResultPaths

MAX_SHOWN_GROUPS = 20
"""Groups shown on the terminal; the workbook has them all."""

MAX_SHOWN_REJECTS = 20
"""Rejected rows told one by one when they stop a strict run."""

_MAX_CELL = 60
_FIRST_NUMBER = 3
_WIDTH_FOR_NAMES = 110


def strict_message(rejects: pl.DataFrame) -> str:
    """Say why a strict run stops, with the first rejected rows."""
    from core.files.rejects import reject_lines

    lines = [
        f"--strict: rejected rows: {rejects.height:,} ({_counts(rejects)}); nothing was written.",
        "Correct them, or run without --strict to leave them out:",
    ]
    lines += reject_lines(rejects, MAX_SHOWN_REJECTS)
    return "\n".join(map(printable, lines))


def show_input_problems(inputs: Inputs) -> None:
    """Tell notes, warnings and the number of rejects on stderr."""
    _tell([f"note: {note}" for note in inputs.notes])
    show_warnings(inputs.warnings)
    if inputs.rejects.height:
        counts = _counts(inputs.rejects)
        _tell([f"rejected rows: {inputs.rejects.height:,} ({counts}): see rejects.csv"])


def show_warnings(warnings: Warnings) -> None:
    """Tell the number of warnings, and the first of them, on stderr."""
    if warnings.count:
        more = warnings.count > len(warnings.listed)
        _tell([f"warnings: {warnings.count:,}" + (", the first:" if more else "")])
        _tell([f"  {text}" for text in warnings.listed])


@contextmanager
def progress_bar(step: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a step that runs, on a terminal only.

    Yields
    ------
    Callable or None
        Takes what is done and what there is to do; None in a pipe. Without a call the bar only
        shows that work goes on.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(step, total=None)

        def advance(finished: int, total: int) -> None:
            progress.update(bar, completed=finished, total=total)

        yield advance


def show_summary(outcome: Outcome, walk: Strategy | None = None) -> None:
    """Print the totals and the first groups: a table on a terminal, lines in a pipe.

    Parameters
    ----------
    walk
        The walk that ran alone, if one did.
    """
    rows = [_cells(group) for group in outcome.groups[:MAX_SHOWN_GROUPS]]
    baseline, optimized = outcome.baseline.objective_micros, outcome.optimized.objective_micros
    total = ["total", "", "", f"{outcome.devices:,}", *_costs(baseline, optimized)]
    headings = [
        "group",
        "communication plans",
        "strategy",
        "SIMs",
        "baseline",
        "optimised",
        "saved",
    ]
    if sys.stdout.isatty():
        _print_table(headings, rows, total)
    else:
        for row in (headings, *rows, total):
            sys.stdout.write("\t".join(map(printable, row)) + "\n")
    for line in _last_lines(outcome, walk):
        sys.stdout.write(f"{line}\n")


def show_files(paths: ResultPaths) -> None:
    """Print where the results are."""
    for path in (
        paths.workbook,
        paths.assignments,
        paths.certificate,
        paths.rejects,
        paths.summary,
    ):
        sys.stdout.write(f"  {path}\n")


def printable(text: str) -> str:
    """Text in which control characters are replaced, but for line ends."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def skipped_warnings(outcome: Outcome, max_rate_plans: int) -> Warnings:
    """Warn of groups that were skipped for their many rate plans (V3), with the remedy."""
    from core.files.warnings import warn_each
    from core.reports.remarks import skipped_groups_sentence

    sentence = skipped_groups_sentence(outcome)
    remedy = (
        f"Raise --max-rate-plans (now {max_rate_plans}), or list fewer rate plans per "
        "communication plan with --communication-plans."
    )
    return warn_each([f"{sentence} {remedy}"] if sentence else [])


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stderr.write(f"{printable(line)}\n")


def _counts(rejects: pl.DataFrame) -> str:
    from core.files.rejects import count_by_reason

    return ", ".join(f"{reason} {count:,}" for reason, count in count_by_reason(rejects).items())


def _cells(group: GroupOutcome) -> list[str]:
    from core.reports.summary import SKIPPED

    names = ", ".join(group.communication_plans)
    return [
        group.group_id,
        names if len(names) <= _MAX_CELL else f"{names[: _MAX_CELL - 1]}…",
        "skipped: too many rate plans" if group.status == SKIPPED else group.strategy.value,
        f"{group.devices:,}",
        *_costs(group.baseline.objective_micros, group.optimized.objective_micros),
    ]


def _costs(baseline: int, optimized: int) -> list[str]:
    from core.units import money_text as money

    return [money(baseline), money(optimized), money(baseline - optimized)]


def _last_lines(outcome: Outcome, walk: Strategy | None) -> list[str]:
    from cli.proof_lines import proof_lines
    from core.reports.constraint_remarks import why_unchanged
    from core.reports.remarks import is_all_optimal
    from core.reports.summary import savings_percent
    from core.units import money_text as money

    baseline, optimized = outcome.baseline.objective_micros, outcome.optimized.objective_micros
    lines = []
    if len(outcome.groups) > MAX_SHOWN_GROUPS:
        hidden = len(outcome.groups) - MAX_SHOWN_GROUPS
        lines.append(f"and {hidden:,} more groups: see the workbook")
    if outcome.unpriced:
        lines.append(f"unpriced SIMs, on unknown rate plans: {outcome.unpriced:,}")
    lines.append(
        f"plan changes: {outcome.plan_changes:,}, savings: {money(baseline - optimized)} "
        f"({savings_percent(baseline, optimized):.2f} %)"
    )
    unchanged = why_unchanged(outcome, walk)
    if unchanged:
        lines.append(unchanged[0].lower() + unchanged[1:].removesuffix("."))
    lines += proof_lines(
        optimized, outcome.lower_bound_micros, outcome.legacy_best_cost_micros,
        is_optimal=is_all_optimal(outcome), is_walk=walk is not None,
    )  # fmt: skip
    if outcome.taxes is not None:
        before, after = outcome.baseline_tax_micros or 0, outcome.optimized_tax_micros or 0
        lines.append(
            f"taxes, in no figure above: baseline {money(before)}, optimised {money(after)}"
        )
    return lines


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], total: list[str]) -> None:
    """Print the groups; a narrow terminal does without the names of communication plans."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    shown = [
        place for place in range(len(headings)) if place != 1 or console.width >= _WIDTH_FOR_NAMES
    ]
    table = Table(box=box.SIMPLE, pad_edge=False)
    for place in shown:
        is_number = place >= _FIRST_NUMBER
        justify: Literal["left", "right"] = "right" if is_number else "left"
        table.add_column(headings[place], justify=justify, no_wrap=is_number or place == 0)
    for row in rows:
        cells = [*row[:2], row[2].replace("_", " "), *row[_FIRST_NUMBER:]]
        table.add_row(*(Text(printable(cells[place])) for place in shown))
    table.add_section()
    table.add_row(*(Text(total[place]) for place in shown), style="bold")
    console.print(table)
