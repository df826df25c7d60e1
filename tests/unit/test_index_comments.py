"""Every index says which query it is for, or which rule it enforces; its comment names real code."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from core.storage.schema import metadata

SCHEMA = Path(__file__).parents[2] / "core/storage/schema"
FUNCTION = re.compile(r"\b([a-z_]+)\.([A-Za-z_]+(?:\.[A-Za-z_]+)?)\b")
RULE = re.compile(r"\([A-Z]\d{1,2}\)")
OPERATORS = "the operators'"
"""Statements that operators have are no functions of ours."""


def makes_an_index(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    if node.func.attr in ("Index", "UniqueConstraint"):
        return True
    return node.func.attr == "Column" and any(
        keyword.arg in ("unique", "index") for keyword in node.keywords
    )


def comment_before(lines: list[str], line: int) -> str:
    """Return the comment lines that end just above a line (from 1), as one text."""
    found: list[str] = []
    for text in reversed(lines[: line - 1]):
        if not text.strip().startswith("#"):
            break
        found.insert(0, text.strip().lstrip("# "))
    return " ".join(found)


@cache
def indexes() -> dict[str, str]:
    """Return place -> comment of everything in the schema that makes an index."""
    found = {}
    for path in sorted(SCHEMA.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if makes_an_index(node):
                found[f"{path.name}:{node.lineno}"] = comment_before(
                    source.splitlines(), node.lineno
                )
    return found


def test_every_index_of_the_metadata_is_found_in_the_source() -> None:
    unique = [
        constraint
        for table in metadata.sorted_tables
        for constraint in table.constraints
        if isinstance(constraint, sa.UniqueConstraint)
    ]
    plain = [index for table in metadata.sorted_tables for index in table.indexes]
    assert len(indexes()) == len(unique) + len(plain)


def test_every_index_names_its_query_or_the_rule_that_it_enforces() -> None:
    silent = {
        place: comment
        for place, comment in indexes().items()
        if not (
            (comment.startswith("Query: ") and (FUNCTION.search(comment) or OPERATORS in comment))
            or RULE.search(comment)
        )
    }
    assert not silent, (
        "begin the comment above it with `Query:` and module.function, or cite a rule"
    )


def test_every_function_that_a_comment_names_is_there() -> None:
    missing = []
    for place, comment in indexes().items():
        for module, name in FUNCTION.findall(comment):
            found: object = importlib.import_module(f"core.storage.{module}")
            for part in name.split("."):
                found = getattr(found, part, None)
            if found is None:
                missing.append(f"{place}: {module}.{name}")
    assert not missing
