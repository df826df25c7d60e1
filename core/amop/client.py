"""Posts one message to AMOP 2.0 and says what the answer means (A1, A3); no retries, no storage.

The bearer token appears in the Authorization header and nowhere else: not in errors, not in logs,
not in the text of an answer that repeats it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from core.errors import InputError

if TYPE_CHECKING:
    import httpx

LOG = logging.getLogger(__name__)

TIMEOUT_S = 5.0
"""Limit of each phase of a call: connecting, sending, receiving."""

_SHOWN_BODY = 200
_RETRYABLE_4XX = frozenset({408, 429})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Outcome(Enum):
    """What became of one call."""

    DELIVERED = auto()
    """2xx."""
    UNREACHABLE = auto()
    """No answer: the same is to be expected of every other message now."""
    RETRY = auto()
    """3xx, 408, 429, 5xx: this message may pass later. A redirect is not followed, because the
    token is for the configured address only."""
    REFUSED = auto()
    """Any other 4xx: this message will hardly ever pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one call, in words where it did not deliver.

    Attributes
    ----------
    retry_after_s
        Seconds that the other side asks to wait; 0 if it does not.
    """

    outcome: Outcome
    problem: str = ""
    retry_after_s: float = 0.0


class AmopClient:
    """Keeps one connection to AMOP 2.0, made at the first message.

    TLS certificates are verified. A proxy of the environment is used, except for this machine
    itself.

    Raises
    ------
    InputError
        If the endpoint is no http(s) address or the key cannot stand in a header.
    """

    def __init__(
        self, endpoint: str, api_key: SecretStr | None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        _check(endpoint, api_key)
        self._endpoint = endpoint
        self._api_key = api_key or SecretStr("")
        self._timeout_s = timeout_s
        self._client: httpx.Client | None = None

    def connect(self) -> httpx.Client:
        """Make what a call needs, unless it is there already; no call is made yet."""
        import httpx

        if self._client is None:
            self._client = httpx.Client(
                headers={
                    "Authorization": f"Bearer {self._api_key.get_secret_value()}",
                    "Content-Type": "application/json",
                    "User-Agent": "carrier-opt",
                },
                timeout=self._timeout_s,
                trust_env=urlsplit(self._endpoint).hostname not in _LOOPBACK,
            )
        return self._client

    def post(self, payload: str, *, message_id: str) -> Answer:
        """Post the JSON text of a message; the id is its idempotency key."""
        import httpx

        try:
            response = self.connect().post(
                self._endpoint, content=payload.encode(), headers={"Idempotency-Key": message_id}
            )
        except httpx.TransportError as exc:
            problem = self._redacted(f"{type(exc).__name__}: {exc}")
            return Answer(outcome=Outcome.UNREACHABLE, problem=problem)
        if response.is_success:
            return Answer(outcome=Outcome.DELIVERED)
        status = response.status_code
        is_refused = 400 <= status < 500 and status not in _RETRYABLE_4XX
        body = " ".join(response.text.split())
        retry_after = response.headers.get("Retry-After", "")
        return Answer(
            outcome=Outcome.REFUSED if is_refused else Outcome.RETRY,
            problem=self._redacted(f"HTTP {status} {response.reason_phrase}: {body}"),
            retry_after_s=float(retry_after) if retry_after.isdecimal() else 0.0,
        )

    def close(self) -> None:
        """Close the connection; a later message opens another."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _redacted(self, text: str) -> str:
        return text.replace(self._api_key.get_secret_value(), "***")[:_SHOWN_BODY]


def _check(endpoint: str, api_key: SecretStr | None) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise InputError(
            "AMOP_API_ENDPOINT is no address that messages can be posted to; "
            "give one such as https://amop.example.com/optimization, without a user name"
        )
    key = "" if api_key is None else api_key.get_secret_value()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(
            "AMOP_API_KEY is missing or holds characters that a bearer token cannot have, "
            "but AMOP_API_ENDPOINT is set; set both or none"
        )
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        LOG.warning("AMOP_API_ENDPOINT is not encrypted (http): the API key can be read on the way")
