"""``carrier-opt db``: brings the database to this version, says where it stands, looks after it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cli.database import AsJson, Database, opened
from cli.db_care import maintain_command, purge_command

app = typer.Typer(help="Looks after the database.", no_args_is_help=True)
app.command("purge")(purge_command)
app.command("maintain")(maintain_command)


@app.command("upgrade")
def upgrade_command(
    database: Database = None,
    sql: Annotated[
        bool,
        typer.Option("--sql", help="Print the T-SQL for an administrator; touches no database."),
    ] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", help="With --sql: revision that the database has, as 0005."),
    ] = None,
) -> None:
    """Create what is missing in the database; does nothing where it is up to date.

    An SQLite file is made if it is missing; on SQL Server an administrator makes the database. Safe to
    run again, also after a crash.
    """
    if since is not None and not sql:
        raise typer.BadParameter("it goes with --sql only", param_hint="--since")
    if sql:
        from core.storage.migrate import upgrade_sql

        typer.echo(upgrade_sql(since=since), nl=False)
        return
    from core.storage.engine import address_of
    from core.storage.migrate import upgrade

    with opened(database) as engine:
        before = upgrade(engine)
        name = address_of(engine)
    if before.pending:
        typer.echo(f"{name}: applied {', '.join(before.pending)}")
    else:
        typer.echo(f"{name}: up to date ({before.head})")


@app.command("roles")
def roles_command(
    schema: Annotated[str, typer.Option(help="Schema of the tables.")] = "dbo",
) -> None:
    """Print the T-SQL that gives the working and the migrating role their rights on SQL Server."""
    from core.storage.roles import roles_sql

    typer.echo(roles_sql(schema), nl=False)


@app.command("status")
def status_command(database: Database = None, as_json: AsJson = False) -> None:
    """Say which migrations the database has and lacks; changes nothing."""
    from core.storage.engine import address_of
    from core.storage.migrate import status

    with opened(database) as engine:
        found = status(engine)
        name = address_of(engine)
    if as_json:
        shown = {
            "database": name,
            "applied": list(found.applied),
            "pending": list(found.pending),
            "head": found.head,
        }
        typer.echo(json.dumps(shown, indent=2))
    elif found.is_current:
        typer.echo(f"{name}: up to date ({found.head})")
    else:
        has = f"has {found.applied[-1]}" if found.applied else "has no tables"
        typer.echo(f"{name}: {has}, lacks {', '.join(found.pending)}: run `carrier-opt db upgrade`")
