"""Calls to a carrier over HTTP: politeness, limits, retries by error class, a breaker (C3).

This module owns the seam to httpx: whatever that library raises leaves here as one of
:class:`core.errors.CarrierError`. Credentials go into the request and nowhere else.

No answer holds a call for longer than ``DEADLINE_FACTOR`` times the timeout, however it drips in, or
takes more memory than ``LARGEST_BODY``.
"""

from __future__ import annotations

import base64
import ipaddress
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx
import stamina

from core.carriers.deadline import Connections, Deadline
from core.carriers.envelopes import (
    CarrierFault,
    ErrorCodes,
    JsonReply,
    is_among,
    json_object,
    read_fault,
    retry_after_s,
    served_at,
)
from core.carriers.limiter import Limiter
from core.errors import (
    CarrierAuthError,
    CarrierDownError,
    CarrierError,
    CarrierProtocolError,
    InputError,
    RateLimitedError,
    RejectedByCarrierError,
    RetryableCarrierError,
)

__all__ = [
    "BREAKER_LIMIT",
    "DEADLINE_FACTOR",
    "LARGEST_BODY",
    "CarrierFault",
    "CarrierHttp",
    "ErrorCodes",
    "JsonReply",
    "RetryPolicy",
]

logger = logging.getLogger(__name__)

BREAKER_LIMIT = 5
"""Failed calls in a row, after retries, that are borne; the next one opens the breaker."""

DEADLINE_FACTOR = 2
"""A whole call may last so many timeouts; each step of it has one."""

LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of the largest answer, decoded; a page of the largest size has far less than one MiB."""

_CODINGS = ("", "identity", "gzip", "x-gzip", "deflate")  # one of them, never one inside another


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a call is tried: exponential backoff with jitter.

    Attributes
    ----------
    attempts
        Tries in all, at least 1.
    wait_initial_s, wait_max_s, wait_jitter_s
        First and longest pause, and the most that chance adds. A carrier that says how long to wait
        (``Retry-After``) is waited for that long instead.
    """

    attempts: int = 6
    wait_initial_s: float = 1.0
    wait_max_s: float = 30.0
    wait_jitter_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    headers: httpx.Headers
    body: bytes
    repeats_credentials: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What is asked for; one that writes has an answer in a 2xx, whatever its body is."""

    method: str
    path: str
    params: Mapping[str, str | int] | None = None
    body: Mapping[str, object] | None = None
    array_key: str | None = None
    is_write: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class CarrierHttp:
    """JSON calls to one account.

    Parameters
    ----------
    base_url
        ``https://host``; ``http://`` is accepted for this machine's own addresses only.
    auth
        Puts credentials into a request; calls that it makes for that have turns of their own.
    limiter
        Shared by all clients of the account.
    codes
        The carrier's error codes by class.
    read_error
        Finds the error in the carrier's envelope.
    timeout_s
        Limit of each step of a call, in seconds; that of a whole call is ``DEADLINE_FACTOR`` times it.

    Attributes
    ----------
    calls
        Calls made so far, tries included.
    seconds
        Time that they took, waiting for the account's turn left out.

    Raises
    ------
    InputError
        If the address is not one that credentials may be sent to.
    """

    def __init__(
        self,
        base_url: str,
        auth: httpx.Auth,
        *,
        limiter: Limiter,
        codes: ErrorCodes,
        read_error: Callable[[Mapping[str, Any]], CarrierFault] = read_fault,
        retry: RetryPolicy | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        url = _checked_address(base_url)
        self._auth = auth
        self._limiter = limiter
        self._codes = codes
        self._read_error = read_error
        self._retry = retry or RetryPolicy()
        self._deadline_s = DEADLINE_FACTOR * timeout_s
        self._connections = Connections()
        self._failures = 0
        self._first_failure = ""
        self.calls = 0
        self.seconds = 0.0
        self._client = httpx.Client(
            base_url=base_url,
            headers={"Accept": "application/json", "Accept-Encoding": "gzip, deflate"},
            timeout=timeout_s,
            trust_env=not _is_local(url.host),  # a proxy is for hosts outside
            verify=url.scheme == "https",  # without TLS there is no certificate to load
            follow_redirects=False,  # credentials go to the configured host only
        )

    @property
    def mean_response_s(self) -> float | None:
        """Seconds that a call took on average; None before the first."""
        return self.seconds / self.calls if self.calls else None

    def get(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        array_key: str | None = None,
    ) -> JsonReply:
        """Read, and try again where another try may help.

        Parameters
        ----------
        array_key
            An array in place of an object is accepted, and stands in the reply under this key; None:
            it is not.

        Raises
        ------
        CarrierError
            By what the caller can do; also, at once, when the breaker is open.
        """
        return self._repeated(_Call(method="GET", path=path, params=params, array_key=array_key))

    def post(self, path: str, body: Mapping[str, object], *, retry: bool = True) -> JsonReply:
        """Read by POST like :meth:`get`, or write.

        Parameters
        ----------
        retry
            False for what changes something: it is sent once, as by :meth:`put`.

        Raises
        ------
        CarrierError
            As :meth:`get`.
        """
        if retry:
            return self._repeated(_Call(method="POST", path=path, body=body))
        call = _Call(method="POST", path=path, body=body, is_write=True)
        return self._counted(call, is_last_try=True)

    def put(self, path: str, body: Mapping[str, object]) -> JsonReply:
        """Write, once: whether a lost answer took effect is for the caller to read back.

        A success without a JSON object is one: the reply's content is empty.
        """
        call = _Call(method="PUT", path=path, body=body, is_write=True)
        return self._counted(call, is_last_try=True)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _repeated(self, call: _Call) -> JsonReply:
        for attempt in stamina.retry_context(
            on=_backoff,
            attempts=self._retry.attempts,
            timeout=None,
            wait_initial=self._retry.wait_initial_s,
            wait_max=self._retry.wait_max_s,
            wait_jitter=self._retry.wait_jitter_s,
        ):
            with attempt:
                is_last_try = attempt.num >= self._retry.attempts
                return self._counted(call, is_last_try=is_last_try)
        raise AssertionError("unreachable")  # pragma: no cover

    def _counted(self, call: _Call, *, is_last_try: bool) -> JsonReply:
        if self._failures > BREAKER_LIMIT:
            raise CarrierDownError(self._failures, self._first_failure)
        try:
            reply = self._call(call)
        except RetryableCarrierError as error:
            if is_last_try:
                self._first_failure = self._first_failure if self._failures else str(error)
                self._failures += 1
            raise
        except CarrierError:  # the carrier is there and has answered
            self._failures = 0
            raise
        self._failures = 0
        return reply

    def _call(self, call: _Call) -> JsonReply:
        what = str(call)
        self.calls += 1
        try:
            request = self._client.build_request(
                call.method, call.path, params=call.params, json=call.body
            )
            answer = self._authenticated(what, request)
        except CarrierError:
            raise
        except Exception as error:
            msg = f"{what}: the call cannot be made ({type(error).__name__})"
            raise CarrierProtocolError(msg) from None
        content = json_object(answer.body, array_key=call.array_key)
        if content is None and call.is_write and 200 <= answer.status < 300:
            content = {}
        fault = CarrierFault() if content is None else self._read_error(content)
        if 200 <= answer.status < 300 and content is not None and not fault.code:
            return JsonReply(
                status=answer.status, content=content, served_at=served_at(answer.headers)
            )
        failure = self._failure(what, answer, fault, has_content=content is not None)
        if isinstance(failure, RateLimitedError):
            self._limiter.rate_limited(failure.retry_after_s)
        raise failure

    def _authenticated(self, what: str, request: httpx.Request) -> _Answer:
        """Make a call, and those that authenticate it, which the account's limits count like any other."""
        flow = self._auth.auth_flow(request)
        request = next(flow)
        while True:
            with self._limiter.slot():
                began = time.monotonic()
                try:
                    answer = self._exchange(what, request)
                finally:
                    self.seconds += time.monotonic() - began
            try:
                request = flow.send(httpx.Response(answer.status, content=answer.body))
            except StopIteration:
                return answer

    def _exchange(self, what: str, request: httpx.Request) -> _Answer:
        """Send and receive; whatever goes wrong is an error of the tree."""
        with Deadline(self._deadline_s, self._connections) as deadline:
            request.extensions = {**request.extensions, "trace": deadline.trace}
            try:
                with closing(self._client.send(request, stream=True)) as response:
                    body = _read_body(what, response)
                    return _Answer(
                        status=response.status_code,
                        headers=response.headers,
                        body=body,
                        repeats_credentials=_repeats_credentials(request, body),
                    )
            except CarrierError:
                raise
            except Exception as error:
                raise _broken(what, error, deadline, self._deadline_s) from None

    def _failure(
        self, what: str, answer: _Answer, fault: CarrierFault, *, has_content: bool
    ) -> CarrierError:
        status, code = answer.status, fault.code
        about = f"{what}: HTTP {status}" + (f", error {code}" if code else "")
        about += f" ({fault.message})" if fault.message else ""
        if answer.repeats_credentials:
            about = (
                f"{what}: HTTP {status} (the carrier's words are left out: they repeat credentials)"
            )
        pause_s = retry_after_s(answer.headers) if status in (429, 503) else None
        if status == 429 or is_among(self._codes.rate_limited, code):
            return RateLimitedError(
                f"{about}; the account calls too often: lower its rate", retry_after_s=pause_s
            )
        if status in (401, 403) or is_among(self._codes.auth, code):
            return CarrierAuthError(
                f"{about}; check user name, key, role and allowed addresses of the account",
                code=code,
            )
        if status >= 500 or status == 408 or is_among(self._codes.retryable, code):
            return RetryableCarrierError(about, retry_after_s=pause_s)
        if 200 <= status < 300 and not has_content:
            return RetryableCarrierError(
                f"{what}: HTTP {status}, but the body is not a JSON object"
            )
        if 300 <= status < 400:
            return CarrierProtocolError(f"{about}; the address redirects: set the API's own host")
        return RejectedByCarrierError(about, code=code, status=status)


def _backoff(error: Exception) -> bool | float:
    """Whether to try again, and after how long where the carrier says so."""
    if not isinstance(error, RetryableCarrierError):
        return False
    return True if error.retry_after_s is None else error.retry_after_s


def _read_body(what: str, response: httpx.Response) -> bytes:
    """Read the body as far as it is allowed to go."""
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in _CODINGS:
        msg = f"{what}: the answer is encoded as {coding[:40]!r}, which was not asked for"
        raise CarrierProtocolError(msg)
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > LARGEST_BODY:
            msg = (
                f"{what}: the answer is larger than {LARGEST_BODY:,} bytes; it is not read further"
            )
            raise CarrierProtocolError(msg)
    return bytes(body)


def _repeats_credentials(request: httpx.Request, body: bytes) -> bool:
    """Whether an answer has what the call authenticated itself with: then it may not be quoted."""
    token = request.headers.get("Authorization", "").rpartition(" ")[2].encode()
    session = request.headers.get("VZ-M2M-Token", "").encode()
    try:
        key = base64.b64decode(token, validate=True).partition(b":")[2]
    except ValueError:
        key = b""
    text = body.replace(b"\\/", b"/").replace(b"\\u003d", b"=")
    return any(secret and secret in text for secret in (token, key, session))


def _broken(what: str, error: Exception, deadline: Deadline, deadline_s: float) -> CarrierError:
    """Tell what an exchange that broke off means."""
    if deadline.is_over:
        msg = f"{what}: no complete answer within {deadline_s:g} s; check network and carrier"
        return RetryableCarrierError(msg)
    if isinstance(error, httpx.TransportError):
        msg = f"{what}: no answer ({type(error).__name__}: {error}); check address and network"
        return RetryableCarrierError(msg)
    return CarrierProtocolError(f"{what}: the answer cannot be read ({type(error).__name__})")


def _checked_address(base_url: str) -> httpx.URL:
    """Read the address; refuse what credentials may not be sent to.

    What may hold a password or key, whether it can be read as one or not, is not repeated.
    """
    if "@" in base_url:
        msg = (
            "the carrier's address holds credentials: give them by reference instead, and the address "
            "like https://restapi.example.com"
        )
        raise InputError(msg)
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.host and (url.scheme == "https" or (url.scheme == "http" and _is_local(url.host))):
        return url
    msg = (
        f"the carrier's address {base_url.partition('?')[0]!r} must begin with https:// "
        "(http:// is accepted for 127.0.0.1, ::1 and localhost only)"
    )
    raise InputError(msg)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
