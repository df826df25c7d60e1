"""What a database has to offer: the functions of :mod:`core.storage.sqlite` and of ``mssql``.

Both modules are one value of this protocol each; :func:`core.storage.engine.dialect_of` finds the one
of an engine or connection. Nothing outside the two asks which database it is talking to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import polars as pl
import sqlalchemy as sa


class Dialect(Protocol):
    """The differences between the databases (D1)."""

    def create(self, url: sa.URL) -> sa.Engine:
        """Make the engine of an address; connects to nothing yet.

        Raises
        ------
        StorageError
            If the address cannot be used.
        """

    def address(self, url: sa.URL) -> str:
        """Tell an address for messages; it holds no password."""

    def exists(self, engine: sa.Engine) -> bool:
        """Whether there is a database to ask; asking SQLite would make an empty file."""

    def prepare(self, engine: sa.Engine) -> None:
        """Make what has to be there before the first migration."""

    def lock_migrations(self, connection: sa.Connection) -> None:
        """Keep other upgrades away until the transaction ends."""

    def begin_reading(self, connection: sa.Connection) -> None:
        """Make the transaction that follows one consistent view."""

    def held(self, statement: sa.Select[Any], table: sa.Table) -> sa.Select[Any]:
        """Keep the rows of a table that a statement reads as they are until the transaction ends."""

    def append_only_statements(self, table: str) -> list[str]:
        """Spell the triggers that refuse to change or delete rows of a table (D5)."""

    def to_driver(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Bring dates and moments into what the driver takes in bulk."""

    def read_slices(
        self,
        connection: sa.Connection,
        statement: sa.Select[tuple[object, ...]],
        schema: Mapping[str, pl.DataType],
        n_rows: int,
    ) -> Iterator[pl.DataFrame]:
        """Run a statement and hand out its rows in slices, within the connection's transaction."""

    def read_slices_in_bulk(
        self,
        connection: sa.Connection,
        statement: sa.Select[tuple[object, ...]],
        schema: Mapping[str, pl.DataType],
        n_rows: int,
    ) -> Iterator[pl.DataFrame]:
        """Do the same by the fastest way there is, of a connection that only reads."""

    def maintenance_statements(
        self, table_names: Sequence[str], *, full: bool, rebuild: bool
    ) -> list[str]:
        """Spell what looks after statistics and indexes, in the order in which it runs (R5)."""

    def run_each(self, engine: sa.Engine, statements: Sequence[str]) -> Iterator[str]:
        """Run statements that no transaction may be around; tells each before it runs.

        Raises
        ------
        StorageError
            If one fails; those before it have had their effect.
        """
