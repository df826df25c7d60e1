"""Every error this system raises on purpose, by what the caller can do about it.

::

    CarrierOptError
    ├── InputError               a file, column, option or parameter is wrong: correct it (exit code 2)
    │   └── NotAvailableError    the part behind an option, parameter or column is not built yet
    ├── DataError                numbers out of range, plans that cannot be priced: correct the data
    │   └── InvalidRatePlansError
    ├── InfeasibleError          no assignment satisfies the named constraint
    ├── CheckFailedError         a result does not pass the independent check (O3)
    ├── CarrierError             the carrier's API
    │   ├── RetryableCarrierError        worth another try later (429, 5xx, timeouts, broken bodies)
    │   │   └── RateLimitedError
    │   ├── RejectedByCarrierError       this call is refused for good; others may pass
    │   │   └── UnknownCycleError            the carrier has no billing cycle that begins on this day
    │   ├── CarrierAuthError             credentials, role or address refused: stop the run
    │   ├── CarrierProtocolError         an answer that contradicts the API's own rules
    │   └── CarrierDownError             too many calls failed in a row: stop the run, tell operators
    ├── StorageError             the database
    │   ├── SchemaOutdatedError      migrations are missing: `carrier-opt db upgrade`
    │   ├── DatabaseUnreachableError no connection comes about
    │   └── TransientStorageError    a deadlock, a lost connection, a time-out: tried again before (D4)
    ├── ExportError              files cannot be written where they are wanted
    └── SessionError             a session cannot be opened, moved or continued
        ├── SessionBusyError     another session of the tenant is running
        ├── SyncBusyError        another process synchronises the provider
        ├── IllegalTransitionError
        ├── FencedOffError       another owner has taken this session over
        └── SessionCancelledError

A message says what is wrong, which thing, both sides where two disagree, and the remedy. It never
holds a secret.
"""

from __future__ import annotations


class CarrierOptError(Exception):
    """Base of every error that is raised on purpose."""


class InputError(CarrierOptError):
    """A file, column, option or parameter is wrong; nothing was changed."""


class NotAvailableError(InputError):
    """The part behind an option, parameter or column is not built yet; it is refused, not ignored."""

    def __init__(self, what: str, remedy: str = "leave it out") -> None:
        super().__init__(f"{what} is not available in this version: {remedy}")


class DataError(CarrierOptError):
    """Data that cannot be priced or counted exactly."""


class InvalidRatePlansError(DataError):
    """Rate plans that a group would use cannot be billed (V1, V2)."""

    def __init__(self, problems: dict[str, str]) -> None:
        self.problems = problems
        listed = "; ".join(f"{code}: {why}" for code, why in sorted(problems.items()))
        super().__init__(
            f"One or more rate plans have invalid data per overage charge or overage rate: {listed}. "
            "Correct them in the catalogue (`carrier-opt plans import`) and run again."
        )


class InfeasibleError(CarrierOptError):
    """No assignment satisfies a constraint; the message names it."""


class CheckFailedError(CarrierOptError):
    """A result or its certificate does not pass the independent check (O3).

    ``row`` is the place of the SIM at fault in its solve unit, from 0, where one SIM is.
    """

    def __init__(self, message: str, *, row: int | None = None) -> None:
        self.row = row
        super().__init__(message)


class CarrierError(CarrierOptError):
    """The carrier's API failed or refused."""


class RetryableCarrierError(CarrierError):
    """A failure that another try may cure.

    ``retry_after_s`` is how many seconds the carrier asks to wait before, None where it does not.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class RateLimitedError(RetryableCarrierError):
    """The carrier says that the account calls too often."""


class RejectedByCarrierError(CarrierError):
    """The carrier refuses this call for good."""

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None) -> None:
        self.code = code
        self.status = status
        super().__init__(message)


class UnknownCycleError(RejectedByCarrierError):
    """The carrier has no billing cycle that begins on the day that was asked for, or tells it no more."""


class CarrierAuthError(CarrierError):
    """Credentials, role or source address are refused: no call of this account can pass."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        self.code = code
        super().__init__(message)


class CarrierProtocolError(CarrierError):
    """An answer contradicts the API's own rules, such as a page limit that is never reached."""


class CarrierDownError(CarrierError):
    """Too many calls in a row failed in spite of retries, so that no more are made (C3)."""

    def __init__(self, n_failed: int, first_failure: str) -> None:
        self.first_failure = first_failure
        super().__init__(
            f"{n_failed} calls to the carrier failed in a row, so no more are made; the first "
            f"failure: {first_failure}. Run again when the carrier's API works"
        )


class StorageError(CarrierOptError):
    """The database failed or holds something else than expected."""


class SchemaOutdatedError(StorageError):
    """The database has no tables, or older ones than this version needs."""


class DatabaseUnreachableError(StorageError):
    """No connection to the database comes about: driver, network, TLS or login; the message says."""


class TransientStorageError(StorageError):
    """The database could not do it this time, and has undone it: another try may succeed (D4)."""


class ExportError(CarrierOptError):
    """Files cannot be written where they are wanted; what was there before still stands."""


class SessionError(CarrierOptError):
    """A session cannot be opened, moved or continued."""


class SessionBusyError(SessionError):
    """Another session of the tenant is running (S3)."""

    def __init__(self, message: str, *, running_session_id: int) -> None:
        self.running_session_id = running_session_id
        super().__init__(message)


class SyncBusyError(SessionError):
    """Another process synchronises the provider."""


class IllegalTransitionError(SessionError):
    """A session state may not follow another (S2)."""


class FencedOffError(SessionError):
    """Another owner has taken the session over; this one must stop writing (S2)."""


class SessionCancelledError(SessionError):
    """The session was cancelled while this run worked on it."""
