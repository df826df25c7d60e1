"""The encrypted store of credentials: set, used, rotated, and nowhere in clear text (C8)."""

from __future__ import annotations

import io
import json
import logging
import sys
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from pydantic import SecretStr

from cli.main import main
from core import bootstrap
from core.carriers.redis_limiter import SharedLimiter
from core.domain import BillingCycle
from core.errors import InputError
from core.settings import Settings, load_settings
from core.simulator.account import simulated_account
from core.simulator.options import SimulatorOptions
from core.simulator.server import SimulatorServer
from core.storage import audit
from core.storage.catalogue import list_providers
from core.storage.credentials import TokenCipher, token_cipher
from core.storage.engine import open_engine, reading
from core.storage.schema import carrier_credential

USER, KEY = "someone-4711", "hidden-key-5f3a"
LINE = f"{USER}:{KEY}"
CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


class Terminal(io.StringIO):
    """What stdin is when somebody sits before it."""

    def isatty(self):
        return True


class Shell:
    """Runs the command line on a database with one provider, Acme of id 1, and notes all it says."""

    def __init__(self, folder, monkeypatch, capsys):
        self.folder = folder
        self.url = f"sqlite:///{folder / 'carrier-opt.db'}"
        self.said = ""
        self.monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments, stdin="", keys=OLD, terminal=False):
        self.monkeypatch.setattr(sys, "argv", ["carrier-opt", *arguments])
        self.monkeypatch.setattr(sys, "stdin", Terminal() if terminal else io.StringIO(stdin))
        self.monkeypatch.setenv("CARRIER_OPT_DATABASE_URL", self.url)
        if keys is None:
            self.monkeypatch.delenv("CARRIER_OPT_CREDENTIAL_KEYS", raising=False)
        else:
            self.monkeypatch.setenv("CARRIER_OPT_CREDENTIAL_KEYS", keys)
        load_settings.cache_clear()
        with pytest.raises(SystemExit) as ended:
            main()
        self.out, self.err = self._capsys.readouterr()
        self.said += self.out + self.err
        assert "Traceback" not in self.said
        return ended.value.code or 0

    def ask(self, query):
        engine = open_engine(self.url)
        try:
            return query(engine)
        finally:
            engine.dispose()

    def token(self):
        def read(engine):
            with reading(engine) as connection:
                return connection.execute(sa.select(carrier_credential.c.Token)).scalar_one()

        return self.ask(read)

    def client(self, **settings):
        engine = open_engine(self.url)
        try:
            provider = list_providers(engine)[0]
            return bootstrap.carrier_client(provider, Settings(**settings), engine=engine)
        finally:
            engine.dispose()


@pytest.fixture
def carrier():
    options = SimulatorOptions(username=USER, api_key=KEY)
    account = simulated_account(5, 1, CYCLE, now=NOW)
    with SimulatorServer(account, options, clock=lambda: NOW) as server:
        yield server


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys, carrier):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    shell = Shell(tmp_path, monkeypatch, capsys)
    assert shell("db", "upgrade") == 0
    added = (
        "providers", "add", "Acme", "--tenant", "T", "--integration", "jasper", "--base-url",
        carrier.base_url, "--credential-ref", "env:ACME_NOT_SET", "--time-zone", "UTC",
        "--unthrottled",
    )  # fmt: skip
    assert shell(*added) == 0
    yield shell
    monkeypatch.undo()
    load_settings.cache_clear()


def test_credentials_are_stored_used_and_nowhere_in_clear_text(shell, carrier, caplog):
    caplog.set_level(logging.DEBUG)
    assert shell("credentials", "set", "1", stdin=f"{LINE}\n") == 0
    assert shell("credentials", "check", "Acme") == 0
    assert shell.out.startswith("ok: provider 1 Acme")
    assert carrier.calls[-1].startswith("GET /rws/api/v1/echo/")
    with shell.client(credential_keys=SecretStr(OLD)) as client:
        assert len(client.rate_plans()) > 0
        shell.said += f"{client!r} {client._http.__dict__}"
    assert shell("providers", "list", "--json") == 0
    assert json.loads(shell.out)[0]["credential_ref"] == "store"
    events = shell.ask(audit.load_events)
    assert [event.action for event in events][-1] == "credential.stored"
    assert events[-1].details == {"reference_before": "env:ACME_NOT_SET"}
    everything = f"{shell.said} {events!r} {caplog.text}"
    files = b"".join(path.read_bytes() for path in shell.folder.iterdir())
    for secret in (USER, KEY, OLD):
        assert secret not in everything
        assert secret.encode() not in files
    assert shell.token().encode() in files  # what was looked through is where tokens are


def test_credentials_are_set_again(shell):
    assert shell("credentials", "set", "1", stdin="somebody:else") == 0
    before = shell.token()
    assert shell("credentials", "check", "1") == 1
    assert "check user name, key, role" in shell.err
    assert shell("credentials", "set", "1", stdin=LINE) == 0
    assert shell.token() != before
    assert shell("credentials", "check", "1") == 0


def test_a_key_is_replaced_without_a_gap(shell):
    assert shell("credentials", "set", "1", stdin=LINE) == 0
    before = shell.token()
    assert shell("credentials", "check", "1", keys=f"{NEW},{OLD}") == 0
    assert shell("credentials", "check", "1", keys=NEW) == 2
    assert shell("credentials", "rotate", keys=f"{NEW}, {OLD}") == 0
    assert shell.out == "1 stored credentials encrypted with the first key\n"
    assert shell.token() != before
    assert shell("credentials", "check", "1", keys=NEW) == 0
    assert shell("credentials", "check", "1", keys=OLD) == 2
    assert shell.ask(audit.load_events)[-1].details == {"service_provider_ids": [1]}


@pytest.mark.parametrize("command", [("check", "1"), ("rotate",)])
def test_a_token_that_no_key_decrypts_names_the_remedies(shell, command):
    assert shell("credentials", "set", "1", stdin=LINE) == 0
    before = shell.token()
    assert shell("credentials", *command, keys=OTHER) == 2
    assert "of provider 1 cannot be decrypted with any key" in shell.err
    assert "add the key that they were encrypted with" in shell.err
    assert "`carrier-opt credentials set 1`" in shell.err
    assert shell.token() == before


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (None, "CARRIER_OPT_CREDENTIAL_KEYS is not set"),
        (" , ", "CARRIER_OPT_CREDENTIAL_KEYS is not set"),
        (f"{OLD},hidden-key-5f3a", "key 2 of 2 is no Fernet key"),
        ("file:keys.txt", "the path is not absolute"),
        ("file:/nowhere/keys.txt", "cannot be read (FileNotFoundError)"),
    ],
    ids=["none", "blank", "second is none", "relative path", "no file"],
)
def test_keys_that_cannot_be_used_are_named_and_not_shown(shell, keys, message):
    for command in (("set", "1"), ("rotate",)):
        assert shell("credentials", *command, stdin=LINE, keys=keys) == 2
        assert message in shell.err
    assert KEY not in shell.said


def test_keys_may_stand_in_a_file(shell, tmp_path):
    (tmp_path / "keys").write_text(f"{NEW}\n{OLD}\n")
    assert shell("credentials", "set", "1", stdin=LINE, keys=f"file:{tmp_path / 'keys'}") == 0
    assert shell("credentials", "check", "1", keys=NEW) == 0


def test_a_printed_key_is_one_to_use(shell):
    assert shell("credentials", "key", keys=None) == 0
    assert shell("credentials", "set", "1", stdin=LINE, keys=shell.out.strip()) == 0


@pytest.mark.parametrize("stdin", ["", "no-colon-hidden", ":hidden", "hidden:", f"{LINE}\n{LINE}"])
def test_what_is_no_pair_of_name_and_key_is_refused_and_not_repeated(shell, stdin):
    assert shell("credentials", "set", "1", stdin=stdin) == 2
    assert "does not hold one line username:apiKey" in shell.err
    assert "hidden" not in shell.err
    assert shell("credentials", "rotate") == 0
    assert shell.out.startswith("0 stored credentials")


def test_an_unknown_provider_is_named(shell):
    for command in ("set", "check"):
        assert shell("credentials", command, "Nobody", stdin=LINE) == 2
        assert "provider 'Nobody' is unknown; known: 1 'Acme'" in shell.err


def test_a_reference_to_the_store_without_credentials_names_the_command(shell):
    text = "name,tenant,integration,base_url,credential_ref,time_zone\n"
    text += "Acme,T,jasper,https://r.example.com,store,UTC\n"
    (shell.folder / "p.csv").write_text(text)
    assert shell("providers", "import", "p.csv") == 0
    assert shell("credentials", "check", "1") == 2
    assert "has no stored credentials: run `carrier-opt credentials set 1`" in shell.err


def test_a_variable_that_is_not_set_and_a_carrier_that_is_away_are_told(shell, carrier):
    assert shell("credentials", "check", "1") == 2
    assert "ACME_NOT_SET is not set" in shell.err
    shell.monkeypatch.setenv("ACME_NOT_SET", LINE)
    assert shell("credentials", "check", "1", keys=None) == 0
    carrier.stop()
    assert shell("credentials", "check", "1") == 1
    assert "check address and network" in shell.err


def test_at_a_terminal_the_secret_is_asked_for_without_showing_it(shell, monkeypatch):
    asked = []

    def prompt(_text, *, hide_input, **_):
        asked.append(hide_input)
        return LINE

    monkeypatch.setattr("typer.prompt", prompt)
    assert shell("credentials", "set", "1", terminal=True) == 0
    assert asked == [True]


def test_printing_a_cipher_shows_no_key():
    assert repr(token_cipher(SecretStr(OLD))) == "TokenCipher()"
    with pytest.raises(InputError) as caught:
        token_cipher(SecretStr("hidden"))
    assert "hidden" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert isinstance(token_cipher(SecretStr(f"{OLD}\n{NEW}")), TokenCipher)


@pytest.mark.redis
def test_a_client_of_a_deployment_with_redis_shares_its_accounts_rate(
    shell, redis_url, monkeypatch
):
    monkeypatch.setenv("ACME_NOT_SET", LINE)
    text = "name,tenant,integration,base_url,credential_ref,time_zone,requests_per_second\n"
    text += "Acme,T,jasper,https://r.example.com,env:ACME_NOT_SET,UTC,5\n"
    (shell.folder / "p.csv").write_text(text)
    assert shell("providers", "import", "p.csv") == 0
    settings = {"redis_url": SecretStr(redis_url), "carrier_timeout_seconds": 7.0}
    with shell.client(**settings) as one, shell.client(**settings) as two:
        limiter = one._http._limiter
        assert isinstance(limiter, SharedLimiter)
        assert two._http._limiter is limiter
        assert limiter._lifetime_ms > 2 * 7000
