"""``carrier-opt demo``: the main job end to end on this machine, with nothing faked.

A Control Center simulator and an AMOP receiver listen on loopback, the flow
`optimize-service-provider` runs on a Prefect server of its own, SQLite holds everything, and the
reports land in a folder.
"""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.paths import path_option

if TYPE_CHECKING:
    import sqlalchemy as sa

DEMO_TENANT = "Demo Tenant"
DEMO_PROVIDER = "Demo Control Center"
DATABASE = "carrier-opt.db"
AMOP_LOG = "amop-messages.jsonl"


def demo(
    devices: Annotated[
        int, typer.Option(min=1, max=5_000_000, help="SIMs in the simulated fleet.")
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated fleet.")] = 1,
    out: Annotated[Path, path_option("Folder for database, reports and messages.")] = Path(
        "demo-output"
    ),
    page_size: Annotated[
        int,
        typer.Option(min=1, max=1000, help="Rows per page of the carrier's lists (real ones: 50)."),
    ] = 50,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print summary.json instead of a table.")
    ] = False,
) -> None:
    """Run the main job end to end: fetch, store, group, optimise, report, tell AMOP.

    A second run in the same folder opens a new session; one that was killed is taken over.
    """
    from cli.embedded import embedded_prefect, exclusive_folder
    from cli.flow_run import STATE, log_to, read_summary, run_flow
    from cli.run_view import narrate, show_summary

    with ExitStack() as stack:
        stack.enter_context(exclusive_folder(out))
        state = out / STATE
        log_to(state / "demo.log")
        wait_for_prefect = stack.enter_context(embedded_prefect(state / "prefect"))
        engine, provider_id = stack.enter_context(
            _demo_account(out, devices=devices, seed=seed, page_size=page_size)
        )
        with narrate(engine, provider_id):
            wait_for_prefect()
            result = run_flow(engine, service_provider_id=provider_id)
    for file in Path(result["report_dir"]).iterdir():
        shutil.copy2(file, out / file.name)
    if json_output:
        sys.stdout.write((out / "summary.json").read_text(encoding="utf-8"))
        return
    show_summary(read_summary(out), result, out)
    n_messages = _count_messages(out / AMOP_LOG, result["session_guid"])
    sys.stdout.write(f"  {out / DATABASE}  {out / AMOP_LOG}: {n_messages} messages received\n")


def _count_messages(log: Path, session_guid: str) -> int:
    from core.amop.receiver import read_log

    return sum(entry["message"]["sessionGuid"] == session_guid for entry in read_log(log))


@contextmanager
def _demo_account(
    out: Path, *, devices: int, seed: int, page_size: int
) -> Iterator[tuple[sa.Engine, int]]:
    """Start simulator and AMOP receiver, and register their account in the folder's database."""
    from pydantic import SecretStr

    from cli.child import ChildProcess
    from cli.embedded import export_environment, wait_for_file
    from cli.flow_run import STATE
    from core.amop.receiver import AmopReceiver
    from core.storage.engine import open_engine
    from core.storage.migrate import upgrade

    api_key, amop_key = secrets.token_hex(16), secrets.token_hex(16)
    database_url = f"sqlite:///{(out / DATABASE).resolve()}"
    export_environment(
        {
            "CARRIER_OPT_DATABASE_URL": database_url,
            "CARRIER_OPT_OUTPUT_DIR": str(out.resolve()),
            "CARRIER_OPT_DEMO_CREDENTIALS": f"demo:{api_key}",
        }
    )
    ready = out / STATE / "simulator.url"
    ready.unlink(missing_ok=True)
    arguments = [
        "simulate-carrier", "--devices", str(devices), "--seed", str(seed), "--port", "0",
        "--max-page-size", str(max(page_size, 50)), "--credential-ref",
        "env:CARRIER_OPT_DEMO_CREDENTIALS", "--ready-file", str(ready),
    ]  # fmt: skip
    with (
        ChildProcess(arguments, log_path=out / STATE / "simulator.log") as simulator,
        AmopReceiver(out / AMOP_LOG, token=SecretStr(amop_key)) as receiver,
    ):
        export_environment({"AMOP_API_ENDPOINT": receiver.endpoint, "AMOP_API_KEY": amop_key})
        engine = open_engine(database_url)
        upgrade(engine)
        base_url = wait_for_file(ready, simulator)
        yield engine, _register(engine, base_url, page_size)
        engine.dispose()


def _register(engine: sa.Engine, base_url: str, page_size: int) -> int:
    """Set up the demo's provider as `providers import`, `plans import`, `periods add` would."""
    from core.simulator.fleet import current_cycle
    from core.simulator.tariffs import simulated_communication_plans, simulated_rate_plans
    from core.storage.audit import Author
    from core.storage.catalogue import find_provider, list_periods
    from core.storage.catalogue_changes import add_period, import_providers
    from core.storage.plan_import import replace_catalogue
    from core.storage.records import ProviderSettings

    now, author = datetime.now(tz=UTC), Author(actor="demo")
    settings = ProviderSettings(
        name=DEMO_PROVIDER,
        tenant=DEMO_TENANT,
        integration="jasper",
        base_url=base_url,
        credential_ref="env:CARRIER_OPT_DEMO_CREDENTIALS",
        time_zone="UTC",
        page_size=page_size,
        requests_per_second=None,
    )
    import_providers(engine, [settings], now=now, author=author)
    provider = find_provider(engine, DEMO_PROVIDER)
    replace_catalogue(
        engine,
        provider.id,
        simulated_rate_plans(),
        simulated_communication_plans(),
        now=now,
        author=author,
    )
    cycle = current_cycle(now.date())
    if not any(p.start_date == cycle.start_date for p in list_periods(engine, provider.id)):
        add_period(engine, provider.id, cycle.start_date, cycle.end_date, now=now, author=author)
    return provider.id
