"""An endpoint that speaks the protocol of SQL Server and says what a script tells it to.

It is no database and understands no SQL. What it says goes through Microsoft's own driver, so that
tests meet the errors that the driver makes of it. Nothing is encrypted: the address of a client needs
``?Encrypt=no``.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum

from tests.integration import tds_tokens as tds

_BEGIN, _COMMIT, _ROLLBACK = 5, 7, 8
_ACTS = {_BEGIN: "BEGIN TRANSACTION", _COMMIT: "COMMIT TRANSACTION"}
_ACTS[_ROLLBACK] = "ROLLBACK TRANSACTION"
"""What stands among the statements for a request of the driver that is none."""


@dataclass(frozen=True)
class Failure:
    """What the server refuses, by its own number; a transaction ends, as by ``XACT_ABORT``.

    From severity 20 on the connection ends as well. A second error may follow at once.
    """

    number: int
    text: str
    severity: int = 16
    then: Failure | None = None


@dataclass(frozen=True)
class Rows:
    """A result: the names of its columns with ``int``, ``bigint`` or ``nvarchar``, and its rows.

    An error may follow them, or the connection break.
    """

    columns: dict[str, str]
    rows: Sequence[tuple[object, ...]] = ()
    then: Failure | Other | None = None


@dataclass(frozen=True)
class Changed:
    """So many rows were changed."""

    n_rows: int = 1


class Other(Enum):
    """What else may happen."""

    CLOSE = "the connection breaks"
    SILENCE = "nothing is said until the client gives up"


Answer = Rows | Failure | Changed | Other
Script = Sequence[tuple[str, Answer | list[Answer]]]
"""Pattern of a statement and the answer to it; the answers of a list are used up one by one."""

_OPENING: Script = [  # what SQLAlchemy asks a server at first
    ("'ProductVersion'", Rows({"": "nvarchar"}, [("16.0.4135.4",)])),
    (r"schema_name\(\)", Rows({"": "nvarchar"}, [("dbo",)])),
    (r"FROM sys\.system_views", Rows({"name": "nvarchar"}, [("dm_exec_sessions",)])),
    ("CASE transaction_isolation_level", Rows({"": "nvarchar"}, [("READ COMMITTED",)])),
    ("AS NVARCHAR", Rows({"": "nvarchar"}, [("test max support",)])),
    ("fn_listextendedproperty", Rows({"": "int"})),
    (r"^\s*SELECT 1\s*$", Rows({"": "int"}, [(1,)])),
]


@dataclass
class Endpoint:
    """A port, what is said there and what was said to it."""

    port: int
    script: Script
    login: list[Failure]
    statements: list[str] = field(default_factory=list)
    parameters: list[list[object]] = field(default_factory=list)
    """Of each statement that came through a procedure."""
    calls_at_once: list[int] = field(default_factory=list)
    """How many procedures each request called."""
    n_connections: int = 0

    def answer(self, statement: str) -> Answer:
        """Find the answer to a statement; one that no pattern fits has changed nothing."""
        self.statements.append(statement)
        for pattern, answer in [*self.script, *_OPENING]:
            if re.search(pattern, statement):
                if not isinstance(answer, list):
                    return answer
                if answer:
                    return answer.pop(0)
        return Changed(0)


@contextmanager
def serving(script: Script = (), *, login: Sequence[Failure] = ()) -> Iterator[Endpoint]:
    """Listen on a port of this machine; each refusal of ``login`` is for one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = Endpoint(server.getsockname()[1], script, list(login))

        def accept() -> None:
            with suppress(OSError):
                while True:
                    session = _Session(server.accept()[0], endpoint)
                    threading.Thread(target=session.run, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield endpoint
        finally:
            server.shutdown(socket.SHUT_RDWR)


class _Session:
    """One connection, until either side ends it."""

    def __init__(self, client: socket.socket, endpoint: Endpoint) -> None:
        self._client, self._endpoint = client, endpoint
        self._prepared: list[str] = []
        self._is_in_transaction = self._is_over = False

    def run(self) -> None:
        with self._client, suppress(ConnectionError):
            while not self._is_over:
                said = self._answer(*tds.receive(self._client))
                self._is_over |= said is Other.CLOSE
                if isinstance(said, bytes):
                    tds.send(self._client, said)

    def _answer(self, kind: int, body: bytes) -> bytes | Other:
        if kind == tds.PRELOGIN:
            return tds.VERSIONS
        if kind == tds.LOGIN:
            return self._login(body)
        if kind == tds.ATTENTION:
            return tds.done(tds.DONE, tds.ATTENDED)
        handlers = {tds.BATCH: self._batch, tds.RPC: self._rpc, tds.TRANSACTION: self._act}
        return handlers[kind](tds.after_headers(body))

    def _login(self, body: bytes) -> bytes:
        self._endpoint.n_connections += 1
        if self._endpoint.login:
            self._is_over = True
            return self._said(self._endpoint.login.pop(0), tds.DONE)
        return tds.welcome(body) + tds.done(tds.DONE, 0)

    def _batch(self, body: bytes) -> bytes | Other:
        text = body.decode("utf-16-le")
        answer = self._endpoint.answer(text)
        if isinstance(answer, Other):
            return answer
        options = re.findall(r"SET [^;]*;", text)  # each is done by itself, without a count
        return tds.done(tds.DONE, tds.MORE) * len(options) + self._said(answer, tds.DONE)

    def _act(self, body: bytes) -> bytes | Other:
        """Begin or end a transaction; with the end of one the next may begin."""
        act = body[0]
        answer = self._endpoint.answer(_ACTS[act])
        if isinstance(answer, Other):
            return answer
        if isinstance(answer, Failure):
            return self._said(answer, tds.DONE)
        said = b""
        if act != _BEGIN:
            said += tds.transaction(tds.COMMITTED if act == _COMMIT else tds.ROLLED_BACK)
        self._is_in_transaction = act == _BEGIN or bool(body[3] & 1)
        if self._is_in_transaction:
            said += tds.transaction(tds.BEGUN)
        return said + tds.done(tds.DONE, 0)

    def _rpc(self, body: bytes) -> bytes | Other:
        """Answer a call, or several that came at once, up to the first that fails."""
        calls, said = tds.Calls(body), b""
        self._endpoint.calls_at_once.append(0)
        while calls.is_open:
            self._endpoint.calls_at_once[-1] += 1
            answer, handle = self._call(*calls.next())
            if isinstance(answer, Other):
                return answer
            if isinstance(answer, Failure):
                return said + self._said(answer, tds.DONE_OF_PROCEDURE)
            said += self._said(answer, tds.DONE_IN_PROCEDURE, tds.MORE)
            if self._is_over:
                return said
            said += tds.returned(handle)
            said += tds.done(tds.DONE_OF_PROCEDURE, tds.MORE if calls.is_open else 0)
        return said

    def _call(self, name: str, values: list[object]) -> tuple[Answer, int | None]:
        """Find the answer to a call, and the handle of the statement that it prepares."""
        handle = None
        if name in {"sp_prepexec", "sp_prepare"}:
            self._prepared.append(str(values[2]))
            handle = len(self._prepared)
            statement, values = str(values[2]), values[3:]
        elif name == "sp_execute":
            statement, values = self._prepared[int(str(values[0])) - 1], values[1:]
        elif name == "sp_executesql":
            statement, values = str(values[0]), values[2:]
        else:
            statement = f"EXEC {name}"
        if name in {"sp_prepare", "sp_unprepare"}:
            return Changed(0), handle
        self._endpoint.parameters.append(values)
        return self._endpoint.answer(statement), handle

    def _said(self, answer: Rows | Failure | Changed, kind: int, more: int = 0) -> bytes:
        """Spell an answer, up to a token of ``kind`` that says it is done."""
        if isinstance(answer, Changed):
            return tds.done(kind, (tds.COUNT if answer.n_rows else 0) | more, answer.n_rows)
        said = b""
        if isinstance(answer, Rows):
            said = tds.result(answer.columns, answer.rows)
            if not isinstance(answer.then, Failure):
                self._is_over = answer.then is Other.CLOSE
                end = tds.done(kind, tds.COUNT | more, len(answer.rows))
                return said if self._is_over else said + end
            answer = answer.then
        if self._is_in_transaction:
            said += tds.transaction(tds.ROLLED_BACK)
        self._is_in_transaction, failure = False, answer
        while failure:
            self._is_over |= failure.severity >= 20
            said += tds.failure(failure.number, failure.severity, failure.text)
            failure = failure.then
        return said + tds.done(kind, tds.ERROR | more)
