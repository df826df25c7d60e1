"""How the simulated Control Center behaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


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
    strict_dates
        Refuse a ``modifiedSince`` in the future (10002119) or over a year old (10000045), as newer
        accounts do.
    has_total_count
        Whether lists carry ``totalCount``.
    requests_per_second
        Calls a second that the account may make (real accounts: 1 to 5); None: unlimited.
    single_call
        Refuse a call while another one of the account is being served.
    rate_limit_status
        HTTP status that comes with error 40000029.
    """

    username: str = "simulator"
    api_key: str = field(default="simulated-key", repr=False)
    max_page_size: int = 50
    past_end: Literal["error", "empty"] = "error"
    strict_dates: bool = False
    has_total_count: bool = False
    requests_per_second: float | None = None
    single_call: bool = False
    rate_limit_status: Literal[400, 429] = 400

    def __post_init__(self) -> None:
        if not 1 <= self.max_page_size <= 10_000:
            msg = f"the largest page has 1 to 10,000 rows, not {self.max_page_size}"
            raise ValueError(msg)
        if self.requests_per_second is not None and self.requests_per_second <= 0:
            msg = "requests per second must be above 0; leave it out for an unlimited account"
            raise ValueError(msg)
