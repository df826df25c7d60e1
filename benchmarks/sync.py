"""`python -m benchmarks.sync [N …]`: a full sync of N SIMs from the simulator into a new SQLite file.

The simulator runs in a process of its own, unthrottled, with pages of 1,000 rows. Printed per size:
seconds, SIMs a second, calls, and the peak memory of the syncing process.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from core.carriers.control_center import control_center_capabilities, open_control_center
from core.carriers.credentials import Credentials
from core.simulator.fleet import current_cycle
from core.simulator.tariffs import simulated_communication_plans, simulated_rate_plans
from core.storage import catalogue_changes
from core.storage.audit import Author
from core.storage.device_store import SqlDeviceStore
from core.storage.engine import open_engine
from core.storage.migrate import upgrade
from core.storage.records import ProviderSettings
from core.sync.run import SyncRequest, sync_devices

PAGE_SIZE = 1000
SIZES = (2_000, 100_000)


def utc_now() -> datetime:
    """Return the time now."""
    return datetime.now(tz=UTC)


def sync_request(folder: Path, url: str) -> tuple[SqlDeviceStore, SyncRequest]:
    """Set up a database with one provider, and say what to synchronise."""
    engine = open_engine(f"sqlite:///{folder / 'bench.db'}")
    upgrade(engine)
    author, now = Author(actor="benchmark"), utc_now()
    settings = ProviderSettings(
        name="account", tenant="tenant", integration="jasper", base_url=url,
        credential_ref="env:UNUSED", time_zone="UTC",
    )  # fmt: skip
    provider = catalogue_changes.add_provider(engine, settings, now=now, author=author)
    cycle = current_cycle(now.date())
    period = catalogue_changes.add_period(
        engine, provider.id, cycle.start_date, cycle.end_date, now=now, author=author
    )
    prorated = {plan.code for plan in simulated_rate_plans() if plan.is_prorated}
    request = SyncRequest(
        service_provider_id=provider.id,
        period_id=period.id,
        cycle=cycle,
        prorated_rate_plans=prorated,
        prorated_communication_plans={
            plan.name
            for plan in simulated_communication_plans()
            if prorated.intersection(plan.rate_plan_codes)
        },
    )
    return SqlDeviceStore(engine), request


def measure(n_devices: int, folder: Path) -> str:
    """Synchronise once, and return the table's row."""
    ready = folder / "url"
    script = "import typer; from cli.simulate import simulate_carrier; typer.run(simulate_carrier)"
    command = [sys.executable, "-c", script, "--devices", str(n_devices), "--port", "0"]
    command += ["--max-page-size", str(PAGE_SIZE), "--ready-file", str(ready)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as simulator:  # noqa: S603 - our own
        while not ready.exists() and simulator.poll() is None:
            time.sleep(0.05)
        store, request = sync_request(folder, ready.read_text(encoding="utf-8"))
        credentials = Credentials(
            username=SecretStr("simulator"), api_key=SecretStr("simulated-key")
        )
        with open_control_center(
            ready.read_text(encoding="utf-8"),
            credentials,
            capabilities=control_center_capabilities(page_size=PAGE_SIZE, requests_per_second=None),
        ) as client:
            started = time.perf_counter()
            result = sync_devices(client, store, request, clock=utc_now)
            seconds = time.perf_counter() - started
        simulator.terminate()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = result.devices / seconds
    return f"{n_devices:>10,} {seconds:>8.1f} {rate:>9,.0f} {result.calls:>8,} {peak_mb:>8,.0f}"


def main(sizes: tuple[int, ...]) -> None:
    """Print the table, small fleets first."""
    print("      SIMs  seconds    SIMs/s    calls  peak MB")
    for size in sorted(sizes):
        with tempfile.TemporaryDirectory() as folder:
            print(measure(size, Path(folder)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="N", help="SIMs")
    main(tuple(parser.parse_args().sizes))
