"""Calls to a carrier over HTTP: politeness, retries by error class, a breaker (C3).

This module owns the seam to httpx: whatever that library raises leaves here as one of
:class:`core.errors.CarrierError`. Credentials go into the request and nowhere else.
"""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import stamina

from core.carriers.credentials import Credentials
from core.carriers.dates import in_utc
from core.carriers.limiter import Limiter
from core.errors import (
    CarrierAuthError,
    CarrierError,
    CarrierProtocolError,
    InputError,
    RateLimitedError,
    RejectedByCarrierError,
    RetryableCarrierError,
)

logger = logging.getLogger(__name__)

BREAKER_LIMIT = 5
"""Failed calls in a row, after retries, that are borne; the next one opens the breaker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a call is tried: exponential backoff with jitter.

    Attributes
    ----------
    attempts
        Tries in all, at least 1.
    wait_initial_s, wait_max_s, wait_jitter_s
        First and longest pause, and the most that chance adds.
    """

    attempts: int = 6
    wait_initial_s: float = 1.0
    wait_max_s: float = 30.0
    wait_jitter_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCodes:
    """How a carrier's own error codes are to be read."""

    rate_limited: frozenset[str] = frozenset()
    auth: frozenset[str] = frozenset()
    retryable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonReply:
    """A successful answer: its JSON object and the time on the carrier's clock, if it was told."""

    status: int
    content: Mapping[str, Any]
    served_at: datetime | None


class CarrierHttp:
    """JSON calls to one account.

    Parameters
    ----------
    base_url
        ``https://host``; ``http://`` is accepted for this machine's own addresses only.
    limiter
        Shared by all clients of the account.
    codes
        The carrier's error codes by class.

    Raises
    ------
    InputError
        If the address is not one that credentials may be sent to.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        *,
        limiter: Limiter,
        codes: ErrorCodes,
        retry: RetryPolicy | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        url = _checked_address(base_url)
        self._limiter = limiter
        self._codes = codes
        self._retry = retry or RetryPolicy()
        self._failures = 0
        self.calls = 0
        self._client = httpx.Client(
            base_url=base_url,
            auth=httpx.BasicAuth(
                credentials.username.get_secret_value(), credentials.api_key.get_secret_value()
            ),
            headers={"Accept": "application/json"},
            timeout=timeout_s,
            trust_env=not _is_local(url.host),  # a proxy is for hosts outside
            verify=url.scheme == "https",  # without TLS there is no certificate to load
            follow_redirects=False,  # credentials go to the configured host only
        )

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> JsonReply:
        """Read, and try again where another try may help.

        Raises
        ------
        CarrierError
            By what the caller can do; also, at once, when the breaker is open.
        """
        for attempt in stamina.retry_context(
            on=RetryableCarrierError,
            attempts=self._retry.attempts,
            timeout=None,
            wait_initial=self._retry.wait_initial_s,
            wait_max=self._retry.wait_max_s,
            wait_jitter=self._retry.wait_jitter_s,
        ):
            with attempt:
                is_last_try = attempt.num >= self._retry.attempts
                return self._counted("GET", path, params=params, is_last_try=is_last_try)
        raise AssertionError("unreachable")  # pragma: no cover

    def put(self, path: str, body: Mapping[str, object]) -> JsonReply:
        """Write, once: whether a lost answer took effect is for the caller to read back."""
        return self._counted("PUT", path, body=body, is_last_try=True)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _counted(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, object] | None = None,
        is_last_try: bool,
    ) -> JsonReply:
        if self._failures > BREAKER_LIMIT:
            msg = (
                f"{self._failures} calls to the carrier failed in a row, so no more are made; "
                "see the first failure above, and run again when the carrier's API works"
            )
            raise CarrierError(msg)
        try:
            reply = self._call(method, path, params, body)
        except RetryableCarrierError:
            self._failures += is_last_try
            raise
        except CarrierError:  # the carrier is there and has answered
            self._failures = 0
            raise
        self._failures = 0
        return reply

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        body: Mapping[str, object] | None,
    ) -> JsonReply:
        what = f"{method} {path}"
        self.calls += 1
        try:
            with self._limiter.slot():
                response = self._client.request(method, path, params=params, json=body)
        except httpx.TransportError as error:
            msg = f"{what}: no answer ({type(error).__name__}: {error}); check address and network"
            raise RetryableCarrierError(msg) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            msg = f"{what}: the answer cannot be read ({type(error).__name__})"
            raise CarrierProtocolError(msg) from None
        content = _json_object(response.content)
        if response.is_success and content is not None and not _error_code(content):
            return JsonReply(
                status=response.status_code, content=content, served_at=_served_at(response)
            )
        failure = self._failure(what, response.status_code, content)
        if isinstance(failure, RateLimitedError):
            self._limiter.rate_limited()
        raise failure

    def _failure(self, what: str, status: int, content: Mapping[str, Any] | None) -> CarrierError:
        code = _error_code(content or {})
        said = _said(content)
        about = f"{what}: HTTP {status}" + (f", error {code}" if code else "") + said
        if status == 429 or code in self._codes.rate_limited:
            return RateLimitedError(f"{about}; the account calls too often: lower its rate")
        if status in (401, 403) or code in self._codes.auth:
            return CarrierAuthError(
                f"{about}; check user name, key, role and allowed addresses of the account"
            )
        if status >= 500 or status == 408 or code in self._codes.retryable:
            return RetryableCarrierError(about)
        if 200 <= status < 300 and content is None:
            return RetryableCarrierError(
                f"{what}: HTTP {status}, but the body is not a JSON object"
            )
        if 300 <= status < 400:
            return CarrierProtocolError(f"{about}; the address redirects: set the API's own host")
        return RejectedByCarrierError(about, code=code, status=status)


def _checked_address(base_url: str) -> httpx.URL:
    """Read the address; refuse what credentials may not be sent to."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.userinfo:
        msg = "the carrier's address holds credentials: give them by reference instead"
        raise InputError(msg)
    if url.host and (url.scheme == "https" or (url.scheme == "http" and _is_local(url.host))):
        return url
    msg = (
        f"the carrier's address {base_url!r} must begin with https:// "
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


def _json_object(body: bytes) -> Mapping[str, Any] | None:
    """Read a JSON object whatever charset it was announced in; None if it is none."""
    for encoding in ("utf-8", "latin-1"):
        try:
            value = json.loads(body.decode(encoding))
        except UnicodeDecodeError:
            continue
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None
    return None  # pragma: no cover - latin-1 decodes everything


def _error_code(content: Mapping[str, Any]) -> str | None:
    code = content.get("errorCode")
    return str(code) if isinstance(code, str | int) else None


def _said(content: Mapping[str, Any] | None) -> str:
    message = (content or {}).get("errorMessage")
    return f" ({message[:200]})" if isinstance(message, str) else ""


def _served_at(response: httpx.Response) -> datetime | None:
    try:
        moment = parsedate_to_datetime(response.headers["Date"])
        return in_utc(moment) if moment.tzinfo is not None else None
    except (KeyError, ValueError, OverflowError):
        return None
