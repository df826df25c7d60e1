"""Tokens of a ThingSpace account: every call carries a bearer token and a session token (C8).

The bearer token is had for the application's key and secret (OAuth2 client credentials), the session
token for a user and password. Both are fetched when the first call needs them. How long they live is
not counted here: a call that is refused with 401 is answered by fetching both anew and sending it once
more. A bearer token that is had is kept for the next try when the login behind it fails. That holds for writing calls too, since a call with a dead token is refused before anything is
carried out.

Assumed, and to be asked of the carrier: that a dead session is told by 401; that one user may hold
several sessions at a time.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Generator
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from core.carriers.credentials import Credentials
from core.carriers.envelopes import json_object
from core.errors import (
    CarrierAuthError,
    CarrierProtocolError,
    InputError,
    RetryableCarrierError,
)

TOKEN_PATH = "/api/ts/v1/oauth2/token"  # noqa: S105
LOGIN_PATH = "/api/m2m/v1/session/login"
SESSION_HEADER = "VZ-M2M-Token"

_TOKEN = re.compile(r"[\x21-\x7e]+")

Flow = Generator[httpx.Request, httpx.Response, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingSpaceLogin:
    """What opens one billing account.

    Attributes
    ----------
    client_key, client_secret
        Of the application.
    account
        Name of the billing account, such as ``0000123456-00001``; no secret.
    user, password
        Of the session.
    """

    client_key: SecretStr
    client_secret: SecretStr
    account: str
    user: SecretStr
    password: SecretStr


def thingspace_login(credentials: Credentials) -> ThingSpaceLogin:
    """Read the parts behind a credential reference: ``KEY:SECRET;ACCOUNT;USER;PASSWORD``.

    The password comes last and may hold semicolons itself.

    Raises
    ------
    InputError
        If a part is missing; the message repeats none.
    """
    parts = credentials.api_key.get_secret_value().split(";", 3)
    if len(parts) != 4 or not all(part.strip() for part in parts):
        msg = (
            "credentials: a ThingSpace account needs KEY:SECRET;ACCOUNT;USER;PASSWORD behind its "
            "reference: key and secret of the application, name of the billing account, user and "
            "password of the session"
        )
        raise InputError(msg)
    secret, account, user, password = parts
    return ThingSpaceLogin(
        client_key=credentials.username,
        client_secret=SecretStr(secret),
        account=account.strip(),
        user=SecretStr(user),
        password=SecretStr(password),
    )


class ThingSpaceAuth(httpx.Auth):
    """Signs calls with both tokens, and fetches them where they are missing or dead."""

    def __init__(self, base_url: str, login: ThingSpaceLogin) -> None:
        self._base_url = base_url.rstrip("/")
        self._login = login
        self._bearer: SecretStr | None = None
        self._session: SecretStr | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """Yield the calls that answering ``request`` takes; the last answer is the call's.

        A token call that fails as any call may (401, 403, 408, 429, 5xx) is the last.

        Raises
        ------
        CarrierError
            If a token is refused otherwise, or the answer has none.
        """
        is_new = self._session is None
        if is_new and not (yield from self._log_in(request)):
            return
        self._sign(request)
        response = yield request
        if is_new or response.status_code != 401:
            return
        self._bearer = self._session = None
        if (yield from self._log_in(request)):
            self._sign(request)
            yield request

    def _sign(self, request: httpx.Request) -> None:
        bearer, session = self._bearer or SecretStr(""), self._session or SecretStr("")
        request.headers["Authorization"] = f"Bearer {bearer.get_secret_value()}"
        request.headers[SESSION_HEADER] = session.get_secret_value()

    def _log_in(self, request: httpx.Request) -> Flow:
        """Fetch the tokens that are missing; False: the last answer was a failure that any call may have."""
        was_kept = self._bearer is not None
        bearer = self._bearer or (yield from self._fetch_bearer(request))
        if bearer is None:
            return False
        response = yield httpx.Request(
            "POST",
            f"{self._base_url}{LOGIN_PATH}",
            headers={
                "Authorization": f"Bearer {bearer.get_secret_value()}",
                "Accept": "application/json",
            },
            json={
                "username": self._login.user.get_secret_value(),
                "password": self._login.password.get_secret_value(),
            },
            extensions=request.extensions,
        )
        if response.status_code == 401:
            self._bearer = None
            if was_kept:  # it may have died since
                return (yield from self._log_in(request))
        if _may_happen_to_any_call(response):
            return False
        self._session = _token(response, LOGIN_PATH, "sessionToken")
        return True

    def _fetch_bearer(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, SecretStr | None]:
        """Fetch the application's token; None: as with :meth:`_log_in`."""
        login = self._login
        pair = f"{login.client_key.get_secret_value()}:{login.client_secret.get_secret_value()}"
        basic = base64.b64encode(pair.encode()).decode()
        response = yield httpx.Request(
            "POST",
            f"{self._base_url}{TOKEN_PATH}",
            headers={"Authorization": f"Basic {basic}", "Accept": "application/json"},
            data={"grant_type": "client_credentials"},
            extensions=request.extensions,  # among them the time limit
        )
        if _may_happen_to_any_call(response):
            return None
        self._bearer = _token(response, TOKEN_PATH, "access_token")
        return self._bearer


def _may_happen_to_any_call(response: httpx.Response) -> bool:
    return response.status_code in (401, 403, 408, 429) or response.status_code >= 500


def _token(response: httpx.Response, path: str, field: str) -> SecretStr:
    """Return the token of an answer; messages show nothing of what was sent or answered."""
    about = f"POST {path}: HTTP {response.status_code}"
    if not response.is_success:
        msg = f"{about}; check key, secret, user and password of the account"
        raise CarrierAuthError(msg)
    content = json_object(response.read())
    if content is None:
        raise RetryableCarrierError(f"{about}, but the body is not a JSON object")
    token = content.get(field)
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise CarrierProtocolError(f"{about}, but the answer has no usable {field!r}")
    return SecretStr(token)
