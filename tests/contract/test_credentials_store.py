"""Encrypted credentials in the database: stored, read, encrypted anew, all or none (C8)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from pydantic import SecretStr

from core.errors import InputError
from core.storage import audit
from core.storage.audit import Author
from core.storage.catalogue import load_provider
from core.storage.credentials import (
    TokenCipher,
    load_credentials,
    rotate_credentials,
    store_credentials,
    token_cipher,
)
from core.storage.engine import reading
from core.storage.schema import carrier_credential
from tests.contract.accounts import NOW, accounts_of, add_accounts

AUTHOR = Author(actor="test")
OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
LINE = "someone:ключ-\u6e2c" + "x" * 500


def cipher(*keys):
    return token_cipher(SecretStr(",".join(keys)))


@pytest.fixture
def engine(engine):
    add_accounts(engine)
    return engine


def provider(engine, number=1):
    return load_provider(engine, accounts_of(engine).provider(number))


def store(engine, number=1, text=LINE, *, keys=(OLD,)):
    who = provider(engine, number)
    store_credentials(engine, who, SecretStr(text), cipher(*keys), now=NOW, author=AUTHOR)


def load(engine, number=1, *, keys=(OLD,)):
    return load_credentials(engine, provider(engine, number), cipher(*keys)).get_secret_value()


def tokens(engine):
    with reading(engine) as connection:
        return connection.execute(sa.select(carrier_credential.c.Token)).scalars().all()


def test_credentials_come_back_and_the_provider_refers_to_the_store(engine):
    store(engine)
    assert load(engine) == LINE
    assert provider(engine).credential_ref == "store"
    assert provider(engine, 2).credential_ref == "env:NONE"
    (event,) = audit.load_events(engine)
    assert (event.action, event.service_provider_id) == (
        "credential.stored",
        provider(engine).id,
    )


def test_credentials_set_again_replace_the_former_ones(engine):
    store(engine, text="first:1")
    store(engine, text="second:2")
    assert load(engine) == "second:2"
    assert len(tokens(engine)) == 1


def test_all_credentials_are_encrypted_anew_with_the_first_key(engine):
    for number in (1, 3):
        store(engine, number, f"someone:{number}")
    before = tokens(engine)
    assert rotate_credentials(engine, cipher(NEW, OLD), now=NOW, author=AUTHOR) == 2
    assert set(before).isdisjoint(tokens(engine))
    assert [load(engine, number, keys=(NEW,)) for number in (1, 3)] == ["someone:1", "someone:3"]
    with pytest.raises(InputError, match="cannot be decrypted with any key"):
        load(engine, 1)


class Interrupted:
    """A cipher during whose first rotation somebody else stores credentials."""

    def __init__(self, keys, somebody_else):
        self.own, self.somebody_else = cipher(*keys).fernet, somebody_else

    def rotate(self, token):
        somebody_else, self.somebody_else = self.somebody_else, lambda: None
        somebody_else()
        return self.own.rotate(token)


@pytest.mark.parametrize("keys_of_the_other", [(OLD,), (NEW, OLD)])
def test_credentials_that_are_set_while_all_are_encrypted_anew_are_kept(engine, keys_of_the_other):
    """What another connection would do between reading and writing, done on the same one."""
    store(engine, 1, "before:1")
    store(engine, 2, "before:2")
    token = cipher(*keys_of_the_other).fernet.encrypt(b"meanwhile:1").decode()
    mine = carrier_credential.c.ServiceProviderId == provider(engine).id
    connections = []
    note = connections.append

    def set_meanwhile():
        connections[-1].execute(sa.update(carrier_credential).where(mine).values(Token=token))

    rotating = TokenCipher(fernet=Interrupted((NEW, OLD), set_meanwhile))
    sa.event.listen(engine, "begin", note)
    try:
        assert rotate_credentials(engine, rotating, now=NOW, author=AUTHOR) == 2
    finally:
        sa.event.remove(engine, "begin", note)
    assert [load(engine, number, keys=(NEW,)) for number in (1, 2)] == ["meanwhile:1", "before:2"]


def test_if_one_cannot_be_decrypted_none_is_encrypted_anew(engine):
    store(engine, 1)
    store(engine, 2, keys=(NEW,))
    before = tokens(engine)
    message = f"provider {provider(engine, 2).id} cannot be decrypted"
    with pytest.raises(InputError, match=message):
        rotate_credentials(engine, cipher(OLD), now=NOW, author=AUTHOR)
    assert tokens(engine) == before


def test_a_provider_without_credentials_names_the_command(engine):
    who = provider(engine)
    with pytest.raises(InputError, match=f"carrier-opt credentials set {who.id}"):
        load(engine)
