"""How TDS 7.4, the protocol of SQL Server, spells packets, answers and calls; from MS-TDS."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence

BATCH, RPC, ATTENTION, TRANSACTION, LOGIN, PRELOGIN = 0x01, 0x03, 0x06, 0x0E, 0x10, 0x12
"""Kinds of packets that a client sends."""
VERSIONS = bytes.fromhex("00000b00060100110001ff10001027000002")
"""Answer to PRELOGIN: a server of version 16 that does not support encryption."""
PACKET_BYTES = 4096

DONE, DONE_OF_PROCEDURE, DONE_IN_PROCEDURE = 0xFD, 0xFE, 0xFF
MORE, ERROR, COUNT, ATTENDED = 0x01, 0x02, 0x10, 0x20
"""Status of the tokens that say 'done'."""
BEGUN, COMMITTED, ROLLED_BACK = 8, 9, 10
"""What has become of a transaction."""

_PROCEDURES = {10: "sp_executesql", 11: "sp_prepare", 12: "sp_execute", 13: "sp_prepexec"}
_PROCEDURES |= {15: "sp_unprepare"}
_COLLATION = bytes.fromhex("0904d00034")
_TRANSACTION = struct.pack("<BQ", 8, 1)


def receive(client: socket.socket) -> tuple[int, bytes]:
    """Join the packets of a message, and tell their kind.

    Raises
    ------
    ConnectionError
        If the client has gone.
    """
    body, is_last = b"", False
    while not is_last:
        kind, status, length = struct.unpack(">BBH4x", _exactly(client, 8))
        body += _exactly(client, length - 8)
        is_last = bool(status & 1)
    return kind, body


def send(client: socket.socket, body: bytes) -> None:
    """Send an answer in as many packets as it needs."""
    size = PACKET_BYTES - 8
    for start in range(0, len(body), size):
        part, is_last = body[start : start + size], start + size >= len(body)
        number = (start // size + 1) % 256
        client.sendall(struct.pack(">BBHHBB", 4, is_last, len(part) + 8, 51, number, 0) + part)


def _exactly(client: socket.socket, n_bytes: int) -> bytes:
    data = b""
    while len(data) < n_bytes:
        part = client.recv(n_bytes - len(data))
        if not part:
            raise ConnectionError("the client has gone")
        data += part
    return data


def after_headers(body: bytes) -> bytes:
    return body[struct.unpack_from("<I", body)[0] :]


def done(kind: int, status: int, n_rows: int = 0) -> bytes:
    return struct.pack("<BHHQ", kind, status, 0xC1, n_rows)


def transaction(change: int) -> bytes:
    values = _TRANSACTION + b"\0" if change == BEGUN else b"\0" + _TRANSACTION
    return _changed(change, values)


def welcome(login: bytes) -> bytes:
    """Let a client in, to the database that its LOGIN7 names."""
    start, length = struct.unpack_from("<HH", login, 68)
    database = login[start : start + 2 * length].decode("utf-16-le")
    acknowledged = b"\x01\x74\0\0\x04" + _text("Microsoft SQL Server") + b"\x10\0\x10\x27"
    return (
        _changed(1, _text(database) + _text("master"))
        + _changed(7, bytes([len(_COLLATION)]) + _COLLATION + b"\0")
        + _token(0xAD, acknowledged)
        + _changed(4, _text(str(PACKET_BYTES)) * 2)
    )


def failure(number: int, severity: int, text: str) -> bytes:
    said = struct.pack("<iBBH", number, 1, severity, len(text)) + text.encode("utf-16-le")
    return _token(0xAA, said + _text("endpoint") + _text("") + struct.pack("<i", 1))


def result(columns: Mapping[str, str], rows: Sequence[Sequence[object]]) -> bytes:
    """Spell a result whose columns, all nullable, are ``int``, ``bigint`` or ``nvarchar``."""
    kinds = {"int": b"\x26\x04", "bigint": b"\x26\x08", "nvarchar": b"\xe7\xc8\0" + _COLLATION}
    said = b"\x81" + struct.pack("<H", len(columns))
    for name, kind in columns.items():
        said += struct.pack("<IH", 0, 0x09) + kinds[kind] + _text(name)
    for row in rows:
        values = zip(row, columns.values(), strict=True)
        said += b"\xd1" + b"".join(_value(value, kind) for value, kind in values)
    return said


def returned(handle: int | None) -> bytes:
    """Spell what a procedure returns: 0, and the number of the statement that it has prepared."""
    status = b"\x79" + bytes(4)
    if handle is None:
        return status
    return status + b"\xac\0\0\0\x01" + bytes(6) + b"\x26" + struct.pack("<BBi", 4, 4, handle)


def _value(value: object, kind: str) -> bytes:
    if kind == "nvarchar":
        data = str(value).encode("utf-16-le")
        return b"\xff\xff" if value is None else struct.pack("<H", len(data)) + data
    code = {"int": "<Bi", "bigint": "<Bq"}[kind]
    return b"\0" if value is None else struct.pack(code, struct.calcsize(code) - 1, value)


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("utf-16-le")


def _token(kind: int, data: bytes) -> bytes:
    return struct.pack("<BH", kind, len(data)) + data


def _changed(kind: int, values: bytes) -> bytes:
    return _token(0xE3, bytes([kind]) + values)


class Calls:
    """Reads the procedure calls of a request, one after another."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def is_open(self) -> bool:
        return self._at < len(self._data)

    def next(self) -> tuple[str, list[object]]:
        length = self._number(2)
        if length == 0xFFFF:
            number = self._number(2)
            name = _PROCEDURES.get(number, f"procedure {number}")
        else:
            name = self._take(2 * length).decode("utf-16-le")
        self._take(2)
        values: list[object] = []
        while self.is_open and self._data[self._at] not in (0x80, 0xFF, 0xFE):
            self._take(2 * self._number(1) + 1)  # name and status
            values.append(self._value())
        self._take(1 if self.is_open else 0)
        return name.rsplit(".", 1)[-1].strip("[]"), values

    def _value(self) -> object:
        kind = self._number(1)
        if kind in (0xE7, 0xEF, 0xA7, 0xAF, 0xA5, 0xAD):
            size = self._number(2)
            self._take(0 if kind in (0xA5, 0xAD) else 5)
            data = self._chunks() if size == 0xFFFF else self._sized(2)
            coding = {0xE7: "utf-16-le", 0xEF: "utf-16-le", 0xA7: "cp1252", 0xAF: "cp1252"}
            return data.decode(coding[kind]) if data is not None and kind in coding else data
        if kind == 0x63:  # NTEXT
            self._take(9)
            return (self._sized(4) or b"").decode("utf-16-le")
        self._take({0x28: 0, 0x6A: 3, 0x6C: 3}.get(kind, 1))  # precision, scale or size
        data = self._sized(1) or None
        is_whole = data is not None and kind in (0x26, 0x68)
        return int.from_bytes(data or b"", "little", signed=True) if is_whole else data

    def _sized(self, width: int) -> bytes | None:
        size = self._number(width)
        return None if width > 1 and size == 256**width - 1 else self._take(size)

    def _chunks(self) -> bytes | None:
        if self._number(8) == 2**64 - 1:
            return None
        data = b""
        while size := self._number(4):
            data += self._take(size)
        return data

    def _number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _take(self, n_bytes: int) -> bytes:
        self._at += n_bytes
        return self._data[self._at - n_bytes : self._at]
