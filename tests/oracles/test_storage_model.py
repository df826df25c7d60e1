"""Sessions, slots, outbox and results against a model of plain dicts, in any order of events (S1-S3).

Runs open, continue and leave sessions, die, fall silent and write after they were replaced; two
senders take messages. After each event every row is what the model says, and what must always hold is
held once more by the rows alone.
"""

from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from core.assembly import assignments_of
from core.errors import CarrierOptError, SessionBusyError
from core.sessions import lifecycle
from core.sessions.heartbeat import Heartbeat
from core.sessions.lifecycle import Author, Owner, SessionState
from core.sessions.window import Slot
from core.stages.session import SessionContext
from core.storage import outbox, slots
from core.storage.engine import open_engine, reading, writing
from core.storage.instances import create_instance, find_instances
from core.storage.queues import save_sequences
from core.storage.results import publish
from core.storage.snapshot import save_grouping
from core.storage.unit_results import save_unit_results
from tests.faults.results_case import LISTED, make_case, make_providers
from tests.oracles.storage_model import FINAL, NEXT, OK, TENANT, WORKING, Sessions
from tests.oracles.storage_rows import TABLES, as_rows, check_outbox

START = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
BY_HAND = Author(actor="operator", source="cli")
TOLD = {
    "InputError": "input",
    "SessionError": "session",
    "StorageError": "storage",
    "FencedOffError": "fenced",
    "SessionCancelledError": "cancelled",
    "IllegalTransitionError": "illegal",
}


@pytest.fixture(scope="module", autouse=True)
def material(tmp_path_factory):
    """A database with three providers, and an optimisation in hand; for all machines."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    Machine.providers = make_providers(path, TENANT)
    Machine.template, Machine.case = path, make_case()


recent = st.integers(0, 3)
runs = st.sampled_from(["run-a", "run-b", "run-c"])
pids = st.integers(1, 4)
providers = st.sampled_from(sorted(TENANT))
keys = st.tuples(providers, st.sampled_from(["2026-11-23", "2026-11-30"]), st.sampled_from([-1, 2]))


class Machine(RuleBasedStateMachine):
    """Does everything twice: with the program and with the model."""

    template: Path
    providers: dict
    case: object

    @initialize()
    def begin(self):
        self.folder = Path(mkdtemp())
        path = shutil.copy(self.template, self.folder / "model.db")
        self.engine = open_engine(f"sqlite:///{path}")
        self.reader = sqlite3.connect(path)
        self.model = Sessions()
        self.handles, self.seen, self.attempts = [], [], []
        self.known = {}

    def teardown(self):
        if hasattr(self, "engine"):
            self.engine.dispose()
            self.reader.close()
            shutil.rmtree(self.folder)

    @property
    def now(self):
        return START + timedelta(seconds=self.model.now)

    def told(self, act, *arguments, **options):
        """What the program tells of an act, in the words of the model."""
        try:
            act(*arguments, **options)
        except SessionBusyError as error:
            return ("busy", error.running_session_id)
        except CarrierOptError as error:
            return (TOLD[type(error).__name__],)
        return OK

    def handle(self, back):
        """One of the last handles that a run was given, and how the model names it."""
        handle = self.handles[-1 - back % len(self.handles)]
        return handle, (handle.session_id, handle.owner.run_id, handle.attempt)

    # --- runs

    def get_session(self, expected, provider, run, pid, **parameters):
        got = []

        def act():
            request = lifecycle.parse_parameters(service_provider_id=provider, **parameters)
            handle = lifecycle.open_session(
                self.engine,
                request,
                tenant_id=TENANT[provider],
                owner=Owner(run_id=run, host="here", pid=pid),
                triggered_by=Author(actor="test", source="api", run_id=run),
                now=self.now,
                is_process_alive=lambda pid: pid not in self.model.dead,
            )
            got.append(handle)

        told = self.told(act)
        for handle in got:
            told = ("ok", handle.session_id, handle.attempt)
            self.handles.append(handle)
        assert told == expected

    @rule(provider=providers, run=runs, pid=pids, dry=st.booleans())
    def open(self, provider, run, pid, dry):
        self.model.dead.discard(pid)  # a process that asks for something runs
        expected = self.model.open(provider, run, pid, dry=dry)
        self.get_session(expected, provider, run, pid, billing_period_id=provider, dry_run=dry)

    @precondition(lambda self: self.handles)
    @rule(back=recent, is_dead=st.booleans())
    def start_again(self, back, is_dead):
        """The same run asks once more, or another one after the death of its process."""
        handle, _ = self.handle(back)
        owner, provider = handle.owner, handle.service_provider_id
        run, pid = owner.run_id, owner.pid
        if is_dead:
            self.model.dead.add(pid)
            run, pid = f"{run[:5]}x", pid % 4 + 1
        self.open(provider, run, pid, dry=handle.is_dry_run)

    @rule(session=st.integers(1, 6), provider=providers, run=runs, pid=pids)
    def open_by_id(self, session, provider, run, pid):
        self.model.dead.discard(pid)
        expected = self.model.go_on(session, provider, run, pid)
        self.get_session(expected, provider, run, pid, optimization_session_id=session)

    @rule(pid=pids)
    def die(self, pid):
        self.model.dead.add(pid)

    @rule(seconds=st.sampled_from([1, 30, 60, 61]))
    def wait(self, seconds):
        self.model.now += seconds

    # --- the run of a session

    @precondition(lambda self: self.handles)
    @rule(back=recent, steps=st.integers(1, 6))
    def work(self, back, steps):
        """Go on by some stages, as the flow does."""
        handle, names = self.handle(back)
        for _ in range(steps):
            state = NEXT.get(self.model.sessions[names[0]]["state"], "FINALISING")
            self.enter_stage(handle, names, state, milestone=10 * WORKING.index(state), again=True)

    @precondition(lambda self: self.handles)
    @rule(
        back=recent,
        state=st.sampled_from(WORKING),
        milestone=st.sampled_from([None, 5, 20, 30, 90]),
        again=st.booleans(),
    )
    def enter(self, back, state, milestone, again):
        self.enter_stage(*self.handle(back), state, milestone=milestone, again=again)

    def enter_stage(self, handle, names, state, *, milestone, again):
        expected = self.model.enter(*names, state, milestone, again=again)
        act = lifecycle.enter if again else lifecycle.advance
        told = self.told(
            act, self.engine, handle, SessionState(state), now=self.now, milestone=milestone
        )
        assert told == expected

    @precondition(lambda self: self.handles)
    @rule(back=recent, progress=st.integers(1, 99))
    def report(self, back, progress):
        handle, names = self.handle(back)
        expected = self.model.report(*names, progress)
        act = lifecycle.report_progress
        assert self.told(act, self.engine, handle, progress, now=self.now) == expected

    @precondition(lambda self: self.handles)
    @rule(back=recent)
    def beat(self, back):
        handle, names = self.handle(back)
        expected = self.model.beat(*names)
        heart = Heartbeat(self.engine, handle, 1.0, clock=lambda: self.now)
        is_alive = heart.beat()
        assert self.told(heart.check) == expected
        assert is_alive == (expected == OK and self.model.sessions[names[0]]["state"] in WORKING)

    @precondition(lambda self: self.handles)
    @rule(back=recent, problem=st.sampled_from([None, "two groups are missing"]))
    def complete(self, back, problem):
        handle, names = self.handle(back)
        state = "COMPLETED" if problem is None else "COMPLETED_WITH_ERRORS"
        expected = self.model.complete(*names, state)
        more = {"totals": {}, "device_count": 1, "error_message": problem}
        assert self.told(lifecycle.complete, self.engine, handle, now=self.now, **more) == expected

    @precondition(lambda self: self.handles)
    @rule(back=recent)
    def fail(self, back):
        handle, names = self.handle(back)
        expected = self.model.fail(*names)
        act = lifecycle.fail
        assert self.told(act, self.engine, handle, now=self.now, error_message="x") == expected

    @precondition(lambda self: self.handles)
    @rule(back=recent, by_hand=st.booleans())
    def cancel(self, back, by_hand):
        handle, (session, *owner) = self.handle(back)
        expected = self.model.cancel(session, None if by_hand else owner)
        target, author = (session, BY_HAND) if by_hand else (handle, None)
        more = {"now": self.now, "reason": "x", "cancelled_by": author}
        assert self.told(lifecycle.cancel, self.engine, target, **more) == expected

    # --- results

    @precondition(lambda self: self.handles)
    @rule(back=recent, steps=st.sampled_from(["c", "cg", "cgs", "cgs01", "01p", "s0p", "g", "1p"]))
    def write_results(self, back, steps):
        handle, _ = self.handle(back)
        names = {"c": "create", "g": "group", "s": "sequence", "p": "publish"}
        for step in steps:
            self.write_step(handle, names.get(step, step))

    def write_step(self, handle, step):
        model, session = self.model, handle.session_id
        if step != "create" and session not in model.results:
            return
        expected = model.write(session, handle.attempt, step, len(self.case.solutions))
        assert self.told(self.write, handle, step) == expected

    def write(self, handle, step):
        provider, period = self.providers[handle.service_provider_id]
        fence = SessionContext(
            session_id=handle.session_id,
            attempt=handle.attempt,
            triggered_by="test",
            started_at=START,
            provider=provider,
            period=period,
            request=handle.request,
            instance=None,
        ).fence
        common = {"now": self.now, "fence": fence}
        if step == "create":
            of = {"session_id": handle.session_id, "provider": provider, "period": period}
            create_instance(self.engine, **of, created_by="test", **common)
            return
        [instance] = find_instances(self.engine, handle.session_id)
        target, case = (self.engine, instance.id), self.case
        if step == "group":
            save_grouping(*target, case.grouping, LISTED, **common)
        elif step == "sequence":
            save_sequences(*target, case.sequences, **common)
        elif step == "publish":
            publish(*target, case.outcome, **common)
        else:
            solution = case.solutions[int(step)]
            rows = assignments_of(case.grouping, [solution])
            save_unit_results(*target, rows, [solution.result], **common)

    # --- messages

    @rule(run=runs)
    def refuse(self, run):
        self.model.tell(None, "ErrorMessage", 0)
        more = {"error_message": "x", "flow_run_id": run, "additional_data": None, "now": self.now}
        lifecycle.refuse(self.engine, triggered_by=BY_HAND, **more)

    @rule()
    def look_for_messages(self):
        """A sender reads what there is; it may be late when it claims it."""
        with reading(self.engine) as connection:
            found = outbox.load_next_messages(connection)
        assert [message.outbox_id for message in found] == self.model.heads()
        self.seen = (self.seen + found)[-8:]

    @precondition(lambda self: self.seen)
    @rule(back=st.integers(0, 7), sender=st.sampled_from(["sender 1", "sender 2"]))
    def claim_message(self, back, sender):
        message = self.seen[-1 - back % len(self.seen)]
        expected = self.model.claim(message.outbox_id, message.attempts, sender)
        with writing(self.engine) as connection:
            assert outbox.claim_message(connection, message, sender=sender) == expected
        if expected:
            self.attempts.append((message.outbox_id, message.attempts + 1))

    @precondition(lambda self: self.attempts)
    @rule(back=recent, end=st.sampled_from(["sent", "sent", "parked", None]))
    def end_attempt(self, back, end):
        number, attempt = self.attempts[-1 - back % len(self.attempts)]
        expected = self.model.finish(number, attempt, end)
        with writing(self.engine) as connection:
            if end == "sent":
                done = outbox.mark_sent(connection, number, attempt, self.now)
            elif end == "parked":
                done = outbox.mark_parked(connection, number, attempt, "no luck", self.now)
            else:
                done = outbox.mark_failed(connection, number, attempt, "no luck")
        assert done == expected

    @rule(sender=st.sampled_from(["sender 1", "sender 2"]), end=st.sampled_from(["sent", "parked"]))
    def send_all(self, sender, end):
        """One round of a sender that meets no trouble, or nothing but refusals."""
        self.look_for_messages()
        for _ in self.model.heads():
            self.claim_message(len(self.model.heads()) - 1, sender)
            if self.attempts:
                self.end_attempt(0, end)

    # --- slots

    @rule(key=keys, run=runs)
    def claim_slot(self, key, run):
        expected = self.model.claim_slot(key, run)
        claim = slots.claim_slot(self.engine, slot_of(key), claimed_by=run, now=self.now)
        assert (claim.is_mine, claim.claimed_by, claim.session_id) == expected

    @rule(key=keys, run=runs)
    def release_slot(self, key, run):
        expected = self.model.release_slot(key, run)
        assert slots.release_slot(self.engine, slot_of(key), claimed_by=run) == expected

    @precondition(lambda self: self.handles)
    @rule(key=keys, run=runs, back=recent)
    def bind_slot(self, key, run, back):
        session = self.handle(back)[0].session_id
        expected = self.model.bind_slot(key, run, session)
        bound = slots.bind_slot(self.engine, slot_of(key), claimed_by=run, session_id=session)
        assert bound == expected

    # --- what must hold

    @invariant()
    def every_row_is_as_the_model_has_it(self):
        if not hasattr(self, "model"):
            return
        rows = {name: self.reader.execute(query).fetchall() for name, query in TABLES.items()}
        assert rows == as_rows(self.model, START, len(self.case.grouping.groups), rows["results"])
        self.check_sessions(rows["sessions"])
        check_outbox(rows["outbox"])

    def check_sessions(self, rows):
        """By the rows alone, and those before the last event."""
        busy = [tenant for _, _, tenant, _, state, *_ in rows if state in WORKING]
        assert len(busy) == len(set(busy))
        now = {row[0]: row[4:6] for row in rows}
        for session, (state, progress) in self.known.items():
            state_now, progress_now = now[session]
            assert progress_now >= progress
            if state in FINAL:
                assert state_now == state
        self.known = now


def slot_of(key):
    provider, day, hour = key
    return Slot(service_provider_id=provider, local_date=date.fromisoformat(day), hour=hour)


class TestStorageAgainstAModel(Machine.TestCase):
    settings = settings(max_examples=30, stateful_step_count=40, phases=[Phase.generate])


@pytest.mark.full
class TestStorageAgainstAModelForLong(Machine.TestCase):
    """Takes longer, and makes what it finds as short as it can."""

    settings = settings(max_examples=400, stateful_step_count=80)
