"""How far a synchronisation has come, written down with every page (C5).

Another process goes on from here: the device list from its bookmark, usage from the page of the rate
plan that was read last, if that page still holds the same SIMs, else from the plan's first page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime

from core.carriers.base import ScanBookmark


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePlace:
    """A page of the usage of one rate plan in one billing period.

    Attributes
    ----------
    page
        The page that was staged last; 0: none yet.
    digest
        Of the page's SIMs, to see whether the list is still the same.
    """

    period_id: int
    rate_plan: str
    page: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncProgress:
    """How far a run has come.

    Attributes
    ----------
    scan
        Where the device list goes on; None: not begun.
    is_listed
        Whether the device list is complete.
    usage
        The rate plan whose usage is being read; None: none yet.
    usage_done
        Period and rate plan of every usage that is complete.
    refused
        Rate plans whose usage in the current cycle the carrier refuses as a list.
    """

    scan: ScanBookmark | None = None
    is_listed: bool = False
    usage: UsagePlace | None = None
    usage_done: tuple[tuple[int, str], ...] = ()
    refused: frozenset[str] = frozenset()

    @property
    def unlisted_before(self) -> datetime | None:
        """The carrier refused to list what was modified before; None: it told everything."""
        return self.scan.unlisted_before if self.scan is not None else None

    def with_usage_done(self, period_id: int, rate_plan: str) -> SyncProgress:
        """Return it with one rate plan's usage complete."""
        done = tuple(dict.fromkeys((*self.usage_done, (period_id, rate_plan))))
        return replace(self, usage=None, usage_done=done)

    def without_period(self, period_id: int) -> SyncProgress:
        """Return it with nothing of one billing period read."""
        is_here = self.usage is not None and self.usage.period_id == period_id
        done = tuple((period, plan) for period, plan in self.usage_done if period != period_id)
        return replace(self, usage=None if is_here else self.usage, usage_done=done)

    def to_json(self) -> str:
        """Write it as text."""
        scan, usage = self.scan, self.usage
        return json.dumps(
            {
                "scan": None
                if scan is None
                else {
                    "asked_at": scan.asked_at.isoformat(),
                    "started_at": scan.started_at and scan.started_at.isoformat(),
                    "window": scan.window,
                    "page": scan.page,
                    "low": scan.low,
                    "high": scan.high,
                    "cursor": scan.cursor,
                    "unlisted_before": scan.unlisted_before and scan.unlisted_before.isoformat(),
                },
                "is_listed": self.is_listed,
                "usage": usage
                and {
                    "period_id": usage.period_id,
                    "rate_plan": usage.rate_plan,
                    "page": usage.page,
                    "digest": usage.digest,
                },
                "usage_done": self.usage_done,
                "refused": sorted(self.refused),
            }
        )

    @staticmethod
    def from_json(text: str) -> SyncProgress:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is something else, as after an update of this software.
        """
        content = json.loads(text)
        scan, usage = content["scan"], content["usage"]
        return SyncProgress(
            scan=None
            if scan is None
            else ScanBookmark(
                asked_at=datetime.fromisoformat(scan["asked_at"]),
                started_at=scan["started_at"] and datetime.fromisoformat(scan["started_at"]),
                window=scan["window"],
                page=scan["page"],
                low=scan["low"],
                high=scan["high"],
                cursor=scan["cursor"],
                unlisted_before=scan["unlisted_before"]
                and datetime.fromisoformat(scan["unlisted_before"]),
            ),
            is_listed=content["is_listed"],
            usage=usage and UsagePlace(**usage),
            usage_done=tuple((period, plan) for period, plan in content["usage_done"]),
            refused=frozenset(content.get("refused", ())),
        )
