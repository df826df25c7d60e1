"""A database for every test of the synchronisation."""

from __future__ import annotations

import shutil

import pytest

from core.simulator.account import SimulatedAccount
from core.simulator.options import SimulatorOptions
from core.simulator.server import SimulatorServer
from core.simulator.tariffs import simulated_communication_plans
from core.storage.engine import open_engine
from tests.faults.small_account import CYCLE, NOW, PLANS, make_database


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A database with provider 1, its period 1 and the one before, 2; to be copied only."""
    return make_database(tmp_path_factory.mktemp("template") / "template.db")


@pytest.fixture
def new_engine(template, tmp_path):
    """Makes engines of databases of this test's own, by name."""
    opened = []

    def make(name):
        path = shutil.copy(template, tmp_path / f"{name}.db")
        opened.append(open_engine(f"sqlite:///{path}"))
        return opened[-1]

    yield make
    for engine in opened:
        engine.dispose()


@pytest.fixture
def engine(new_engine):
    """A database of this test's own."""
    return new_engine("own")


@pytest.fixture
def serve():
    """Starts simulators of fleets, in accounts with a few rate plans."""
    opened = []

    def start(fleet, rate_plans=PLANS, **switches):
        account = SimulatedAccount(
            fleet,
            cycle=CYCLE,
            rate_plans=rate_plans,
            communication_plans=simulated_communication_plans(),
        )
        options = SimulatorOptions(**switches)
        opened.append(SimulatorServer(account, options, clock=lambda: NOW).start())
        return opened[-1]

    yield start
    for server in opened:
        server.stop()
