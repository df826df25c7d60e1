"""The outbox is sent to a real receiver: in order, once, whatever goes wrong (A1, A3)."""

from __future__ import annotations

import http.client
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, date, datetime
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr

from core.amop.client import AmopClient, Outcome
from core.amop.messages import error_message, progress_message
from core.amop.receiver import AmopReceiver, read_log
from core.amop.sender import LONGEST_WAIT_S, OutboxSender
from core.domain import Portal
from core.errors import InputError, StorageError
from core.sessions.process import host_identity
from core.sessions.state import SessionState
from core.storage import outbox, schema, sessions
from core.storage.engine import open_engine, reading, writing
from core.storage.migrate import upgrade
from core.storage.sessions import NewSession
from tests.contract.accounts import SETTINGS

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
KEY = SecretStr("s3cret-api-key")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A database with two tenants; provider 1 and 2 are of tenant 1, provider 3 is of tenant 2."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    made = {"CreatedBy": "test", "CreatedDate": NOW}
    with writing(engine) as connection:
        for tenant_id in (1, 2):
            row = {"Id": tenant_id, "Name": f"tenant {tenant_id}", **made}
            connection.execute(schema.tenant.insert().values(row))
        for provider_id, tenant_id in ((1, 1), (2, 1), (3, 2)):
            connection.execute(
                schema.service_provider.insert().values(
                    Id=provider_id,
                    TenantId=tenant_id,
                    Name=f"provider {provider_id}",
                    **SETTINGS,
                    **made,
                )
            )
            connection.execute(
                schema.billing_period.insert().values(
                    Id=provider_id,
                    ServiceProviderId=provider_id,
                    BillingPeriodStart=date(2026, 11, 1),
                    BillingPeriodEnd=date(2026, 11, 30),
                    **made,
                )
            )
    engine.dispose()
    return path


@pytest.fixture
def engine(template, tmp_path):
    path = tmp_path / "test.db"
    shutil.copy(template, path)
    engine = open_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


@pytest.fixture
def receiver(tmp_path):
    with AmopReceiver(tmp_path / "amop.jsonl", token=KEY) as running:
        yield running


class Time:
    """A monotonic clock that moves when it is told to."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def sender(engine, receiver, time):
    made = OutboxSender(engine, receiver.endpoint, KEY, clock=lambda: NOW, monotonic=time)
    yield made
    made._client.close()


def new_session(engine, *, tenant_id=1):
    new = NewSession(
        guid=str(uuid4()),
        tenant_id=tenant_id,
        service_provider_id=tenant_id,
        billing_period_id=tenant_id,
        kind=Portal.M2M,
        parameters={},
        triggered_by="cli:test",
        is_dry_run=False,
        run_id="run",
        host="here",
        pid=1,
        now=NOW,
    )
    with writing(engine) as connection:
        session_id = sessions.insert_session(connection, new)
        connection.execute(
            schema.optimization_session.update()
            .where(schema.optimization_session.c.Id == session_id)
            .values(State=SessionState.CANCELLED.value)
        )  # the tenant is free for the next one
    return session_id


def tell(engine, session_id, *percents):
    made = []
    for percent in percents:
        message = progress_message(
            session_id=session_id,
            session_guid=str(uuid4()),
            device_count=5,
            progress=percent,
            additional_info="überall",
            additional_data={"a": ["ü", 1]},
            now=NOW,
        )
        with writing(engine) as connection:
            outbox.append_message(connection, message)
        made.append(message)
    return made


def tell_refusal(engine, text):
    message = error_message(
        session_id=None, text=text, additional_info="", additional_data={}, now=NOW
    )
    with writing(engine) as connection:
        outbox.append_message(connection, message)


def stored(engine, session_id):
    with reading(engine) as connection:
        return outbox.load_messages(connection, session_id)


def received(receiver):
    return [message["progress"] for message in receiver.messages()]


def send_all(sender, time, *, passes=12):
    """Passes with so much time between them that every pause is over."""
    for _ in range(passes):
        sender.send_due()
        time.seconds += LONGEST_WAIT_S * 2


def test_messages_arrive_as_they_were_made_and_in_order(engine, receiver, sender, time):
    session_id = new_session(engine)
    made = tell(engine, session_id, 0, 20, 30)
    assert [sender.send_due() for _ in range(4)] == [1, 1, 1, 0]
    assert receiver.messages() == [message.payload() for message in made]
    assert receiver.calls == 3
    assert [(m.attempts, m.sent_at) for m in stored(engine, session_id)] == [(1, NOW)] * 3


def test_sessions_and_refused_runs_do_not_wait_for_each_other(engine, receiver, sender):
    tell(engine, new_session(engine), 1, 2)
    tell(engine, new_session(engine), 11)
    tell_refusal(engine, "a")
    tell_refusal(engine, "b")
    assert sender.send_due() == 4
    assert sender.send_due() == 1
    assert received(receiver) == [1, 11, 0, 0, 2]


@pytest.mark.parametrize("status", [500, 503, 429, 408, 301])
def test_a_message_is_sent_again_until_it_passes(engine, receiver, sender, time, status):
    session_id = new_session(engine)
    tell(engine, session_id, 0, 20)
    receiver.fail_next(5, status)
    send_all(sender, time)
    assert received(receiver) == [0, 20]
    first, second = stored(engine, session_id)
    assert (first.attempts, second.attempts) == (6, 1)
    assert first.last_error is None


def test_waiting_times_double_up_to_a_limit(engine, receiver, sender, time):
    session_id = new_session(engine)
    tell(engine, session_id, 0)
    receiver.fail_next(1000, 503)
    for number in range(12):
        sender.send_due()
        assert receiver.calls == number + 1
        failed_at, until = time.seconds, sender._memory.sessions[session_id].until
        expected = min(LONGEST_WAIT_S, 2.0**number)
        assert 0.75 * expected <= until - failed_at <= 1.25 * expected
        time.seconds = until - 0.01
        sender.send_due()
        assert receiver.calls == number + 1
        time.seconds = until
    (message,) = stored(engine, session_id)
    assert message.parked_at is None
    assert message.last_error.startswith("HTTP 503")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_message_refused_for_good_is_parked_and_the_next_goes_on(
    engine, receiver, sender, time, status, caplog
):
    session_id = new_session(engine)
    tell(engine, session_id, 0, 20)
    receiver.fail_next(3, status)
    send_all(sender, time)
    assert received(receiver) == [20]
    parked, sent = stored(engine, session_id)
    assert (parked.attempts, parked.parked_at, parked.sent_at) == (3, NOW, None)
    assert parked.last_error.startswith(f"HTTP {status}")
    assert sent.sent_at == NOW
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert parked.message_id in errors[0].getMessage()


def test_outages_do_not_count_as_refusals(engine, receiver, sender, time):
    session_id = new_session(engine)
    tell(engine, session_id, 0)
    receiver.fail_next(5, 500)
    for _ in range(5):
        send_all(sender, time, passes=1)
    receiver.fail_next(2, 400)
    send_all(sender, time)
    (message,) = stored(engine, session_id)
    assert (message.parked_at, message.sent_at) == (None, NOW)


def test_an_unreachable_amop_pauses_everything(engine, tmp_path, time):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sender = OutboxSender(
        engine, f"http://127.0.0.1:{port}/x", KEY, clock=lambda: NOW, monotonic=time
    )
    first, second = new_session(engine), new_session(engine)
    tell(engine, first, 0)
    tell(engine, second, 0)
    sender.send_due()
    sender.send_due()
    assert [m.attempts for m in stored(engine, first) + stored(engine, second)] == [1, 0]
    assert "ConnectError" in stored(engine, first)[0].last_error
    with AmopReceiver(tmp_path / "amop.jsonl", token=KEY, port=port) as receiver:
        send_all(sender, time, passes=3)
        assert len(receiver.messages()) == 2
        sender._client.close()


def test_one_session_in_trouble_does_not_stop_the_others(engine, receiver, sender, time):
    tell(engine, new_session(engine), 1)
    receiver.fail_next(1, 500)
    sender.send_due()
    tell(engine, new_session(engine), 11)
    sender.send_due()
    assert received(receiver) == [11]


def test_a_message_that_arrived_although_its_sender_died_counts_once(
    engine, receiver, sender, time, monkeypatch
):
    session_id = new_session(engine)
    tell(engine, session_id, 0, 20)

    def dies(*_arguments):
        raise StorageError("killed before the answer was stored")

    monkeypatch.setattr(outbox, "mark_sent", dies)
    with pytest.raises(StorageError):
        sender.send_due()
    monkeypatch.undo()
    successor = OutboxSender(
        engine, receiver.endpoint, KEY, clock=lambda: NOW, monotonic=time, lease_s=30
    )
    for _ in range(30):
        assert successor.send_due() == 0
        time.seconds += 1
    assert [successor.send_due() for _ in range(3)] == [1, 1, 0]
    assert received(receiver) == [0, 20]
    assert receiver.calls == 3
    assert [m.attempts for m in stored(engine, session_id)] == [2, 1]
    successor._client.close()


def test_a_message_of_a_process_that_is_gone_is_sent_at_once(engine, receiver, sender, time):
    session_id = new_session(engine)
    tell(engine, session_id, 0)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for number, name in enumerate(
        [
            f"process {gone.pid} on elsewhere/1/2",
            f"process {os.getpid()} on {host_identity()}",
            f"process {gone.pid} on {host_identity()}",
        ]
    ):
        with reading(engine) as connection:
            (head,) = outbox.load_next_messages(connection)
        with writing(engine) as connection:
            assert outbox.claim_message(connection, head, sender=name)
        assert sender.send_due() == (1 if number == 2 else 0)
    assert received(receiver) == [0]


def test_many_senders_at_once_send_everything_once_and_in_order(engine, receiver):
    ids = [new_session(engine) for _ in range(3)]
    for percent in range(12):
        for session_id in ids:
            tell(engine, session_id, percent)
    senders = [OutboxSender(engine, receiver.endpoint, KEY) for _ in range(4)]
    for each in senders:
        each.__enter__()
    try:
        assert senders[0].drain(60) == 0
    finally:
        for each in senders:
            each.__exit__(None, None, None)
    assert receiver.calls == 36
    by_session = Counter()
    for message in receiver.messages():
        assert message["progress"] == by_session[message["sessionId"]]
        by_session[message["sessionId"]] += 1
    assert sorted(by_session.values()) == [12, 12, 12]


def test_the_thread_sends_what_comes_while_it_runs(engine, receiver):
    session_id = new_session(engine)
    with OutboxSender(engine, receiver.endpoint, KEY) as sender:
        tell(engine, session_id, 0, 20)
        assert sender.drain(30) == 0
        tell(engine, session_id, 30)
        sender.notify()
        assert sender.drain(30, session_id=session_id) == 0
    assert received(receiver) == [0, 20, 30]


def test_draining_ends_with_its_time_and_loses_nothing(engine, receiver, caplog):
    session_id = new_session(engine)
    tell(engine, session_id, 0)
    receiver.fail_next(1000, 503)
    with OutboxSender(engine, receiver.endpoint, KEY) as sender:
        assert sender.drain(0.05) == 1
    assert "1 AMOP messages wait" in caplog.text
    assert stored(engine, session_id)[0].sent_at is None


def test_without_an_endpoint_messages_stay_and_it_is_said_once(engine, caplog):
    session_id = new_session(engine)
    tell(engine, session_id, 0, 20)
    with OutboxSender(engine, None, None) as sender:
        sender.notify()
        assert sender.send_due() == 0
        assert sender.drain(30) == 2
    said = [r for r in caplog.records if "AMOP_API_ENDPOINT is not set" in r.getMessage()]
    assert len(said) == 1
    assert [m.attempts for m in stored(engine, session_id)] == [0, 0]


def test_the_thread_survives_a_broken_database(engine, receiver, monkeypatch, caplog):
    broke = threading.Event()

    def broken(_connection):
        broke.set()
        raise StorageError("database is locked")

    session_id = new_session(engine)
    monkeypatch.setattr(outbox, "load_next_messages", broken)
    with OutboxSender(engine, receiver.endpoint, KEY) as sender:
        assert broke.wait(10)
        monkeypatch.undo()
        tell(engine, session_id, 0)
        assert sender.drain(30) == 0
    assert "cannot be read or written now: database is locked" in caplog.text


def test_the_key_is_nowhere_but_in_its_header(engine, receiver, time, caplog, tmp_path):
    wrong = SecretStr("another-s3cret-key")
    caplog.set_level(logging.DEBUG)
    sender = OutboxSender(engine, receiver.endpoint, wrong, clock=lambda: NOW, monotonic=time)
    session_id = new_session(engine)
    tell(engine, session_id, 0)
    send_all(sender, time, passes=4)
    sender._client.close()
    (message,) = stored(engine, session_id)
    assert message.last_error.startswith("HTTP 401 Unauthorized")
    for text in (caplog.text, repr(sender), repr(vars(sender)), repr(vars(sender._client))):
        assert wrong.get_secret_value() not in text
    assert wrong.get_secret_value() not in (tmp_path / "test.db").read_bytes().decode("latin-1")


def test_an_answer_that_repeats_the_key_is_redacted(monkeypatch, tmp_path, caplog):
    def parrot(self, authorization, key, body):
        return 400, {"error": f"what is {authorization}?"}

    monkeypatch.setattr(AmopReceiver, "answer", parrot)
    with AmopReceiver(tmp_path / "amop.jsonl", token=KEY) as receiver:
        client = AmopClient(receiver.endpoint, KEY)
        answer = client.post("{}", message_id="1")
        client.close()
    assert answer.outcome is Outcome.REFUSED
    assert "what is Bearer ***?" in answer.problem


def test_the_wait_that_amop_asks_for_is_kept(engine, receiver, sender, time, monkeypatch):
    tell(engine, new_session(engine), 0)
    real = AmopClient.post

    def busy(self, payload, *, message_id):
        answer = real(self, payload, message_id=message_id)
        return type(answer)(outcome=Outcome.RETRY, problem="HTTP 429", retry_after_s=100.0)

    monkeypatch.setattr(AmopClient, "post", busy)
    sender.send_due()
    calls = receiver.calls
    time.seconds += 99
    sender.send_due()
    assert receiver.calls == calls
    time.seconds += 2
    sender.send_due()
    assert receiver.calls == calls + 1


@pytest.mark.parametrize(
    "endpoint", ["amop.example.com", "ftp://amop.example.com", "https://", "https://u:p@host/x"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(engine, endpoint):
    with pytest.raises(InputError, match="AMOP_API_ENDPOINT") as caught:
        OutboxSender(engine, endpoint, KEY)
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize("key", [None, "", "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_no_header_can_hold_is_refused_without_repeating_it(engine, key):
    secret = None if key is None else SecretStr(key)
    with pytest.raises(InputError, match="AMOP_API_KEY") as caught:
        OutboxSender(engine, "https://amop.example.com", secret)
    assert not key or key not in str(caught.value)


def test_an_open_line_is_warned_of(engine, caplog):
    OutboxSender(engine, "http://amop.example.com", KEY)
    assert "not encrypted" in caplog.text


def call(receiver, body, **headers):
    """One raw HTTP call; returns status and answer."""
    address = urlsplit(receiver.endpoint)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    try:
        connection.request("POST", address.path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def good_message():
    return error_message(
        session_id=None, text="x", additional_info="", additional_data={}, now=NOW
    ).payload()


def good_headers(message):
    return {
        "Authorization": f"Bearer {KEY.get_secret_value()}",
        "Idempotency-Key": message["messageId"],
    }


def test_the_receiver_counts_a_message_once_also_after_a_restart(tmp_path):
    log = tmp_path / "amop.jsonl"
    message = good_message()
    for expected in ("accepted", "duplicate"):
        with AmopReceiver(log, token=KEY) as receiver:
            status, answer = call(receiver, json.dumps(message), **good_headers(message))
            assert (status, answer) == (200, {"status": expected})
            status, answer = call(receiver, json.dumps(message), **good_headers(message))
            assert (status, answer) == (200, {"status": "duplicate"})
    (entry,) = read_log(log)
    assert entry["message"] == message
    assert entry["receivedAt"].endswith("Z")


@pytest.mark.parametrize(
    ("change", "headers", "status"),
    [
        ({}, {"Authorization": "Bearer wrong"}, 401),
        ({}, {"Authorization": ""}, 401),
        ({}, {"Idempotency-Key": "another"}, 400),
        ({"extra": 1}, {}, 422),
        ({"progress": "20"}, {}, 422),
        ({"deviceCount": True}, {}, 422),
        ({"additionalData": None}, {}, 422),
        ({"sessionId": 5}, {}, 422),
    ],
)
def test_the_receiver_refuses_what_breaks_the_contract(receiver, change, headers, status):
    message = {**good_message(), **change}
    found, _ = call(receiver, json.dumps(message), **{**good_headers(message), **headers})
    assert found == status
    assert receiver.messages() == []


@pytest.mark.parametrize("body", ["", "no json", "[]", '{"messageId": "1"}'])
def test_the_receiver_refuses_a_body_that_is_no_message(receiver, body):
    message = good_message()
    assert call(receiver, body, **good_headers(message))[0] == 422


def test_the_receiver_refuses_huge_messages(receiver):
    headers = {"Content-Length": str(5 << 20)}
    assert call(receiver, None, **headers)[0] == 413


def test_the_receiver_fails_as_often_as_it_is_told(tmp_path):
    message = good_message()
    with AmopReceiver(tmp_path / "a.jsonl", token=KEY, fail_first=2, fail_status=418) as receiver:
        statuses = [
            call(receiver, json.dumps(message), **good_headers(message))[0] for _ in range(3)
        ]
    assert statuses == [418, 418, 200]
