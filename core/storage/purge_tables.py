"""Which tables a purge empties, children first, and by which keys it walks them (R5).

Order and keys are read from the schema itself: a table that is added later and refers to a purged one
is emptied before it, without being named here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import sqlalchemy as sa

KEPT = frozenset({"AmopOutbox", "Device", "DeviceSyncRun", "RatePlanChange", "RunSlot"})
"""Tables that refer to a session or a synchronisation run and outlive its results."""

_Columns = tuple[sa.Column[Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeTable:
    """A table whose rows go with their session or synchronisation run.

    Attributes
    ----------
    owner
        The foreign key by which a row belongs to the next table on the way to the root.
    key
        Columns that tell the rows of one owner apart, never null; with ``owner`` in front an index
        has them in this order, so that a slice of them is found without a search of the table.
    parent
        The table that ``owner`` refers to; None where that is the root.
    """

    table: sa.Table
    owner: sa.Column[Any]
    key: _Columns
    parent: PurgeTable | None

    def count_by_owner(self, root_id: int) -> sa.Select[int, int]:
        """Select the owners under a root, ascending, each with the number of its rows."""
        joined: sa.FromClause = self.table
        step = self
        while step.parent is not None:
            (to,) = step.owner.foreign_keys
            joined = joined.join(step.parent.table, step.owner == to.column)
            step = step.parent
        return (
            sa.select(self.owner, sa.func.count())
            .select_from(joined)
            .where(step.owner == root_id)
            .group_by(self.owner)
            .order_by(self.owner)
        )

    def bound(self, owner_id: int, n_rows: int) -> sa.Select[Any]:
        """Select the key of the last of an owner's first ``n_rows`` rows; no row if it has fewer."""
        return (
            sa.select(*self.key)
            .where(self.owner == owner_id)
            .order_by(*self.key)
            .offset(n_rows - 1)
            .limit(1)
        )

    def delete_owned(self, owner_ids: Sequence[int]) -> sa.Delete:
        """Delete all rows of some owners."""
        return sa.delete(self.table).where(self.owner.in_(owner_ids))

    def delete_up_to(self, owner_id: int, bound: Sequence[Any]) -> list[sa.Delete]:
        """Delete an owner's rows up to a key: a statement per column, as no row is compared whole."""
        last = len(self.key) - 1
        statements = []
        for place, column in enumerate(self.key):
            ahead = [self.key[i] == bound[i] for i in range(place)]
            end = column <= bound[place] if place == last else column < bound[place]
            statements.append(sa.delete(self.table).where(self.owner == owner_id, *ahead, end))
        return statements


def purge_tables(root: sa.Table) -> tuple[PurgeTable, ...]:
    """List the tables whose rows belong to a row of ``root``, children first; without ``KEPT``.

    Raises
    ------
    ValueError
        If one of them has no index by which its rows are found.
    """
    found: dict[sa.Table, PurgeTable | None] = {root: None}
    frontier = [root]
    while frontier:
        reached: dict[sa.Table, PurgeTable | None] = {}
        for table in root.metadata.sorted_tables:
            owner = _reference(table, frontier)
            if owner is None or table in found or table.name in KEPT:
                continue
            (to,) = owner.foreign_keys
            reached[table] = PurgeTable(
                table=table,
                owner=owner,
                key=_key_within(table, owner),
                parent=found[to.column.table],
            )
        found |= reached
        frontier = list(reached)
    in_order = (found.get(table) for table in reversed(root.metadata.sorted_tables))
    return tuple(table for table in in_order if table is not None)


def _reference(table: sa.Table, targets: Sequence[sa.Table]) -> sa.Column[Any] | None:
    """Choose the column that refers to one of the targets; one that is never null where there is."""
    columns = [
        key.parent
        for key in sorted(table.foreign_keys, key=lambda key: key.parent.name)
        if key.column.table in targets
    ]
    return min(columns, key=lambda column: bool(column.nullable), default=None)


def _key_within(table: sa.Table, owner: sa.Column[Any]) -> _Columns:
    for columns, is_unique in _indexes(table):
        if columns[0] is not owner:
            continue
        known = tuple(takewhile(lambda column: not column.nullable, columns[1:]))
        if is_unique and len(known) == len(columns) - 1:
            return known
        further = (c for c in table.primary_key.columns if c is not owner and c not in set(known))
        return (*known, *further)
    msg = f"{table.name} has no index that begins with {owner.name}: its rows cannot be purged"
    raise ValueError(msg)


def _indexes(table: sa.Table) -> Iterator[tuple[_Columns, bool]]:
    """Yield the columns of each index of all rows, unique ones first."""
    yield tuple(table.primary_key.columns), True
    for constraint in sorted(table.constraints, key=lambda one: str(one.name)):
        if isinstance(constraint, sa.UniqueConstraint):
            yield tuple(constraint.columns), True
    for index in sorted(table.indexes, key=lambda one: (not one.unique, str(one.name))):
        if index.dialect_options["sqlite"]["where"] is None:
            yield tuple(index.columns), bool(index.unique)
