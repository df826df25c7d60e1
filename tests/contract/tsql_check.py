"""Every statement that the suite executes, read as T-SQL (D1).

No SQL Server runs beside the tests. What can be had without one: each statement is also compiled by
SQLAlchemy's dialect for SQL Server, with the driver that the product uses, and the text is parsed by
sqlfluff's grammar of T-SQL. That grammar lets through some texts that a server refuses; those that a
statement of SQLAlchemy could turn into are looked for by hand (``REFUSED``, ``KNOWN_FUNCTIONS``).
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.mssql import pyodbc
from sqlalchemy.sql import visitors

REPOSITORY = Path(__file__).resolve().parents[2]

DIALECT = pyodbc.dialect(deprecate_large_types=True, paramstyle="qmark")
"""What a connection to any SQL Server since 2012 ends up with."""

DIALECT_MODULES = ("sqlite.py", "mssql.py", "bulk.py")
"""Of core/storage: where SQL may be written by hand, and the one that executes what they spell."""

REFUSED = {
    r"\bSELECT\s+(?:DISTINCT\s+)?(?:NOT\s+)?EXISTS\b": "EXISTS is a condition, not a value",
    r"\bRETURNING\b": "RETURNING is OUTPUT there",
    r"\bIS\s+(?:NOT\s+)?(?:TRUE|FALSE)\b": "there are no truth values",
    r"=\s*(?:true|false)\b": "there are no truth values",
    r"(?s)\bGROUP BY (?:(?!\)\s|\b(?:ORDER|HAVING|UNION)\b).)*@p": "a parameter is never the same as one "
    "of the list of columns",
    r"^\s*PRAGMA\b": "that is SQLite",
    r"\)\s+(?:NOT\s+)?IN\s*\(\s*\(": "rows cannot be compared",
}
"""What sqlfluff takes for T-SQL and SQL Server does not."""

KNOWN_FUNCTIONS = {
    "AVG", "CAST", "COALESCE", "CONCAT", "CONVERT", "COUNT", "COUNT_BIG", "ISNULL",
    "LEFT", "LEN", "LOWER", "LTRIM", "MAX", "MIN", "NULLIF", "RIGHT",
    "ROUND", "ROW_NUMBER", "RTRIM", "SUBSTRING", "SUM", "UPPER",
}  # fmt: skip
"""Functions that SQL Server has, of those that the product might use; ``substr`` it has not."""


UNCHECKED = "carrier_opt_unchecked"
"""Execution option of connections that try what a database can do."""


class TsqlCheck:
    """Notes what is wrong with the statements of the engines it is attached to."""

    def __init__(self) -> None:
        self._seen: set[object] = set()
        self._faulty: dict[object, str] = {}
        self.problems: list[str] = []
        self.n_statements = 0

    def attach(self, engine: sa.Engine) -> None:
        """Look at all statements of an engine from now on."""
        event.listen(engine, "before_execute", self._look_at_statement)
        event.listen(engine, "before_cursor_execute", self._look_at_text)

    def take_problems(self) -> list[str]:
        """Hand over what was found since the last time."""
        found, self.problems = self.problems, []
        return found

    def _look_at_statement(
        self, _connection: sa.Connection, statement: Any, many: Any, one: Any, options: Any
    ) -> None:
        if not isinstance(statement, sa.ClauseElement) or options.get(UNCHECKED):
            return
        self.n_statements += 1
        rows = list(many) or ([one] if one else [])
        names = tuple(sorted(rows[0])) if rows else ()
        key = (_identity(statement), names, len(rows) > 1)
        if key not in self._seen:
            self._seen.add(key)
            problem = _problem_of(statement, names, is_many=len(rows) > 1)
            if problem:
                self._faulty[key] = problem
        if key in self._faulty:
            self.problems.append(self._faulty[key])

    def _look_at_text(
        self,
        _connection: sa.Connection,
        _cursor: Any,
        text: str,
        _values: Any,
        context: Any,
        _m: Any,
    ) -> None:
        """Refuse SQL that was written by hand, wherever it is not the business of a dialect."""
        is_written = context.compiled is None or isinstance(
            getattr(context.compiled, "statement", None), sa.TextClause
        )
        author = _author() if is_written else None
        if author is None or context.execution_options.get(UNCHECKED):
            return
        if "core" in author.parts and author.name not in DIALECT_MODULES:
            self.problems.append(f"{author.name} writes SQL by hand: {text}")
        elif "tests" in author.parts and (problem := check_text(text)):
            self.problems.append(problem)


def compile_statement(
    statement: sa.ClauseElement, names: tuple[str, ...] = (), *, is_many: bool = False
) -> str:
    """Spell a statement as it goes to SQL Server; lists of values are written out."""
    if isinstance(statement, sa.DDLElement):
        return str(statement.compile(dialect=DIALECT))
    options: dict[str, Any] = {"column_keys": list(names) or None, "for_executemany": is_many}
    compiled = statement.compile(dialect=DIALECT, **options)
    if "POSTCOMPILE" in str(compiled):
        written_out = {"compile_kwargs": {"render_postcompile": True}}
        compiled = _with_values(statement).compile(dialect=DIALECT, **options, **written_out)
    return str(compiled)


def _with_values(statement: Any) -> Any:
    """Give a value to the parameters that get theirs at execution."""

    def set_value(bind: Any) -> None:
        if bind.required:
            bind.value, bind.required = 0, False

    return visitors.cloned_traverse(statement, {}, {"bindparam": set_value})


@cache
def check_text(text: str) -> str | None:
    """Parse one batch; tell what is wrong with it, None if nothing is."""
    readable = re.sub(r"'(?:[^']|'')*'|\?", lambda m: "@p" if m[0] == "?" else m[0], text)
    readable = re.sub(r"(?:@p, ){3,}", "@p, @p, ", readable)
    return _check_readable(readable)


@cache
def _check_readable(text: str) -> str | None:
    bare = re.sub(r"N?'(?:[^']|'')*'", "''", text)
    for pattern, why in REFUSED.items():
        if re.search(pattern, bare, re.IGNORECASE):
            return f"SQL Server refuses this ({why}): {text}"
    parsed = _linter().parse_string(text)
    if problem := _grammar_problem(parsed, text):
        return problem
    called = {
        found.raw.upper() for found in parsed.root_variant().tree.recursive_crawl("function_name")
    }
    if unknown := called - KNOWN_FUNCTIONS:
        return f"SQL Server may have no function {', '.join(sorted(unknown))}: {text}"
    return None


def check_grammar(text: str) -> str | None:
    """Parse one batch without ``?``; tell what is wrong with it, None if it is T-SQL."""
    return _grammar_problem(_linter().parse_string(text), text)


def _grammar_problem(parsed: Any, text: str) -> str | None:
    if parsed.violations:
        return f"no T-SQL ({parsed.violations[0].desc()}): {text}"
    if any(parsed.root_variant().tree.recursive_crawl("unparsable")):
        return f"no T-SQL: {text}"
    return None


def _problem_of(
    statement: sa.ClauseElement, names: tuple[str, ...], *, is_many: bool
) -> str | None:
    if isinstance(statement, sa.TextClause):
        return None  # looked at as text, with its author
    try:
        text = compile_statement(statement, names, is_many=is_many)
    except (sa.exc.CompileError, NotImplementedError) as error:
        return f"cannot be said to SQL Server ({error}): {statement}"
    return check_text(text)


def _identity(statement: Any) -> object:
    """What makes two statements the same text, but for the lengths of lists that are not empty."""
    key = statement._generate_cache_key() if hasattr(statement, "_generate_cache_key") else None
    if key is None:
        return str(statement)
    empty = tuple(not bind.value for bind in key.bindparams if bind.expanding)
    return (key.key, empty)


def _author() -> Path | None:
    """File of the project whose code executes a text; None if SQLAlchemy or Alembic does."""
    frame = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(REPOSITORY) and ".venv" not in path.parts:
            return path.relative_to(REPOSITORY)
        frame = frame.f_back
    return None


@cache
def _linter() -> Any:
    from sqlfluff.core import FluffConfig, Linter

    return Linter(config=FluffConfig(overrides={"dialect": "tsql", "templater": "raw"}))
