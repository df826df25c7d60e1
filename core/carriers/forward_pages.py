"""Reads a numbered list forward until the carrier says that it ends (C2).

For lists that do not shift while they are read; :mod:`core.carriers.device_scan` is for the one that
does. However a carrier answers, the reading ends: a page that keeps coming twice, a row of empty pages
of which none is the last, and a list without end are errors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from core.errors import CarrierProtocolError, RejectedByCarrierError, RetryableCarrierError

logger = logging.getLogger(__name__)

REREADS = 3
MAX_EMPTY_PAGES = 10
"""Empty pages in a row that are borne though the carrier says that more follow."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForwardPage:
    """One answer: rows, the same as the carrier sent them, and whether it called itself the last.

    Attributes
    ----------
    keys
        Columns that tell rows apart, whatever else they say.
    is_last
        None where the carrier did not say; then an empty page ends the list.
    is_full
        Whether it has as many rows as were asked for: then the page after it is looked at also where
        it calls itself the last.
    """

    number: int
    rows: pl.DataFrame
    raw: Sequence[object]
    keys: tuple[str, ...]
    is_last: bool | None
    is_full: bool = False


ReadPage = Callable[[int], ForwardPage | None]
"""Reads the page of a number, from 1; None: there is no such page."""


def forward_pages(
    read_page: ReadPage,
    *,
    max_pages: int,
    what: str,
    first_page: int = 1,
    believes_empty: bool = False,
) -> Iterator[ForwardPage]:
    """Yield the pages of a list in order; a page may come more than once.

    Parameters
    ----------
    first_page
        Where to begin, from 1.
    max_pages
        Pages after which the list is taken to never end, at least 1.
    what
        The list as errors name it.
    believes_empty
        Whether a list that begins with an empty last page is empty without a second look: for lists of
        which most are.

    Raises
    ------
    CarrierProtocolError
        If the list does not end within ``max_pages``, a page keeps coming under two numbers, or more
        than ``MAX_EMPTY_PAGES`` in a row are empty.
    """
    before: ForwardPage | None = None
    ahead: ForwardPage | None = None
    n_empty = 0
    for number in range(first_page, max(max_pages, first_page) + 1):
        if believes_empty and before is None:
            page = read_page(number)
        else:
            page = ahead or _read(read_page, number, before, what)
        if _is_repeated(page, before):
            before, page = _both_again(read_page, number, what)
            yield before
        if page is None:
            return
        yield page
        ends = page.is_last or (page.is_last is None and not page.rows.height)
        ahead = _beyond(read_page, page) if ends and page.is_full else None
        if ends and ahead is None:
            return
        n_empty = 0 if page.rows.height else n_empty + 1
        if n_empty > MAX_EMPTY_PAGES:
            msg = (
                f"{what}: the {n_empty} pages up to page {number} are empty, and yet the carrier says "
                "that more follow: run again later or tell the carrier"
            )
            raise CarrierProtocolError(msg)
        before = page
    msg = (
        f"{what} goes on after {max_pages:,} pages, far more than the account needs: it may never "
        "end; ask the carrier about the list"
    )
    raise CarrierProtocolError(msg)


def _read(
    read_page: ReadPage, number: int, before: ForwardPage | None, what: str
) -> ForwardPage | None:
    """Read a page; where it ends the list and nothing foretold that, look again before believing it."""
    page = read_page(number)
    if _has_more(page) or (before is not None and before.is_last is not False):
        return page
    page = read_page(number)
    if not _has_more(page) and before is not None and _has_rows(read_page(number + 1)):
        msg = (
            f"{what}: page {number} is empty and the last one, but page {number + 1} is not empty: "
            "run again later or tell the carrier"
        )
        raise CarrierProtocolError(msg)
    return page


def _beyond(read_page: ReadPage, last: ForwardPage) -> ForwardPage | None:
    """Read the page after one that calls itself the last; None where there are no further rows."""
    try:
        page = read_page(last.number + 1)
    except (RejectedByCarrierError, RetryableCarrierError, CarrierProtocolError) as error:
        logger.info("after a full last page: %s", error)  # so it ends, in whatever words
        return None
    return page if _has_rows(page) and not _is_repeated(page, last) else None


def _has_rows(page: ForwardPage | None) -> bool:
    return page is not None and page.rows.height > 0


def _has_more(page: ForwardPage | None) -> bool:
    """Whether a page has rows, or says that more follow."""
    return _has_rows(page) or (page is not None and page.is_last is False)


def _is_repeated(page: ForwardPage | None, before: ForwardPage | None) -> bool:
    """Whether a page has the rows of the one before: by their keys, since what they count may grow.

    Rows of which none has its first key are compared whole.
    """
    if page is None or before is None or not page.rows.height:
        return False
    has_keys = page.rows[page.keys[0]].count() > 0
    columns = page.keys if has_keys else page.rows.columns
    return page.rows.select(columns).equals(before.rows.select(columns))


def _both_again(
    read_page: ReadPage, number: int, what: str
) -> tuple[ForwardPage, ForwardPage | None]:
    """Read a page and the one before until they differ: one came under a wrong number."""
    for _ in range(REREADS):
        before, page = read_page(number - 1), read_page(number)
        if before is not None and not _is_repeated(page, before):
            return before, page
    msg = (
        f"{what}: pages {number - 1} and {number} are the same, so that it cannot be read "
        "completely: run again later or tell the carrier"
    )
    raise CarrierProtocolError(msg)
