"""What every adapter of a carrier with an HTTP API is: one account, its connections, its clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Self

from core.carriers.base import CarrierCapabilities
from core.carriers.http import CarrierHttp


class HttpAccountClient:
    """The part of :class:`core.carriers.base.CarrierClient` that is the same for every carrier.

    A context manager, which gives back connections.

    Parameters
    ----------
    clock
        Tells the time, aware and in UTC.
    """

    def __init__(
        self,
        http: CarrierHttp,
        capabilities: CarrierCapabilities,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    ) -> None:
        self._http = http
        self._capabilities = capabilities
        self._clock = clock
        self._notes: list[str] = []

    @property
    def capabilities(self) -> CarrierCapabilities:
        """What the API allows."""
        return self._capabilities

    @property
    def calls(self) -> int:
        """Calls made so far, tries included; those that only authenticate are not counted."""
        return self._http.calls

    @property
    def notes(self) -> Sequence[str]:
        """What could not be read though nothing failed, a sentence each."""
        return self._notes

    def close(self) -> None:
        """Give back connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
