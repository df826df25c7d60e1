"""Reads a YAML file as it is written: every scalar with its text, its line and whether it is quoted.

Nothing is converted on the way, so that no digit is lost and no float appears. What files of
settings do not need is refused: aliases, tags, several documents, a key twice, deep nesting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import InputError

MAX_BYTES = 16 << 20
"""Largest file that is read: about 700,000 ICCIDs."""

MAX_DEPTH = 8
"""Deepest nesting."""

_NUMBER = re.compile(
    r"""[-+]?( 0x[0-9a-f_]+ | 0b[01_]+ | 0o[0-7_]+ | \.(inf|nan) | \.[0-9][0-9_]*(e[-+]?[0-9]+)?
    | [0-9][0-9_]*(:[0-9]+)*(\.[0-9_]*)?(e[-+]?[0-9]+)? )""",
    re.IGNORECASE | re.VERBOSE,
)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A text of the file; ``line`` counts from 1."""

    text: str
    line: int
    is_quoted: bool

    @property
    def is_number(self) -> bool:
        """Whether YAML readers take it for a number."""
        return not self.is_quoted and _NUMBER.fullmatch(self.text) is not None

    @property
    def is_null(self) -> bool:
        """Whether there is no value."""
        return not self.is_quoted and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Values by key, in the order of the file; no key stands there twice."""

    entries: dict[str, Node]
    line: int


Node = Scalar | Items | Mapping


def read_yaml(path: Path) -> Node | None:
    """Read a YAML file; None if it holds nothing.

    Raises
    ------
    InputError
        If the file cannot be read, is larger than ``MAX_BYTES``, is no YAML, or uses what is
        refused here; with the line.
    """
    text = _text(path)
    events = yaml.parse(text, Loader=_LOADER)
    try:
        return _document(path, events)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        remedy = ": indent with spaces, not tabs" if _is_tab(text, mark) else ""
        raise InputError(f"{path}{where}: not valid YAML: {error.problem}{remedy}") from error
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: not valid YAML: {why}") from error


def _is_tab(text: str, mark: yaml.Mark | None) -> bool:
    """Whether the reader stopped in the indentation of a line that has a tab there."""
    lines = text.splitlines()
    if mark is None or mark.line >= len(lines):
        return False
    line = lines[mark.line]
    return "\t" in line[: len(line) - len(line.lstrip())]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if len(raw) > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES:,} bytes, the most that is read")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not UTF-8: save the file as UTF-8") from error


def _document(path: Path, events: Iterator[Any]) -> Node | None:
    tree: Node | None = None
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            if tree is not None:
                raise InputError(f"{path}, line {_line(event)}: a second document: leave it out")
            tree = _node(path, events, next(events), 0)
    return None if isinstance(tree, Scalar) and tree.is_null else tree


def _node(path: Path, events: Iterator[Any], event: Any, depth: int) -> Node:
    where = f"{path}, line {_line(event)}"
    if isinstance(event, yaml.AliasEvent):
        raise InputError(f"{where}: an alias (*{event.anchor}): write the value out")
    if event.tag is not None:
        raise InputError(f"{where}: a tag ({event.tag}): leave it out")
    if depth > MAX_DEPTH:
        raise InputError(f"{where}: nested more than {MAX_DEPTH} levels deep")
    if isinstance(event, yaml.ScalarEvent):
        is_quoted = event.style not in (None, "")
        return Scalar(text=event.value, line=_line(event), is_quoted=is_quoted)
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(following := next(events), yaml.SequenceEndEvent):
            items.append(_node(path, events, following, depth + 1))
        return Items(items=tuple(items), line=_line(event))
    return _mapping(path, events, _line(event), depth)


def _mapping(path: Path, events: Iterator[Any], line: int, depth: int) -> Mapping:
    entries: dict[str, Node] = {}
    while not isinstance(following := next(events), yaml.MappingEndEvent):
        key = _node(path, events, following, depth + 1)
        where = f"{path}, line {_line(following)}"
        if not isinstance(key, Scalar):
            raise InputError(f"{where}: a key that is no text")
        if key.text in entries:
            raise InputError(f"{where}: the key {key.text!r} stands there twice: keep one")
        entries[key.text] = _node(path, events, next(events), depth + 1)
    return Mapping(entries=entries, line=line)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
