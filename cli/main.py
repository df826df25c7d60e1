"""``carrier-opt``: registers the commands and turns errors into messages and exit codes.

Exit codes: 0 finished (also with rejects), 2 wrong arguments or nothing usable, 130 Ctrl-C,
1 anything else.
"""

from __future__ import annotations

import sys

import typer

from cli import db, periods, plans, providers, sessions
from cli.demo import demo
from cli.optimize import optimize
from cli.run import run
from cli.simulate import simulate_carrier
from core.errors import CarrierOptError, InputError

app = typer.Typer(
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
app.add_typer(providers.app, name="providers")
app.add_typer(plans.app, name="plans")
app.add_typer(periods.app, name="periods")
app.add_typer(sessions.app, name="sessions")
app.add_typer(db.app, name="db")


def main() -> None:
    """Run the command line; the entry point of ``carrier-opt``."""
    try:
        app()
    except CarrierOptError as error:
        sys.stderr.write(f"carrier-opt: {error}\n")
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        sys.stderr.write("carrier-opt: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
