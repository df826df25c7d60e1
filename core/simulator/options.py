"""How the simulated Control Center behaves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal
from zoneinfo import ZoneInfo

_MONTH_SECONDS = 31 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """Switches of the simulator; the defaults are what the real API is known to do.

    Attributes
    ----------
    username, api_key
        What Basic authentication accepts. They protect nothing: the simulator holds made-up data.
    max_page_size
        Largest ``pageSize``; the real API has 50. Larger ones are for benchmarks.
    past_end
        What a page past the end gets: error 10000007, or an empty last page.
    always_says_last
        Every page of ``/usages`` and ``/rateplans`` has ``lastPage`` true, also where more follow.
    strict_dates
        Refuse a ``modifiedSince`` in the future (10002119) or over a year old (10000045), as newer
        accounts do.
    has_total_count
        Whether lists carry ``totalCount``.
    requests_per_second
        Calls a second that the account may make (real accounts: 1 to 5); None: unlimited.
    single_call
        Refuse a call while another one of the account is being served.
    strict_throttle
        Refused calls count against ``requests_per_second`` too, so that a client that hammers on
        stays locked out.
    rate_limit_status
        HTTP status that comes with error 40000029; with 200 only the body tells.
    time_zone
        The operator's zone, an IANA name: billing cycles begin at midnight there.
    rolls_over
        Begin the next cycle, with counters at 0, once the clock passes the end of the current one.
    usage_growth_percent
        What each call adds to the usage of every SIM, in percent of the fleet's usage; 0 or more.
    async_seconds
        Answer a change with 202; it lands so much later by the simulator's clock. None: at once.
    is_essential
        An account without ``/usages`` and ``usageInZone``: error 10000030.
    is_account_admin
        Whether the role of the API user includes ``/rateplans``; without it error 10000030.
    iccid_digits
        19: the 20th digit is missing everywhere. 20: ICCIDs of 19 digits have a check digit more.
        "both": lists have the fleet's own form, and answers about one SIM the other form. In all
        three cases either form is accepted in a path. None: the fleet's own form, and only that.
    has_unknown_plan_types
        ``/rateplans`` also lists plans of types that cannot be optimised: event, prepaid, fixed
        pool. No SIM has them and none can be put on them.
    plans_with_two_versions
        Names of plans of which two versions are in use: odd rows of the fleet are on the newer one.
    versions_in_use
        Numbers of those two versions, the newer one last; there may be versions in between.
    splits_usage_by_version
        Every SIM of those plans had half of its usage on each of the two versions.
    version_answers
        What ``/usages`` says to a ``ratePlanVersion`` that the plan does not have: error 10000028, or
        an empty list. "ignored": the parameter means nothing, whatever it is. "refused": every
        call with it is error 10000028. In these two cases the list is of all versions together.
    """

    username: str = "simulator"
    api_key: str = field(default="simulated-key", repr=False)
    max_page_size: int = 50
    past_end: Literal["error", "empty"] = "error"
    always_says_last: bool = False
    strict_dates: bool = False
    has_total_count: bool = False
    requests_per_second: float | None = None
    single_call: bool = False
    strict_throttle: bool = False
    rate_limit_status: Literal[200, 400, 429] = 400
    time_zone: str = "UTC"
    rolls_over: bool = False
    usage_growth_percent: int = 0
    async_seconds: float | None = None
    is_essential: bool = False
    is_account_admin: bool = True
    iccid_digits: Literal[19, 20, "both"] | None = None
    has_unknown_plan_types: bool = False
    plans_with_two_versions: tuple[str, ...] = ()
    versions_in_use: tuple[int, int] = (1, 2)
    splits_usage_by_version: bool = False
    version_answers: Literal["error", "empty", "ignored", "refused"] = "error"

    def __post_init__(self) -> None:
        if not 1 <= self.max_page_size <= 10_000:
            msg = f"the largest page has 1 to 10,000 rows, not {self.max_page_size}"
            raise ValueError(msg)
        rate = self.requests_per_second
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            msg = f"requests per second is a number above 0, not {rate}; leave it out for no limit"
            raise ValueError(msg)
        older, newer = self.versions_in_use
        if not 1 <= older < newer:
            msg = f"the two versions in use are 1 or more and rise, not {older} and {newer}"
            raise ValueError(msg)
        if self.usage_growth_percent < 0:
            msg = f"usage growth is 0 or more percent, not {self.usage_growth_percent}"
            raise ValueError(msg)
        if self.async_seconds is not None and not 0 <= self.async_seconds <= _MONTH_SECONDS:
            msg = f"changes land 0 to {_MONTH_SECONDS:,} seconds later, not {self.async_seconds}"
            raise ValueError(msg)
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            msg = f"time zone {self.time_zone!r} is unknown: write an IANA name such as America/Chicago"
            raise ValueError(msg) from None
