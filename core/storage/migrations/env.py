"""Run by Alembic: hands the connection of :mod:`core.storage.migrate` to the migrations."""

from __future__ import annotations

from alembic import context

from core.storage.schema import metadata


def run_offline() -> None:
    """Print the SQL instead of running it, for databases that only an administrator may change."""
    context.configure(
        dialect_name=context.config.attributes["dialect_name"],
        target_metadata=metadata,
        literal_binds=True,
    )
    # Without a connection SQLAlchemy takes SQL Server for one that has no DATE yet.
    context.get_context().dialect.server_version_info = (15,)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Run inside the caller's transaction."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
