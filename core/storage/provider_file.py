"""Reads service providers from a table: one row each, columns named as in ``ProviderSettings``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from core.domain import PoolScope, ProrationBasis
from core.errors import InputError
from core.files.tables import read_table
from core.files.values import boolean_or_none
from core.storage.records import ProviderSettings, largest_page

REQUIRED = ("name", "tenant", "integration", "base_url", "credential_ref", "time_zone")
"""Columns that a providers file must have, filled in every row."""

OPTIONAL = (
    "start_hour", "billable_statuses", "proration", "proration_basis", "pool_scope", "pooling",
    "mb_bytes", "currency", "page_size", "requests_per_second",
)  # fmt: skip
"""Columns that it may have; an empty cell takes the default of `providers add`."""


UNTHROTTLED = "unthrottled"
"""Instead of a number in ``requests_per_second``: an account without a limit, as simulators have."""


def read_providers(path: Path) -> tuple[list[ProviderSettings], tuple[str, ...]]:
    """Read a providers file.

    Returns
    -------
    tuple
        The providers in the order of the file, and notes on how it was read.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, is empty, or a row cannot be used; the message
        names row and column. Cells of ``credential_ref`` are never repeated.
    """
    table = read_table(path, required=REQUIRED, optional=OPTIONAL)
    if table.rejects.height:
        row = table.rejects["row"][0]
        raise InputError(f"{path}: row {row} has more or fewer fields than the header")
    columns = {name: table.text(name).to_list() for name in (*REQUIRED, *OPTIONAL)}
    if not len(table.rows):
        raise InputError(f"{path}: there are no rows below the header")
    providers: dict[tuple[str, str], ProviderSettings] = {}
    for place, row in enumerate(table.rows):
        cells = {name: texts[place] for name, texts in columns.items()}
        try:
            settings = _settings(cells)
        except InputError as error:
            raise InputError(f"{path}: row {row}: {error}; nothing was imported") from error
        key = (settings.tenant, settings.name)
        if key in providers:
            msg = (
                f"{path}: row {row}: provider {settings.name!r} of tenant {settings.tenant!r} "
                "stands there twice; nothing was imported"
            )
            raise InputError(msg)
        providers[key] = settings
    return list(providers.values()), table.notes


def split_statuses(text: str) -> tuple[str, ...]:
    """Part a list of statuses at its ';'."""
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _settings(cells: Mapping[str, str | None]) -> ProviderSettings:
    missing = [name for name in REQUIRED if cells[name] is None]
    if missing:
        raise InputError(f"column {missing[0]} is empty")
    given: dict[str, Any] = {name: cells[name] for name in REQUIRED}
    for name, (field, convert) in _CONVERTED.items():
        text = cells[name]
        if text is not None:
            given[field] = _converted(name, text, convert)
    given.setdefault("page_size", largest_page(given["integration"]))
    return ProviderSettings(**given)


def _converted(column: str, text: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(text)
    except ValueError as error:
        raise InputError(f"column {column}: {text!r} cannot be read: {error}") from error


def _boolean(text: str) -> bool:
    value = boolean_or_none(text)
    if value is None:
        msg = "write true or false"
        raise ValueError(msg)
    return value


def _one_of(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    def convert(text: str) -> StrEnum:
        if text not in list(kind):
            msg = f"write {' or '.join(kind)}"
            raise ValueError(msg)
        return kind(text)

    return convert


def _rate(text: str) -> float | None:
    return None if text == UNTHROTTLED else float(text)


_CONVERTED: dict[str, tuple[str, Callable[[str], Any]]] = {
    "start_hour": ("start_hour", int),
    "billable_statuses": ("billable_statuses", split_statuses),
    "proration": ("uses_proration", _boolean),
    "proration_basis": ("proration_basis", _one_of(ProrationBasis)),
    "pool_scope": ("pool_scope", _one_of(PoolScope)),
    "pooling": ("pooling_enabled", _boolean),
    "mb_bytes": ("mb_bytes", int),
    "currency": ("currency", str),
    "page_size": ("page_size", int),
    "requests_per_second": ("requests_per_second", _rate),
}
"""Optional column to field of ProviderSettings and how its text is read."""
