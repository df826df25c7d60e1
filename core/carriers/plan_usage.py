"""Usage lists of Control Center: a rate plan's usage in a cycle, over all versions of the plan (C7).

The platform tells the usage on a plan's newest version, and on an older one where that is asked for.
The list of rate plans says which version is the newest. Accounts that take no notice of the version
answer with the same list whichever is asked for: they are found out by asking for a version that
cannot exist.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import chain
from typing import Any

from core.carriers.base import USAGE_PAGE_SCHEMA, UsagePage
from core.carriers.forward_pages import ForwardPage, forward_pages
from core.carriers.http import JsonReply
from core.carriers.json_values import count, flag, frame, objects, sum_counts, text
from core.errors import (
    CarrierError,
    CarrierProtocolError,
    RateLimitedError,
    RejectedByCarrierError,
    RetryableCarrierError,
)

logger = logging.getLogger(__name__)

MOST_VERSIONS = 20
"""Versions of a plan that are asked for at most, counted from the newest."""

UNUSED_VERSIONS = 3
"""Older versions in a row without usage after which no older one is asked for."""

LONGEST_ZONE = 128
"""UTF-16 units that the name of a zone has at most; of a longer one a digest replaces the end."""

_BEYOND_THE_NEWEST = 1000

ReadVersion = Callable[[int | None], Iterator[UsagePage]]
"""Reads the list of usage on one version of a plan; None: without naming a version."""


@dataclass(slots=True, kw_only=True)
class PlanUsage:
    """Reads the usage lists of one account.

    Attributes
    ----------
    read_page
        Reads a page of ``/usages`` by parameters and number; None: there is no such page.
    read_plans
        Reads the account's rate plans as the carrier sends them.
    page_size
        SIMs, or rows of SIMs and zones, that a page has at most.
    notes
        Takes a sentence on each kind of usage that could not be read.
    newest_versions
        Newest version by rate plan; None: not read yet.
    tells_versions
        Whether usage is told by version; False also where the carrier failed when that was to be found
        out; None: not known yet.
    """

    read_page: Callable[[Mapping[str, str], int], JsonReply | None]
    read_plans: Callable[[], Iterable[Mapping[str, Any]]]
    page_size: int
    notes: list[str]
    newest_versions: dict[str, int] | None = None
    tells_versions: bool | None = None
    _unlisted: CarrierError | None = field(default=None, init=False)

    def pages(
        self, rate_plan: str, cycle_start: date, *, max_pages: int, first_page: int
    ) -> Iterator[UsagePage]:
        """Read a plan's usage, the newest version from ``first_page`` on and then the older ones.

        Raises
        ------
        CarrierError
            If a list cannot be read completely; a version that is refused from its first page on
            ends the reading instead.
        """
        # The list without a version must not be the older one: of a plan published in between.
        newest = self._newest_version(rate_plan)

        def read(version: int | None, first: int = 1) -> Iterator[UsagePage]:
            pages = forward_pages(
                partial(self._page, rate_plan, cycle_start, version),
                max_pages=max_pages,
                what=f"usage of rate plan {rate_plan!r}",
                first_page=first,
                believes_empty=version is not None and version < newest,
            )
            for page in pages:
                yield UsagePage(number=page.number, rows=page.rows, raw=page.raw)

        yield from read(None, first_page)
        if self._unlisted is not None:
            self._note(
                "usage on older versions of rate plans is not read, because the carrier's rate plans "
                f"cannot be listed: {self._unlisted}"
            )
        yield from self._older_pages(rate_plan, read, newest)

    def _older_pages(self, rate_plan: str, read: ReadVersion, newest: int) -> Iterator[UsagePage]:
        oldest = max(newest - MOST_VERSIONS + 1, 1)
        n_unused = 0
        for version in range(newest - 1, oldest - 1, -1):
            if self.tells_versions is False or n_unused == UNUSED_VERSIONS:
                return
            pages = self._begun(rate_plan, version, read, newest)
            if pages is None:
                return
            n_unused += 1
            for page in pages:
                if not page.rows.height:
                    continue
                if not self._is_by_version(read, newest):
                    return
                if page.rows["is_told"].any():
                    n_unused = 0
                yield page
        if oldest > 1:
            self._note(
                f"usage on versions of rate plan {rate_plan!r} before number {oldest} is not read"
            )

    def _begun(
        self, rate_plan: str, version: int, read: ReadVersion, newest: int
    ) -> Iterator[UsagePage] | None:
        """Begin to read an older version; None where its first page is refused."""
        pages = read(version)
        try:
            first = next(pages, None)
        except RejectedByCarrierError as error:
            logger.info("version %d of rate plan %r: %s", version, rate_plan, error)
            self._note_refusal(read, newest, error)
            return None
        return chain([] if first is None else [first], pages)

    def _is_by_version(self, read: ReadVersion, newest: int) -> bool:
        """Whether rows that came for an older version are of that version.

        To be asked when there are such rows: where versions mean nothing, a version that cannot exist
        has them, too, since usage does not vanish within a cycle.
        """
        if self.tells_versions is None:
            self.tells_versions = self._find_out(read(newest + _BEYOND_THE_NEWEST))
        return self.tells_versions

    def _find_out(self, impossible: Iterator[UsagePage]) -> bool:
        """Whether a version that cannot exist has no usage; False where the carrier cannot answer."""
        try:
            has_rows = any(page.rows.height for page in impossible)
        except RateLimitedError:
            raise
        except RejectedByCarrierError as error:
            logger.info("a version that cannot exist: %s", error)
            return True
        except (RetryableCarrierError, CarrierProtocolError) as error:
            self._note(
                "usage on older versions of rate plans is not read in this run, because the carrier "
                f"failed when it was to be found out whether it tells usage by version: {error}"
            )
            return False
        if has_rows:
            self._note(
                "the carrier tells the same usage whatever version of a rate plan is asked for: it "
                "is counted once; ask the carrier whether it is the usage on all versions"
            )
        return not has_rows

    def _note_refusal(self, read: ReadVersion, newest: int, error: CarrierError) -> None:
        """Tell a version that is no more from an account that refuses to hear of versions."""
        if self.tells_versions is not None:
            return
        try:
            next(read(newest), None)
        except RejectedByCarrierError:
            self.tells_versions = False
            self._note(
                "usage on older versions of rate plans is not read, because the carrier refuses to "
                f"tell it by version: {error}"
            )

    def _newest_version(self, rate_plan: str) -> int:
        """Return a plan's newest version; 1 where the account does not list the plan."""
        if self.newest_versions is None:
            found = self.newest_versions = {}
            try:
                for plan in self.read_plans():
                    code, version = text(plan.get("name")) or "", count(plan.get("version"))
                    found[code] = max(version or 1, found.get(code, 1))
            except CarrierError as error:  # what else it refuses, the next call tells
                logger.info("versions of rate plans are unknown: %s", error)
                self._unlisted = error
        return self.newest_versions.get(rate_plan, 1)

    def _page(
        self, rate_plan: str, cycle_start: date, version: int | None, number: int
    ) -> ForwardPage | None:
        params = {"ratePlanName": rate_plan, "cycleStartDate": cycle_start.isoformat()}
        if version is not None:
            params["ratePlanVersion"] = str(version)
        reply = self.read_page(params, number)
        if reply is None:
            return None
        what = f"GET /usages of {rate_plan!r}, page {number}"
        rows: list[tuple[object, ...]] = []
        raw: list[object] = []
        zones = objects(reply.content, "zones", what)
        for zone, name in zip(zones, _zone_names(zones), strict=True):
            key = _shortened(name if version is None else f"{version}: {name}")
            for device in objects(zone, "devices", what):
                rows.append(_usage_row(key, device))
                raw.append(device)
        is_last = flag(reply.content.get("lastPage"))
        usage = frame(rows, USAGE_PAGE_SCHEMA)
        n_sims = usage["iccid"].n_unique()
        return ForwardPage(
            number=number,
            rows=usage,
            raw=raw,
            keys=("iccid", "zone"),
            is_last=is_last,
            is_full=usage.height == self.page_size or n_sims >= self.page_size,
        )

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _zone_names(zones: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Names of a page's zones; one without a name has its place among those, so that they add up."""
    n_unnamed = 0
    for zone in zones:
        name = text(zone.get("zone")) or ""
        n_unnamed += not name.strip()
        yield name if name.strip() else f"(unnamed {n_unnamed})"


def _shortened(name: str) -> str:
    """Cut a long name so that it fits where usage is staged, and differs from all others still."""
    units = name.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * LONGEST_ZONE:
        return name
    digest = hashlib.sha256(units).hexdigest()[:16]
    kept = units[: 2 * (LONGEST_ZONE - len(digest) - 1)].decode("utf-16-le", "ignore")
    return f"{kept}#{digest}"


def _usage_row(zone: str, device: Mapping[str, Any]) -> tuple[object, ...]:
    usage = device.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    sms, voice = (
        sum_counts(told_count(usage.get(f"{kind}MOUsage")), told_count(usage.get(f"{kind}MTUsage")))
        for kind in ("sms", "voice")
    )
    return text(device.get("deviceId")), zone, *usage_numbers(usage.get("dataUsage"), sms, voice)


def told_count(value: object) -> int | None:
    """Read a count; empty text tells as little as null, and counts 0."""
    return count(None if _is_empty(value) else value)


def usage_numbers(
    data: object, sms: int | None, voice: int | None
) -> tuple[int | None, int | None, int | None, bool]:
    """Return data, SMS and voice of a row, and whether it tells any usage (U1).

    Data that is not told is 0 beside SMS or voice that was used; a row without any tells nothing.
    """
    is_told = not _is_empty(data) or sms != 0 or voice != 0
    return told_count(data), sms, voice, is_told


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
