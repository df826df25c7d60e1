"""The documents say what the code does: numbers, settings, errors and links agree."""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest
from pydantic import AliasChoices, SecretStr

from core import errors
from core.files import communication_plans, devices, rate_plans
from core.files.rejects import REJECT_SCHEMA, RejectReason
from core.settings import Settings

ROOT = Path(__file__).parents[2]
CODE_FOLDERS = ("core", "tasks", "flows", "cli", "tests", "benchmarks")

RULE = re.compile(r"(?<![\w`'\"/.-])[EGVBOUKCSANRPD]\d{1,2}(?![\w`'\"/-])")
RULE_IN_BRACKETS = re.compile(r"\(([EGVBOUKCSANRPD]\d{1,2})(?=[,;:) ])")
RULE_HEADING = re.compile(r"^### ([A-Z]\d{1,2}) (.+)\n(State: .*)$", re.MULTILINE)
STATES = ("State: **Built**", "State: **Built in part:** ", "State: **Later**")


def rules() -> dict[str, str]:
    """Return rule number -> its line of state."""
    found = RULE_HEADING.findall((ROOT / "docs/rules.md").read_text(encoding="utf-8"))
    return {number: state for number, _, state in found}


def documents() -> list[Path]:
    """Return the pages that exist; which ones must exist is a test of its own."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [
        *filter(Path.exists, top),
        *sorted(ROOT.glob("docs/**/*.md")),
        *sorted(ROOT.glob("examples/**/*.md")),
    ]


def prose(source: str) -> list[tuple[int, str]]:
    """Return comments and docstrings of a module, each with its line."""
    found = [
        (token.start[0], token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    for node in ast.walk(ast.parse(source)):
        # A docstring, or the string below a constant that describes it.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            if isinstance(text, str):
                found.append((node.lineno, text))
    return found


def messages(source: str) -> list[tuple[int, str]]:
    """Return every other string of a module: descriptions and messages also cite rules."""
    return [
        (node.lineno, node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@cache
def cited_rules() -> dict[str, list[str]]:
    """Return rule number -> places in the code that cite it."""
    places: dict[str, list[str]] = {}
    for folder in CODE_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path == Path(__file__):
                continue
            source = path.read_text(encoding="utf-8")
            hits = [(line, rule) for line, text in prose(source) for rule in RULE.findall(text)]
            if folder != "tests":
                hits += [
                    (line, rule)
                    for line, text in messages(source)
                    for rule in RULE_IN_BRACKETS.findall(text)
                ]
            for line, rule in hits:
                places.setdefault(rule, []).append(f"{path.relative_to(ROOT)}:{line}")
    return places


def test_rules_are_complete_and_each_has_a_state() -> None:
    last = ["E1", "G3", "V3", "B11", "O12", "U2", "K1", "C8", "S10", "A4", "N1", "R5", "P3", "D6"]
    expected = {f"{name[0]}{k}" for name in last for k in range(1, int(name[1:]) + 1)}
    states = rules()
    assert set(states) == expected
    wrong = {rule: state for rule, state in states.items() if not state.startswith(STATES)}
    assert not wrong


def test_code_cites_only_rules_that_exist() -> None:
    states = rules()
    unknown = {rule: places for rule, places in cited_rules().items() if rule not in states}
    assert not unknown, (
        f"not in docs/rules.md: {unknown}. Write the rule first, "
        "or put the name in backticks if it is none"
    )


def test_a_rule_that_is_built_is_cited_where_it_is_built() -> None:
    built = {rule for rule, state in rules().items() if state.startswith(STATES[0])}
    uncited = sorted(built - set(cited_rules()))
    assert not uncited, f"marked Built in docs/rules.md, cited by no code or test: {uncited}"


def test_documents_cite_only_rules_that_exist() -> None:
    states = rules()
    unknown = [
        (str(path.relative_to(ROOT)), rule)
        for path in documents()
        for rule in RULE_IN_BRACKETS.findall(path.read_text(encoding="utf-8"))
        if rule not in states
    ]
    assert not unknown


def test_a_comment_a_docstring_and_a_description_count_as_citations() -> None:
    source = (
        '"""As in B3 and `P9`."""\nX = field(description="Limit (V3).")  # see O4, not S3-like\n'
    )
    assert [rule for _, text in prose(source) for rule in RULE.findall(text)] == ["O4", "B3"]
    in_messages = [r for _, text in messages(source) for r in RULE_IN_BRACKETS.findall(text)]
    assert in_messages == ["V3"]


def variable_name(field: str) -> str:
    """Return the environment variable that sets a field of Settings."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return alias if isinstance(alias, str) else f"CARRIER_OPT_{field.upper()}"


def documented_settings() -> dict[str, list[str]]:
    """Return variable -> cells of its row in the first table of docs/settings.md."""
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    table = text.split("## Variables\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", table, re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split(" | ")] for name, rest in rows}


def test_the_table_of_settings_lists_exactly_the_settings() -> None:
    assert set(documented_settings()) == {variable_name(field) for field in Settings.model_fields}


@pytest.mark.parametrize("field", Settings.model_fields)
def test_a_setting_is_documented_with_its_default_and_source(field: str) -> None:
    default, meaning, _, source = documented_settings()[variable_name(field)]
    info = Settings.model_fields[field]
    value = info.default
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    assert default == ("none" if value is None else f"`{value}`")
    assert meaning
    if SecretStr.__name__ in str(info.annotation):
        assert source == "secret"


def section(path: str, heading: str) -> str:
    """Return what stands below a heading of the second level."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize(
    ("heading", "required", "optional"),
    [
        ("Devices", devices.REQUIRED, devices.OPTIONAL),
        ("Rate plans", rate_plans.REQUIRED, rate_plans.OPTIONAL),
        ("Communication plans", communication_plans.REQUIRED, ()),
    ],
)
def test_the_columns_of_a_file_are_documented_as_its_reader_knows_them(
    heading: str, required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", section("docs/files.md", heading), re.MULTILINE)
    expected = [*((name, "yes") for name in required), *((name, "no") for name in optional)]
    assert sorted(rows) == sorted(expected)


def test_every_reason_and_column_of_the_rejects_is_documented() -> None:
    named = set(re.findall(r"`(\w+)`", section("docs/files.md", "What is rejected")))
    reasons = {reason.value for reason in RejectReason}
    assert reasons | set(REJECT_SCHEMA) <= named
    rows = re.findall(r"^\| `(\w+)` \|", section("docs/files.md", "What is rejected"), re.MULTILINE)
    assert set(rows) <= reasons


def drawn_errors() -> dict[str, str | None]:
    """Return error class -> its parent, as drawn in the docstring of core/errors.py."""
    parents: dict[str, str | None] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^ {4}((?:│   |    )*)(?:[├└]── )?(\w+Error)\b", line)
        if not match:
            continue
        is_root = "──" not in line
        depth = 0 if is_root else len(match[1]) // 4 + 1
        branch[depth:] = [match[2]]
        parents[match[2]] = None if is_root else branch[depth - 1]
    return parents


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    real = {
        name: cls.__bases__[0].__name__ if cls.__bases__[0] is not Exception else None
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if cls.__module__ == errors.__name__
    }
    assert drawn_errors() == real


def without_code(text: str) -> str:
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path) -> list[str]:
    broken = []
    text = without_code(path.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        anchor_is_missing = anchor and target.suffix == ".md" and anchor not in anchors(target)
        if not target.exists() or anchor_is_missing:
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(path: Path) -> None:
    assert not broken_links(path)


@pytest.mark.parametrize(
    "name",
    ["README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "docs/architecture.md"],
)
def test_a_document_that_a_reader_looks_for_is_there(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8").strip()


def test_the_readme_is_at_most_120_lines_long() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_decision_records_are_numbered_without_gaps_and_have_every_part() -> None:
    records = sorted(ROOT.glob("docs/adr/*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(path.name[:4])}. "), path.name
        assert re.search(r"^Date: \d{4}-\d\d-\d\d$", text, re.MULTILINE), path.name
        assert re.search(r"^Status: \w+", text, re.MULTILINE), path.name
        parts = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences"], path.name
