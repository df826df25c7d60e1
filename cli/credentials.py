"""``carrier-opt credentials``: the encrypted store of carrier credentials, and trying them out."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from pydantic import SecretStr

from cli.database import Database, acting_user, open_current, utc_now
from cli.notices import notices

app = typer.Typer(
    help="Stores carrier credentials encrypted, and tries them.", no_args_is_help=True
)

ProviderId = Annotated[
    str, typer.Argument(metavar="PROVIDER_ID", help="Service provider: id or name.")
]


@app.command("set")
def set_command(provider_id: ProviderId, database: Database = None) -> None:
    """Store the credentials of a provider, encrypted with the first of CARRIER_OPT_CREDENTIAL_KEYS.

    Asks for them without showing what is typed, or reads one line from stdin where that is no
    terminal: username:apiKey, for ThingSpace KEY:SECRET;ACCOUNT;USER;PASSWORD. From then on the
    provider uses them (its credential_ref becomes `store`).
    """
    from core.bootstrap import THINGSPACE
    from core.carriers.credentials import parse_credentials
    from core.carriers.thingspace_auth import thingspace_login
    from core.settings import load_settings
    from core.storage.catalogue import find_provider
    from core.storage.credentials import store_credentials, token_cipher

    cipher = token_cipher(load_settings().credential_keys)
    with open_current(database) as engine:
        provider = find_provider(engine, provider_id)
        is_thingspace = provider.integration == THINGSPACE
        secret = _read_secret(
            "KEY:SECRET;ACCOUNT;USER;PASSWORD" if is_thingspace else "username:apiKey"
        )
        parsed = parse_credentials(secret, "what was given")
        if is_thingspace:
            thingspace_login(parsed)
        store_credentials(engine, provider, secret, cipher, now=utc_now(), author=acting_user())
    typer.echo(
        f"credentials of provider {provider.id} {provider.name} stored; try them with "
        f"`carrier-opt credentials check {provider.id}`"
    )


@app.command("rotate")
def rotate_command(database: Database = None) -> None:
    """Encrypt all stored credentials anew with the first key; older keys may be taken away then."""
    from core.settings import load_settings
    from core.storage.credentials import rotate_credentials, token_cipher

    cipher = token_cipher(load_settings().credential_keys)
    with open_current(database) as engine:
        n_rotated = rotate_credentials(engine, cipher, now=utc_now(), author=acting_user())
    typer.echo(f"{n_rotated} stored credentials encrypted with the first key")


@app.command("check")
def check_command(provider_id: ProviderId, database: Database = None) -> None:
    """Make one harmless call to a provider's carrier, to see that address and credentials are right."""
    from core import bootstrap
    from core.carriers.http import RetryPolicy
    from core.settings import load_settings
    from core.storage.catalogue import find_provider

    with open_current(database) as engine:
        provider = find_provider(engine, provider_id)
        client = bootstrap.carrier_client(
            provider, load_settings(), engine=engine, retry=RetryPolicy(attempts=2)
        )
        try:
            with notices():
                client.check()
        finally:
            client.close()
    typer.echo(
        f"ok: provider {provider.id} {provider.name}: {provider.base_url} accepts the credentials "
        f"behind {provider.credential_ref}"
    )


@app.command("key")
def key_command() -> None:
    """Print a new key for CARRIER_OPT_CREDENTIAL_KEYS; keep it in a secret store."""
    from core.storage.credentials import new_key

    typer.echo(new_key())


def _read_secret(form: str) -> SecretStr:
    if sys.stdin.isatty():
        return SecretStr(str(typer.prompt(form, hide_input=True, err=True)).strip())
    return SecretStr(sys.stdin.read().strip())
