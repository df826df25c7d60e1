"""Every fault of the carrier's API at a plan change: sent once, and reading back tells what it did."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from datetime import timedelta

import pytest

from core.carriers.base import ChangeOutcome
from core.errors import CarrierError
from core.simulator.faults import Fault, FaultKind
from core.simulator.iccids import other_form
from core.simulator.options import SimulatorOptions
from core.simulator.server import SimulatorServer
from core.simulator.throttle import AccountThrottle
from tests.faults.small_account import NOW, opened_client, small_account, small_fleet

CLOSED_PORT = "closed_port"
HANGS = 3
NOT_CARRIED_OUT = {
    FaultKind.BAD_REQUEST, FaultKind.UNAUTHORIZED, FaultKind.FORBIDDEN, FaultKind.NOT_FOUND,
    FaultKind.SERVER_ERROR, FaultKind.BAD_GATEWAY, FaultKind.UNAVAILABLE, FaultKind.RATE_LIMIT,
    FaultKind.RATE_LIMIT_200, FaultKind.RATE_LIMIT_400, FaultKind.RATE_LIMIT_429, FaultKind.REFUSE,
    FaultKind.VANISH, CLOSED_PORT,
}  # fmt: skip
REPLY_LOST = {
    FaultKind.LOST_REPLY, FaultKind.RESET, FaultKind.TRUNCATED, FaultKind.HANG, FaultKind.DRIP,
    FaultKind.HUGE, FaultKind.UTF_16,
}  # fmt: skip
WITH_LISTS_ONLY = {
    FaultKind.MISSING_LAST_PAGE, FaultKind.REPEATED_PAGE, FaultKind.EMPTY_PAGE, FaultKind.DUPLICATES,
    FaultKind.WRONG_PAGE_NUMBER, FaultKind.TOUCH,
}  # fmt: skip
KINDS = [kind for kind in (*FaultKind, CLOSED_PORT) if kind not in WITH_LISTS_ONLY]
FORMS = {"as listed": None, "19 digits": 19, "20 digits": 20, "both": "both"}
CELLS = [
    pytest.param(
        kind, form, is_async, lasts,
        marks=[] if place == n % 8 else pytest.mark.full,
    )
    for n, kind in enumerate(KINDS)
    for place, (form, is_async, lasts) in enumerate(
        (form, is_async, lasts)
        for lasts in (False, True) for is_async in (False, True) for form in FORMS
    )
]  # fmt: skip


class Clock:
    """The simulator's time, which a test moves on."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


class Server(SimulatorServer):
    """An account whose answers hang until :meth:`come_round`."""

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self._released, self._answered = threading.Event(), threading.Event()

    def wait(self, seconds):
        if seconds == HANGS:
            self._released.wait(30)
        else:
            super().wait(seconds)

    def answer(self, method, *args):
        try:
            return super().answer(method, *args)
        finally:
            if method == "PUT":
                self._answered.set()

    def come_round(self):
        """Answer the change that hangs; returns when whatever it does is done."""
        self._released.set()
        assert self._answered.wait(30)


@pytest.fixture(scope="module")
def fleet():
    return small_fleet()


@pytest.fixture
def serve(fleet):
    """Starts an account, with a clock, that counts the changes that took effect."""
    with ExitStack() as stack:

        def start(**switches):
            account = small_account(fleet)
            account.effects = []
            change = account.change

            def counted(row, fields, now):
                account.effects.append((row, dict(fields)))
                change(row, fields, now)

            account.change = counted
            options, clock = SimulatorOptions(**switches), Clock()
            return stack.enter_context(Server(account, options, clock=clock))

        yield start


def puts(server):
    return [call for call in server.calls if call.startswith("PUT ")]


def tried(client, iccid):
    """Ask for the change; the receipt, or None where it ended in an error of the tree."""
    try:
        return client.change_rate_plan(iccid, "START-200MB")
    except CarrierError:
        return None


@pytest.mark.parametrize(("kind", "form", "is_async", "lasts"), CELLS)
def test_a_change_is_sent_once_and_reading_back_tells_whether_it_was_applied(
    kind, form, is_async, lasts, serve, report
):
    server = serve(iccid_digits=FORMS[form], async_seconds=5 if is_async else None)
    account = server.account
    row = 3
    iccid = account.fields(row)[0]
    if form == "both":
        iccid = other_form(iccid)
    script(server, kind, lasts=lasts)
    with opened_client(server.base_url) as client:
        if kind == CLOSED_PORT:
            server.pause()
        receipt = tried(client, iccid)
        if kind == CLOSED_PORT:
            server.resume()
        else:
            server.come_round()
        assert len(puts(server)) == (kind != CLOSED_PORT)
        assert client.calls == 1
        server.script([])
        server.throttle = AccountThrottle(server.options)
        server.clock.now += timedelta(minutes=1)  # by now an asynchronous change has landed

        is_gone = kind is FaultKind.VANISH
        is_applied = kind not in NOT_CARRIED_OUT and not stands_still(kind, lasts=lasts)
        shown = None if is_gone else client.device_details(iccid).rate_plan
        if is_gone:
            with pytest.raises(CarrierError):
                client.device_details(iccid)
        else:
            assert shown == ("START-200MB" if is_applied else "START-2MB")
            assert shown == account.fields(row)[2]
        assert account.effects == [(row, {"ratePlan": "START-200MB"})] * is_applied
        assert (receipt is None) == (not is_applied or is_lost(kind, is_async=is_async))
        if receipt is not None:
            assert receipt.outcome is (
                ChangeOutcome.PENDING if is_async else ChangeOutcome.ACCEPTED
            )
        if shown == "START-2MB":  # read back as not applied: it may be asked for anew
            assert tried(client, iccid) is not None
            server.clock.now += timedelta(minutes=1)
            assert client.device_details(iccid).rate_plan == "START-200MB"
    assert len(account.effects) == (not is_gone)
    outcome = "gone" if is_gone else "applied" if is_applied else "not applied, then asked anew"
    report.count("faults of a plan change", "cells", outcome, "read back right")


def script(server, kind, *, lasts):
    if kind == CLOSED_PORT:
        return
    if stands_still(kind, lasts=lasts):
        server.throttle.monotonic = lambda: 0.0
        server.throttle.slow_down()
        server.throttle.enter()
        server.throttle.leave()
    server.script([Fault(kind=kind, matching="PUT ", times=99 if lasts else 1, seconds=HANGS)])


def is_lost(kind, *, is_async):
    """Whether the answer to a change that was carried out cannot be read."""
    return kind in REPLY_LOST and not (is_async and kind is FaultKind.UTF_16)  # of a 200 only


def stands_still(kind, *, lasts):
    """Whether the account's throttle lets nothing more through."""
    return kind is FaultKind.THROTTLE_TENTH and lasts


def test_a_pending_change_is_not_applied_before_it_lands(serve):
    server = serve(async_seconds=30)
    iccid = server.account.fields(3)[0]
    with opened_client(server.base_url) as client:
        assert client.change_rate_plan(iccid, "START-200MB").outcome is ChangeOutcome.PENDING
        assert client.device_details(iccid).rate_plan == "START-2MB"
        assert server.account.effects == []
        server.clock.now += timedelta(seconds=31)
        assert client.device_details(iccid).rate_plan == "START-200MB"
    assert len(puts(server)) == len(server.account.effects) == 1
