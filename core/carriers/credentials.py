"""Carrier credentials by reference: read where they live, for as long as a client lives (C8).

A reference is ``env:NAME``, ``file:/absolute/path`` or ``store``, the encrypted store of the database
(:mod:`core.storage.credentials`, which whoever has the database reads); behind it stands
``username:apiKey``. The reference may be stored and logged, what it leads to never is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from core.errors import InputError
from core.settings import read_environment_variable

STORE_REFERENCE = "store"
"""The reference of credentials that are encrypted in the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """User name and key of one carrier account; printing it shows neither."""

    username: SecretStr
    api_key: SecretStr


def account_name(base_url: str, credentials: Credentials) -> str:
    """Name the account for its limiter, the same however the address is written; not for showing."""
    return f"{base_url.rstrip('/').lower()} {credentials.username.get_secret_value()}"


def resolve_credentials(reference: str) -> Credentials:
    """Read the credentials behind a reference.

    Parameters
    ----------
    reference
        ``env:NAME`` or ``file:/absolute/path``.

    Raises
    ------
    InputError
        If the reference has another form, leads nowhere, or what stands there is not
        ``username:apiKey``. The message names the reference, never what it leads to.
    """
    kind, _, where = reference.partition(":")
    if kind == "env" and where:
        text = read_environment_variable(where)
        if text is None:
            msg = f"credentials: the environment variable {where} is not set; set it to username:apiKey"
            raise InputError(msg)
    elif kind == "file" and where:
        text = _read_file(Path(where))
    else:
        msg = (
            "credentials: a reference looks like env:NAME or file:/absolute/path, "
            "and behind it stands username:apiKey"
        )
        raise InputError(msg)
    return parse_credentials(SecretStr(text), f"{kind}:{where}")


def parse_credentials(text: SecretStr, where: str) -> Credentials:
    """Read one line ``username:apiKey``, blanks around it left out.

    Parameters
    ----------
    where
        Where it stood, for the message.

    Raises
    ------
    InputError
        If it is something else; the message does not repeat it.
    """
    line = text.get_secret_value().strip()
    username, colon, api_key = line.partition(":")
    if not (username and colon and api_key) or any(c in line for c in "\r\n"):
        msg = f"credentials: {where} does not hold one line username:apiKey"
        raise InputError(msg)
    return Credentials(username=SecretStr(username), api_key=SecretStr(api_key))


def _read_file(path: Path) -> str:
    if not path.is_absolute():
        msg = f"credentials: file:{path} is not an absolute path"
        raise InputError(msg)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"credentials: {path} cannot be read ({type(error).__name__}); check path and permissions"
        raise InputError(msg) from None
