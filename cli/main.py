"""``carrier-opt``: registers the commands and turns errors into messages and exit codes.

Exit codes: 0 finished (also with rejects), 2 wrong arguments or nothing usable, 130 Ctrl-C,
1 anything else.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from cli import credentials, db, periods, plans, providers, sessions
from cli.demo import demo
from cli.optimize import optimize
from cli.run import run
from cli.simulate import simulate_carrier
from cli.sync import sync
from cli.verify import verify
from core.errors import CarrierOptError, InputError

_INTERRUPTED = "carrier-opt: interrupted\n"


class _Commands(TyperGroup):
    """The commands; typer alone would end at Ctrl-C without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            sys.stderr.write(_INTERRUPTED)
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=_Commands,
    name="carrier-opt",
    help="Finds the cheapest assignment of SIMs to carrier rate plans, and reports it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(optimize)
app.command()(run)
app.command()(simulate_carrier)
app.command()(sync)
app.command()(verify)
app.add_typer(providers.app, name="providers")
app.add_typer(credentials.app, name="credentials")
app.add_typer(plans.app, name="plans")
app.add_typer(periods.app, name="periods")
app.add_typer(sessions.app, name="sessions")
app.add_typer(db.app, name="db")


def main() -> None:
    """Run the command line; the entry point of ``carrier-opt``."""
    _prepare_streams()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except CarrierOptError as error:
        sys.stderr.write(f"carrier-opt: {error}\n")
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        sys.stderr.write(_INTERRUPTED)
        sys.exit(130)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # else nobody reads any more
            sys.stderr.write(f"carrier-opt: reading or writing failed: {error}\n")
        _discard_stdout()
        sys.exit(1)


def _prepare_streams() -> None:
    """Let every text be shown, if need be with escapes; a stream that is closed leads nowhere."""
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _discard_stdout() -> None:
    """Lead stdout nowhere: the interpreter writes what is left there when it ends."""
    with _nowhere() as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    main()
