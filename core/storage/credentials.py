"""The encrypted store of carrier credentials: a token per provider, keys in the settings (C8).

Tokens are Fernet's. The first key encrypts and every key decrypts, so that a new key is put in front,
the tokens are encrypted anew, and the old key is taken away. The database without the keys tells
nothing, and nothing here puts what it decrypts into a message, a log or the audit trail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from pydantic import SecretStr

from core.carriers.credentials import STORE_REFERENCE
from core.errors import InputError
from core.storage import audit
from core.storage.audit import AuditEvent, Author
from core.storage.engine import reading, writing
from core.storage.records import ProviderRecord
from core.storage.retry import retried
from core.storage.schema import carrier_credential, service_provider

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEYS_VARIABLE = "CARRIER_OPT_CREDENTIAL_KEYS"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCipher:
    """Encrypts with the first key, decrypts with any; printing it shows none."""

    fernet: MultiFernet = field(repr=False)


def new_key() -> str:
    """Make a key for the setting."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def token_cipher(keys: SecretStr | None) -> TokenCipher:
    """Make the cipher of the setting's keys.

    Parameters
    ----------
    keys
        Fernet keys with commas or line ends between, or ``file:/absolute/path`` of a file of them.

    Raises
    ------
    InputError
        If there is no key, or one is none; the message says which, by its place, and repeats none.
    """
    from cryptography.fernet import Fernet, MultiFernet

    parts = _key_text(keys).replace("\n", ",").split(",")
    texts = [part.strip() for part in parts if part.strip()]
    if not texts:
        msg = (
            f"{KEYS_VARIABLE} is not set, and stored credentials need it: put the key there that they "
            "were stored with, from a secret store; for the first ones make a key with `carrier-opt "
            "credentials key`"
        )
        raise InputError(msg)
    fernets = []
    for place, text in enumerate(texts, start=1):
        try:
            fernets.append(Fernet(text))
        except ValueError:
            msg = (
                f"{KEYS_VARIABLE}: key {place} of {len(texts)} is no Fernet key (32 bytes in URL-safe "
                "base64, 44 characters); make one with `carrier-opt credentials key`"
            )
            raise InputError(msg) from None
    return TokenCipher(fernet=MultiFernet(fernets))


@retried
def store_credentials(
    engine: sa.Engine,
    provider: ProviderRecord,
    secret: SecretStr,
    cipher: TokenCipher,
    *,
    now: datetime,
    author: Author,
) -> None:
    """Encrypt a provider's ``username:apiKey``, and let its reference lead there."""
    token = cipher.fernet.encrypt(secret.get_secret_value().encode()).decode()
    table = carrier_credential
    with writing(engine) as connection:
        changed = connection.execute(
            sa.update(table)
            .where(table.c.ServiceProviderId == provider.id)
            .values(Token=token, ModifiedDate=now)
        )
        if not changed.rowcount:
            connection.execute(
                sa.insert(table).values(
                    ServiceProviderId=provider.id,
                    Token=token,
                    CreatedBy=author.actor,
                    CreatedDate=now,
                )
            )
        connection.execute(
            sa.update(service_provider)
            .where(service_provider.c.Id == provider.id)
            .values(CredentialRef=STORE_REFERENCE, ModifiedDate=now)
        )
        event = AuditEvent(
            occurred_at=now,
            actor=author.actor,
            source=author.source,
            run_id=author.run_id,
            action="credential.stored",
            subject=f"credentials of provider {provider.name}",
            tenant_id=provider.tenant_id,
            service_provider_id=provider.id,
            details={"reference_before": provider.credential_ref},
        )
        audit.append(connection, event)


@retried
def load_credentials(engine: sa.Engine, provider: ProviderRecord, cipher: TokenCipher) -> SecretStr:
    """Decrypt a provider's ``username:apiKey``.

    Raises
    ------
    InputError
        If none is stored, or no key decrypts it.
    """
    table = carrier_credential.c
    query = sa.select(table.Token).where(table.ServiceProviderId == provider.id)
    with reading(engine) as connection:
        token = connection.execute(query).scalar_one_or_none()
    if token is None:
        msg = (
            f"provider {provider.name!r} has no stored credentials: run `carrier-opt credentials "
            f"set {provider.id}`"
        )
        raise InputError(msg)
    from cryptography.fernet import InvalidToken

    try:
        return SecretStr(cipher.fernet.decrypt(token).decode())
    except (InvalidToken, UnicodeDecodeError):
        raise _undecipherable(provider.id) from None


@retried
def rotate_credentials(
    engine: sa.Engine, cipher: TokenCipher, *, now: datetime, author: Author
) -> int:
    """Encrypt all stored credentials with the first key, all or none.

    Returns
    -------
    int
        How many there are.

    Raises
    ------
    InputError
        If no key decrypts one of them; the message names its provider.
    """
    from cryptography.fernet import InvalidToken

    table = carrier_credential
    with writing(engine) as connection:
        rows = connection.execute(
            sa.select(table.c.ServiceProviderId, table.c.Token).order_by(table.c.ServiceProviderId)
        ).all()
        for provider_id, token in rows:
            try:
                rotated = cipher.fernet.rotate(token).decode()
            except InvalidToken:
                raise _undecipherable(provider_id) from None
            connection.execute(
                sa.update(table)
                .where(table.c.ServiceProviderId == provider_id)
                .values(Token=rotated, ModifiedDate=now)
            )
        event = AuditEvent(
            occurred_at=now,
            actor=author.actor,
            source=author.source,
            run_id=author.run_id,
            action="credential.rotated",
            subject=f"{len(rows)} stored credentials",
            details={"service_provider_ids": [row.ServiceProviderId for row in rows]},
        )
        audit.append(connection, event)
    return len(rows)


def _key_text(keys: SecretStr | None) -> str:
    text = keys.get_secret_value().strip() if keys else ""
    if not text.startswith("file:"):
        return text
    path = Path(text.removeprefix("file:"))
    try:
        if path.is_absolute():
            return path.read_text(encoding="ascii")
        why = "the path is not absolute"
    except (OSError, ValueError) as error:
        why = type(error).__name__
    msg = f"{KEYS_VARIABLE}: the file {path} cannot be read ({why}); check path and permissions"
    raise InputError(msg)


def _undecipherable(provider_id: int) -> InputError:
    return InputError(
        f"the stored credentials of provider {provider_id} cannot be decrypted with any key of "
        f"{KEYS_VARIABLE}: add the key that they were encrypted with behind the others, or store "
        f"them anew with `carrier-opt credentials set {provider_id}`"
    )
